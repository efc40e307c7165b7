"""Resources of every type that has a mask: the sandbox's, of each type those that differ most, and some written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from sandbox.records.population import generate

Resource = dict[str, Any]
EACH: Final = 4
"""Samples of a type, at most."""

_PATIENT: Final = {"reference": "Patient/p1", "display": "Ana"}
_WRITTEN_OUT: Final[tuple[Resource, ...]] = (
    {
        "resourceType": "AllergyIntolerance",
        "id": "a1",
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
                    "code": "active",
                }
            ]
        },
        "patient": _PATIENT,
        "onsetString": "as a child",
        "reaction": [
            {"manifestation": [{"text": "hives"}], "note": [{"text": "so her aunt says"}], "severity": "mild"},
        ],
    },
    {
        "resourceType": "Claim",
        "id": "c1",
        "status": "active",
        "type": {"text": "professional"},
        "use": "claim",
        "patient": _PATIENT,
        "created": "2026-01-01",
        "provider": {"reference": "Organization/o1"},
        "priority": {"text": "normal"},
        "related": [{"reference": {"value": "R-1"}}, {"claim": {"reference": "Claim/c0"}}],
        "insurance": [
            {"sequence": 1, "focal": True, "identifier": {"value": "I-1"}, "coverage": {"display": "Plan A"}},
        ],
    },
    {
        "resourceType": "ExplanationOfBenefit",
        "id": "e1",
        "status": "active",
        "type": {"text": "professional"},
        "use": "claim",
        "patient": _PATIENT,
        "created": "2026-01-01",
        "insurer": {"display": "Plan A"},
        "provider": {"reference": "Organization/o1"},
        "outcome": "complete",
        "disposition": "paid to Ana",
        "insurance": [{"focal": True, "coverage": {"reference": "Coverage/c1"}, "preAuthRef": ["P-1"]}],
        "payment": {"identifier": {"value": "CHK-1"}},
        "form": {"contentType": "text/plain", "title": "Letter"},
    },
    {
        "resourceType": "FamilyMemberHistory",
        "id": "f1",
        "status": "completed",
        "patient": _PATIENT,
        "name": "Maria",
        "relationship": {"text": "mother"},
        "condition": [{"code": {"text": "asthma"}, "note": [{"text": "since 1980"}], "onsetString": "early"}],
    },
    {
        "resourceType": "MedicationAdministration",
        "id": "m1",
        "status": "completed",
        "medicationReference": {"reference": "#m"},
        "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "aspirin"}}],
        "subject": _PATIENT,
        "effectiveDateTime": "2026-01-01",
        "performer": [{"actor": {"display": "Nurse Joy"}}],
    },
    {
        "resourceType": "MedicationDispense",
        "id": "m1",
        "status": "completed",
        "medicationCodeableConcept": {"text": "aspirin"},
        "subject": _PATIENT,
        "receiver": [{"display": "her aunt"}],
        "substitution": {"wasSubstituted": False, "responsibleParty": [{"display": "Dr. Grey"}]},
    },
    {
        "resourceType": "MedicationStatement",
        "id": "m1",
        "status": "active",
        "medicationReference": {"display": "what Ana takes"},
        "subject": _PATIENT,
        "informationSource": {"display": "her aunt"},
    },
    {
        "resourceType": "Patient",
        "id": "p1",
        "name": [{"family": "Lima"}],
        "address": [{"city": "Salem"}, {"state": "OR", "city": "Salem"}],
        "contact": [{"name": {"family": "Lima"}}],
        "link": [{"other": {"reference": "Patient/p2"}, "type": "seealso"}],
    },
    {
        "resourceType": "RelatedPerson",
        "id": "r1",
        "patient": {"identifier": {"value": "MRN-1"}},
        "name": [{"family": "Lima"}],
    },
    {
        "resourceType": "Specimen",
        "id": "s1",
        "accessionIdentifier": {"value": "A-1"},
        "subject": _PATIENT,
        "collection": {"collector": {"display": "Nurse Joy"}},
        "container": [{"identifier": [{"value": "T-1"}]}, {"type": {"text": "tube"}, "description": "Ana's"}],
    },
)


@cache
def samples() -> Mapping[str, list[Resource]]:
    """Up to `EACH` resources of each type and those written out, by type; without the profiles, which aren't R4's."""
    found: dict[str, dict[frozenset[str], Resource]] = {}
    for resource in generate():
        kind = str(resource["resourceType"])
        shapes = found.setdefault(kind, {})
        if len(shapes) < EACH:
            meta = resource.get("meta")
            left = {n: v for n, v in meta.items() if n != "profile"} if isinstance(meta, dict) else {}
            plain = {n: v for n, v in resource.items() if n != "meta"} | ({"meta": left} if left else {})
            shapes.setdefault(frozenset(_paths(plain, "")), plain)
    for sample in _WRITTEN_OUT:
        found.setdefault(sample["resourceType"], {})[frozenset(_paths(sample, ""))] = sample
    return {kind: list(shapes.values()) for kind, shapes in sorted(found.items())}


def _paths(value: object, path: str) -> Iterator[str]:
    """Members at any depth: what makes the shape of a resource."""
    if isinstance(value, dict):
        for name, inside in value.items():
            yield f"{path}.{name}"
            yield from _paths(inside, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, path)
