"""The outermost middleware: ids, headers, log lines and metrics that name routes and never patients."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from assent.asgi import App, Receive, Scope, Send, respond
from assent.body_limit import BodyLimit
from assent.log_setup import set_up_logging
from assent.metrics import Metrics
from assent.request_middleware import REQUEST_KEY, RequestMiddleware

CANARY = "canary-jane-doe"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that the process logs."""
    root = logging.getLogger()
    before, configured = (root.handlers, root.level), structlog.get_config()
    stream = io.StringIO()
    set_up_logging("json", "info", stream)
    yield stream
    # The very processors of before, not others like them: servers that run already hold on to these.
    structlog.configure(**configured)
    root.handlers, root.level = before


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    scope[REQUEST_KEY] |= {"route": "/fhir/{type}", "client_id": "app-1"}
    await respond(send, 200, b"{}", "application/fhir+json")


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError(CANARY)


async def without_database(scope: Scope, receive: Receive, send: Send) -> None:
    raise ConnectionRefusedError(CANARY)


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await respond(send, 204, b"", "text/plain")


def client(app: App, metrics: Metrics | None = None, *, https: bool = False) -> httpx.AsyncClient:
    wrapped = RequestMiddleware(app, metrics or Metrics(), https=https)
    return httpx.AsyncClient(transport=httpx.ASGITransport(wrapped), base_url="http://assent.test")


async def test_access_log_names_route_and_client_but_never_path_or_query(logged: io.StringIO) -> None:
    async with client(answering) as http:
        answer = await http.get(f"/fhir/Patient/{CANARY}", params={"name": CANARY})
    [line] = lines(logged)
    assert CANARY not in logged.getvalue()
    assert (line["method"], line["route"], line["status"], line["client_id"]) == ("GET", "/fhir/{type}", 200, "app-1")
    assert line["request_id"] == answer.headers["x-request-id"]


async def test_a_database_that_is_away_is_a_503_and_one_line_in_the_log(logged: io.StringIO) -> None:
    async with client(without_database) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["status"]) == (503, "5", 503)
    assert CANARY not in answer.text + logged.getvalue()
    error, access = lines(logged)
    assert (error["event"], error["reason"], "exception" in error) == ("database_away", "ConnectionRefusedError", False)
    assert access["status"] == 503


async def test_unhandled_exception_is_a_500_without_its_message_anywhere(logged: io.StringIO) -> None:
    async with client(failing) as http:
        answer = await http.get("/")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 500
    assert CANARY not in answer.text + logged.getvalue()
    error, access = lines(logged)
    assert error["exception"] == "builtins.ValueError"
    assert access["status"] == 500
    assert access["route"] == "unmatched"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abcDEF-0123.456_7", True),
        ("short", False),
        ("x" * 65, False),
        ("-leading-dash", False),
        ("with space in it", False),
        ('quote"quote"quote', False),
    ],
)
async def test_only_a_well_formed_request_id_is_taken_over(logged: io.StringIO, given: str, kept: bool) -> None:
    async with client(answering) as http:
        answer = await http.get("/", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert len(answer.headers["x-request-id"]) >= 8


async def test_every_answer_carries_the_security_headers(logged: io.StringIO) -> None:
    async with client(answering, https=True) as http:
        headers = (await http.get("/")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["strict-transport-security"] == "max-age=31536000"


async def test_metrics_count_routes_not_paths(logged: io.StringIO) -> None:
    metrics = Metrics()
    async with client(answering, metrics) as http:
        await http.get(f"/fhir/{CANARY}")
        await http.request("BREW", "/")
    async with client(metrics, metrics) as http:
        page = (await http.get("/metrics")).text
    assert 'assent_requests_total{method="GET",route="/fhir/{type}",status="200"} 1.0' in page
    assert 'assent_requests_total{method="other",route="/fhir/{type}",status="200"} 1.0' in page
    assert CANARY not in page


@pytest.mark.parametrize("announced", [True, False])
async def test_body_over_the_limit_is_a_413(logged: io.StringIO, announced: bool) -> None:
    async def pieces() -> Any:
        for _ in range(11):
            yield b"x"

    async with client(BodyLimit(reading, 10)) as http:
        assert (await http.post("/", content=b"x" * 11 if announced else pieces())).status_code == 413
        assert (await http.post("/", content=b"x" * 10)).status_code == 204


async def test_messages_of_other_libraries_are_logged_without_exception_texts(logged: io.StringIO) -> None:
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        logging.getLogger("some.library").exception("it broke")
    [line] = lines(logged)
    assert (line["event"], line["exception"]) == ("it broke", "builtins.RuntimeError")
    assert CANARY not in logged.getvalue()
