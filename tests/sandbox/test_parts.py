"""A person shares parts of Conditions and Observations, as a certification kit has it done (g10, granular scopes)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.clients.app import App, register
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

SCOPE = "launch/patient openid fhirUser offline_access patient/Condition.rs patient/Observation.rs patient/Patient.rs"
PARTS = ["Problem list", "Health concerns", "Diagnoses at visits"]
HL7 = "http://terminology.hl7.org/CodeSystem/condition-category"


def _app(sandbox: Sandbox, scope: str = SCOPE) -> App:
    return App(sandbox.fhir_base, register(sandbox.issuer, "Kit", scope)["client_id"], scope)


def _person(sandbox: Sandbox) -> Person:
    user = next(u for u in sandbox.manifest["users"] if u["username"] == "amelia-okafor")
    return Person(user["username"], user["password"])


def _categories(app: App) -> set[str]:
    """Codes of the categories of the Conditions that the app sees; empty for one that has none."""
    found: dict[str, Any] = app.read("Condition?patient=amelia-okafor&_count=200").json()
    conditions = [entry["resource"] for entry in found.get("entry", ())]
    codings = [[c["code"] for k in r.get("category", ()) for c in k["coding"]] for r in conditions]
    return {code for codes in codings for code in (codes or [""])}


def test_parts_are_granted_where_whole_types_were_asked_for(sandbox: Sandbox) -> None:
    app = _app(sandbox)
    with _person(sandbox) as person:
        granted = app.redeem(
            person.authorize(app.authorize_url(), ["Demographics", "Lab results", "Vital signs", *PARTS])
        )
    scopes = granted["scope"].split()
    assert {"openid", "fhirUser", "launch/patient", "offline_access"} <= set(scopes)
    for kind in ("Condition", "Observation"):
        assert not [scope for scope in scopes if re.search(rf"{kind}\.(\*|read|c?ru?d?s?)\Z", scope)]
        assert [scope for scope in scopes if re.search(rf"{kind}\.(\*|c?ru?d?s?)\?.+=.+", scope)]
    assert [scope for scope in scopes if re.search(r"Patient\.(\*|c?ru?d?s?)\Z", scope)]
    assert _categories(app) == {"problem-list-item", "health-concern", "sdoh", "encounter-diagnosis"}


@pytest.mark.parametrize("ticked", [None, ["Conditions"], ["Conditions", *PARTS]])
def test_who_leaves_the_whole_ticked_shares_the_whole(sandbox: Sandbox, ticked: list[str] | None) -> None:
    app = _app(sandbox)
    with _person(sandbox) as person:
        granted = app.redeem(person.authorize(app.authorize_url(), ticked))
    assert {s for s in granted["scope"].split() if "Condition" in s} == {"patient/Condition.rs"}
    assert {"problem-list-item", "encounter-diagnosis", ""} <= _categories(app)


def test_who_is_asked_for_a_part_is_offered_that_part_alone(sandbox: Sandbox) -> None:
    part = f"patient/Condition.rs?category={HL7}|encounter-diagnosis"
    app = _app(sandbox, f"launch/patient patient/Patient.rs {part}")
    with _person(sandbox) as person:
        person.open(app.authorize_url())
        person.sign_in()
        offered = person.offered()
        assert offered[:2] == ["Demographics", "Diagnoses at visits"]
        assert {"Conditions", "Problem list", "Health concerns"}.isdisjoint(offered)
        returned = person.decide()
    assert returned is not None
    assert part in app.redeem(returned)["scope"].split()
    assert _categories(app) == {"encounter-diagnosis"}


def test_my_sharing_says_which_part_is_shared_and_lets_people_change_it(sandbox: Sandbox) -> None:
    app = _app(sandbox)
    with _person(sandbox) as person:
        app.redeem(person.authorize(app.authorize_url(), ["Demographics", "Diagnoses at visits"]))
        page = person.open(f"{sandbox.issuer}/my")
        assert "Conditions (the rest)" in page.text
        assert "Diagnoses at visits" in page.text


def test_the_manifest_lists_parts_below_their_whole(sandbox: Sandbox) -> None:
    categories = sandbox.manifest["categories"]
    assert [c["code"] for c in categories if "parts" in c] == ["conditions"]
    (whole,) = [c for c in categories if "parts" in c]
    assert whole["scopes"] == ["patient/Condition.rs"]
    assert [part["title"] for part in whole["parts"]] == PARTS
    assert not {part["code"] for part in whole["parts"]} & {c["code"] for c in categories}
