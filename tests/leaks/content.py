"""What the upstream holds: for every way to leak, something worth leaking."""

from __future__ import annotations

from policies.codes import CONFIDENTIALITY_SYSTEM
from tests.leaks.world import ACT_CODE, observation, patient

_TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">NARRATIVE-SECRET</div>'}

RESOURCES: list[dict[str, object]] = [
    patient("ana", text=_TEXT),
    patient("bob"),
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Doc"}]},
    {"resourceType": "Practitioner", "id": "hivdoc", "name": [{"family": "Secretdoc"}]},
    *(observation(f"lab{n}", note=[{"text": f"note {n}"}]) for n in range(12)),
    *(observation(f"vital{n}", category="vital-signs") for n in range(4)),
    observation("bob1", "bob"),
    observation("uncategorized", category=None),
    observation("hiv-by-code", code="75622-1", performer=[{"reference": "Practitioner/hivdoc"}]),
    observation(
        "hiv-by-label",
        meta={
            "security": [{"system": ACT_CODE, "code": "HIV"}, {"system": CONFIDENTIALITY_SYSTEM, "code": "R"}],
        },
    ),
    observation("odd-label", meta={"security": [{"system": "urn:local", "code": "VIP-CELEBRITY"}]}),
    observation("bare-code", code="718-7", valueCodeableConcept={"coding": [{"code": "75622-1"}]}),
    observation(
        "two-patients",
        focus=[{"reference": "Patient/bob", "display": "Bob Q"}],
        performer=[{"reference": "Practitioner/doc"}],
    ),
    observation("narrated", text=_TEXT),
    observation(
        "contained-patient", contained=[{"resourceType": "Patient", "id": "x", "name": [{"text": "CONTAINED"}]}]
    ),
    observation("modified", modifierExtension=[{"url": "http://x/not", "valueBoolean": True}]),
    {
        "resourceType": "Condition",
        "id": "flu",
        "subject": {"reference": "Patient/ana"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J10.1"}]},
    },
    {
        "resourceType": "Condition",
        "id": "opioid",
        "subject": {"reference": "Patient/ana"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "F11.20"}]},
    },
    {
        "resourceType": "Encounter",
        "id": "enc",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/ana"},
        "diagnosis": [{"condition": {"reference": "Condition/opioid", "display": "DISPLAY-SECRET"}}],
    },
]
