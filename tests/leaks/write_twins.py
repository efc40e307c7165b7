"""Two worlds in which apps may write, alike but for what is withheld from the writer."""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pytest

from tests.leaks.manners import MARK, MOST
from tests.leaks.twins import Seen, seen
from tests.leaks.world import App, World, world
from tests.leaks.writes import NARRATIVE, RESOURCES, SECRET, writer

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: Final = re.compile(r'"lastUpdated":"[^"]*"')
HIDDEN_ONLY: Final = ("Observation/hiv-label", "Observation/hiv-code", "Observation/bobs", "Observation/nothing")
SCOPES: Final = (
    "launch/patient patient/*.cruds",
    "launch/patient patient/Observation.cud",
    "launch/patient patient/*.ru",
)

Apps = tuple[App, App]
Worlds = tuple[World, World]


def without() -> list[dict[str, object]]:
    """RESOURCES as the first world has them: what the writer sees is the same; what it doesn't is absent, or else."""
    return [_other_secrets(resource) for resource in RESOURCES if not _is_hidden(resource)]


def marked() -> list[dict[str, object]]:
    """RESOURCES as the other world has them: an upstream can fail at what is hidden (`tests.leaks.manners`)."""
    return [{**resource, "language": MARK} if _is_hidden(resource) else resource for resource in RESOURCES]


def _is_hidden(resource: Mapping[str, object]) -> bool:
    return f"{resource['resourceType']}/{resource['id']}" in HIDDEN_ONLY or resource["id"] == "bob"


def _other_secrets(resource: Mapping[str, object]) -> dict[str, object]:
    match resource["id"]:
        case "ana":
            return {**resource, "text": {**NARRATIVE, "status": "additional"}, "photo": [{"title": "else"}] * 3}
        case "rich":
            more: dict[str, Any] = {
                "text": {"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">ELSE</div>'},
                "extension": [{"url": "http://x/else", "valueCode": "else"}] * 2,
                "performer": [{"reference": "Practitioner/doc", "identifier": {"system": "http://else"}}],
            }
            return {**resource, **more}
    return dict(resource)


@asynccontextmanager
async def writable_twins(make_database: Any, folders: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    """Both, running: the one without and the one with what is withheld."""
    async with (
        world(
            await make_database(), folders.mktemp("bare"), without(), upstream_writes=True, upstream_max_body_bytes=MOST
        ) as bare,
        world(
            await make_database(), folders.mktemp("full"), marked(), upstream_writes=True, upstream_max_body_bytes=MOST
        ) as full,
    ):
        bare.upstream.strict = full.upstream.strict = True  # what it refuses would tell, were it asked
        yield bare, full


async def writers(worlds: Worlds, scope: str) -> Apps:
    """The same app in both."""
    return await writer(worlds[0], scope=scope), await writer(worlds[1], scope=scope)


async def same_answers(
    what: object, answers: tuple[Awaitable[httpx.Response], Awaitable[httpx.Response]]
) -> tuple[httpx.Response, httpx.Response]:
    """What each world answered to `what`, which must be the same but for ids that the upstream drew."""
    one, other = await gather(*answers)
    known, different = (_without_chance(seen(answer)) for answer in (one, other))
    assert known == different, f"{what} tells the worlds apart"
    assert SECRET not in str(known)
    return one, other


async def send_both(apps: Apps, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
    """The answer to a write."""
    asked = (apps[0].send(method, path, body, **headers), apps[1].send(method, path, body, **headers))
    return (await same_answers((method, path, body, headers), asked))[0]


async def read_both(apps: Apps, path: str) -> httpx.Response:
    """The answer to a read or search."""
    return (await same_answers(path, (apps[0].get(path), apps[1].get(path))))[0]


def _without_chance(found: Seen) -> Seen:
    """Ids that the upstream drew are random, in whichever world."""
    headers = tuple((n, _ID.sub("<id>", v)) for n, v in found.headers)
    return Seen(found.status, headers, _TIME.sub("<time>", _ID.sub("<id>", found.body)))
