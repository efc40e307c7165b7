"""`metadata` is valid R4 and names exactly what the proxy answers."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import pytest

from assent.policy_files import load_catalogue
from fhir.proxy.capability_statement import capability_statement
from fhir.proxy.search_request import read_search
from fhir.r4.definitions import load_definitions
from fhir.r4.interaction import Interaction, interaction_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fhir.resources.R4B.capabilitystatement import CapabilityStatement as Checked

_REQUESTS = {
    "read": ("GET", "/{}/x"),
    "vread": ("GET", "/{}/x/_history/1"),
    "history-instance": ("GET", "/{}/x/_history"),
    "search-type": ("GET", "/{}"),
    "history-type": ("GET", "/{}/_history"),
    "create": ("POST", "/{}"),
    "update": ("PUT", "/{}/x"),
    "patch": ("PATCH", "/{}/x"),
    "delete": ("DELETE", "/{}/x"),
}
_OF_THE_SYSTEM = {"search-system": ("GET", ""), "history-system": ("GET", "/_history"), "batch": ("POST", "")}


@pytest.fixture(scope="module")
def statement() -> dict[str, Any]:
    told = capability_statement(
        "https://a.example",
        load_catalogue(None),
        load_definitions(),
        "2026-01-01",
        lambda kind: kind != "Flag",
        lambda one, other: (one == "Consent") == (other == "Consent"),
    )
    return dict(msgspec.json.decode(told))


def test_it_is_valid(statement: dict[str, Any]) -> None:
    Checked.model_validate(statement)


def test_every_type_names_the_interactions_that_the_proxy_knows(statement: dict[str, Any]) -> None:
    resources = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}
    group = resources.pop("Group")  # which can be exported, and nothing else
    assert group.keys() == {"type", "operation"}
    for kind, resource in resources.items():
        codes = {interaction["code"] for interaction in resource["interaction"]}
        known = {code for code, (m, path) in _REQUESTS.items() if _is(code, m, path.format(kind))}
        if kind == "Consent":  # which recorders keep, past the proxy
            known |= {"create", "update", "patch", "delete", "history-type"}
        assert codes == ({"read"} if kind == "Binary" else known)
    assert list(resources) == sorted(resources)
    assert "Flag" not in resources  # which has no source here
    operations = {kind: [o["name"] for o in r["operation"]] for kind, r in resources.items() if "operation" in r}
    assert operations == {"Consent": ["fileConsent", "revokeConsent"], "Patient": ["everything", "export"]}


def test_every_type_names_the_includes_that_the_proxy_follows(statement: dict[str, Any]) -> None:
    definitions = load_definitions()
    resources = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}
    for kind, resource in resources.items():
        for option, source in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            for value in resource.get(source, ()):
                asked = read_search(kind, [(option, value)], definitions, lambda *_: True, resources.__contains__)
                assert asked.includes == ((option, value),)
    assert "MedicationRequest:medication" in resources["MedicationRequest"]["searchInclude"]
    assert "Provenance:target" in resources["MedicationRequest"]["searchRevInclude"]
    assert "Consent:patient" not in resources["Patient"]["searchRevInclude"]  # which has another source here
    assert "Consent:patient" not in resources["Consent"]["searchInclude"]
    assert "Flag" not in str([resource.get("searchRevInclude") for resource in resources.values()])
    assert not {"searchInclude", "searchRevInclude"} & {*resources["Group"], *resources["Binary"]}


def test_it_says_what_the_operator_says_of_the_data() -> None:
    told = capability_statement(
        "https://a.example",
        load_catalogue(None),
        load_definitions(),
        "2026-01-01",
        lambda kind: kind != "Flag",
        lambda *_: True,
        instantiates=["http://a.example/CapabilityStatement/server"],
        profiles={kind: [f"http://a.example/StructureDefinition/{kind}"] for kind in ("Patient", "Consent", "Flag")},
    )
    found: dict[str, Any] = msgspec.json.decode(told)
    Checked.model_validate(found)
    assert found["instantiates"][1:] == ["http://a.example/CapabilityStatement/server"]
    named = {r["type"]: r["supportedProfile"] for r in found["rest"][0]["resource"] if "supportedProfile" in r}
    assert named.keys() == {"Patient", "Consent"}
    assert named["Patient"] == ["http://a.example/StructureDefinition/Patient"]
    assert len(named["Consent"]) == 4  # those of IHE PCF come first


def test_the_system_names_its_interactions(statement: dict[str, Any]) -> None:
    codes = {interaction["code"] for interaction in statement["rest"][0]["interaction"]}
    assert codes == {code for code, (method, path) in _OF_THE_SYSTEM.items() if _is(code, method, path)}


def _is(code: str, method: str, path: str) -> bool:
    found = interaction_of(method, path)
    return isinstance(found, Interaction) and found.code == code
