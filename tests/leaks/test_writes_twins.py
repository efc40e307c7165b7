"""Two worlds that differ only in what is withheld: whatever a writer does, it observes the same in both (L44-L47)."""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.leaks.twins import Seen, seen
from tests.leaks.world import App, World, observation, patient, world
from tests.leaks.writes import HIV, HIV_CODE, NARRATIVE, RESOURCES, SECRET, new_observation, writer

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r'"lastUpdated":"[^"]*"')
HIDDEN_ONLY = ("Observation/hiv-label", "Observation/hiv-code", "Observation/bobs", "Observation/nothing")


def _without() -> list[dict[str, object]]:
    """What the writer sees is the same; what it doesn't is absent, or different."""
    kept = [r for r in RESOURCES if f"{r['resourceType']}/{r['id']}" not in HIDDEN_ONLY and r["id"] != "bob"]
    return [_other_secrets(resource) for resource in kept]


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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(make_database: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, World]]:
    async with (
        world(await make_database(), tmp_path_factory.mktemp("bare"), _without(), upstream_writes=True) as bare,
        world(await make_database(), tmp_path_factory.mktemp("full"), RESOURCES, upstream_writes=True) as full,
    ):
        yield bare, full


def _same(answers: tuple[httpx.Response, httpx.Response], what: object) -> None:
    one, other = (_without_chance(seen(answer)) for answer in answers)
    assert one == other, f"{what} tells the worlds apart"
    assert SECRET not in str(one)


def _without_chance(found: Seen) -> Seen:
    """Ids that the upstream drew are random, in whichever world."""
    headers = tuple((n, _ID.sub("<id>", v)) for n, v in found.headers)
    return Seen(found.status, headers, _TIME.sub("<time>", _ID.sub("<id>", found.body)))


async def _both(apps: tuple[App, App], method: str, path: str, body: object = None, **headers: str) -> int:
    """The status of the write, which is answered alike."""
    answers = await gather(*(app.send(method, path, body, **headers) for app in apps))
    _same((answers[0], answers[1]), (method, path, body))
    return answers[0].status_code


async def _read(apps: tuple[App, App], path: str) -> dict[str, Any]:
    answers = await gather(*(app.get(path) for app in apps))
    _same((answers[0], answers[1]), path)
    return dict(answers[0].json())


async def _apps(pair: tuple[World, World], scope: str) -> tuple[App, App]:
    return await writer(pair[0], scope=scope), await writer(pair[1], scope=scope)


_CHANGES: list[dict[str, Any]] = [
    {},
    {"status": "amended"},
    {"performer": None},
    {"performer": [{"reference": "Practitioner/doc"}]},
    {"performer": [{"reference": "Practitioner/doc"}, {"reference": "Practitioner/doc"}]},
    {"performer": [{"reference": "Patient/ana"}]},
    {"extension": [{"url": "http://x/hidden", "valueString": SECRET[:3]}]},
    {"text": NARRATIVE},
    {"text": None},
    {"meta": None},
    {"meta": {"security": [], "tag": [{"code": "x"}]}},
    {"focus": [{"reference": "Observation/hiv-label"}]},
    {"focus": [{"reference": "Observation/bobs"}]},
    {"note": [{"text": "x", "extension": [{"url": "http://y", "valueAttachment": {"url": "Binary/hidden"}}]}]},
    {"focus": [{"reference": "Patient/bob"}]},
    {"code": {"coding": [{"system": "http://loinc.org", "code": HIV_CODE}]}},
    {"subject": {"reference": "Patient/bob"}},
    {"note": [{"text": "x"}]},
    {"note": None, "valueQuantity": None},
    {"category": None},
]
_SCOPES = ("launch/patient patient/*.cruds", "launch/patient patient/Observation.cud", "launch/patient patient/*.ru")


@pytest.mark.leak("L44", "L45", "L46", "L47")
@pytest.mark.parametrize("scope", _SCOPES)
@pytest.mark.parametrize("changed", _CHANGES, ids=lambda changed: str(changed)[:50])
async def test_l46_what_is_withheld_changes_nothing_that_a_writer_observes(
    pair: tuple[World, World], scope: str, changed: dict[str, Any]
) -> None:
    apps = await _apps(pair, scope)
    shown = await _read(await _apps(pair, "launch/patient patient/*.rs"), "Observation/rich")
    body = {name: value for name, value in (shown | changed).items() if value is not None}
    await _both(apps, "PUT", "Observation/rich", body)
    await _read(apps, "Observation/rich")
    patch = [{"op": "add" if v is not None else "remove", "path": f"/{n}", "value": v} for n, v in changed.items()]
    await _both(apps, "PATCH", "Observation/rich", patch or [{"op": "test", "path": "/text", "value": NARRATIVE}])
    await _read(apps, "Observation/rich")
    await _both(apps, "DELETE", "Observation/rich")
    created = {name: value for name, value in body.items() if name not in ("id", "meta")}
    await _both(apps, "POST", "Observation", created)
    await _read(apps, "Observation?_sort=_lastUpdated&_count=3&_elements=status")


@pytest.mark.leak("L44", "L45", "L47")
@pytest.mark.parametrize("scope", _SCOPES)
@pytest.mark.parametrize("wanted", [*HIDDEN_ONLY, "Patient/bob", "Observation/never-there"])
async def test_l45_what_is_withheld_is_as_absent_to_a_writer(
    pair: tuple[World, World], scope: str, wanted: str
) -> None:
    apps = await _apps(pair, scope)
    kind, _, name = wanted.partition("/")
    body: object = patient(name) if kind == "Patient" else observation(name, subject={"reference": "Patient/ana"})
    for headers in ({}, {"If-Match": 'W/"1"'}, {"If-Match": 'W/"2"'}, {"If-Match": "*"}, {"If-None-Match": "*"}):
        assert await _both(apps, "PUT", wanted, body, **headers) in (403, 404, 501)
        assert await _both(apps, "DELETE", wanted, **headers) in (403, 404, 405, 501)
        patch = [{"op": "test", "path": "/meta/security", "value": HIV["security"]}]
        assert await _both(apps, "PATCH", wanted, patch, **headers) in (403, 404, 501)
    pointing = new_observation(derivedFrom=[{"reference": wanted}])
    assert await _both(apps, "POST", "Observation", pointing) in (403, 422)


@pytest.mark.leak("L46")
async def test_l46_after_changes_of_the_patient_the_rest_is_as_hidden_as_before(pair: tuple[World, World]) -> None:
    apps = await _apps(pair, _SCOPES[0])
    for changed in ({"birthDate": "1980-05-18"}, {"telecom": None}, {"photo": [{"title": "x"}]}, {"name": None}):
        shown = await _read(apps, "Patient/ana")
        body = {name: value for name, value in (shown | changed).items() if value is not None}
        await _both(apps, "PUT", "Patient/ana", body)
        await _read(apps, "Patient/ana")
