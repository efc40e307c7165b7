"""Keys at a client's address: fetched over real HTTP, kept as long as they may be, asked for within bounds."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from authz.clients import keys as client_keys
from authz.clients.checked_http import MAX_BODY
from authz.clients.key_addresses import KeyAddresses
from authz.clients.key_fetch import MAX_SECONDS, KeysUnavailable, Reason
from authz.clients.keys import PAUSE_SECONDS, PER_MINUTE, ClientKeys
from fhir.store.change_bus import EVERYTHING, Change
from tests.clients.key_server import KeyServer, key_server
from tests.conformance.launching import key_pair

OLD, _ = key_pair("ES384", "old")
NEW, _ = key_pair("ES384", "new")
RSA, _ = key_pair("RS384", "rsa")


@dataclass(slots=True)
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Keys:
    """The keys of the client `c`, whose address is the server's."""

    server: KeyServer
    clock: Clock
    held: ClientKeys

    async def kids(self, kid: str = "old", client: str = "c") -> list[str]:
        found = await self.held.of(client, self.server.url, kid, "ES384")
        return [key["kid"] for key in found]

    async def failure(self, kid: str = "old") -> Reason:
        with pytest.raises(KeysUnavailable) as refused:
            await self.kids(kid)
        return refused.value.reason


@asynccontextmanager
async def holding(seconds: float = 5.0) -> AsyncIterator[Keys]:
    clock = Clock()
    async with key_server() as server:
        held = ClientKeys(KeyAddresses(loopback=True), timeout=seconds, monotonic=clock)
        try:
            yield Keys(server, clock, held)
        finally:
            await held.close()


@pytest_asyncio.fixture(loop_scope="session")
async def keys() -> AsyncIterator[Keys]:
    async with holding() as found:
        yield found


@pytest.mark.parametrize(
    ("header", "fresh", "stale"),
    [
        ("max-age=60", 59.0, 61.0),
        ('public, Max-Age="60"', 59.0, 61.0),
        ("max-age=60, max-age=600", 59.0, 61.0),
        ("max-age=999999999", MAX_SECONDS - 1, MAX_SECONDS + 1),
        ("s-maxage=9999, max-age=60", 59.0, 61.0),
        ("public", 299.0, 301.0),
    ],
)
async def test_keys_are_kept_as_long_as_cache_control_says_and_an_hour_at_most(
    keys: Keys, header: str, fresh: float, stale: float
) -> None:
    keys.server.serve([OLD], Cache_Control=header)
    assert await keys.kids() == ["old"]
    keys.server.serve([OLD, NEW], Cache_Control=header)
    keys.clock.now += fresh
    assert await keys.kids() == ["old"]
    assert len(keys.server.asked) == 1
    keys.clock.now += stale - fresh
    assert await keys.kids() == ["old", "new"]
    assert len(keys.server.asked) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Cache_Control": "no-store"},
        {"Cache_Control": "no-cache"},
        {"Cache_Control": "max-age=0"},
        {"Cache_Control": "max-age=-1"},
        {"Cache_Control": "max-age=soon"},
        {"Cache_Control": "max-age"},
        {"Cache_Control": "max-age=60, no-store"},
        {"Cache_Control": "max-age=60", "Age": "60"},
        {"Expires": "0"},
        {"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Expires": "Thu, 01 Jan 2099 00:00:00 GMT", "Date": "Thu, 01 Jan 2099 00:00:00 GMT"},
    ],
)
async def test_keys_that_may_not_be_kept_are_fetched_each_time(keys: Keys, headers: dict[str, str]) -> None:
    for kid in ("old", "new"):
        keys.server.serve([{**OLD, "kid": kid}], **headers)
        assert await keys.kids(kid) == [kid]
    assert len(keys.server.asked) == 2


async def test_expires_counts_where_there_is_no_max_age(keys: Keys) -> None:
    dates = {"Date": "Thu, 01 Jan 2099 00:00:00 GMT", "Expires": "Thu, 01 Jan 2099 00:01:00 GMT"}
    keys.server.serve([OLD], **dates)
    for seconds, times in ((0.0, 1), (59.0, 1), (2.0, 2)):
        keys.clock.now += seconds
        await keys.kids()
        assert len(keys.server.asked) == times


