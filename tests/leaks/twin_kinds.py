"""More of what two worlds hold: what is withheld for what it refers to or contains, and by what consents deny by name.

Medicines and what they are made of, photographs, endpoints, where records come from, results of a time or a name that
the patient keeps to themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.authz.consent_recorder import category, consent, recorder
from tests.leaks.world import ACT_CODE, World, observation

_RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
_HIV_CODE: Final = "75622-1"
_ANA: Final = {"reference": "Patient/ana"}
_PSY: Final[dict[str, Any]] = {"meta": {"security": [{"system": ACT_CODE, "code": "PSY"}]}}

Resource = dict[str, object]


def _coded(code: str) -> Resource:
    return {"coding": [{"system": _RXNORM, "code": code}]}


def _medicine(wanted: str, part: str = "", code: str = "310798", **more: object) -> Resource:
    made_of = {"ingredient": [{"itemReference": {"reference": part}}]} if part else {}
    return {"resourceType": "Medication", "id": wanted, "code": _coded(code), **made_of, **more}


def _prescription(wanted: str, medicine: str, day: int = 1, **more: object) -> Resource:
    said = {"status": "active", "intent": "order", "subject": _ANA, "authoredOn": f"2026-03-{day:02}"}
    return {
        "resourceType": "MedicationRequest",
        "id": wanted,
        "medicationReference": {"reference": medicine},
        **said,
        **more,
    }


def _photograph(wanted: str, day: int, **more: object) -> Resource:
    said = {"status": "completed", "subject": _ANA, "createdDateTime": f"2026-04-{day:02}"}
    operator = {"reference": "Practitioner/doc0"}
    return {
        "resourceType": "Media",
        "id": wanted,
        "content": {"url": "Binary/text0"},
        **said,
        "operator": operator,
        **more,
    }


def _endpoint(wanted: str, **more: object) -> Resource:
    owner = {"reference": "Organization/org"}
    kind = {"code": "hl7-fhir-rest"}
    return {
        "resourceType": "Endpoint",
        "id": wanted,
        "status": "active",
        "connectionType": kind,
        "managingOrganization": owner,
        "payloadType": [{"text": "any"}],
        "address": "https://example.org/fhir",
        **more,
    }


def _provenance(wanted: str, *targets: str, **more: object) -> Resource:
    return {
        "resourceType": "Provenance",
        "id": wanted,
        "target": [{"reference": target} for target in targets],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/doc1"}}],
        **more,
    }


def shown_kinds() -> Iterator[Resource]:
    """What an app with all of these categories sees."""
    yield {"resourceType": "Substance", "id": "usual", "code": _coded("310798")}
    yield _medicine("plain", "Substance/usual")
    for n, medicine in enumerate(("Medication/plain", "Medication/nowhere", "Medication/plain")):
        yield _prescription(f"usual{n}", medicine, n * 3 + 1)
    yield _prescription("inside", "#made", 11, contained=[_medicine("made", "Substance/usual")])
    for n in range(3):
        yield _photograph(f"photo{n}", n * 5 + 1)
    yield _endpoint("open")
    yield _provenance("of-lab", "Observation/lab00")
    yield _provenance("of-two", "Observation/lab01", "Condition/cond0", "Patient/ana")
    yield _provenance("of-version", "Observation/lab05/_history/4")
    yield _provenance("of-usual", "MedicationRequest/usual0")


def withheld_kinds() -> Iterator[Resource]:
    """What it doesn't see, whichever categories of everyday it has."""
    yield {"resourceType": "Substance", "id": "methadone", "code": _coded("6813")}
    yield _medicine("methadone", code="6813")
    yield _medicine("compound", "Substance/methadone")
    yield _medicine("labelled-medicine", **_PSY)
    for n, medicine in enumerate(("methadone", "compound", "labelled-medicine")):
        yield _prescription(f"secret{n}", f"Medication/{medicine}", n * 3 + 2)
    yield _prescription("secret-inside", "#made", 12, contained=[_medicine("made", "Substance/methadone")])
    yield _photograph("labelled-photo", 2, **_PSY)
    yield _photograph("bobs-photo", 7, subject={"reference": "Patient/bob"})
    yield _endpoint("labelled-endpoint", **_PSY)
    contained: list[Resource] = [observation("c", code=_HIV_CODE)]
    yield observation("contains-code", contained=contained, hasMember=[{"reference": "#c"}])
    yield observation("contains-label", contained=[{"resourceType": "Practitioner", "id": "p", **_PSY}])
    yield observation("kept-by-name")
    yield observation("kept-as-dependent", derivedFrom=[{"reference": "Observation/kept-with-others"}])
    yield observation("kept-with-others")
    for n in range(3):
        yield observation(f"long-ago{n}", effectiveDateTime=f"1990-0{n + 1}-01", code="2345-7")
    yield _provenance("of-hiv", "Observation/hiv00")
    yield _provenance("of-both", "Observation/lab00", "Observation/hiv01")
    yield _provenance("of-old-version", "Observation/lab05/_history/2")
    yield _provenance("of-kept", "Observation/kept-by-name", "Patient/ana")
    yield _provenance("of-bobs", "Observation/another00", "Observation/lab02")
    yield _provenance("of-secret", "MedicationRequest/secret0")


def _names(meaning: str, name: str) -> Resource:
    return {"type": "deny", "data": [{"meaning": meaning, "reference": {"reference": name}}]}


DENIALS: Final[tuple[Resource, ...]] = (
    {"type": "deny", "dataPeriod": {"start": "1990-01-01", "end": "1990-12-31"}, "class": category("laboratory")},
    _names("instance", "Observation/kept-by-name"),
    _names("dependents", "Observation/kept-with-others"),
)
"""What the patient keeps from whoever asks, in each world: what it names is there in one only."""


async def deny(world: World) -> None:
    """Let a recorder store the denials."""
    clerk = await recorder(world)
    for denial in DENIALS:
        await clerk.created(consent(denial))
