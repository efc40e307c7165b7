"""L04: where the upstream fails at what is withheld, an app is told what it is told where that isn't there.

The same questions are put twice: while the upstream answers, and while it fails at every answer in which something
withheld stands.
"""

from __future__ import annotations

import asyncio
from asyncio import gather
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from sandbox.upstream import Receive, Scope, Send
from tests.leaks.content import binary, document
from tests.leaks.twins import Seen, next_link, seen
from tests.leaks.world import ACT_CODE, App, World, observation, patient, world

_MARK = "HIDDEN"
"""Stands in all that is withheld, where a list of ids doesn't have it."""
_WITHHELD: dict[str, Any] = {
    "meta": {"security": [{"system": ACT_CODE, "code": "HIV"}]},
    "identifier": [{"value": _MARK}],
}
_TICKED = ("demographics", "laboratory", "documents", "medications", "sharing-record")


def _provenance(wanted: str, target: str) -> dict[str, object]:
    agent = [{"who": {"reference": "Practitioner/doc"}}]
    return {
        "resourceType": "Provenance",
        "id": wanted,
        "target": [{"reference": target}, {"reference": "Patient/ana"}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": agent,
    }


def _prescription(wanted: str, medicine: str) -> dict[str, object]:
    return {
        "resourceType": "MedicationRequest",
        "id": wanted,
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/ana"},
        "medicationReference": {"reference": f"Medication/{medicine}"},
    }


_RESOURCES: list[dict[str, object]] = [
    patient("ana"),
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Doc"}]},
    *(observation(f"lab{n}", performer=[{"reference": "Practitioner/doc"}]) for n in range(5)),
    observation("lab2-hidden", **_WITHHELD),
    *(document(f"letter{n}", f"Binary/{n}") for n in range(3)),
    document("letter1-hidden", "Binary/0", **_WITHHELD),
    binary("0"),
    _provenance("of-lab", "Observation/lab0"),
    _provenance("of-hidden", "Observation/lab2-hidden"),
    {"resourceType": "Medication", "id": "plain", "code": {"text": "plain"}},
    {"resourceType": "Medication", "id": "secret", **_WITHHELD},
    _prescription("usual", "plain"),
    _prescription("pills", "secret"),
]
_VERSIONS: list[dict[str, Any]] = [{}, _WITHHELD, {"status": "amended"}, _WITHHELD, _WITHHELD, {"status": "final"}]
_FAILS = {
    "an error": (b"<html>", 500),
    "broken JSON": (b'{"resourceType":"Bundle","entry":[{"resource"', 200),
}
_QUESTIONS = [
    *("Observation/lab2-hidden", "Observation/lab2-hidden/_history/1", "Observation/lab2-hidden/_history"),
    *("Observation/story/_history", "Observation/story/_history?_count=1", "Observation/story/_history?_count=2"),
    *("Observation/story/_history/2", "Observation/story/_history?_since=2026-01-01T00:00:00Z"),
    *("Observation", "Observation?_count=2", "Observation?_include=Observation:performer"),
    *("Patient?_revinclude=Observation:subject", "Patient?_revinclude=DocumentReference:subject"),
    *("Observation?_revinclude=Provenance:target", "Provenance?patient=ana", "Provenance/of-hidden"),
    *(
        "Provenance?_id=of-lab,of-hidden",
        "MedicationRequest",
        "MedicationRequest?_include=MedicationRequest:medication",
    ),
    *("Patient/ana/$everything?_count=4", "?_type=Observation,DocumentReference&_count=3", "Binary/0"),
]
_NOT_THERE = ("Observation/lab2-hidden", "Observation/story/_history/2", "Provenance/of-hidden")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def failing(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A world of which some is withheld, and whose server doesn't wait long."""
    folder = tmp_path_factory.mktemp("failing")
    async with world(await make_database(), folder, _RESOURCES, upstream_timeout_seconds=2) as running:
        await running.upstream.write([observation("story", **version) for version in _VERSIONS])
        await running.upstream.write([observation("short", **version) for version in ({}, _WITHHELD, {})])
        yield running


async def _pages(app: App, path: str) -> list[Seen]:
    answer = await app.get(path)
    found = [seen(answer)]
    while (link := next_link(answer)) is not None:
        answer = await app.get(link)
        found.append(seen(answer))
    return found


@pytest.mark.leak("L04", "L06", "L11", "L13", "L14", "L35", "L40", "L41")
@pytest.mark.parametrize("fault", _FAILS)
@pytest.mark.parametrize("path", _QUESTIONS)
async def test_l04_what_the_upstream_fails_at_and_is_withheld_is_not_noticed(
    failing: World, path: str, fault: str
) -> None:
    app = await failing.app(_TICKED)
    body, status = _FAILS[fault]
    with failing.upstream.failing_at(_MARK.encode(), body, status):
        answers = await _pages(app, path)
    assert answers == await _pages(app, path)
    assert {answer.status for answer in answers} == {404 if path.startswith(_NOT_THERE) else 200}


@pytest.mark.leak("L04", "L06", "L40")
@pytest.mark.parametrize(
    "path",
    [
        *("Observation/lab2-hidden", "Observation", "Observation/short/_history", "Provenance/of-hidden"),
        "Patient?_revinclude=DocumentReference:subject",
    ],
)
async def test_l04_what_the_upstream_never_answers_and_is_withheld_is_not_noticed(failing: World, path: str) -> None:
    app = await failing.app(_TICKED)
    with failing.upstream.failing_at(_MARK.encode(), None):
        answers = await _pages(app, path)
    assert answers == await _pages(app, path)
    assert {answer.status for answer in answers} == {404 if path.startswith(_NOT_THERE) else 200}


@pytest.mark.leak("L06")
async def test_l06_what_refers_to_a_medicine_that_is_never_answered_looks_absent(failing: World) -> None:
    """One that wasn't asked for before: what is known is remembered."""
    await failing.upstream.write(
        [{"resourceType": "Medication", "id": "slow", **_WITHHELD}, _prescription("of-slow", "slow")]
    )
    app = await failing.app(_TICKED)
    with failing.upstream.failing_at(_MARK.encode(), None):
        answer = await app.get("MedicationRequest/of-slow")
    assert (answer.status_code, seen(answer)) == (404, seen(await app.get("MedicationRequest/absent")))


@pytest.mark.leak("L48")
async def test_a_server_that_answers_nobody_is_slow_whatever_is_asked_for(failing: World) -> None:
    app = await failing.app(_TICKED)
    with failing.upstream.hanging():
        names = ("lab0", "absent", "lab2-hidden")
        answers = await gather(*(app.get(f"Observation/{name}") for name in names), app.get("Observation"))
    assert [answer.status_code for answer in answers] == [504] * 4
    assert len({str(seen(answer)) for answer in answers}) == 1


async def test_what_a_server_was_slow_at_for_a_moment_is_there(failing: World) -> None:
    """Apps take 404 for an absence, and people would miss what is in the record."""
    app, held = await failing.app(_TICKED), asyncio.Event()

    async def held_once(scope: Scope, receive: Receive, send: Send) -> None:
        del failing.upstream.acts["/Observation/lab0"]
        await held.wait()

    failing.upstream.acts["/Observation/lab0"] = held_once
    assert (await app.get("Observation/lab0")).status_code == 200
    held.set()
