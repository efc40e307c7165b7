"""SMART 2.2, "Client authentication: asymmetric", for a client that registered the address of its keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from authz.clients.assertion import read_assertion, verify
from authz.clients.clients import ClientError, find_client
from authz.clients.signatures import FetchedKeys
from authz.oauth_errors import OAuthError
from tests.clients.app import register as register_oneself
from tests.clients.key_server import KeyServer, key_server
from tests.conformance.launching import ASSERTION_TYPE, assertion, key_pair, register
from tests.leaks.world import World
from tests.sandbox_server import Sandbox

KEYS = {algorithm: key_pair(algorithm) for algorithm in ("RS384", "ES384")}
EC, PRIVATE = KEYS["ES384"]
SECOND, SECOND_PRIVATE = key_pair("ES384", "k2")


@pytest_asyncio.fixture(loop_scope="session")
async def keys() -> AsyncIterator[KeyServer]:
    async with key_server() as running:
        running.serve([EC], Cache_Control="max-age=600")
        yield running


async def _service(server: World, **keys: Any) -> str:
    more = {"kind": "backend", "redirect_uris": (), "scope": "system/Patient.rs"}
    addresses = server.assent.authz.client_keys.addresses
    client_id, _ = await register(server, **more, **keys, addresses=addresses)
    return client_id


async def _sent(server: World, signed: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "scope": "system/Patient.rs",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed,
    }
    return await server.http.post("/token", data=form)


async def _refused(server: World, signed: str) -> str:
    answer = await _sent(server, signed)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["error_description"])


@pytest.mark.smart(296, 310, 339)
@pytest.mark.parametrize("algorithm", list(KEYS))
async def test_an_assertion_is_verified_with_the_keys_at_the_registered_address(
    server: World, keys: KeyServer, algorithm: str
) -> None:
    public, private = KEYS[algorithm]
    keys.serve([public])
    client_id = await _service(server, jwks_uri=keys.url)
    assert keys.asked == []
    assert (await _sent(server, assertion(client_id, private, algorithm, jti="1"))).status_code == 200
    assert [line for line, _ in keys.asked] == ["GET /jwks HTTP/1.1"]
    _, other = key_pair(algorithm)
    await _refused(server, assertion(client_id, other, algorithm, jti="2"))


@pytest.mark.smart(296)
def test_a_client_registers_the_address_of_its_keys_over_the_network(sandbox: Sandbox) -> None:
    address = {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks.json"}
    registered = register_oneself(sandbox.issuer, "Keys", "openid", **address)
    assert registered.items() >= address.items()
    assert "jwks" not in registered


@pytest.mark.smart(342)
async def test_keys_are_not_fetched_anew_while_cache_control_lets_them_be_kept(server: World, keys: KeyServer) -> None:
    client_id = await _service(server, jwks_uri=keys.url)
    assert (await _sent(server, assertion(client_id, PRIVATE, "ES384", jti="0"))).status_code == 200
    await asyncio.sleep(0.5)  # that the client is new is news for half a moment, and what was known of it goes with it
    assert (await _sent(server, assertion(client_id, PRIVATE, "ES384", jti="1"))).status_code == 200
    asked = len(keys.asked)
    for jti in ("2", "3", "4"):
        assert (await _sent(server, assertion(client_id, PRIVATE, "ES384", jti=jti))).status_code == 200
    assert len(keys.asked) == asked


@pytest.mark.smart(341)
@pytest.mark.parametrize("header", ["no-store", "no-cache", "max-age=0", "max-age=1"])
async def test_a_key_that_was_withdrawn_ends_when_cache_control_says(
    server: World, keys: KeyServer, header: str
) -> None:
    keys.serve([EC], Cache_Control=header)
    client_id = await _service(server, jwks_uri=keys.url)
    assert (await _sent(server, assertion(client_id, PRIVATE, "ES384", jti="1"))).status_code == 200
    keys.serve([SECOND], Cache_Control=header)
    if header == "max-age=1":
        await asyncio.sleep(1.05)
    await _refused(server, assertion(client_id, PRIVATE, "ES384", jti="2"))
    headers = {"kid": "k2"}
    signed = assertion(client_id, SECOND_PRIVATE, "ES384", jti="3", headers=headers)
    assert (await _sent(server, signed)).status_code == 200


@pytest.mark.smart(338)
async def test_a_jku_must_be_the_registered_address(server: World, keys: KeyServer) -> None:
    client_id = await _service(server, jwks_uri=keys.url)
    for number, jku in enumerate([f"{keys.url}2", "", "https://attacker.example/jwks", keys.url.upper()]):
        await _refused(server, assertion(client_id, PRIVATE, "ES384", jti=str(number), headers={"jku": jku}))
    signed = assertion(client_id, PRIVATE, "ES384", jti="right", headers={"jku": keys.url})
    assert (await _sent(server, signed)).status_code == 200
    assert {line for line, _ in keys.asked} == {"GET /jwks HTTP/1.1"}


@pytest.mark.smart(338)
async def test_two_keys_of_one_name_at_the_address_are_refused(server: World, keys: KeyServer) -> None:
    keys.serve([EC, {**SECOND, "kid": "k1"}])
    client_id = await _service(server, jwks_uri=keys.url)
    await _refused(server, assertion(client_id, PRIVATE, "ES384", jti="1"))


@pytest.mark.smart(336)
async def test_an_assertion_verified_with_fetched_keys_works_once(server: World, keys: KeyServer) -> None:
    client_id = await _service(server, jwks_uri=keys.url)
    signed = assertion(client_id, PRIVATE, "ES384", jti="once")
    assert (await _sent(server, signed)).status_code == 200
    await _refused(server, signed)


@pytest.mark.smart(340)
async def test_keys_that_can_not_be_fetched_are_invalid_client_and_the_hint_tells_no_reason(
    server: World, keys: KeyServer
) -> None:
    texts = set()
    for number, raw in enumerate(
        [
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
            b"",
        ]
    ):
        keys.raw = raw
        client_id = await _service(server, jwks_uri=keys.url)
        text = await _refused(server, assertion(client_id, PRIVATE, "ES384", jti=str(number)))
        assert "`jwks_uri`" in text
        texts.add(text)
    (text,) = texts
    assert not any(part in text for part in ("secret", "404", str(keys.port)))


@pytest.mark.parametrize("headers", [{"kid": None}, {"kid": 5}, {"alg": "none"}, {"alg": "HS256"}])
async def test_nothing_is_fetched_for_an_assertion_that_no_key_can_verify(
    server: World, keys: KeyServer, headers: dict[str, Any]
) -> None:
    client_id = await _service(server, jwks_uri=keys.url)
    signed = assertion(client_id, PRIVATE, "ES384", jti="1", headers={k: v for k, v in headers.items() if k == "kid"})
    if "alg" in headers:
        signed = assertion(client_id, b"x" * 64, "HS256", jti="1")
    await _refused(server, signed)
    assert keys.asked == []


async def test_slow_keys_hold_no_database_connection(server: World, keys: KeyServer) -> None:
    """More requests wait for a slow client than there are connections, and the server serves everybody else."""
    clients = [await _service(server, jwks_uri=f"{keys.url}?{number}") for number in range(25)]
    other = await _service(server, jwks={"keys": [EC]})
    keys.delay = 1.5
    waiting = [
        asyncio.create_task(_sent(server, assertion(client_id, PRIVATE, "ES384", jti="1"))) for client_id in clients
    ]
    await asyncio.sleep(0.3)
    async with asyncio.timeout(1):
        assert (await _sent(server, assertion(other, PRIVATE, "ES384", jti="1"))).status_code == 200
    keys.delay = 0.0
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_keys_of_an_address_that_the_client_has_left_meanwhile_count_for_nothing(server: World) -> None:
    client_id = await _service(server, jwks_uri="https://app.example/new")
    async with server.assent.engine.connect() as connection:
        client = await find_client(connection, client_id)
    assert client is not None
    form = {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(client_id, PRIVATE, "ES384", jti="1"),
    }
    asked = read_assertion(form), client
    audiences, now = server.assent.authz.token_audiences, server.assent.authz.clock().timestamp()
    verify(*asked, FetchedKeys("https://app.example/new", (EC,)), audiences, now)
    for left in (FetchedKeys("https://app.example/old", (EC,)), None):
        with pytest.raises(OAuthError) as refused:
            verify(*asked, left, audiences, now)
        assert refused.value.error == "invalid_client"


@pytest.mark.parametrize(
    "keys",
    [
        {"jwks": {"keys": [EC]}, "jwks_uri": "https://app.example/jwks"},
        {"jwks_uri": "https://10.0.0.1/jwks"},
        {"jwks_uri": "http://app.example/jwks"},
        {},
    ],
)
async def test_keys_are_given_or_their_address_and_not_both(server: World, keys: dict[str, Any]) -> None:
    with pytest.raises(ClientError):
        await _service(server, **keys)
