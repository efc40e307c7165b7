"""Tokens that are bound to a TLS certificate (RFC 8705 §3): whose word counts for it, and what it opens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from jose import jwt as jose_jwt
from sqlalchemy import func, select

from assent.client_certificate import CERTIFICATE_KEY, ClientCertificate, thumbprint
from authz import tables
from authz.clients.clients import CERTIFICATE
from smart.discovery import openid_configuration, smart_configuration
from tests.authz.certificates import Certificate
from tests.authz.proofs import Prover
from tests.authz.test_token_exchange import gateway
from tests.conformance.launching import Launch, launch
from tests.leaks.world import ISSUER, World, observation, patient, world

SCOPE = "openid launch/patient offline_access patient/*.rs"
HEADER = "X-Client-Cert"
PROXY, STRANGER = "10.0.0.7", "192.0.2.9"
LAB = f"{ISSUER}/fhir/Observation/lab0"


MINE, OTHER = Certificate.new(), Certificate.new()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def inner(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("certificates")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


def behind(server: World, peer: str = PROXY) -> World:
    """The server behind the proxy's address, as somebody at `peer` reaches it."""
    app = ClientCertificate(server.assent.asgi, HEADER, [ip_network("10.0.0.0/24")])
    transport = httpx.ASGITransport(app, client=(peer, 4_000))
    return replace(server, http=httpx.AsyncClient(transport=transport, base_url=ISSUER))


@pytest.fixture
def server(inner: World) -> World:
    """Reached through the proxy."""
    return behind(inner)


async def stored(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        count = select(func.count()).select_from(tables.refresh_token)
        return int((await connection.execute(count)).scalar_one())


async def code(server: World, **client: Any) -> tuple[Launch, str]:
    asked = await launch(server, SCOPE, requires=frozenset({CERTIFICATE}), **client)
    return asked, await asked.allow(await asked.authorize(), ["laboratory"])


async def bound(server: World, certificate: Certificate = MINE, **client: Any) -> tuple[Launch, dict[str, Any]]:
    asked, returned = await code(server, **client)
    asked.headers = lambda: {HEADER: certificate.escaped}
    answer = await asked.exchange(returned)
    assert answer.status_code == 200, answer.text
    return asked, answer.json()


async def read(server: World, token: str, headers: Mapping[str, str], scheme: str = "Bearer") -> httpx.Response:
    return await server.http.get(LAB, headers={"Authorization": f"{scheme} {token}", **headers})


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="fhir", error="invalid_token"'


@pytest.mark.parametrize("form", ["escaped", "structured"])
async def test_a_token_counts_over_connections_with_its_certificate(server: World, form: str) -> None:
    _, token = await bound(server)
    access = token["access_token"]
    assert token["token_type"] == "Bearer"  # noqa: S105 - no password
    assert jose_jwt.get_unverified_claims(access)["cnf"] == {"x5t#S256": MINE.x5t}
    for _ in range(2):
        assert (await read(server, access, {HEADER: getattr(MINE, form)})).status_code == 200
    refused(await read(server, access, {HEADER: getattr(OTHER, form)}))
    refused(await read(server, access, {}))
    who = await server.http.get("/userinfo", headers={"Authorization": f"Bearer {access}", HEADER: MINE.escaped})
    assert who.status_code == 200
    assert (await server.http.get("/userinfo", headers={"Authorization": f"Bearer {access}"})).status_code == 401


async def test_the_header_of_a_stranger_is_nobodys_certificate(inner: World, server: World) -> None:
    _, token = await bound(server)
    outside = behind(inner, STRANGER)
    for forged in (
        {HEADER: MINE.escaped},
        {HEADER: MINE.escaped, "X-Forwarded-For": PROXY},
        {HEADER.lower(): MINE.structured},
    ):
        refused(await read(outside, token["access_token"], forged))
    asked, returned = await code(server)
    before = await stored(server)
    stranger = replace(asked, world=outside, headers=lambda: {HEADER: MINE.escaped})
    answer = await stranger.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert await stored(server) == before


async def test_without_the_proxy_no_header_counts(inner: World, server: World) -> None:
    _, token = await bound(server)
    refused(await read(inner, token["access_token"], {HEADER: MINE.escaped}))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        ":",
        "::",
        ":x:",
        ":AAAA:",
        MINE.escaped[:-40],
        MINE.escaped + "x" * 20_000,
        MINE.escaped + "%0A" + OTHER.escaped,
        MINE.structured[:-1],
        MINE.x5t,
        "%FF%FE",
        quote("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ],
    ids=range(13),  # the certificates are made anew by each worker
)
async def test_what_is_no_certificate_is_none(server: World, value: str) -> None:
    assert thumbprint(value.encode()) is None
    asked, returned = await code(server)
    asked.headers = lambda: {HEADER: value}
    before = await stored(server)
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert await stored(server) == before
    asked.headers = lambda: {HEADER: MINE.escaped}
    assert (await asked.exchange(returned)).status_code == 200  # and the code wasn't used up


async def test_two_headers_are_none(server: World) -> None:
    _, token = await bound(server)
    headers = [("Authorization", f"Bearer {token['access_token']}"), (HEADER, MINE.escaped), (HEADER, MINE.escaped)]
    refused(await server.http.get(LAB, headers=headers))


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        (("10.0.0.255", 1), True),
        (("::ffff:10.0.0.1", 1), True),
        (("10.0.1.0", 1), False),
        (("::1", 1), False),
        (("", 0), False),
        (("proxy", 1), False),
        (None, False),
    ],
)
async def test_who_is_connected_decides_and_the_header_goes_no_further(peer: object, believed: bool) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    gate = ClientCertificate(app, HEADER, [ip_network("10.0.0.0/24")])
    headers = [(b"x-client-cert", MINE.structured.encode()), (b"accept", b"*/*")]

    async def nothing(*_: Any) -> Any:
        return {}

    await gate({"type": "http", "headers": headers, "client": peer, CERTIFICATE_KEY: OTHER.x5t}, nothing, nothing)
    (scope,) = seen
    assert scope["headers"] == [(b"accept", b"*/*")]
    assert scope[CERTIFICATE_KEY] == (MINE.x5t if believed else None)


