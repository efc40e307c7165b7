"""People share a part of a kind of data: the granular scope that is granted, and what is behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from authz.authorize.asked_categories import asked_categories
from tests.leaks.world import App, World, observation, patient, world

HL7 = "http://terminology.hl7.org/CodeSystem/condition-category"
US_CORE = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Condition.rs patient/Observation.rs"
WHOLE = "patient/Condition.rs"
PROBLEMS = f"{WHOLE}?category={HL7}|problem-list-item"
DIAGNOSES = f"{WHOLE}?category={HL7}|encounter-diagnosis"
CONCERNS = f"{WHOLE}?category={US_CORE}|health-concern"


def _condition(wanted: str, *categories: tuple[str, str], **more: object) -> dict[str, object]:
    found: dict[str, object] = {
        "resourceType": "Condition",
        "id": wanted,
        "subject": {"reference": "Patient/ana"},
        "code": {"text": "x"},
        **more,
    }
    if categories:
        found["category"] = [{"coding": [{"system": s, "code": c} for s, c in categories]}]
    return found


RESOURCES: list[dict[str, object]] = [
    patient("ana"),
    observation("lab0"),
    _condition("problem", (HL7, "problem-list-item")),
    _condition("diagnosis", (HL7, "encounter-diagnosis"), encounter={"reference": "Encounter/visit"}),
    _condition("concern", (US_CORE, "health-concern")),
    _condition("both", (HL7, "problem-list-item"), (HL7, "encounter-diagnosis")),
    _condition("neither"),
    {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/ana"},
        "diagnosis": [{"condition": {"reference": "Condition/problem"}}],
    },
]
ALL = {"problem", "diagnosis", "concern", "both", "neither"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A world with the shipped catalogue."""
    folder = tmp_path_factory.mktemp("parts")
    async with world(await make_database(), folder / "data", RESOURCES) as running:
        yield running


def _conditions(app: App) -> set[str]:
    return {scope for scope in str(app.token["scope"]).split() if "Condition" in scope}


async def _seen(app: App, search: str = "Condition?patient=ana") -> set[str]:
    return {id.removeprefix("Condition/") for id in await app.ids(search)}


async def _kept(app: App) -> tuple[set[str], set[str]]:
    """The categories that the Consent permits, and those that it says were asked for."""
    consent: dict[str, Any] = (await app.get(f"Consent/{await app.consent_id()}")).json()
    asked = {e["valueCoding"]["code"] for e in consent["extension"] if e["url"].endswith(":asked-category")}
    return {c["code"] for c in consent["provision"]["class"]}, asked


@pytest.mark.parametrize(
    ("shared", "scopes", "seen"),
    [
        (["conditions"], {WHOLE}, ALL),
        (["conditions", "problem-list", "health-concerns", "visit-diagnoses"], {WHOLE}, ALL),
        (["conditions", "visit-diagnoses"], {WHOLE}, ALL),
        (["visit-diagnoses"], {DIAGNOSES}, {"diagnosis", "both"}),
        (["problem-list", "health-concerns"], {PROBLEMS, CONCERNS}, {"problem", "concern", "both"}),
        (
            ["problem-list", "health-concerns", "visit-diagnoses"],
            {PROBLEMS, CONCERNS, DIAGNOSES},
            ALL - {"neither"},
        ),
    ],
)
async def test_the_token_says_which_part_was_granted_and_the_proxy_shows_that_part(
    here: World, shared: list[str], scopes: set[str], seen: set[str]
) -> None:
    app = await here.app(["demographics", "laboratory", *shared], scope=SCOPE)
    assert _conditions(app) == scopes
    assert await _seen(app) == seen
    for name in sorted(ALL):
        assert (await app.get(f"Condition/{name}")).status_code == (200 if name in seen else 404)


