"""What is remembered of members changes nothing: neither what a resource is, nor how a mask leaves it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.minimization.mask_plan import MaskNode
from fhir.minimization.masks import Masks
from fhir.minimization.members import MAX_MEMBER, Member, MemberReader
from fhir.minimization.minimize import MinimizeRules, minimize
from fhir.minimization.seen_before import SeenBefore
from fhir.r4.definitions import load_definitions
from fhir.r4.strict_json import decode_once

CATALOGUE = load_catalogue()
DEFINITIONS = load_definitions()
FACTS = FactsReader(DEFINITIONS, CATALOGUE, upstream_bases=("https://ehr.example/fhir",))
MASKS = Masks(CATALOGUE, DEFINITIONS)
RULES = MinimizeRules(
    lambda kind: MASKS.node("PATRQT", kind),
    CATALOGUE.contained,
    CATALOGUE.named_references,
    FACTS.relative,
)
SHARED = MemberReader(FACTS)
"""One for all examples, so that what it remembers of one resource meets the next."""


def _coding(system: str, code: str) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code}]}


_REFERENCES = st.sampled_from(
    [
        {"reference": "Patient/p1"},
        {"reference": "Patient/p2", "display": "B"},
        {"reference": "https://ehr.example/fhir/Patient/p1/_history/3"},
        {"reference": "https://elsewhere.example/Patient/p1"},
        {"reference": "#c1"},
        {"reference": "Group/g"},
        {"display": "nobody"},
        {"type": "Device", "display": "a device"},
        "Patient/p1",
        None,
    ]
)
_CONCEPTS = st.sampled_from(
    [
        _coding("http://loinc.org", "718-7"),
        _coding("http://hl7.org/fhir/sid/icd-10-cm", "F10.20"),
        _coding("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory"),
        {"text": "words"},
        "laboratory",
        [],
    ]
)
_METAS = st.sampled_from(
    [
        {"lastUpdated": "2026-01-02T03:04:05Z", "versionId": "3"},
        {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]},
        {"profile": ["http://example.org/profile"], "tag": [{"code": "x"}]},
        {"security": "R"},
        [],
    ]
)
_MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["a", "b"]),
    "meta": _METAS,
    "text": st.just({"status": "generated", "div": "<div>x</div>"}),
    "status": st.sampled_from(["final", "active", 7]),
    "category": st.lists(_CONCEPTS, max_size=2),
    "code": st.one_of(_CONCEPTS, st.sampled_from([86406008, ["86406008"], [["x"]], None])),
    "system": st.just("http://loinc.org"),
    "subject": _REFERENCES,
    "patient": _REFERENCES,
    "performer": st.lists(_REFERENCES, max_size=2),
    "author": st.lists(_REFERENCES, max_size=2),
    "encounter": _REFERENCES,
    "effectiveDateTime": st.sampled_from(["2026-01-02", "2025-02-30", "yesterday"]),
    "effectivePeriod": st.sampled_from([{"start": "2026-01-02"}, {"end": "x"}]),
    "period": st.just({"start": "2020-01-02", "end": "2021"}),
    "valueQuantity": st.just({"value": 1.5, "unit": "mg", "code": "mg"}),
    "extension": st.just([{"url": "http://example.org/e", "valueReference": {"reference": "Patient/p9"}}]),
    "modifierExtension": st.just([]),
    "implicitRules": st.just("http://example.org/rules"),
    "contained": st.just(
        [{"resourceType": "Medication", "id": "c1", "meta": {"security": [{"code": "R"}]}, "code": {"text": "x"}}]
    ),
    "securityLabel": st.just([_coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "HIV")]),
    "questionnaire": st.just("http://loinc.org/q/44249-1"),
    "item": st.just([{"linkId": "/44250-9", "item": [{"linkId": "/44251-7"}]}]),
    "unknown": st.just({"code": "F10.20", "system": "http://hl7.org/fhir/sid/icd-10-cm"}),
    "link": st.just([{"other": {"reference": "Patient/p2"}, "type": "seealso"}]),
}
_TYPES = ["Observation", "Condition", "Patient", "DocumentReference", "QuestionnaireResponse", "Encounter", "Nothing"]


@st.composite
def _resources(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(_MEMBERS)), unique=True, max_size=9))
    return {"resourceType": draw(st.sampled_from(_TYPES)), **{name: draw(_MEMBERS[name]) for name in names}}


@settings(max_examples=400, deadline=None)
@given(_resources())
def test_a_resource_in_members_is_what_it_is_as_a_whole(resource: dict[str, Any]) -> None:
    raw = msgspec.json.encode(resource)
    for reader in (SHARED, MemberReader(FACTS)):
        facts, members = reader.read(raw)
        assert facts == FACTS.read(decode_once(raw))
        node = MASKS.node("PATRQT", facts.resource_type)
        if node is not None:
            assert _outcome(members, node) == _outcome(raw, node)


def _outcome(resource: Any, node: MaskNode) -> bytes | str:
    try:
        return minimize(resource, node, RULES)
    except ValueError as refused:
        return type(refused).__name__


@pytest.mark.parametrize(
    "raw",
    [
        b'{"resourceType":"Observation","code":{"text":"a"},"code":{"text":"b"}}',
        b'{"resourceType":"Observation","code":{"text":"a","text":"b"}}',
        b'{"resourceType":"Observation", "code":{"text":"a"}, "code":{"text":"b"}}',
        b'{"resourceType":"Observation","status":"final","status":"final"}',
        b'{"resourceType":"Observation","resourceType":"Patient"}',
        b'{"resourceType":"Observation","status":"\\q"}',
        b'["Observation"]',
        b'"Observation"',
        b"{",
        b"",
    ],
)
def test_what_means_more_than_one_thing_is_refused(raw: bytes) -> None:
    for _ in range(3):  # also when its members are known already
        with pytest.raises(msgspec.DecodeError):
            SHARED.read(raw)


def test_what_is_spaced_or_escaped_is_read_like_any_other() -> None:
    code, subject = {"text": "Größe"}, {"reference": "Patient/p"}
    resource = {"resourceType": "Observation", "id": "a", "code": code, "subject": subject}
    spaced, escaped = json.dumps(resource, indent=2).encode(), json.dumps(resource, separators=(",", ":")).encode()
    assert SHARED.read(spaced)[0] == SHARED.read(escaped)[0] == FACTS.read(resource)


def test_members_that_come_again_are_the_same_object_and_rare_ones_arent_kept() -> None:
    reader = MemberReader(FACTS)
    raw = b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"}}'
    first, second, third = (reader.read(raw)[1]["subject"] for _ in range(3))
    assert isinstance(first, Member)
    assert first is not second
    assert second is third


def test_what_is_remembered_is_bounded() -> None:
    reader = MemberReader(FACTS, max_bytes=10_000)
    for number in range(100):
        for _ in range(2):
            reader.read(b'{"resourceType":"Observation","subject":{"reference":"Patient/%d"}}' % number)
    assert len(reader._known) == 4
    large = b'{"resourceType":"Observation","note":[{"text":"%s"}]}' % (b"x" * MAX_MEMBER)
    for _ in range(3):
        reader.read(large)
    assert len(reader._known) == 4


def test_marks_are_known_when_they_come_again_and_forgotten_later() -> None:
    seen = SeenBefore(most=3)
    assert [seen.again(mark) for mark in (1, 1, 2, 3, 1, 4, 5, 6, 1)] == [False, True, False, False, True, *[False] * 4]


@pytest.mark.parametrize("code", [86406008, True, ["86406008"], [["x"]], {"code": 86406008}, {"code": ["86406008"]}])
@pytest.mark.parametrize("place", ["code", "valueCodeableConcept"])
def test_a_code_that_cant_be_read_withholds_its_resource(code: object, place: str) -> None:
    resource = {"resourceType": "Observation", "id": "a", place: code, "subject": {"reference": "Patient/p1"}}
    readable = place != "code" and not isinstance(code, dict)  # no member called `code`: not a code that is misshapen
    assert FACTS.read(resource).foreign is not readable
    assert SHARED.read(msgspec.json.encode(resource))[0].foreign is not readable
