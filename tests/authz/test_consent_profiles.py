"""Consents of IHE Privacy Consent on FHIR (PCF 1.1) over HTTP: examples are kept, what breaks a profile is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from assent.read_yaml import read_yaml
from fhir.consents.pcf_profiles import ADVANCED, BASIC, INTERMEDIATE
from tests.authz.consent_recorder import RecorderClient, issues, recorder
from tests.conftest import MakeDatabase
from tests.leaks.world import patient, world

_VECTORS = Path(__file__).parents[1] / "vectors" / "consents_pcf.yaml"
_PROFILES = {"intermediate": INTERMEDIATE, "dissent": INTERMEDIATE, "advanced": ADVANCED}
EXAMPLES: dict[str, dict[str, Any]] = read_yaml(_VECTORS.read_text())["consents"]
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
NORMAL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RecorderClient]:
    async with world(await make_database(), tmp_path_factory.mktemp("pcf"), [patient("p1")]) as running:
        yield await recorder(running)


def _example(name: str, profile: str | None = None, version: str = "") -> dict[str, Any]:
    """The example, claiming its own profile unless told."""
    whole = deepcopy(EXAMPLES[name])
    del whole["id"]
    claimed = (profile or _PROFILES.get(name.partition("-")[0], BASIC)) + version
    return {**whole, "meta": {"profile": [claimed], "security": [{"system": ACT_REASON, "code": "HTEST"}]}}


@pytest.mark.parametrize("version", ["", "|1.1.0"])
@pytest.mark.parametrize("name", EXAMPLES)
async def test_every_example_is_kept_and_read_back_unchanged(clerk: RecorderClient, name: str, version: str) -> None:
    sent = _example(name, version=version)
    made = await clerk.created(sent)
    read = (await clerk.get(f"Consent/{made['id']}")).json()
    assert {key: read["meta"].pop(key) for key in ("versionId", "lastUpdated")}.keys()
    assert read.pop("id") == made["id"]
    assert read == sent


@pytest.mark.parametrize(
    ("name", "profile", "place"),
    [
        ("intermediate-timeframe", BASIC, "provision.dataPeriod"),
        ("intermediate-authoredby", BASIC, "provision.data"),
        ("intermediate-not-timeframe", BASIC, "provision.provision"),
        ("advanced-normal", BASIC, "provision.securityLabel"),
        ("advanced-normal", INTERMEDIATE, "provision.securityLabel"),
    ],
)
async def test_an_example_of_a_wider_profile_is_none_of_a_narrower(
    clerk: RecorderClient, name: str, profile: str, place: str
) -> None:
    answer = await clerk.send("POST", "Consent", _example(name, profile))
    assert (answer.status_code, issues(answer)) == (422, [("structure", (f"Consent.{place}",))])
    assert profile.rpartition("/")[2] in answer.text


@pytest.mark.parametrize("name", ["basic-treat", "intermediate-timeframe", "advanced-normal"])
@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"scope": {"coding": [{"code": "patient-privacy"}]}}, "value", "scope"),
        ({"dateTime": None}, "required", "dateTime"),
        ({"performer": None}, "required", "performer"),
        ({"organization": None}, "required", "organization"),
        ({"sourceReference": None}, "required", "source"),
        ({"policy": [{"authority": "http://example.org"}]}, "required", "policy[0].uri"),
        ({"verification": [{"verified": True}]}, "structure", "verification"),
        ({"provision": {"purpose": [{"system": ACT_REASON, "code": "TREAT"}]}}, "required", "provision.type"),
        (
            {"provision": {"type": "permit", "action": [{"coding": [{"code": "access"}]}]}},
            "structure",
            "provision.action",
        ),
    ],
    ids=str,
)
async def test_what_all_profiles_ask_for_is_asked_for(
    clerk: RecorderClient, name: str, change: dict[str, Any], code: str, place: str
) -> None:
    sent = {key: value for key, value in (_example(name) | change).items() if value is not None}
    answer = await clerk.send("POST", "Consent", sent)
    assert answer.status_code in (400, 422)
    assert (code, (f"Consent.{place}",)) in [*issues(answer), *_alike(issues(answer))]
    del sent["meta"]
    if code != "required" or place != "provision.type":
        assert (await clerk.send("POST", "Consent", sent)).status_code == 201


def _alike(found: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """A missing `type` isn't understood either; which of the two is told doesn't matter."""
    return [("required", place) for code, place in found if code == "not-supported"]


@pytest.mark.parametrize(
    ("provision", "code", "place"),
    [
        (
            {"data": [{"meaning": "dependents", "reference": {"reference": "Encounter/e"}}]},
            "code-invalid",
            "data[0].meaning",
        ),
        ({"data": [{"meaning": "related", "reference": {"reference": "Patient/p"}}]}, "value", "data[0].reference"),
        (
            {"data": [{"meaning": "authoredby", "reference": {"reference": "Encounter/e"}}]},
            "value",
            "data[0].reference",
        ),
        ({"provision": [{"type": "deny", "provision": [{"type": "permit"}]}]}, "structure", "provision[0].provision"),
        (
            {
                "provision": [
                    {
                        "type": "deny",
                        "data": [{"meaning": "instance", "reference": {"reference": f"Observation/{n}"}} for n in "ab"],
                    }
                ]
            },
            *("structure", "provision[0].data"),
        ),
    ],
    ids=str,
)
async def test_what_intermediate_consents_say_of_data_is_held_to_it(
    clerk: RecorderClient, provision: dict[str, Any], code: str, place: str
) -> None:
    sent = _example("intermediate-timeframe") | {"provision": {"type": "permit", **provision}}
    answer = await clerk.send("POST", "Consent", sent)
    assert (answer.status_code, issues(answer)) == (422, [(code, (f"Consent.provision.{place}",))])


async def test_a_change_is_held_to_the_profile_that_it_claims(clerk: RecorderClient) -> None:
    made = await clerk.created(_example("basic-treat"))
    label = [{"op": "add", "path": "/provision/securityLabel", "value": [NORMAL]}]
    answer = await clerk.send("PATCH", f"Consent/{made['id']}", label)
    assert (answer.status_code, issues(answer)) == (422, [("structure", ("Consent.provision.securityLabel",))])
    other = [*label, {"op": "replace", "path": "/meta/profile/0", "value": ADVANCED}]
    assert (await clerk.send("PATCH", f"Consent/{made['id']}", other)).status_code == 200


async def test_a_profile_that_is_not_known_claims_nothing(clerk: RecorderClient) -> None:
    await clerk.created(_example("advanced-normal", "http://example.org/StructureDefinition/own"))
