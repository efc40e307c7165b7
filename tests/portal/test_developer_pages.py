"""`/developer` and `/operator` as people use them: register, review, a secret, the end; and what others can't do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import ECKey
from sqlalchemy import select, text

from authz import tables
from authz.clients.app_registry import MOST_APPS, register_app
from authz.clients.clients import NewClient, add_client
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from tests.clients.app import REDIRECT_URI
from tests.leaks.world import ISSUER, World, client_of, patient, world
from tests.portal.fakes import page_of

PASSWORD = "a coast of slate"  # noqa: S105 - of accounts that live as long as the test
PEOPLE = {"dana": "developer", "dora": "developer", "olu": "operator", "clem": "clinician", "ana2": "patient"}
SCOPE = "launch/patient openid patient/Observation.rs"
FORM = {"name": "Sleep Coach", "kind": "public", "redirect_uris": REDIRECT_URI, "scope": SCOPE, "purpose": "PATRQT"}
Browser = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("developers")
    async with world(await make_database(), folder, [patient("ana")]) as running:
        async with running.assent.engine.begin() as connection:
            for name, role in PEOPLE.items():
                mine = (ActsFor("ana", "Ana", own=True),) if role == "patient" else ()
                account = Account("", name, name.title(), None, role, mine)
                await add_account(connection, account, await Passwords().hash(PASSWORD), datetime.now(UTC))
        yield running


async def signed_in(server: World, name: str, next_page: str = "/my") -> Browser:
    """A browser in which somebody is signed in."""
    browser = client_of(server.assent)
    token = page_of(await browser.get("/sign-in")).hidden["csrf"]
    sent = {"username": name, "password": PASSWORD, "csrf": token, "next": next_page}
    answer = await browser.post("/sign-in", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, next_page)
    return browser


async def send(browser: Browser, action: str, fields: dict[str, str] | None = None) -> httpx.Response:
    """Send a form; every page of a session has the same token."""
    token = page_of(await browser.get("/my/sign-out")).hidden["csrf"]
    return await browser.post(action, data={**(fields or {}), "csrf": token})


async def register(browser: Browser, **fields: str) -> httpx.Response:
    return await send(browser, "/developer/register", {**FORM, **fields})


def client_id_in(answer: httpx.Response) -> str:
    return answer.text.split("<dt>Client id</dt><dd><code>")[1].split("<")[0]


async def state_of(browser: Browser, page: str, client_id: str) -> str:
    """What the page says of an app."""
    shown = (await browser.get(page)).text
    return shown.split(f'id="app-{client_id}"')[1].split('<span class="state')[1].split(">")[1].split("<")[0]


async def may_ask(server: World, client_id: str) -> bool:
    """Whether people would be asked by this app."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "aud": f"{ISSUER}/fhir",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    answer = await server.http.get(f"/authorize?{urlencode(query)}")
    assert answer.status_code in (303, 400)
    return answer.status_code == 303


async def id_of(server: World, name: str = "dana") -> str:
    """Of an account."""
    u = tables.user_account.c
    async with server.assent.engine.connect() as connection:
        return str(await connection.scalar(select(u.id).where(u.username == name)))


async def test_an_app_waits_for_the_operator_and_lives_from_the_approval_on(server: World) -> None:
    dana, olu = await signed_in(server, "dana"), await signed_in(server, "olu")
    answer = await register(dana)
    assert answer.status_code == 200
    assert "Sleep Coach is registered" in answer.text
    assert "Secret" not in answer.text
    client_id = client_id_in(answer)
    assert await state_of(dana, "/developer", client_id) == "Waits for review"
    assert not await may_ask(server, client_id)
    review = (await olu.get("/operator")).text
    for words in ("Sleep Coach", "Dana", "Lab results", REDIRECT_URI, "for your own use, at your request"):
        assert words in review
    assert (await send(olu, f"/operator/apps/{client_id}/approve")).status_code == 303
    assert await state_of(olu, "/operator", client_id) == "Live"
    assert await may_ask(server, client_id)
    assert (await send(olu, f"/operator/apps/{client_id}/approve")).status_code == 404
    assert (await send(dana, f"/developer/apps/{client_id}/disable")).status_code == 303
    assert await state_of(dana, "/developer", client_id) == "Disabled"
    assert not await may_ask(server, client_id)