async def test_the_refresh_token_of_a_public_client_is_bound_that_of_another_is_not(server: World) -> None:
    for kind, outcome in (("public", (400, "invalid_grant")), ("confidential-symmetric", (200, None))):
        asked, token = await bound(server, kind=kind)
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        asked.headers = dict
        bare = await asked.token(**form)
        assert (bare.status_code, bare.json()["error"]) == (400, "invalid_request")
        asked.headers = lambda: {HEADER: OTHER.escaped}
        answer = await asked.token(**form)
        assert (answer.status_code, answer.json().get("error")) == outcome
        if kind == "public":
            asked.headers = lambda: {HEADER: MINE.structured}
            assert (await asked.token(**form)).status_code == 200


async def test_nobody_is_bound_who_doesnt_ask_for_it(server: World) -> None:
    asked = await launch(server, SCOPE)
    returned = await asked.allow(await asked.authorize(), ["laboratory"])
    asked.headers = lambda: {HEADER: MINE.escaped}
    token = (await asked.exchange(returned)).json()["access_token"]
    assert "cnf" not in jose_jwt.get_unverified_claims(token)
    assert (await read(server, token, {})).status_code == 200


async def test_key_and_certificate_count_together(server: World) -> None:
    prover = Prover.new()
    asked, returned = await code(server)
    asked.headers = lambda: {HEADER: MINE.escaped, "DPoP": prover.proof("POST", f"{ISSUER}/token")}
    token = (await asked.exchange(returned)).json()
    access = token["access_token"]
    assert token["token_type"] == "DPoP"  # noqa: S105 - no password
    assert jose_jwt.get_unverified_claims(access)["cnf"] == {"jkt": prover.jkt, "x5t#S256": MINE.x5t}
    for certificate, status in ((MINE, 200), (OTHER, 401)):
        headers = {HEADER: certificate.escaped, "DPoP": prover.proof("GET", LAB, access)}
        assert (await read(server, access, headers, "DPoP")).status_code == status
    assert (await read(server, access, {HEADER: MINE.escaped})).status_code == 401


async def test_introspection_says_to_which_certificate_a_token_is_bound(server: World) -> None:
    _, token = await bound(server)
    found = await (await gateway(server)).describe(token["access_token"])
    assert (found["active"], found["token_type"], found["cnf"]) == (True, "Bearer", {"x5t#S256": MINE.x5t})


async def test_a_bound_token_is_exchanged_for_a_bound_one(server: World) -> None:
    _, token = await bound(server)
    plain, careful = await gateway(server), await gateway(server, requires=frozenset({CERTIFICATE}))
    answer = await plain.ask(token["access_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    server.http.headers[HEADER] = OTHER.escaped
    found = (await careful.exchanged(token["access_token"]))["access_token"]
    assert jose_jwt.get_unverified_claims(found)["cnf"] == {"x5t#S256": OTHER.x5t}


@pytest.mark.parametrize("document", [smart_configuration, openid_configuration])
def test_discovery_says_whether_certificates_are_handed_on(document: Callable[..., dict[str, Any]]) -> None:
    for offered in (True, False):
        found = document(ISSUER, registration=False, certificates=offered)
        assert found["tls_client_certificate_bound_access_tokens"] is offered
