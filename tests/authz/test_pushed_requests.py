"""`/par` (RFC 9126): a reference counts once, for a minute, for its client; what is wrong is told and not kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select, update

from authz import tables
from authz.authorize.pushed_requests import LIFETIME, REFERENCE
from authz.clients.changes import change_client
from authz.clients.clients import PUBLIC_ONLY, PUSHED, NewClient, disable_client, find_client
from tests.authz.proofs import Prover
from tests.conformance.launching import ASSERTION_TYPE, STATE, Launch, assertion, key_pair, launch, register
from tests.leaks.world import ISSUER, REDIRECT, World, observation, patient, world

SCOPE = "openid launch/patient offline_access patient/*.rs"
PAR = f"{ISSUER}/par"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("pushed")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


async def kept(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(tables.pushed_request))).scalar_one())


async def waiting(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        count = select(func.count()).select_from(tables.authorization_request)
        return int((await connection.execute(count)).scalar_one())


async def pushed(asked: Launch, **form: str) -> str:
    answer = await asked.push(**form)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert body == {"request_uri": body["request_uri"], "expires_in": 60}
    assert body["request_uri"].startswith(REFERENCE)
    assert len(body["request_uri"]) >= len(REFERENCE) + 43  # RFC 9126 §7.1: can't be guessed
    return str(body["request_uri"])


def refused(answer: httpx.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def on_its_way(answer: httpx.Response) -> None:
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{ISSUER}/authorize/continue?request=")


def turned_away(answer: httpx.Response) -> None:
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize("kind", ["public", "confidential-symmetric"])
async def test_a_pushed_request_goes_all_the_way(server: World, kind: str) -> None:
    asked = await launch(server, SCOPE, kind=kind)
    answer = await asked.follow(await pushed(asked))
    on_its_way(answer)
    returned = await asked.allow(answer, ["laboratory"])
    assert parse_qs(urlsplit(returned).query)["state"] == [STATE]
    assert (await asked.exchange(returned)).status_code == 200


@pytest.mark.parametrize("audience", ["", "/token", "/par"])
async def test_a_client_signs_in_for_any_of_the_servers_names(server: World, audience: str) -> None:
    public, private = key_pair("ES384")
    asked = await launch(server, SCOPE, kind="confidential-asymmetric", jwks={"keys": [public]})
    signed = assertion(asked.client_id, private, "ES384", jti=f"par {audience}", aud=ISSUER + audience)
    asked.authentication = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    on_its_way(await asked.follow(await pushed(asked)))
    refused(await asked.push(), "invalid_client", 401)  # an assertion counts once


async def test_a_reference_counts_once_and_the_page_after_it_can_be_loaded_again(server: World) -> None:
    asked = await launch(server, SCOPE)
    reference = await pushed(asked)
    answer = await asked.follow(reference)
    on_its_way(answer)
    before = await waiting(server)
    turned_away(await asked.follow(reference))
    assert await waiting(server) == before
    for _ in range(2):
        assert (await server.http.get(answer.headers["location"])).status_code in (200, 303)


async def test_of_many_at_once_with_one_reference_one_goes_on(server: World) -> None:
    asked = await launch(server, SCOPE)
    reference = await pushed(asked)
    answers = await asyncio.gather(*(asked.follow(reference) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [303, 400, 400, 400, 400]


async def test_a_reference_is_used_up_even_if_nothing_comes_of_it(server: World) -> None:
    asked = await launch(server, "launch patient/*.rs")
    reference = await pushed(asked, launch="forged")
    assert "error=invalid_request" in (await asked.follow(reference)).headers["location"]
    turned_away(await asked.follow(reference))


async def test_a_reference_of_another_client_opens_nothing_and_stays_its_own(server: World) -> None:
    mine, other = await launch(server, SCOPE), await launch(server, SCOPE)
    reference = await pushed(mine)
    turned_away(await other.follow(reference))
    turned_away(await server.http.get("/authorize", params={"request_uri": reference}))
    on_its_way(await mine.follow(reference))


async def test_a_reference_lives_a_minute(server: World) -> None:
    asked = await launch(server, SCOPE)
    reference = await pushed(asked)
    async with server.assent.engine.begin() as connection:
        p = tables.pushed_request
        aged = update(p).where(p.c.client_id == asked.client_id).values(expires_at=p.c.expires_at - LIFETIME)
        await connection.execute(aged)
    turned_away(await asked.follow(reference))


async def test_expired_requests_are_forgotten(server: World) -> None:
    asked = await launch(server, SCOPE)
    for _ in range(3):
        await pushed(asked)
    async with server.assent.engine.begin() as connection:
        p = tables.pushed_request
        await connection.execute(update(p).values(expires_at=p.c.expires_at - timedelta(hours=1)))
    await pushed(asked)
    assert await kept(server) == 1


@pytest.mark.parametrize("reference", [REFERENCE, REFERENCE + "x", REFERENCE + "x" * 5_000, REFERENCE + "\u00e9"])
async def test_a_made_up_reference_opens_nothing(server: World, reference: str) -> None:
    asked = await launch(server, SCOPE)
    turned_away(await asked.follow(reference, redirect_uri=REDIRECT))


async def test_what_stands_beside_a_reference_doesnt_count(server: World) -> None:
    asked = await launch(server, SCOPE)
    beside = {"state": "other", "redirect_uri": "https://evil.example/", "scope": "patient/*.cruds", "prompt": "none"}
    answer = await asked.follow(await pushed(asked), **beside)
    on_its_way(answer)
    returned = await asked.refuse(answer)
    assert returned.startswith(REDIRECT)
    assert parse_qs(urlsplit(returned).query)["state"] == [STATE]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"request_uri": REFERENCE + "x"}, "invalid_request"),
        ({"request_uri": "https://app.example/request"}, "invalid_request"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
        ({"redirect_uri": REDIRECT + "/"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"aud": "https://elsewhere.example/fhir"}, "invalid_request"),
        ({"aud": ""}, "invalid_request"),
        ({"scope": "bogus"}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"state": "x" * 2_001}, "invalid_request"),
        ({"nonce": "x" * 2_001}, "invalid_request"),
        ({"launch": "x"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
        ({"prompt": "everything"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"purpose_of_use": "HRESCH"}, "invalid_request"),
        ({"authorization_details": '[{"type":"consent"}]'}, "invalid_authorization_details"),
        ({"request": "e30.e30."}, "invalid_request_object"),
    ],
)
async def test_what_would_be_refused_later_is_refused_when_it_is_pushed(
    server: World, form: dict[str, str], error: str
) -> None:
    asked = await launch(server, SCOPE)
    before = await kept(server)
    refused(await asked.push(**form), error)
    assert await kept(server) == before


@pytest.mark.parametrize("given", [{}, {"client_id": ""}, {"client_id": "nobody"}, {"client_id": "x" * 500}])
async def test_who_doesnt_say_who_they_are_pushes_nothing(server: World, given: dict[str, str]) -> None:
    before = await kept(server)
    refused(await server.http.post("/par", data={"response_type": "code", **given}), "invalid_client", 401)
    assert await kept(server) == before


async def test_a_client_pushes_for_itself_only(server: World) -> None:
    asked, other = await launch(server, SCOPE, kind="confidential-symmetric"), await launch(server, SCOPE)
    before = await kept(server)
    refused(await asked.push(client_id=other.client_id), "invalid_client", 401)
    left_out = {name: value for name, value in asked.request.items() if name != "client_id"}
    assert asked.secret is not None
    answer = await server.http.post("/par", data=left_out, auth=(asked.client_id, asked.secret))
    refused(answer, "invalid_request")
    wrong = await server.http.post("/par", data=asked.request, auth=(asked.client_id, "wrong"))
    refused(wrong, "invalid_client", 401)
    unproven = await server.http.post("/par", data=asked.request)
    refused(unproven, "invalid_client", 401)
    assert await kept(server) == before


@pytest.mark.parametrize("kind", ["backend", "gateway", "ehr"])
async def test_a_client_for_which_nobody_decides_pushes_nothing(server: World, kind: str) -> None:
    public, private = key_pair("ES384")
    client_id, _ = await register(server, kind=kind, redirect_uris=(), jwks={"keys": [public]})
    signed = assertion(client_id, private, "ES384", jti="nobody decides")
    authentication = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    refused(await Launch(server, client_id, None, authentication=authentication).push(), "unauthorized_client")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {"content-type": "application/json"}),
        (b"client_id=a&client_id=b", {"content-type": "application/x-www-form-urlencoded"}),
        (b"state=%ff", {"content-type": "application/x-www-form-urlencoded"}),
        (b"state=%00", {"content-type": "application/x-www-form-urlencoded"}),
    ],
)
async def test_what_is_no_form_is_refused(server: World, body: bytes, headers: dict[str, str]) -> None:
    refused(await server.http.post("/par", content=body, headers=headers), "invalid_request")


async def test_a_body_without_end_is_refused(server: World) -> None:
    asked = await launch(server, SCOPE)
    refused(await asked.push(state="x" * 40_000), "invalid_request", 413)
    assert (await server.http.get("/par")).status_code == 405


async def test_a_client_that_must_push_can_do_nothing_else(server: World) -> None:
    asked = await launch(server, SCOPE, requires=frozenset({PUSHED}))
    before = await waiting(server)
    for method in ("GET", "POST"):
        answer = await asked.authorize(method)
        given = parse_qs(urlsplit(answer.headers["location"]).query)
        assert (given["error"], given["state"]) == (["invalid_request"], [STATE])
    assert await waiting(server) == before
    on_its_way(await asked.follow(await pushed(asked)))


async def test_a_registration_that_changed_since_counts(server: World) -> None:
    asked = await launch(server, SCOPE)
    gone, disabled = await pushed(asked), await pushed(asked)
    async with server.assent.engine.begin() as connection:
        client = await find_client(connection, asked.client_id)
        assert client is not None
        moved = NewClient("App", "public", ("https://app.example/elsewhere",))
        await change_client(connection, client, moved, secret=None, addresses=PUBLIC_ONLY)
    turned_away(await asked.follow(gone))
    async with server.assent.engine.begin() as connection:
        await disable_client(connection, asked.client_id, server.assent.authz.clock())
    turned_away(await asked.follow(disabled))


async def test_a_proof_with_a_pushed_request_binds_the_code(server: World) -> None:
    """RFC 9449 §10.1."""
    prover, thief = Prover.new(), Prover.new()
    asked = await launch(server, SCOPE)
    asked.headers = lambda: {"DPoP": prover.proof("POST", PAR)}
    returned = await asked.allow(await asked.follow(await pushed(asked)), ["laboratory"])
    for headers, error in (
        ({}, "invalid_dpop_proof"),
        ({"DPoP": thief.proof("POST", f"{ISSUER}/token")}, "invalid_grant"),
    ):
        asked.headers = lambda sent=headers: sent  # type: ignore[misc]
        refused(await asked.exchange(returned), error)
    asked.headers = lambda: {"DPoP": prover.proof("POST", f"{ISSUER}/token")}
    assert (await asked.exchange(returned)).json()["token_type"] == "DPoP"  # noqa: S105 - no password


async def test_a_wrong_proof_with_a_pushed_request_keeps_nothing(server: World) -> None:
    prover = Prover.new()
    asked = await launch(server, SCOPE)
    before = await kept(server)
    used = prover.proof("POST", PAR)
    asked.headers = lambda: {"DPoP": used}
    refused(await asked.push(dpop_jkt=Prover.new().jkt), "invalid_dpop_proof")
    refused(await asked.push(), "invalid_dpop_proof")  # used above
    for proof in ("x", prover.proof("POST", f"{ISSUER}/token"), prover.proof("POST", PAR, iat=int(time.time()) - 600)):
        asked.headers = lambda sent=proof: {"DPoP": sent}  # type: ignore[misc]
        refused(await asked.push(), "invalid_dpop_proof")
    assert await kept(server) == before
    asked.headers = lambda: {"DPoP": prover.proof("POST", PAR)}
    await pushed(asked, dpop_jkt=prover.jkt)


async def test_no_reference_is_kept_in_the_clear(server: World) -> None:
    asked = await launch(server, SCOPE)
    handle = (await pushed(asked)).removeprefix(REFERENCE)
    async with server.assent.engine.connect() as connection:
        rows = (await connection.execute(select(tables.pushed_request))).all()
    assert rows
    assert handle not in str(rows)


async def test_discovery_says_where_to_push(server: World) -> None:
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/oauth-authorization-server"):
        document = (await server.http.get(path)).json()
        assert document["pushed_authorization_request_endpoint"] == PAR
        assert document["require_pushed_authorization_requests"] is False
        assert document["request_uri_parameter_supported"] is False


async def test_a_browser_app_may_push(server: World) -> None:
    await launch(server, SCOPE)
    headers = {"Origin": "http://localhost:9090", "Access-Control-Request-Method": "POST"}
    answer = await server.http.options("/par", headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "http://localhost:9090")