async def test_the_operator_finds_an_app_among_many(server: World) -> None:
    olu, now = await signed_in(server, "olu"), datetime.now(UTC)
    async with server.assent.engine.begin() as connection:
        for number in range(45):
            await add_client(connection, NewClient(f"Tracker {number:02}_%", "public", (REDIRECT_URI,)), now)
        waits, _ = await register_app(
            connection, NewClient("Waits", "public", (REDIRECT_URI,)), await id_of(server), now
        )
    first = await olu.get("/operator")
    assert "Page 1 of" in first.text
    assert 'href="/operator?page=2" rel="next"' in first.text
    for name, found in (("tracker 07", 1), ("_%", 45), ("Tracker 4", 5), ("nobody's", 0)):
        page = await olu.get("/operator", params={"name": name})
        assert f": {found}." in page.text, name
        assert waits.client_id in page.text  # what waits is never hidden
    by_id = await olu.get("/operator", params={"name": waits.client_id})
    assert by_id.text.count('<section class="card') == 1


async def test_what_the_operator_refuses_never_lives(server: World) -> None:
    dana, olu = await signed_in(server, "dana"), await signed_in(server, "olu")
    client_id = client_id_in(await register(dana, name="Refused"))
    assert (await send(olu, f"/operator/apps/{client_id}/disable")).status_code == 303
    assert (await send(olu, f"/operator/apps/{client_id}/approve")).status_code == 404
    assert await state_of(dana, "/developer", client_id) == "Disabled"


async def test_a_secret_is_shown_once_and_a_new_one_ends_it(server: World) -> None:
    dana, olu = await signed_in(server, "dana"), await signed_in(server, "olu")
    answer = await register(dana, name="Server Side", kind="confidential-symmetric")
    client_id, first = client_id_in(answer), answer.text.split("<dt>Secret</dt><dd><code>")[1].split("<")[0]
    assert first not in (await dana.get("/developer")).text
    form = {"grant_type": "refresh_token", "refresh_token": "none"}

    async def says(secret: str) -> str:
        return str((await server.http.post("/token", data=form, auth=(client_id, secret))).json()["error"])

    assert await says(first) == "invalid_client"  # it waits for review
    assert (await send(olu, f"/operator/apps/{client_id}/approve")).status_code == 303
    assert await says(first) == "invalid_grant"
    again = await send(dana, f"/developer/apps/{client_id}/secret")
    second = again.text.split("<dt>Secret</dt><dd><code>")[1].split("<")[0]
    assert (await says(first), await says(second)) == ("invalid_client", "invalid_grant")


async def test_an_app_with_keys_is_registered_with_its_key_set(server: World) -> None:
    dana = await signed_in(server, "dana")
    key = ECKey.generate_key("P-384", {"kid": "k1", "alg": "ES384", "use": "sig"})
    keys = json.dumps({"keys": [key.as_dict(private=False)]})
    answer = await register(dana, name="Keyed", kind="backend", scope="system/Observation.rs", jwks=keys)
    assert answer.status_code == 200
    c = tables.client.c
    async with server.assent.engine.connect() as connection:
        row = (await connection.execute(select(c.jwks, c.secret_hash).where(c.client_id == client_id_in(answer)))).one()
    assert (row.jwks["keys"][0]["kid"], row.secret_hash) == ("k1", None)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": ""}, "`client_name` must be 1 to 100 printable characters"),
        ({"name": "a\u202eb"}, "`client_name` must be 1 to 100 printable characters"),
        ({"kind": "gateway"}, "choose where the app runs"),
        ({"kind": "ehr"}, "choose where the app runs"),
        ({"kind": ""}, "choose where the app runs"),
        ({"redirect_uris": ""}, "`redirect_uris` must name at least one URI"),
        ({"redirect_uris": "http://evil.example/"}, "must be https, or http to loopback"),
        ({"redirect_uris": "javascript:alert(1)"}, "must be an absolute URI"),
        ({"redirect_uris": "\n".join(f"https://a.example/{n}" for n in range(21))}, "at most 20 redirect URIs"),
        ({"scope": ""}, "name the scopes that the app may ask for"),
        ({"scope": "assent/introspect"}, "`assent/`"),
        ({"scope": "launch/patient patient/Observation.everything"}, "there is no scope"),
        ({"scope": "<script>alert(1)</script>"}, "there is no scope"),
        ({"purpose": "NONE"}, "choose at least one purpose"),
        ({"kind": "backend", "jwks": ""}, "must be a JWK Set"),
        ({"kind": "backend", "jwks": "[" * 10_000}, "must be a JWK Set"),
        ({"kind": "backend", "jwks": '{"keys": []}'}, "`keys` must hold 1 to 20 keys"),
        (
            {"kind": "backend", "jwks": '{"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}'},
            "must hold public keys only",
        ),
    ],
)
async def test_a_registration_that_cannot_be_taken_says_why_and_keeps_what_was_filled_in(
    server: World, fields: dict[str, str], problem: str
) -> None:
    dora = await signed_in(server, "dora")
    answer = await register(dora, **fields)
    assert answer.status_code == 400
    assert problem in unescape(answer.text).replace("<code>", "`").replace("</code>", "`")
    assert "<script>" not in answer.text
    shown = {"name": "Sleep Coach", **fields}
    assert unescape(page_of(answer).inputs["name"]["value"] or "") == shown["name"]
    assert "You have no app yet." in (await dora.get("/developer")).text


