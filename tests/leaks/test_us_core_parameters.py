"""Search parameters that US Core adds to R4's: found by, guarded and refused like R4's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.leaks.world import App, World, patient, world

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
RACE = "urn:oid:2.16.840.1.113883.6.238"
ALL = ("demographics", "conditions", "encounters", "care-plans")


def _omb(name: str, code: str) -> dict[str, object]:
    coding = {"system": RACE, "code": code}
    return {"url": f"{US_CORE}/{name}", "extension": [{"url": "ombCategory", "valueCoding": coding}]}


def _of(kind: str, wanted: str, **more: object) -> dict[str, object]:
    return {"resourceType": kind, "id": wanted, "subject": {"reference": "Patient/ana"}, **more}


def _concept(code: str) -> dict[str, object]:
    return {"coding": [{"system": "urn:codes", "code": code}]}


_ASSERTED = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"
RESOURCES: list[dict[str, object]] = [
    patient("ana", extension=[_omb("us-core-race", "2106-3"), _omb("us-core-ethnicity", "2135-2")]),
    *(_of("CareTeam", f"team-{n}", participant=[{"role": [_concept(f"role{n}")]}]) for n in range(2)),
    *(
        _of(
            "Condition",
            f"flu-{n}",
            code=_concept("x"),
            extension=[{"url": _ASSERTED, "valueDateTime": f"202{n}-02-03"}],
        )
        for n in range(2)
    ),
    _of("Condition", "other", code=_concept("x"), extension=[{"url": "urn:other", "valueDateTime": "2021-02-03"}]),
    *(
        _of(
            "Encounter", f"visit-{n}", status="finished", hospitalization={"dischargeDisposition": _concept(f"home{n}")}
        )
        | {"class": {"code": "AMB"}}
        for n in range(2)
    ),
    *(_of("Goal", f"goal-{n}", lifecycleStatus="active", description=_concept(f"aim{n}")) for n in range(2)),
]
SEARCHES = [
    ("Patient?race=2106-3", ["Patient/ana"]),
    (f"Patient?race={quote(f'{RACE}|2106-3')}", ["Patient/ana"]),
    ("Patient?race=2135-2", []),
    ("Patient?ethnicity=2135-2", ["Patient/ana"]),
    ("CareTeam?patient=ana&role=role1", ["CareTeam/team-1"]),
    ("CareTeam?role=urn:codes|role0", ["CareTeam/team-0"]),
    ("Condition?patient=ana&asserted-date=ge2021", ["Condition/flu-1"]),
    ("Condition?asserted-date=2020-02-03", ["Condition/flu-0"]),
    ("Encounter?patient=ana&discharge-disposition=home1", ["Encounter/visit-1"]),
    ("Goal?patient=ana&description=urn:codes|aim0", ["Goal/goal-0"]),
]
MASKED = {"CareTeam?role=role1", "Encounter?discharge-disposition=home1"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A world with something for each parameter."""
    async with world(await make_database(), tmp_path_factory.mktemp("us-core"), RESOURCES) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def app(place: World) -> App:
    """It may see everything there."""
    return await place.app(ALL)


@pytest.mark.leak("L01")
@pytest.mark.parametrize(("search", "found"), SEARCHES)
async def test_l01_what_us_core_searches_by_is_found(app: App, search: str, found: list[str]) -> None:
    assert await app.ids(search) == found


@pytest.mark.leak("L01", "L02")
@pytest.mark.parametrize(
    "search", [*MASKED, "Goal?description=aim1", "Patient?race=2106-3", "Condition?asserted-date=2021"]
)
async def test_l01_l02_for_research_only_what_its_mask_shows_is_searched_by(place: World, search: str) -> None:
    researcher = await place.app(ALL, purpose="HRESCH")
    kind, _, query = search.partition("?")
    for asked in (search, f"{kind}?_sort={query.partition('=')[0]}"):
        answer = await researcher.get(asked)
        assert answer.status_code == (403 if search in MASKED else 200), answer.text
        if answer.status_code == 403:
            assert answer.json()["issue"][0]["code"] == "suppressed"


@pytest.mark.leak("L01")
async def test_l01_an_extension_that_no_mask_shows_is_not_searched_by(app: App) -> None:
    """R4's own parameter over an extension, which stays hidden."""
    assert (await app.get("Observation?gene-identifier=x")).status_code == 403


async def test_the_metadata_name_them_by_us_cores_urls(place: World) -> None:
    (rest,) = (await place.http.get("/fhir/metadata")).json()["rest"]
    named = {
        r["type"]: {p["name"]: p["definition"] for p in r["searchParam"]}
        for r in rest["resource"]
        if "searchParam" in r
    }
    for search, _ in SEARCHES:
        kind, _, query = search.partition("?")
        name = next(n for n in (pair.partition("=")[0] for pair in query.split("&")) if n != "patient")
        assert named[kind][name].startswith("http://hl7.org/fhir/us/core/SearchParameter/us-core-"), search


@pytest.mark.leak("L48")
@pytest.mark.parametrize("status", [400, 422, 501])
async def test_l48_an_upstream_that_refuses_such_a_search_is_told_of_by_the_parameters_name(
    place: World, app: App, status: int
) -> None:
    with place.upstream.saying("/CareTeam", b'{"issue":[{"diagnostics":"UPSTREAM-SECRET"}]}', status):
        answer = await app.get("CareTeam?role=role1&status=active")
        (issue,) = answer.json()["issue"]
        assert (answer.status_code, issue["code"]) == (400, "not-supported")
        assert "`role`" in issue["diagnostics"]
        assert "SECRET" not in answer.text
        assert (await app.get("CareTeam?status=active")).status_code == 502
    with place.upstream.saying("/CareTeam", b"{}", 500):
        assert (await app.get("CareTeam?role=role1")).status_code == 502
