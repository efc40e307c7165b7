"""What the upstream holds: for every way to leak, something worth leaking."""

from __future__ import annotations

import base64

from policies.codes import CONFIDENTIALITY_SYSTEM
from tests.leaks.world import ACT_CODE, observation, patient

_TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">NARRATIVE-SECRET</div>'}


def document(wanted: str, *urls: str, patient: str = "ana", **more: object) -> dict[str, object]:
    """A DocumentReference whose attachments stand at these URLs."""
    return {
        "resourceType": "DocumentReference",
        "id": wanted,
        "status": "current",
        "subject": {"reference": f"Patient/{patient}"},
        "content": [{"attachment": {"contentType": "text/plain", "url": url}} for url in urls],
        **more,
    }


def binary(wanted: str, **more: object) -> dict[str, object]:
    """A Binary that holds its own id as text."""
    data = base64.b64encode(f"text of {wanted}".encode()).decode()
    return {"resourceType": "Binary", "id": wanted, "contentType": "text/plain; charset=utf-8", "data": data, **more}


_HIV = {"security": [{"system": ACT_CODE, "code": "HIV"}]}
_DOCUMENTS: list[dict[str, object]] = [
    document("letter", "Binary/letter-text", "Binary/page", "Binary/web", "Binary/odd-type"),
    document("hiv-letter", "Binary/hiv-text", meta=_HIV),
    document("bob-letter", "Binary/bob-text", patient="bob"),
    document("modified-letter", "Binary/modified-text", modifierExtension=[{"url": "http://x/not"}]),
    document(
        "labelled",
        *("Binary/labelled-text", "Binary/bob-context", "Binary/other-document", "Binary/ruled", "Binary/broken"),
        *("Binary/own-context", "Binary/old/_history/1", "http://elsewhere.example/Binary/elsewhere"),
    ),
    *(
        binary(wanted)
        for wanted in ("letter-text", "hiv-text", "bob-text", "modified-text", "orphan", "old", "elsewhere")
    ),
    binary("page", meta={"tag": [{"code": "TAG-SECRET"}], "source": "http://SOURCE-SECRET"}),
    binary("web", contentType="text/html", data=base64.b64encode(b"<script>alert(1)</script>").decode()),
    binary("odd-type", contentType="text/plain\r\nset-cookie: x=1"),
    binary("labelled-text", meta=_HIV),
    binary("bob-context", securityContext={"reference": "Patient/bob"}),
    binary("other-document", securityContext={"reference": "DocumentReference/hiv-letter"}),
    binary("own-context", securityContext={"reference": "Patient/ana"}),
    binary("ruled", implicitRules="http://x/rules"),
    binary("broken", data="{no-base64}"),
]
RESOURCES: list[dict[str, object]] = [
    *_DOCUMENTS,
    patient("ana", text=_TEXT),
    patient("bob"),
    {
        "resourceType": "Group",
        "id": "cohort",
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": "Patient/bob"}}],
    },
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