async def test_an_account_has_a_bounded_number_of_apps(server: World) -> None:
    engine = server.assent.engine
    new = NewClient("Many", "public", (REDIRECT_URI,), scope=SCOPE)
    async with engine.begin() as connection:
        many = Account("", "many", "Many", None, "developer")
        owner = await add_account(connection, many, await Passwords().hash(PASSWORD), datetime.now(UTC))
        for _ in range(MOST_APPS):
            await register_app(connection, new, owner.id, datetime.now(UTC))
    browser = await signed_in(server, "many")
    answer = await register(browser)
    assert answer.status_code == 400
    assert f"an account may have {MOST_APPS} apps" in answer.text


@pytest.mark.parametrize("name", ["ana2", "clem", "dana"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/operator"),
        ("GET", "/operator/health"),
        ("POST", "/operator/apps/{id}/approve"),
        ("POST", "/operator/apps/{id}/disable"),
    ],
)
async def test_nobody_but_an_operator_reviews(server: World, name: str, method: str, path: str) -> None:
    dora = await signed_in(server, "dora")
    client_id = client_id_in(await register(dora))
    browser = await signed_in(server, name)
    address = path.replace("{id}", client_id)
    answer = await (browser.get(address) if method == "GET" else send(browser, address))
    assert (answer.status_code, page_of(answer).headings[0]) == (404, "This page isn't here")
    assert await state_of(dora, "/developer", client_id) == "Waits for review"
    await send(dora, f"/developer/apps/{client_id}/disable")


@pytest.mark.parametrize("name", ["ana2", "clem"])
@pytest.mark.parametrize("path", ["/developer", "/developer/register"])
async def test_only_developers_and_operators_register(server: World, name: str, path: str) -> None:
    browser = await signed_in(server, name)
    assert (await browser.get(path)).status_code == 404
    assert (await send(browser, "/developer/register", FORM)).status_code == 404


@pytest.mark.parametrize("action", ["secret", "disable"])
async def test_anothers_app_looks_like_one_that_is_not_there(server: World, action: str) -> None:
    dana, dora = await signed_in(server, "dana"), await signed_in(server, "dora")
    client_id = client_id_in(await register(dana, kind="confidential-symmetric"))
    mine = await send(dora, f"/developer/apps/{client_id}/{action}")
    none = await send(dora, f"/developer/apps/nothing/{action}")
    assert (mine.status_code, mine.text) == (none.status_code, none.text) == (404, none.text)
    assert await state_of(dana, "/developer", client_id) == "Waits for review"


@pytest.mark.parametrize("path", ["/developer", "/developer/register", "/operator", "/operator/health"])
async def test_who_is_not_signed_in_is_asked_to(server: World, path: str) -> None:
    answer = await client_of(server.assent).get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?{urlencode({'next': path})}")


@pytest.mark.parametrize(
    "action",
    ["/developer/register", "/developer/apps/x/secret", "/developer/apps/x/disable", "/operator/apps/x/approve"],
)
async def test_a_form_of_another_site_changes_nothing(server: World, action: str) -> None:
    olu = await signed_in(server, "olu")
    assert (await olu.post(action, data={**FORM, "csrf": "0" * 64})).status_code == 403
    assert "You have no app yet." in (await olu.get("/developer")).text


@pytest.mark.parametrize(("name", "home"), [("dana", "/developer"), ("olu", "/operator")])
async def test_people_without_a_record_begin_at_their_own_pages(server: World, name: str, home: str) -> None:
    browser = await signed_in(server, name)
    answer = await browser.get("/my")
    assert (answer.status_code, answer.headers["location"]) == (303, home)


async def test_the_operator_sees_whether_the_server_is_well(server: World) -> None:
    olu = await signed_in(server, "olu")
    page = await olu.get("/operator/health")
    assert page.status_code == 200
    for name in ("database", "keys", "policies", "upstream"):
        assert f">{name}</dt>" in page.text


async def test_every_change_is_recorded_with_who_made_it(server: World) -> None:
    dana = await signed_in(server, "dana")
    client_id = client_id_in(await register(dana))
    await server.assent.authz.audit.settle()
    async with server.assent.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT body FROM assent.fhir_resource WHERE resource_type = 'AuditEvent'")
        )
        events = [json.loads(row.body) for row in rows]
    mine = [e for e in events if e.get("outcomeDesc") == f"app {client_id} was registered"]
    assert len(mine) == 1
    assert mine[0]["agent"][0]["who"]["identifier"]["value"] == "developer:dana"