async def test_a_set_that_did_not_change_is_not_sent_again(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=60", ETag='"one"')
    await keys.kids()
    keys.clock.now += 61
    assert await keys.kids() == ["old"]
    assert [headers.get("if-none-match") for _, headers in keys.server.asked] == [None, '"one"']
    keys.clock.now += 59
    assert await keys.kids() == ["old"]
    assert len(keys.server.asked) == 2
    keys.server.serve([NEW], Cache_Control="max-age=60", ETag='"two"')
    keys.clock.now += 2
    assert await keys.kids("new") == ["new"]


async def test_the_request_is_a_plain_get_that_says_nothing_about_anybody(keys: Keys) -> None:
    keys.server.serve([OLD])
    await keys.kids()
    ((line, headers),) = keys.server.asked
    assert line == "GET /jwks HTTP/1.1"
    assert set(headers) == {"host", "accept", "accept-encoding", "user-agent", "connection"}


async def test_an_unknown_kid_is_looked_up_again_but_not_at_once(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=3600")
    await keys.kids()
    keys.server.serve([OLD, NEW], Cache_Control="max-age=3600")
    for _ in range(5):
        assert await keys.kids("new") == ["old"]
    assert len(keys.server.asked) == 1
    keys.clock.now += PAUSE_SECONDS
    assert await keys.kids("new") == ["old", "new"]
    for _ in range(5):
        await keys.kids("nobody's")
    assert len(keys.server.asked) == 2


async def test_an_unknown_kid_and_a_server_that_is_down_leave_the_known_keys_alone(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=3600")
    await keys.kids()
    keys.server.status = "503 Unavailable"
    keys.clock.now += PAUSE_SECONDS
    assert await keys.failure("new") == "status"
    assert await keys.kids() == ["old"]


async def test_after_a_failure_keys_that_are_too_old_are_not_used(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=60, stale-if-error=9999")
    await keys.kids()
    keys.server.status = "503 Unavailable"
    keys.clock.now += 61
    assert await keys.failure() == "status"


async def test_after_a_failure_there_is_a_pause_and_then_another_attempt(keys: Keys) -> None:
    keys.server.status = "500 Broken"
    assert await keys.failure() == "status"
    keys.server.serve([OLD])
    assert await keys.failure() == "too-often"
    assert len(keys.server.asked) == 1
    keys.clock.now += PAUSE_SECONDS
    assert await keys.kids() == ["old"]


async def test_a_client_whose_keys_may_not_be_kept_is_asked_so_many_times_a_minute(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="no-store")
    for _ in range(PER_MINUTE):
        await keys.kids()
    assert await keys.failure() == "too-often"
    keys.held.on_change(Change("client", "c"))
    assert await keys.failure() == "too-often"
    assert await keys.kids(client="another") == ["old"]
    keys.clock.now += 60
    assert await keys.kids() == ["old"]
    assert len(keys.server.asked) == PER_MINUTE + 2


async def test_many_who_wait_share_one_request(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=60")
    keys.server.delay = 0.1
    assert await asyncio.gather(*(keys.kids() for _ in range(20))) == [["old"]] * 20
    assert len(keys.server.asked) == 1


async def test_one_who_gives_up_does_not_end_it_for_the_others(keys: Keys) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=60")
    keys.server.delay = 0.1
    first, second = asyncio.create_task(keys.kids()), asyncio.create_task(keys.kids())
    await asyncio.sleep(0.02)
    first.cancel()
    assert await second == ["old"]
    assert len(keys.server.asked) == 1


async def test_when_all_give_up_a_failure_is_nobodys_and_the_log_stays_clean(keys: Keys) -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        keys.server.delay, keys.server.status = 0.1, "500 Internal Server Error"
        waiting = asyncio.create_task(keys.kids())
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.2)
        del waiting
        keys.held.on_change(EVERYTHING)  # lets go of what was under way
        gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert keys.server.asked
    assert told == []


@pytest.mark.parametrize("change", [Change("client", "c"), EVERYTHING])
async def test_a_change_of_the_client_forgets_its_keys_and_what_is_under_way(keys: Keys, change: Change) -> None:
    keys.server.serve([OLD], Cache_Control="max-age=60")
    keys.server.delay = 0.1
    early = asyncio.create_task(keys.kids())
    await asyncio.sleep(0.05)
    keys.held.on_change(change)
    await early
    keys.server.serve([NEW], Cache_Control="max-age=60")
    assert await keys.kids("new") == ["new"]
    keys.held.on_change(Change("client", "another"))
    keys.held.on_change(Change("grant", "c"))
    await keys.kids("new")
    assert len(keys.server.asked) == 2


async def test_only_so_many_sets_are_kept(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_keys, "MAX_CLIENTS", 2)
    keys.server.serve([OLD], Cache_Control="max-age=60")
    for client, times in (("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)):
        await keys.kids(client=client)
        assert len(keys.server.asked) == times, client


def _response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


GOOD = json.dumps({"keys": [OLD]}).encode()
PRIVATE = {**OLD, "d": OLD["x"]}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (_response(b"", "Location: /elsewhere", status="302 Found"), "redirect"),
        (_response(GOOD, "Location: /elsewhere", status="301 Moved"), "redirect"),
        (_response(b"", status="304 Not Modified"), "status"),
        (_response(b"", status="204 No Content"), "status"),
        (_response(GOOD, status="404 Not Found"), "status"),
        (_response(GOOD, status="500 Broken"), "status"),
        (_response(b" " * MAX_BODY + GOOD), "too-large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * MAX_BODY + GOOD, "too-large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "too-large"),
        (_response(gzip.compress(GOOD), "Content-Encoding: gzip"), "not-keys"),
        (_response(GOOD[:-1]), "not-keys"),
        (_response(b""), "not-keys"),
        (_response(b"<html>"), "not-keys"),
        (_response(b"\xff\xfe"), "not-keys"),
        (_response(b"[" * 60_000), "not-keys"),
        (_response(b'{"a":' * 10_000), "not-keys"),
        (_response(b"[]"), "not-keys"),
        (_response(b"{}"), "not-keys"),
        (_response(json.dumps({"keys": [OLD] * 21}).encode()), "not-keys"),
        (_response(json.dumps({"keys": [OLD, PRIVATE]}).encode()), "not-keys"),
        (_response(json.dumps({"keys": [{"kty": "oct", "kid": "x"}]}).encode()), "not-keys"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + GOOD[:20], "unreachable"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n" + GOOD, "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unreachable"),
        (b"", "unreachable"),
    ],
)
async def test_an_answer_that_is_no_key_set_gives_no_keys(keys: Keys, raw: bytes, reason: Reason) -> None:
    keys.server.raw = raw
    assert await keys.failure() == reason
    # The library tries once more when the connection is cut before the first byte.
    assert len(keys.server.asked) == (1 if raw else 2)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"])
async def test_a_server_that_lets_us_wait_is_left(beginning: bytes) -> None:
    async with holding(seconds=0.2) as keys:
        keys.server.raw, keys.server.hang = beginning, True
        assert await keys.failure() == "timeout"


async def test_a_server_that_is_not_there_gives_no_keys(keys: Keys) -> None:
    with pytest.raises(KeysUnavailable) as refused:
        await keys.held.of("c", "http://127.0.0.1:9/jwks", "old", "ES384")
    assert refused.value.reason == "unreachable"


async def test_an_address_that_is_no_longer_allowed_is_not_asked(keys: Keys) -> None:
    strict = ClientKeys(KeyAddresses())
    with pytest.raises(KeysUnavailable) as refused:
        await strict.of("c", keys.server.url, "old", "ES384")
    await strict.close()
    assert refused.value.reason == "address"
    assert keys.server.asked == []


async def test_keys_for_other_uses_in_the_set_are_ignored(keys: Keys) -> None:
    others: list[dict[str, Any]] = [
        {"kty": "OKP", "crv": "Ed25519", "x": OLD["x"], "kid": "old"},
        {**OLD, "use": "enc"},
        {**OLD, "kid": 5},
        {name: value for name, value in OLD.items() if name != "kid"},
        {**RSA, "alg": "RSA-OAEP"},
    ]
    keys.server.serve([*others, OLD, RSA])
    assert await keys.kids() == ["old", "rsa"]
