"""An app asks that its user be signed out: when that happens at once, when they are asked, and where they go."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import select

from authz import tables
from authz.clients.clients import NewClient, add_client, disable_client
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from tests.leaks.world import ISSUER, REDIRECT, World, client_of, patient, world
from tests.portal.fakes import page_of

PASSWORD = "a coast of slate"  # noqa: S105 - of accounts that live as long as the test
AFTER = "https://heart.example/bye"
WITH_QUERY = "https://heart.example/bye?lang=en"
APP = {"client_id": "heart", "post_logout_redirect_uri": AFTER}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(await make_database(), tmp_path_factory.mktemp("end"), [patient("ana")]) as running:
        now = datetime.now(UTC)
        async with running.assent.engine.begin() as connection:
            for name in ("anna", "bert"):
                account = Account("", name, name.title(), None, "patient", (ActsFor("ana", "Ana", own=True),))
                await add_account(connection, account, await Passwords().hash(PASSWORD), now)
            for client_id in ("heart", "gone"):
                new = NewClient(
                    "Heart Diary",
                    "public",
                    (REDIRECT,),
                    client_id=client_id,
                    post_logout_redirect_uris=(AFTER, WITH_QUERY),
                )
                await add_client(connection, new, now)
            await disable_client(connection, "gone", now)
        yield running


@pytest_asyncio.fixture
async def browser(server: World) -> AsyncIterator[httpx.AsyncClient]:
    """Anna is signed in."""
    async with client_of(server.assent) as browser:
        fields = page_of(await browser.get("/sign-in")).hidden
        answer = await browser.post("/sign-in", data={**fields, "username": "anna", "password": PASSWORD})
        assert answer.status_code == 303
        yield browser


async def account_id(server: World, name: str) -> str:
    u = tables.user_account.c
    async with server.assent.engine.connect() as connection:
        return str((await connection.execute(select(u.id).where(u.username == name))).scalar_one())


async def hint(server: World, name: str = "anna", **changes: Any) -> str:
    """An ID token that was issued a while ago."""
    key = server.assent.authz.keys.signing("RS256")
    claims = {"iss": ISSUER, "aud": "heart", "sub": await account_id(server, name), "exp": 1, **changes}
    return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "JWT"}, claims, key.key, ["RS256"])


def by_hand(header: dict[str, str], claims: dict[str, str], secret: bytes | None) -> str:
    """A JWT with an algorithm that no library would sign with."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = b"" if secret is None else hmac.digest(secret, signed, "sha256")
    return f"{signed.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def signed_in(browser: httpx.AsyncClient) -> bool:
    return (await browser.get("/my")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_is_meant_for_certain_is_signed_out_at_once(
    server: World, browser: httpx.AsyncClient, method: str
) -> None:
    asked = {"id_token_hint": await hint(server), "post_logout_redirect_uri": AFTER, "state": "s&t"}
    given = {"params": asked} if method == "GET" else {"data": asked}
    answer = await browser.request(method, "/end-session", **given)  # type: ignore[arg-type]
    assert (answer.status_code, answer.headers["location"]) == (303, f"{AFTER}?state=s%26t")
    assert not await signed_in(browser)


async def test_a_state_joins_the_query_that_the_address_has(server: World, browser: httpx.AsyncClient) -> None:
    asked = {"id_token_hint": await hint(server), "post_logout_redirect_uri": WITH_QUERY, "state": "s"}
    answer = await browser.get("/end-session", params=asked)
    assert answer.headers["location"] == f"{WITH_QUERY}&state=s"


@pytest.mark.parametrize("given", [{}, APP, {**APP, "state": "s"}, {"client_id": "heart", "logout_hint": "anna"}])
async def test_else_the_person_is_asked_first(browser: httpx.AsyncClient, given: dict[str, str]) -> None:
    page = await browser.get("/end-session", params=given)
    assert (page.status_code, page_of(page).headings[0]) == (200, "Sign out?")
    assert await signed_in(browser)
    answer = await browser.post("/end-session/confirm", data=page_of(page).hidden)
    if "post_logout_redirect_uri" in given:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(AFTER)
        assert answer.headers["location"].endswith("state=s") == ("state" in given)
    else:
        assert (answer.status_code, page_of(answer).headings[0]) == (200, "You are signed out")
    assert not await signed_in(browser)


async def test_another_persons_token_signs_nobody_out_unasked(server: World, browser: httpx.AsyncClient) -> None:
    asked = {"id_token_hint": await hint(server, "bert"), "post_logout_redirect_uri": AFTER}
    page = await browser.get("/end-session", params=asked)
    assert page_of(page).headings[0] == "Sign out?"
    assert await signed_in(browser)
    answer = await browser.post("/end-session/confirm", data=page_of(page).hidden)
    assert (answer.status_code, answer.headers["location"]) == (303, AFTER)


async def test_who_is_not_signed_in_goes_on_at_once(server: World) -> None:
    async with client_of(server.assent) as browser:
        answer = await browser.get("/end-session", params=APP)
        assert (answer.status_code, answer.headers["location"]) == (303, AFTER)
        assert page_of(await browser.get("/end-session")).headings[0] == "You are signed out"


@pytest.mark.parametrize(
    "given",
    [
        {"client_id": "heart", "post_logout_redirect_uri": "https://evil.example/"},
        {"client_id": "heart", "post_logout_redirect_uri": f"{AFTER}/"},
        {"client_id": "heart", "post_logout_redirect_uri": f"{AFTER}?x=1"},
        {"client_id": "heart", "post_logout_redirect_uri": REDIRECT},
        {"client_id": "gone", "post_logout_redirect_uri": AFTER},
        {"client_id": "nobody", "post_logout_redirect_uri": AFTER},
        {"post_logout_redirect_uri": AFTER},
        {"id_token_hint": "x"},
        {"id_token_hint": "a.b.c"},
        {"id_token_hint": "e" * 10_000},
        [("client_id", "heart"), ("client_id", "gone")],
    ],
)
async def test_what_does_not_fit_leads_nowhere_and_signs_nobody_out(browser: httpx.AsyncClient, given: Any) -> None:
    for method in ("GET", "POST"):
        sent = {"params": given} if method == "GET" else {"data": dict(given)}
        if method == "POST" and isinstance(given, list):
            continue
        answer = await browser.request(method, "/end-session", **sent)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
    assert await signed_in(browser)


@pytest.mark.parametrize("forgery", ["client", "issuer", "type", "hmac", "none", "stranger", "access"])
async def test_a_forged_hint_counts_for_nothing(server: World, browser: httpx.AsyncClient, forgery: str) -> None:
    key, subject = server.assent.authz.keys.signing("RS256"), await account_id(server, "anna")
    claims = {"iss": ISSUER, "aud": "heart", "sub": subject}
    header = {"alg": "RS256", "kid": key.kid, "typ": "JWT"}
    signing, given = key.key, {"client_id": "heart"}
    match forgery:
        case "client":
            given = {"client_id": "gone"}
        case "issuer":
            claims["iss"] = "https://evil.example"
        case "type":
            header["typ"] = "at+jwt"
        case "hmac" | "none":
            header["alg"] = "HS256" if forgery == "hmac" else "none"
        case "stranger":
            signing = RSAKey.generate_key(2048)
        case _:
            es256 = server.assent.authz.keys.signing("ES256")
            header, signing = {"alg": "ES256", "kid": es256.kid, "typ": "JWT"}, es256.key
    token = (
        by_hand(header, claims, key.key.as_pem(private=False) if forgery == "hmac" else None)
        if forgery in ("hmac", "none")
        else jwt.encode(header, claims, signing, [header["alg"]])
    )
    answer = await browser.get("/end-session", params={**given, "id_token_hint": token})
    assert answer.status_code == 400
    assert await signed_in(browser)


@pytest.mark.parametrize("changes", [{"csrf": "0" * 64}, {"post_logout_redirect_uri": "https://evil.example/"}])
async def test_the_question_is_answered_on_our_page_only_and_checked_again(
    browser: httpx.AsyncClient, changes: dict[str, str]
) -> None:
    fields = page_of(await browser.get("/end-session", params=APP)).hidden
    answer = await browser.post("/end-session/confirm", data={**fields, **changes})
    assert (answer.status_code in (400, 403), "location" in answer.headers) == (True, False)
    assert await signed_in(browser)


async def test_the_endpoint_is_announced(server: World) -> None:
    told = (await server.http.get("/.well-known/openid-configuration")).json()
    assert told["end_session_endpoint"] == f"{ISSUER}/end-session"
