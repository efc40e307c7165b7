"""Whatever an app creates, changes and deletes, a world with withheld content answers like one without it.

The number of sequences is a twentieth of those in `test_differential`: each is set back afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import EXAMPLES, IS_LONG, PART, PARTS
from tests.leaks.manners import FAULTS, Manner
from tests.leaks.twins import Twins
from tests.leaks.write_twins import (
    SCOPES,
    Apps,
    Worlds,
    marked,
    read_both,
    same_answers,
    without,
    writable_twins,
    writers,
)
from tests.leaks.writes import HIV_CODE, NARRATIVE, RESOURCES, SECRET, new_observation

_NEWEST: Final = "the newest that was created"
_NAMES: Final = [f"{r['resourceType']}/{r['id']}" for r in RESOURCES]
_OBSERVATIONS: Final = ",".join(str(r["id"]) for r in RESOURCES if r["resourceType"] == "Observation")
_TARGETS: Final = (*_NAMES, *["Observation/rich", "Patient/ana", _NEWEST] * 3, "Observation/never-there")
_REFERENCES: Final = [{"reference": name} for name in (*_NAMES, "Observation/never-there", "Patient/nobody")]
_CODED: Final = [[{"coding": [{"system": "http://loinc.org", "code": code}]}] for code in ("718-7", HIV_CODE)]
_HIDDEN: Final = [{"url": "http://x/hidden", "valueString": text} for text in (SECRET, SECRET[:3], "else")]
_VALUES: Final[Mapping[str, st.SearchStrategy[object]]] = {
    "status": st.sampled_from(["final", "amended", "entered-in-error"]),
    "subject": st.sampled_from(_REFERENCES),
    "performer": st.lists(st.sampled_from(_REFERENCES), min_size=1, max_size=2),
    "focus": st.lists(st.sampled_from(_REFERENCES), min_size=1, max_size=2),
    "derivedFrom": st.lists(st.sampled_from(_REFERENCES), min_size=1, max_size=2),
    "code": st.sampled_from([coded for codes in _CODED for coded in codes]),
    "extension": st.lists(st.sampled_from(_HIDDEN), min_size=1, max_size=2),
    "text": st.sampled_from([NARRATIVE, {**NARRATIVE, "status": "additional"}]),
    "photo": st.sampled_from([[{"title": SECRET}], [{"title": "else"}] * 3]),
    "birthDate": st.sampled_from(["1980-05-17", "1980-05-18"]),
    "meta": st.sampled_from([{"tag": [{"code": SECRET}]}, {"security": []}, {"source": "http://x/source"}]),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an app does. `changed` are the members of the resource that become another or (None) go."""

    method: str
    target: str
    changed: dict[str, Any] = field(default_factory=dict)
    if_match: str | None = None


_changes: Final = st.dictionaries(st.sampled_from(sorted(_VALUES)), st.none(), max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: st.one_of(st.none(), _VALUES[name], _VALUES[name]) for name in names})
)
_STEPS: Final = st.builds(
    Step,
    st.sampled_from(["GET", "POST", "PUT", "PUT", "PATCH", "PATCH", "DELETE"]),
    st.sampled_from(_TARGETS),
    _changes,
    st.sampled_from([None, None, None, "*", 'W/"1"', 'W/"2"', 'W/"99"']),
)
_MANNERS: Final = st.sampled_from([*[Manner()] * 6, Manner("hapi"), *(Manner("", fault) for fault in sorted(FAULTS))])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def worlds(make_database: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    async with writable_twins(make_database, tmp_path_factory) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apps(worlds: Worlds) -> Mapping[str, Twins]:
    return {scope: Twins(*await writers(worlds, f"{scope} offline_access")) for scope in SCOPES}


@pytest.mark.leak("L44", "L45", "L46", "L47")
@pytest.mark.parametrize("part", range(PARTS))
@settings(
    max_examples=max(1, min(PART, EXAMPLES) // 20),
    derandomize=not IS_LONG,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(scope=st.sampled_from(SCOPES), steps=st.lists(_STEPS, min_size=1, max_size=4), manner=_MANNERS)
async def test_no_write_tells_of_what_is_withheld(
    worlds: Worlds, apps: Mapping[str, Twins], part: int, scope: str, steps: list[Step], manner: Manner
) -> None:
    await apps[scope].stay_signed_in()
    writing = apps[scope].one, apps[scope].other
    sequence = _Sequence(writing)
    try:
        with apps[scope].answering(manner):
            for step in steps:
                await sequence.take(step)
            await read_both(writing, f"Observation?_id={_OBSERVATIONS}&_sort=-date")
    finally:
        await sequence.set_back(worlds)


class _Sequence:
    """What one app does, in both worlds. What is created has another id in each."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._created: list[tuple[str, str]] = []
        self._touched: set[str] = set()

    async def take(self, step: Step) -> None:
        """Do it, and see the same."""
        newest = self._created[-1] if self._created else ("Observation/none", "Observation/none")
        targets = newest if step.target == _NEWEST else (step.target, step.target)
        self._touched.update(targets)
        if step.method == "POST":
            await self._create(new_observation(**step.changed))
            return
        shown = await self._both(step, [app.get(path) for app, path in zip(self._apps, targets, strict=True)])
        if step.method == "GET":
            return
        bodies = [_sent(step, answer.json()) for answer in shown]
        headers = {} if step.if_match is None else {"If-Match": step.if_match}
        each = zip(self._apps, targets, bodies, strict=True)
        await self._both(step, [app.send(step.method, path, body, **headers) for app, path, body in each])

    async def set_back(self, worlds: Worlds) -> None:
        """As it was before, but for the numbers of versions."""
        for which, (world, resources) in enumerate(zip(worlds, (without(), marked()), strict=True)):
            originals = [r for r in resources if f"{r['resourceType']}/{r['id']}" in self._touched]
            await world.upstream.write([*originals, *(created[which] for created in self._created)])

    async def _create(self, body: dict[str, object]) -> None:
        one, other = await self._both(body, [app.send("POST", "Observation", body) for app in self._apps])
        if one.status_code == 201:
            self._created.append((_name(one), _name(other)))

    async def _both(self, what: object, asked: list[Any]) -> tuple[httpx.Response, httpx.Response]:
        return await same_answers(what, (asked[0], asked[1]))


def _name(created: httpx.Response) -> str:
    return created.headers["location"].rpartition("/fhir/")[2].partition("/_history")[0]


def _sent(step: Step, shown: dict[str, Any]) -> object:
    """The body of the request, by what the app saw before."""
    match step.method:
        case "PUT":
            return {name: value for name, value in (shown | step.changed).items() if value is not None}
        case "PATCH":
            gone = [{"op": "remove", "path": f"/{name}"} for name, value in step.changed.items() if value is None]
            new = [{"op": "add", "path": f"/{n}", "value": v} for n, v in step.changed.items() if v is not None]
            return gone + new
    return None
