"""What two worlds hold: SHOWN is in both, WITHHELD only in one, and an app must not be able to tell them apart.

The withheld resources are of every kind that is withheld, stand between the shown ones in every order that a search
can have, refer to them and share their codes, dates and providers.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from tests.leaks.manners import MARK
from tests.leaks.twin_kinds import shown_kinds, withheld_kinds
from tests.leaks.world import ACT_CODE, observation, patient

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CODES = ("718-7", "2345-7", "2160-0")
HIV_CODE = "75622-1"

_HIV_LABEL = {"system": ACT_CODE, "code": "HIV"}

Resource = dict[str, object]


def _refers(*names: str) -> list[dict[str, str]]:
    return [{"reference": name} for name in names]


def _day(number: int) -> str:
    return f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"


def _condition(wanted: str, code: str, patient: str = "ana", **more: object) -> Resource:
    coded = {"coding": [{"system": ICD, "code": code}]}
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Condition", "id": wanted, "subject": subject, "code": coded, **more}


def _report(wanted: str, *results: str, patient: str = "ana", **more: object) -> Resource:
    lab = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}
    return {
        "resourceType": "DiagnosticReport",
        "id": wanted,
        "status": "final",
        "category": [lab],
        "code": {"text": wanted},
        "subject": {"reference": f"Patient/{patient}"},
        "result": _refers(*results),
        "performer": _refers("Practitioner/doc0"),
        **more,
    }


def _encounter(wanted: str, patient: str = "ana", **more: object) -> Resource:
    subject = {"reference": f"Patient/{patient}"}
    return {
        "resourceType": "Encounter",
        "id": wanted,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": subject,
        **more,
    }


def _document(wanted: str, *urls: str, patient: str = "ana", **more: object) -> Resource:
    return {
        "resourceType": "DocumentReference",
        "id": wanted,
        "status": "current",
        "subject": {"reference": f"Patient/{patient}"},
        "date": "2026-02-03T00:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "url": url}} for url in urls],
        **more,
    }


def _binary(wanted: str, **more: object) -> Resource:
    data = b64encode(wanted.encode()).decode()
    return {"resourceType": "Binary", "id": wanted, "contentType": "text/plain", "data": data, **more}


def _shown() -> Iterator[Resource]:
    yield patient("ana", generalPractitioner=_refers("Practitioner/doc0"))
    for n in range(4):
        name = [{"family": f"Doc{n}", "given": ["D"]}]
        telecom = [{"system": "phone", "value": f"555-{n}"}]
        yield {"resourceType": "Practitioner", "id": f"doc{n}", "name": name, "active": n % 2 == 0, "telecom": telecom}
    yield {"resourceType": "Organization", "id": "org", "name": "Clinic"}
    for n in range(14):
        members: dict[str, Any] = {"hasMember": _refers(f"Observation/lab{n - 1:02}")} if n % 4 == 1 else {}
        yield observation(
            f"lab{n:02}",
            code=CODES[n % 3],
            effectiveDateTime=_day(n * 5),
            performer=_refers(f"Practitioner/doc{n % 3}"),
            valueQuantity={"value": n * 1.5, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"},
            note=[{"text": f"note {n}", "authorReference": {"reference": "Practitioner/doc3"}}],
            **members,
        )
    for n, code in enumerate(("J10.1", "E11.9", "I10", "M54.5")):
        yield _condition(f"cond{n}", code, recordedDate=_day(n * 9), recorder={"reference": f"Practitioner/doc{n}"})
    for n in range(3):
        yield _encounter(
            f"enc{n}",
            identifier=[{"value": f"e{n}"}],
            period={"start": _day(n * 7)},
            reasonReference=_refers(f"Condition/cond{n}"),
        )
        yield _report(
            f"report{n}", f"Observation/lab{n:02}", f"Observation/lab{n + 3:02}", issued=_day(n) + "T00:00:00Z"
        )
        yield _document(f"letter{n}", f"Binary/text{n}", "Binary/otherwise", "Binary/labelled", "Binary/ruled")
        yield _binary(f"text{n}")
    yield from shown_kinds()


def _sensitive(number: int) -> Resource:
    return observation(
        f"hiv{number:02}",
        code=HIV_CODE,
        effectiveDateTime=_day(number * 3),
        performer=_refers(f"Practitioner/doc{number % 4}"),
        hasMember=_refers(f"Observation/lab{number % 14:02}"),
        valueQuantity={"value": number, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"},
    )


def _labelled(number: int) -> Resource:
    labels = (
        {"system": ACT_CODE, "code": "HIV"},
        {"system": "urn:local", "code": "VIP"},
        {"system": CONFIDENTIALITY, "code": "R"},
        {"code": ""},
    )
    meta = {"security": [labels[number % 4]], "profile": ["http://example.org/withheld"]}
    code = CODES[number % 3]
    return observation(f"labelled{number:02}", code=code, meta=meta, effectiveDateTime=_day(number * 11))


def _others(number: int) -> Resource:
    return observation(
        f"another{number:02}",
        "bob",
        code=CODES[number % 3],
        effectiveDateTime=_day(number * 4),
        focus=_refers("Patient/ana"),
        hasMember=_refers("Observation/lab01"),
        performer=_refers("Practitioner/doc1"),
    )


def _odd() -> Iterator[Resource]:
    yield patient("bob", link=[{"other": {"reference": "Patient/ana"}, "type": "seealso"}])
    yield patient("zoe", meta={"security": [{"system": ACT_CODE, "code": "HIV"}]})
    yield observation("vital1", category="vital-signs", hasMember=_refers("Observation/lab02"))
    yield observation("uncategorized", category=None, derivedFrom=_refers("Observation/lab03"))
    yield observation("modified", modifierExtension=[{"url": "http://x/not", "valueBoolean": True}])
    yield observation("ruled", implicitRules="http://x/rules")
    yield observation("group", subject={"reference": "Group/g"})
    yield observation("elsewhere", subject={"reference": "http://elsewhere.example/fhir/Patient/ana"})
    yield observation("named", subject={"display": "ana display"})
    yield observation("inside", subject={"reference": "#p"}, contained=[{"resourceType": "Patient", "id": "p"}])
    yield observation("both", code=CODES[0], component=[{"code": {"coding": [{"code": HIV_CODE}]}}])
    yield _condition("opioid", "F11.20", encounter={"reference": "Encounter/enc0"})
    yield _condition("bobs", "J10.1", "bob", recorder={"reference": "Practitioner/doc0"})
    yield _report("bobreport", "Observation/lab00", "Observation/lab01", patient="bob")
    yield _report("hivreport", "Observation/lab02", conclusionCode=[{"coding": [{"code": HIV_CODE}]}])
    yield _encounter("bobenc", "bob", reasonReference=_refers("Condition/cond0"))
    yield _encounter("secretenc", meta={"security": [{"system": ACT_CODE, "code": "PSY"}]})
    yield {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
    yield _binary("b")
    yield _document("bobletter", "Binary/bobtext", "Binary/text0", patient="bob")
    yield _document("hivletter", "Binary/hivtext", "Binary/text1", meta={"security": [_HIV_LABEL]})
    yield _document("oddletter", "Binary/oddtext", modifierExtension=[{"url": "http://x/not", "valueBoolean": True}])
    yield from map(_binary, ("bobtext", "hivtext", "oddtext"))
    # What shown documents point at, and what yet isn't there for who reads them.
    yield _binary("otherwise", securityContext={"reference": "Patient/bob"})
    yield _binary("labelled", meta={"security": [_HIV_LABEL]})
    yield _binary("ruled", implicitRules="http://x/rules")


def _withheld() -> Iterator[Resource]:
    yield from _odd()
    yield from withheld_kinds()
    for n in range(40):
        yield _others(n)
    # Results of one patient, had one by one, are no more than an app may have pass in a row (docs/leaks.md, bounds).
    for n in range(24):
        yield _sensitive(n)
    for n in range(8):
        yield _labelled(n)


def _marked(resource: Resource) -> Resource:
    return {**resource, "language": MARK}


SHOWN = list(_shown())
WITHHELD = [_marked(resource) for resource in _withheld()]


def mixed() -> list[Resource]:
    """Both, so that in the order of storage the shown ones stand between withheld ones, singly and in long rows."""
    rows = zip_longest(SHOWN, WITHHELD[: len(SHOWN)])
    together = [found for row in rows for found in row if found is not None]
    half = len(together) // 2
    return [*together[:half], *WITHHELD[len(SHOWN) :], *together[half:]]


Version = Resource | str
"""A next version of a resource, or the `Type/id` of one that is deleted."""


def _lab(number: int, **more: object) -> Resource:
    found = next(resource for resource in SHOWN if resource["id"] == f"lab{number:02}")
    return {**found, **more}


_HIV: dict[str, Any] = {"code": {"coding": [{"code": HIV_CODE}]}}
WITHHELD_VERSIONS: tuple[list[Version], list[Version]] = (
    [_lab(5, category=[]), "Observation/lab06"],
    [_marked(_lab(5, **_HIV)), _marked(_lab(6, subject={"reference": "Patient/bob"}))],
)
"""The second versions of two shown resources, in a world without and in one with what is withheld."""
LATER_VERSIONS: list[Version] = [_lab(5, status="amended"), _lab(5), _lab(6)]
"""What follows in both, so that the shown resources are current again."""
WITHHELD_HISTORIES: list[Version] = [
    *(_marked(observation("relabelled")), _marked(observation("relabelled", **_HIV))),
    *(_marked(observation("gone")), "Observation/gone"),
]
"""Of resources that once were open, in the world with what is withheld."""

_MASKED: dict[str, Resource] = {
    "Patient": {
        "name": [{"family": "Zed", "given": ["Altered", "Twice"]}],
        "telecom": [{"system": "email", "value": "z@example.org"}],
        "birthDate": "2001",
        "generalPractitioner": _refers("Practitioner/doc3", "Practitioner/doc1"),
    },
    "Observation": {"performer": _refers("Practitioner/doc3"), "note": [{"text": "altered"}]},
    "Practitioner": {"telecom": [{"system": "email", "value": "altered@example.org"}]},
    "Condition": {"recorder": {"reference": "Practitioner/doc0"}},
    "DiagnosticReport": {"performer": _refers("Organization/org")},
    "Encounter": {"identifier": [{"value": "altered"}]},
    "DocumentReference": {"content": [{"attachment": {"url": "Binary/b"}}]},
    "Binary": {"data": "YWx0ZXJlZA=="},
    "Media": {"content": {"url": "Binary/b"}, "operator": {"reference": "Practitioner/doc2"}},
    "Endpoint": {"address": "https://example.org/altered"},
}
"""Elements that the limited masks hide, otherwise filled."""


def masked_differently(resource: Resource) -> Resource:
    """The resource with other values in what research doesn't see of it."""
    others = _MASKED.get(str(resource["resourceType"]), {})
    return {name: others.get(name, value) for name, value in resource.items()}
