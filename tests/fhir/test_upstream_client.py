"""What the upstream may do to us: nothing that isn't a whole, bounded JSON answer gets through."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir.upstream.circuit_breaker import CircuitBreaker
from fhir.upstream.client import BackendServices, Basic, Bearer, UpstreamAnswer, UpstreamClient, UpstreamFailure

PATIENT = b'{"resourceType":"Patient","id":"p1","multipleBirthInteger":1.50}'


class Upstream:
    """A server that answers raw bytes, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answer: Callable[[str], bytes] = lambda _: whole(PATIENT)
        self.pause = 0.0
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir/r4"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
            request = head + (await reader.readexactly(int(lengths[0]))).decode() if lengths else head
            self.requests.append(request)
            await asyncio.sleep(self.pause)
            writer.write(self.answer(request))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough, which is what some tests are about
        finally:
            writer.close()


def whole(body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/fhir+json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def chunked(*pieces: bytes, end: bool) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + (b"0\r\n\r\n" if end else b"")


def unmeasured(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n\r\n" + body


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.handle, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    yield upstream
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def client_of(base: str, **options: Any) -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(base, **options)
    try:
        yield client
    finally:
        await client.close()


async def failure_of(answer: Awaitable[UpstreamAnswer]) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await answer
    return caught.value


async def test_a_read_answers_the_bytes_as_they_came(upstream: Upstream) -> None:
    async with client_of(upstream.base + "/") as client:
        assert await client.get("Patient/p1/_history/2", ()) == UpstreamAnswer(200, PATIENT)
    request = upstream.requests[0]
    assert request.startswith("GET /fhir/r4/Patient/p1/_history/2 HTTP/1.1\r\n")
    assert "Accept: application/fhir+json\r\n" in request
    assert "Accept-Encoding: gzip\r\n" in request
    assert "Authorization" not in request


async def test_search_parameters_keep_their_order_and_are_escaped(upstream: Upstream) -> None:
    async with client_of(upstream.base) as client:
        await client.get("Observation", [("code", "a|b,c"), ("patient", "p1"), ("code", "&x=ü#%2F")])
    target = upstream.requests[0].split(" ")[1]
    assert target == "/fhir/r4/Observation?code=a%7Cb%2Cc&patient=p1&code=%26x%3D%C3%BC%23%252F"


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
async def test_what_is_not_there_has_no_body(upstream: Upstream, status: str) -> None:
    upstream.answer = lambda _: whole(b"<html>", status, kind="text/html")
    async with client_of(upstream.base) as client:
        assert await client.get("Patient/p1", ()) == UpstreamAnswer(int(status[:3]), b"")


async def test_gzip_and_unmeasured_answers_are_read(upstream: Upstream) -> None:
    async with client_of(upstream.base) as client:
        for answer in (
            whole(gzip.compress(PATIENT), "200 OK", "Content-Encoding: gzip"),
            chunked(PATIENT[:5], PATIENT[5:], end=True),
            unmeasured(PATIENT),
        ):
            upstream.answer = lambda _, answer=answer: answer  # type: ignore[misc]  # binds the loop's value
            assert (await client.get("Patient/p1", ())).body == PATIENT


HOSTILE = {
    "content-length-longer-than-body": (whole(PATIENT)[:-9], "truncated"),
    "chunked-cut": (chunked(PATIENT, end=False), "truncated"),
    "unmeasured-cut": (unmeasured(PATIENT[:-9]), "truncated"),
    "empty": (whole(b""), "truncated"),
    "gzip-cut": (whole(gzip.compress(PATIENT)[:-9], "200 OK", "Content-Encoding: gzip"), "truncated"),
    "gzip-broken": (whole(b"not gzip at all", "200 OK", "Content-Encoding: gzip"), "not-fhir"),
    "gzip-with-more-behind": (whole(gzip.compress(PATIENT) + b"{}", "200 OK", "Content-Encoding: gzip"), "not-fhir"),
    "unknown-encoding": (whole(PATIENT, "200 OK", "Content-Encoding: br"), "not-fhir"),
    "gzip-bomb": (whole(gzip.compress(b" " * 30_000_000), "200 OK", "Content-Encoding: gzip"), "too-large"),
    "too-large": (whole(b'{"a":"' + b"x" * 100_001 + b'"}'), "too-large"),
    "too-large-chunked": (chunked(*[b" " * 60_000] * 3, end=False), "too-large"),
    "html": (whole(b"<html></html>", kind="text/html"), "not-fhir"),
    "xml": (whole(b"<Patient/>", kind="application/fhir+xml"), "not-fhir"),
    "html-that-says-json": (whole(b"<html></html>"), "not-fhir"),
    "array": (whole(b"[]"), "not-fhir"),
    "two-objects": (whole(b"{}{}"), "not-fhir"),
    "text-that-is-not-utf-8": (whole(b'{"a":"\xff"}'), "not-fhir"),
    "surrogate-as-utf-8": (whole(b'{"a":"\xed\xa0\x80"}'), "not-fhir"),
    "name-that-is-not-utf-8": (whole(b'{"\xc0\xae":1}'), "not-fhir"),
    "deep": (whole(b'{"a":' * 10_000 + b"1" + b"}" * 10_000), "not-fhir"),
    "no-http": (b"hello\r\n\r\n", "not-fhir"),
    "no-answer": (b"", "unreachable"),
    "redirect": (whole(b"", "302 Found", "Location: http://127.0.0.1:1/"), "redirect"),
    "not-modified": (whole(b"", "304 Not Modified"), "redirect"),
    "server-error": (whole(PATIENT, "500 Internal Server Error"), "bad-status"),
    "created": (whole(PATIENT, "201 Created"), "bad-status"),
    "partial": (whole(PATIENT, "206 Partial Content"), "bad-status"),
    "forbidden": (whole(PATIENT, "403 Forbidden"), "bad-status"),
}


@pytest.mark.parametrize(("answer", "kind"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_answer_is_a_failure_that_repeats_nothing(upstream: Upstream, answer: bytes, kind: str) -> None:
    upstream.answer = lambda _: answer
    async with client_of(upstream.base, max_body=100_000) as client:
        failure = await failure_of(client.get("Patient/p1", ()))
    assert failure.kind == kind
    assert "Patient" not in failure.text
    assert "127.0.0.1" not in failure.text
    assert len(upstream.requests) == 1


async def test_a_slow_upstream_is_a_timeout(upstream: Upstream) -> None:
    upstream.pause = 0.5
    async with client_of(upstream.base, timeout=0.1) as client:
        assert (await failure_of(client.get("Patient/p1", ()))).kind == "timeout"


async def test_a_host_that_takes_no_connection_is_given_up_before_the_whole_time_is_over() -> None:
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Linux drops what doesn't fit the queue of connections that nobody accepts.
        for _ in range(3):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with client_of(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=30, connect_timeout=0.1) as client:
            async with asyncio.timeout(5):
                assert (await failure_of(client.get("Patient/p1", ()))).kind == "timeout"


async def test_after_failures_in_a_row_it_is_not_asked_for_a_while(upstream: Upstream) -> None:
    upstream.answer = lambda _: whole(b"", "503 Service Unavailable")
    async with client_of(upstream.base, breaker=CircuitBreaker("lab", failures=2, pause=60)) as client:
        kinds = [(await failure_of(client.get("Patient/p1", ()))).kind for _ in range(2)]
        paused = await failure_of(client.get_link(f"{upstream.base}?page=2"))
    assert (kinds, paused.kind, paused.retry_after) == (["bad-status"] * 2, "paused", 60)
    assert len(upstream.requests) == 2
    assert client.outcomes == {"bad-status": 2, "paused": 1}


async def test_nobody_there_is_unreachable() -> None:
    async with client_of("http://127.0.0.1:1/fhir") as client:
        assert (await failure_of(client.get("Patient/p1", ()))).kind == "unreachable"


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "patient", "Patient/", "Patient/..", "Patient/.", "Patient/p1/", "../Patient", "Patient/p1?x=y"),
        *(
            "Patient/p1/_history/",
            "Patient/p1/$everything",
            "Patient/a b",
            "Patient/p1\n",
            "Patient/" + "a" * 65,
            "Pä/p1",
        ),
    ],
)
async def test_only_reads_and_searches_can_be_asked(upstream: Upstream, path: str) -> None:
    async with client_of(upstream.base) as client:
        with pytest.raises(ValueError, match="no FHIR read, history or search"):
            await client.get(path, ())
    assert upstream.requests == []


@pytest.mark.parametrize("rest", ["?_getpages=a%2Bb&x=%C3%BC", "/Patient?_cursor=a|b", "/?page=2#top"])
async def test_a_link_below_the_base_is_followed_as_it_stands(upstream: Upstream, rest: str) -> None:
    async with client_of(upstream.base) as client:
        assert (await client.get_link(upstream.base + rest)).body == PATIENT
    assert upstream.requests[0].split(" ")[1] == "/fhir/r4" + rest.removesuffix("#top")


@pytest.mark.parametrize(
    "link",
    [
        "http://elsewhere.example/fhir/r4/Patient",
        "https://127.0.0.1:{port}/fhir/r4/Patient",
        "http://127.0.0.1:1/fhir/r4/Patient",
        "http://127.0.0.1/fhir/r4/Patient",
        "http://localhost:{port}/fhir/r4/Patient",
        "http://user:pw@127.0.0.1:{port}/fhir/r4/Patient",
        "http://127.0.0.1:{port}@elsewhere.example/fhir/r4/Patient",
        "http://127.0.0.1:{port}/fhir/r4x/Patient",
        "http://127.0.0.1:{port}/fhir/Patient",
        "http://127.0.0.1:{port}/fhir/r4/../../admin",
        "http://127.0.0.1:{port}/fhir/r4/..",
        "http://127.0.0.1:{port}/fhir/r4/%2e%2E/admin",
        "http://127.0.0.1:{port}/fhir/r4/..%2fadmin",
        "http://127.0.0.1:{port}/fhir/r4/\\admin",
        "http://127.0.0.1:{port}/fhir/r4/..;/admin",
        "http://127.0.0.1:{port}/fhir/r4/..;x=1/admin",
        "http://127.0.0.1:{port}/fhir/r4/..%3b/admin",
        "http://127.0.0.1:{port}/fhir/r4/.%00./admin",
        "http://127.0.0.1:{port}/fhir/r4/%252e%252e/admin",
        "http://127.0.0.1:{port}/fhir/r4/x%25255cadmin",
        "http://127.0.0.1:{port}/fhir/r4/Patient x",
        "http://127.0.0.1:{port}/fhir/r4/Patient\r\nX: y",
        "http://127.0.0.1:notaport/fhir/r4/Patient",
        "//127.0.0.1:{port}/fhir/r4/Patient",
        "/fhir/r4/Patient",
        "Patient?x=y",
        "file:///etc/passwd",
        "",
    ],
)
async def test_a_link_outside_of_the_base_is_not_followed(upstream: Upstream, link: str) -> None:
    async with client_of(upstream.base) as client:
        failure = await failure_of(client.get_link(link.replace("{port}", str(upstream.port))))
    assert failure.kind == "foreign-link"
    assert upstream.requests == []


async def test_basic_and_bearer_stand_in_the_header(upstream: Upstream) -> None:
    async with client_of(upstream.base, credentials=Basic("ann", "pä:ss")) as client:
        await client.get("Patient/p1", ())
    async with client_of(upstream.base, credentials=Bearer("t0ken")) as client:
        await client.get("Patient/p1", ())
    assert f"Authorization: Basic {base64.b64encode('ann:pä:ss'.encode()).decode()}\r\n" in upstream.requests[0]
    assert "Authorization: Bearer t0ken\r\n" in upstream.requests[1]


KEY = ECKey.generate_key("P-384", {"kid": "k1"}, private=True)


class TokenServer:
    """Answers for the token endpoint and the FHIR base alike: each token is numbered, some are refused."""

    def __init__(self, upstream: Upstream, *, refused: tuple[str, ...] = (), status: str = "200 OK") -> None:
        self.url = f"{upstream.base}/token"
        self.forms: list[dict[str, list[str]]] = []
        self._refused, self._status = refused, status
        upstream.answer = self.answer

    def answer(self, request: str) -> bytes:
        if request.startswith("POST"):
            self.forms.append(parse_qs(request.split("\r\n\r\n")[1]))
            token = {"access_token": f"t{len(self.forms)}", "token_type": "bearer", "expires_in": 300}
            return whole(json.dumps(token).encode(), self._status, kind="application/json")
        if any(f"Bearer {token}\r\n" in request for token in self._refused):
            return whole(b"", "401 Unauthorized")
        return whole(PATIENT)


async def test_backend_services_sign_in_once_for_all_who_wait(upstream: Upstream) -> None:
    server = TokenServer(upstream)
    upstream.pause = 0.02
    now = 0.0
    credentials = BackendServices(server.url, "assent", KEY.as_dict(private=True), "system/*.rs", monotonic=lambda: now)
    async with client_of(upstream.base, credentials=credentials) as client:
        await asyncio.gather(*(client.get("Patient/p1", ()) for _ in range(5)))
        assert len(server.forms) == 1
        now = 280.0
        await client.get("Patient/p1", ())
    assert "Authorization: Bearer t2\r\n" in upstream.requests[-1]
    # What comes compressed would not be read, so that it must not be offered.
    assert "Accept-Encoding: identity\r\n" in upstream.requests[0]
    assert "User-Agent: Assent\r\n" in upstream.requests[0]
    form = server.forms[0]
    assert form["grant_type"] == ["client_credentials"]
    assert form["scope"] == ["system/*.rs"]
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assertion = jwt.decode(form["client_assertion"][0], KEY, algorithms=["ES384"])
    assert assertion.header == {"alg": "ES384", "typ": "JWT", "kid": "k1"}
    claims = assertion.claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("assent", "assent", server.url)
    assert claims["exp"] - claims["iat"] <= 300
    assert server.forms[1]["client_assertion"] != form["client_assertion"]


@pytest.mark.parametrize(("refused", "tokens"), [(("t1",), 2), (("t1", "t2"), 2)])
async def test_a_token_refused_is_replaced_once(upstream: Upstream, refused: tuple[str, ...], tokens: int) -> None:
    server = TokenServer(upstream, refused=refused)
    credentials = BackendServices(server.url, "assent", KEY.as_dict(private=True), "system/*.rs")
    async with client_of(upstream.base, credentials=credentials) as client:
        if "t2" in refused:
            assert (await failure_of(client.get("Patient/p1", ()))).status == 401
        else:
            assert (await client.get("Patient/p1", ())).body == PATIENT
    assert len(server.forms) == tokens


async def test_a_token_endpoint_that_refuses_is_told_to_all_who_wait(upstream: Upstream) -> None:
    server = TokenServer(upstream, status="400 Bad Request")
    upstream.pause = 0.02
    credentials = BackendServices(server.url, "assent", KEY.as_dict(private=True), "system/*.rs")
    async with client_of(upstream.base, credentials=credentials) as client:
        failures = await asyncio.gather(*(failure_of(client.get("Patient/p1", ())) for _ in range(3)))
    assert {failure.kind for failure in failures} == {"bad-status"}
    assert len(server.forms) == 1
