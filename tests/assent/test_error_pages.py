"""What a browser is shown where a request can't be served, and what anybody else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from html import unescape

import pytest
import pytest_asyncio

from tests.leaks.world import World, patient, world

FORM = "application/x-www-form-urlencoded"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(await make_database(), tmp_path_factory.mktemp("pages"), [patient("ana")]) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "content_type", "body", "status", "heading"),
    [
        ("GET", "/nowhere", "", b"", 404, "This page isn't here"),
        ("DELETE", "/my", "", b"", 405, "This page isn't here"),
        ("POST", "/sign-in", "application/json", b"{}", 415, "That form can't be read"),
        ("POST", "/sign-in", FORM, b"username=" + b"a" * 40_000, 413, "That form can't be read"),
        ("POST", "/sign-in", FORM, b"username=%ff", 400, "That form can't be read"),
        ("POST", "/authorize/decision", FORM, b"&".join([b"a=1"] * 300), 400, "That form can't be read"),
    ],
)
async def test_a_browser_gets_a_page_and_a_program_a_problem(
    server: World, method: str, path: str, content_type: str, body: bytes, status: int, heading: str
) -> None:
    headers: Mapping[str, str] = {"Content-Type": content_type} if content_type else {}
    page = await server.http.request(method, path, content=body, headers={**headers, "Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert f"<h1>{heading}</h1>" in unescape(page.text)
    assert page.headers["content-security-policy"]
    problem = await server.http.request(method, path, content=body, headers=headers)
    assert (problem.status_code, problem.headers["content-type"]) == (status, "application/problem+json")
    assert page.headers.get("allow") == problem.headers.get("allow")