async def test_the_upstream_is_asked_for_the_part_alone(here: World) -> None:
    app = await here.app(["visit-diagnoses"], scope=SCOPE)
    with here.upstream.listening() as heard:
        await _seen(app)
    (asked,) = heard
    assert quote(f"{HL7}|encounter-diagnosis", safe="") in asked.target
    assert "problem-list-item" not in asked.target


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        (WHOLE, {"conditions"}),
        ("patient/*.rs", {"conditions"}),
        (f"{WHOLE}?code=http://snomed.info/sct|1", {"conditions"}),
        (DIAGNOSES, {"visit-diagnoses"}),
        (f"{DIAGNOSES}&clinical-status=active", {"visit-diagnoses"}),
        (f"{DIAGNOSES},{HL7}|problem-list-item", {"visit-diagnoses", "problem-list"}),
        (f"{DIAGNOSES} {CONCERNS}", {"visit-diagnoses", "health-concerns"}),
        (f"{DIAGNOSES} {WHOLE}", {"conditions"}),
        # Of these values one is in no part, so that only the whole holds them all.
        (f"{DIAGNOSES},urn:example|own", {"conditions"}),
        (f"{WHOLE}?category=encounter-diagnosis", {"conditions"}),
    ],
)
async def test_who_asks_for_parts_alone_asks_for_nothing_beyond_them(
    here: World, asked: str, offered: set[str]
) -> None:
    catalogue = here.assent.authz.catalogue
    everyday = {c.code for c in catalogue.everyday if any(s.resource_type == "Condition" for s in c.scopes)}
    assert everyday.intersection(asked_categories(asked, catalogue)) == offered


async def test_a_granted_part_is_never_widened_to_the_whole(here: World) -> None:
    app = await here.app(["visit-diagnoses"], scope=f"launch/patient offline_access patient/Patient.rs {DIAGNOSES}")
    assert _conditions(app) == {DIAGNOSES}
    assert await _seen(app) == {"diagnosis", "both"}
    assert (await app.get("Condition/problem")).status_code == 404


async def test_an_app_that_asked_for_a_part_gets_it_of_a_shared_whole(here: World) -> None:
    app = await here.app(["conditions"], scope=f"launch/patient offline_access {DIAGNOSES}")
    assert _conditions(app) == {DIAGNOSES}
    assert await _seen(app) == {"diagnosis", "both"}


@pytest.mark.parametrize(
    ("shared", "kept"),
    [
        (("conditions", "problem-list"), {"conditions"}),
        (("visit-diagnoses", "problem-list"), {"visit-diagnoses", "problem-list"}),
    ],
)
async def test_the_consent_names_no_part_beside_its_whole(here: World, shared: tuple[str, ...], kept: set[str]) -> None:
    app = await here.app([*shared, "sharing-record"], scope=f"{SCOPE} patient/Consent.rs")
    permitted, asked = await _kept(app)
    assert permitted == {*kept, "sharing-record"}
    assert "conditions" in asked
    assert asked.isdisjoint({"problem-list", "health-concerns", "visit-diagnoses"})


async def test_what_is_included_is_in_the_shared_part_too(here: World) -> None:
    app = await here.app(["visit-diagnoses", "encounters"], scope=f"{SCOPE} patient/Encounter.rs")
    search = "Encounter?patient=ana&_include=Encounter:diagnosis&_revinclude=Condition:encounter"
    assert set(await app.ids(search)) == {"Encounter/visit", "Condition/diagnosis"}


async def test_a_refresh_may_ask_for_a_part_of_what_was_granted_and_not_for_more(here: World) -> None:
    async def renewed(app: App, scope: str) -> tuple[int, set[str]]:
        form = {"grant_type": "refresh_token", "client_id": app.client_id, "scope": scope}
        sent = form | {"refresh_token": app.token["refresh_token"]}
        answer = await here.http.post("/token", data=sent)
        if answer.status_code == 200:
            app.token = answer.json()
        return answer.status_code, _conditions(app)

    whole = await here.app(["conditions"], scope=SCOPE)
    assert await renewed(whole, DIAGNOSES) == (200, {DIAGNOSES})
    assert await _seen(whole) == {"diagnosis", "both"}
    part = await here.app(["visit-diagnoses"], scope=SCOPE)
    assert await renewed(part, PROBLEMS) == (400, {DIAGNOSES})
