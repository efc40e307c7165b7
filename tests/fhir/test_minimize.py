"""What is kept stays byte for byte; what no rule keeps is gone; what R4 requires is replaced, not missing."""

from __future__ import annotations

import json
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assent.policy_files import load_catalogue
from fhir.minimization.facts import FactsReader
from fhir.minimization.mask_plan import MaskCompiler, MaskError
from fhir.minimization.masks import Masks, restricted
from fhir.minimization.minimize import MinimizeRules, NotMinimizable, minimize
from fhir.r4.definitions import load_definitions
from fhir.r4.narrative import is_narrative
from policies.codes import DATA_ABSENT_REASON_URL

DEFINITIONS = load_definitions()
CATALOGUE = load_catalogue()
MASKS = Masks(CATALOGUE, DEFINITIONS)
FACTS = FactsReader(DEFINITIONS, CATALOGUE, upstream_bases=("https://ehr.example/fhir",))
MASKED = {"extension": [{"url": DATA_ABSENT_REASON_URL, "valueCode": "masked"}]}


def _minimized(body: bytes, purpose: str = "PATRQT") -> bytes:
    resource_type = json.loads(body)["resourceType"]
    node = MASKS.node(purpose, resource_type)
    assert node is not None
    rules = MinimizeRules(
        lambda kind: MASKS.node(purpose, kind),
        CATALOGUE.contained,
        CATALOGUE.named_references,
        FACTS.relative,
    )
    return minimize(msgspec.Raw(body), node, rules)


def test_kept_elements_stay_byte_for_byte_and_in_order() -> None:
    body = (
        b'{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"caf\\u00e9"},'
        b'"valueQuantity":{ "value" : 1.50, "unit":"mg" ,"unheardOf":{"x":[1.0]}}}'
    )
    assert _minimized(body) == body.replace(b'"id":"o1",', b'"id":"o1",')


def test_narrative_and_unknown_members_are_gone_and_the_resource_says_so() -> None:
    out = json.loads(
        _minimized(
            b'{"resourceType":"Condition","id":"c","text":{"status":"generated","div":"<div>HIV</div>"},'
            b'"invented":"secret","subject":{"reference":"Patient/p1"}}'
        )
    )
    assert set(out) == {"resourceType", "id", "meta", "subject"}
    assert out["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert out["meta"]["security"][0]["code"] == "REDACTED"


@pytest.mark.parametrize("purpose", ["PATRQT", "HRESCH"])
def test_a_care_plans_narrative_has_a_sentence_in_its_place_that_hangs_on_nothing(purpose: str) -> None:
    plan = (
        '{"resourceType":"CarePlan","id":"c","status":"active","intent":"plan","subject":{"reference":"Patient/p"}%s}'
    )
    told = [
        json.loads(_minimized((plan % f',"text":{narrative}').encode(), purpose))
        for narrative in ('{"status":"generated","div":"<div>HIV</div>"}', '{"status":"additional"}', '"odd"', "null")
    ]
    assert {json.dumps(one["text"]) for one in told} == {json.dumps(told[0]["text"])}
    assert (told[0]["text"]["status"], is_narrative(told[0]["text"]["div"])) == ("generated", True)
    assert "HIV" not in json.dumps(told)
    assert all(one["meta"]["tag"][0]["code"] == "SUBSETTED" for one in told)
    assert "text" not in json.loads(_minimized((plan % "").encode(), purpose))


def test_a_care_plan_held_to_elements_has_the_sentence_only_when_it_is_asked_for() -> None:
    node = MASKS.node("PATRQT", "CarePlan")
    assert node is not None
    for elements, there in ((frozenset({"title"}), False), (frozenset({"text"}), True)):
        assert ("text" in restricted(node, elements, DEFINITIONS, "CarePlan").stand_ins) is there


def test_meta_keeps_only_version_time_profile_and_labels() -> None:
    out = json.loads(
        _minimized(
            b'{"resourceType":"Condition","id":"c","meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z",'
            b'"source":"urn:ward-7","tag":[{"code":"vip"}],"security":[{"code":"N"}],"profile":["http://p"]},'
            b'"subject":{"reference":"Patient/p1"}}'
        )
    )
    assert set(out["meta"]) == {"versionId", "lastUpdated", "profile", "security", "tag"}
    assert [c["code"] for c in out["meta"]["tag"]] == ["SUBSETTED"]
    assert [c["code"] for c in out["meta"]["security"]] == ["N", "REDACTED"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "Patient/p1", "display": "Ana"}, {"reference": "Patient/p1"}),
        ({"reference": "https://ehr.example/fhir/Patient/p1"}, {"reference": "Patient/p1"}),
        ({"reference": "Patient/p1", "identifier": {"value": "123"}}, {"reference": "Patient/p1"}),
        ({"reference": "https://elsewhere.example/Patient/p1"}, MASKED),
        ({"display": "Ana Lima"}, MASKED),
        ({"identifier": {"value": "123"}}, MASKED),
        ({"reference": "#p"}, MASKED),
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}, MASKED),
    ],
)
def test_references_lose_what_names_people(reference: object, expected: object) -> None:
    body = json.dumps({"resourceType": "Condition", "id": "c", "subject": reference}).encode()
    assert json.loads(_minimized(body))["subject"] == expected


def test_the_display_of_a_provider_stays_and_of_a_condition_goes_at_any_depth() -> None:
    out = json.loads(
        _minimized(
            b'{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"},'
            b'"subject":{"reference":"Patient/p1"},'
            b'"serviceProvider":{"reference":"Organization/o","display":"Clinic"},'
            b'"diagnosis":[{"condition":{"reference":"Condition/c9","display":"Opioid dependence"},"rank":1}]}'
        )
    )
    assert out["serviceProvider"] == {"reference": "Organization/o", "display": "Clinic"}
    assert out["diagnosis"] == [{"condition": {"reference": "Condition/c9"}, "rank": 1}]


def test_what_a_medication_is_called_does_not_stay_with_a_reference_to_it() -> None:
    """The Medication may be one that is withheld."""
    for kind in ("MedicationRequest", "MedicationStatement", "MedicationDispense", "MedicationAdministration"):
        named = {"reference": "Medication/m", "display": "Efavirenz"}
        body = {"resourceType": kind, "id": "m", "medicationReference": named, "subject": {"reference": "Patient/p1"}}
        for purpose in ("PATRQT", "HRESCH"):
            out = json.loads(_minimized(json.dumps(body).encode(), purpose))
            assert out["medicationReference"] == {"reference": "Medication/m"}


def _in_kept_parts(extension: object) -> list[dict[str, object]]:
    """Patients in whom an extension stands in an element, below a primitive, in another extension, in a contained."""
    link = {"resourceType": "Patient", "id": "p"}
    within = {"url": "http://x", "extension": [extension]}
    provider = {"resourceType": "Practitioner", "id": "d", "name": [{"text": "Dr", "extension": [extension]}]}
    race = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": [extension]}
    return [
        {**link, "name": [{"family": "Ana", "extension": [extension]}]},
        {**link, "name": [{"_given": [None, {"extension": [extension]}]}]},
        {**link, "gender": "female", "_gender": {"extension": [extension]}},
        {**link, "maritalStatus": {"coding": [{"code": "M", "extension": [within]}]}},
        {**link, "contained": [provider], "generalPractitioner": [{"reference": "#d"}]},
        {**link, "extension": [race]},
    ]


@pytest.mark.parametrize("purpose", ["PATRQT", "HRESCH"])
@pytest.mark.parametrize(
    ("type_", "stays"),
    [
        ("Patient", True),
        ("http://hl7.org/fhir/StructureDefinition/Patient", True),
        ("Ana Nowak", False),
        ("http://hl7.org/fhir/StructureDefinition/alcohol-abuse", False),
        ("", False),
    ],
)
def test_the_type_of_a_reference_stays_if_it_is_one_of_r4(type_: str, stays: bool, purpose: str) -> None:
    subject = {"reference": "Patient/p1", "type": type_}
    out = json.loads(_minimized(json.dumps({"resourceType": "Condition", "subject": subject}).encode(), purpose))
    assert out["subject"] == (subject if stays else {"reference": "Patient/p1"})
    assert ("meta" in out) is not stays


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ({"reference": "Patient/p1"}, True),
        ({"reference": "Patient/p1", "type": "Patient"}, True),
        ({"reference": "Patient/p1", "type": "http://hl7.org/fhir/StructureDefinition/Patient"}, True),
        ({"reference": "Patient/p1", "type": "Bob"}, False),
        ({"reference": "Patient/p1", "type": {"text": "Bob"}}, False),
        ({"reference": "Practitioner/d", "display": "Dr Who"}, True),
        ({"reference": "#c"}, True),
        ({"reference": "Patient/bob", "display": "Bob"}, False),
        ({"reference": "Medication/m", "display": "Efavirenz"}, False),
        ({"reference": "Practitioner/d", "identifier": {"value": "123"}}, False),
        ({"reference": "#c", "display": "Bob"}, False),
        ({"reference": "https://elsewhere.example/Patient/p1"}, False),
        ({"display": "Bob"}, False),
        ({"identifier": {"value": "123"}}, False),
        ({"reference": "Patient/bob", "_display": {"extension": [{"url": "x", "valueString": "Bob"}]}}, False),
        ({"reference": "Patient/bob", "extension": [{"url": "x", "valueString": "Bob"}]}, False),
        ("Bob", False),
    ],
)
def test_an_extension_in_what_is_kept_names_nobody_or_the_resource_is_refused(reference: object, shown: bool) -> None:
    for resource in _in_kept_parts({"url": "http://x", "valueReference": reference}):
        body = json.dumps(resource, separators=(",", ":")).encode()
        for spelt in (body, body.replace(b'"extension"', b'"\\u0065xtension"').replace(b'"valueR', b'"value\\u0052')):
            if shown:
                assert json.loads(_minimized(spelt)).items() >= resource.items()
            else:
                with pytest.raises(NotMinimizable):
                    _minimized(spelt)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("valueAnnotation", "authorReference"),
        ("valueSignature", "who"),
        ("valueSignature", "onBehalfOf"),
        ("valueIdentifier", "assigner"),
        ("valueDataRequirement", "subjectReference"),
        ("valueTriggerDefinition", "timingReference"),
        ("valueUsageContext", "valueReference"),
    ],
)
@pytest.mark.parametrize("reference", [{"reference": "Patient/bob", "display": "Bob"}, {"display": "Bob"}])
def test_a_reference_in_a_data_type_of_an_extension_names_nobody(
    value: str, name: str, reference: dict[str, str]
) -> None:
    for resource in _in_kept_parts({"url": "http://x", value: {name: reference}}):
        with pytest.raises(NotMinimizable):
            _minimized(json.dumps(resource).encode())
    for resource in _in_kept_parts({"url": "http://x", value: {name: {"reference": "Patient/bob"}}}):
        assert json.loads(_minimized(json.dumps(resource).encode())).items() >= resource.items()


@pytest.mark.parametrize(
    "member",
    [
        {"maritalStatus": {"text": "x", "author": {"reference": "Patient/bob", "display": "Bob"}}},
        {"maritalStatus": {"coding": [{"code": "M", "subject": {"reference": "Patient/bob", "display": "Bob"}}]}},
        {"name": [{"family": "Ana", "reference": {"display": "Bob"}}]},
        {"name": [{"family": "Ana", "reference": "Patient/bob", "identifier": {"value": "123"}}]},
    ],
)
def test_a_reference_where_r4_has_none_names_nobody(member: dict[str, object]) -> None:
    with pytest.raises(NotMinimizable):
        _minimized(json.dumps({"resourceType": "Patient", "id": "p", **member}).encode())


def test_comments_in_what_is_kept_are_refused_and_elsewhere_go() -> None:
    for kept in ({"name": [{"family": "Ana", "fhir_comments": ["HIV"]}]}, {"_gender": {"fhir_comments": ["HIV"]}}):
        with pytest.raises(NotMinimizable):
            _minimized(json.dumps({"resourceType": "Patient", "id": "p", **kept}).encode())
    assert b"HIV" not in _minimized(b'{"resourceType":"Patient","id":"p","fhir_comments":["HIV"]}')


def test_contained_products_stay_masked_and_contained_patients_go() -> None:
    out = json.loads(
        _minimized(
            b'{"resourceType":"MedicationRequest","id":"m","status":"active","intent":"order",'
            b'"contained":[{"resourceType":"Medication","id":"med","code":{"text":"x"},"text":{"div":"y"}},'
            b'{"resourceType":"Patient","id":"other","name":[{"text":"Bob"}]}],'
            b'"medicationReference":{"reference":"#med"},"subject":{"reference":"Patient/p1"},'
            b'"requester":{"reference":"#other"}}'
        )
    )
    assert out["contained"] == [{"resourceType": "Medication", "id": "med", "code": {"text": "x"}}]
    assert out["medicationReference"] == {"reference": "#med"}
    assert out["requester"] == MASKED


def test_only_named_extensions_of_the_resource_stay() -> None:
    race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    body = {
        "resourceType": "Patient",
        "id": "p",
        "extension": [
            {"url": race, "valueString": "x"},
            {"url": "http://ehr.example/hiv-clinic", "valueBoolean": True},
        ],
    }
    assert json.loads(_minimized(json.dumps(body).encode()))["extension"] == [{"url": race, "valueString": "x"}]


def test_for_research_a_patient_has_no_name_and_only_a_part_of_the_address() -> None:
    body = {
        "resourceType": "Patient",
        "id": "p",
        "gender": "female",
        "name": [{"family": "Lima"}],
        "_birthDate": {"extension": [{"url": "http://x", "valueString": "1970"}]},
        "birthDate": "1970-01-01",
        "address": [{"line": ["1 Rd"], "city": "Y", "state": "MA", "_line": [None]}, {"country": "US"}],
    }
    out = json.loads(_minimized(json.dumps(body).encode(), "HRESCH"))
    assert out["address"] == [{"state": "MA"}, {"country": "US"}]
    assert not {"name", "birthDate", "_birthDate"} & set(out)


def test_required_elements_that_are_masked_are_replaced_all_the_way_down() -> None:
    body = (
        b'{"resourceType":"DocumentReference","id":"d","status":"current","content":[{"attachment":{"data":"QQ=="}}]}'
    )
    out = json.loads(_minimized(body, "HRESCH"))
    assert out["content"] == [{**MASKED, "attachment": MASKED}]


_OTHER: Final = {"extension": [{"url": "http://x", "valueString": "HIDDEN"}]}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"_status": _OTHER}, {"_status": MASKED}),
        ({"status": None, "_status": _OTHER}, {"status": None, "_status": MASKED}),
        ({"status": "final", "_status": _OTHER}, {"status": "final"}),
        ({"_status": MASKED}, {"_status": MASKED}),
    ],
)
def test_an_element_of_which_only_an_extension_was_there_says_why_nothing_is(
    given: dict[str, object], kept: dict[str, object]
) -> None:
    out = json.loads(_minimized(json.dumps({"resourceType": "Observation", "id": "o"} | given).encode(), "HRESCH"))
    assert {name: value for name, value in out.items() if name.endswith("status")} == kept


@pytest.mark.parametrize(
    ("event", "beside", "kept"),
    [
        (["2026", None], [None, _OTHER], [None, MASKED]),
        (["2026", None, "2027"], [_OTHER, MASKED, _OTHER], [None, MASKED, None]),
        (["2026", None, None], [None, _OTHER, MASKED], [None, MASKED, MASKED]),
        (["2026", None], [None, None], None),
        (["2026", "2027"], [None, _OTHER], None),
        (None, [_OTHER, _OTHER], [MASKED, MASKED]),
    ],
)
def test_a_null_in_a_list_keeps_something_beside_it(event: object, beside: object, kept: object) -> None:
    timing = {"_event": beside} if event is None else {"event": event, "_event": beside}
    body = {"resourceType": "Observation", "id": "o", "status": "final", "effectiveTiming": timing}
    out = json.loads(_minimized(json.dumps(body).encode(), "HRESCH"))["effectiveTiming"]
    assert (out.get("event"), out.get("_event")) == (event, kept)


def test_a_purpose_without_a_mask_for_the_type_shows_nothing() -> None:
    assert MASKS.node("HRESCH", "Consent") is None
    assert MASKS.node("unheard-of", "Patient") is None


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"text"',
        b'{"resourceType":"Condition","id":"c","subject":"Patient/p1"}',
        b'{"resourceType":"Condition","id":"c","contained":{}}',
        b'{"resourceType":"Condition","id":"c","meta":[]}',
        b'{"resourceType":"Condition","id":"c","extension":"x"}',
        b'{"resourceType":"Condition"',
        b'{"resourceType":"Condition","subject":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_content_not_shaped_as_fhir_is_refused_whole(body: bytes) -> None:
    node = MASKS.node("PATRQT", "Condition")
    assert node is not None
    rules = MinimizeRules(lambda _: None, frozenset(), frozenset(), FACTS.relative)
    with pytest.raises(NotMinimizable):
        minimize(body, node, rules)


def test_duplicate_keys_can_not_smuggle_a_member_past_the_mask() -> None:
    out = _minimized(b'{"resourceType":"Condition","id":"c","text":{"div":"a"},"text":{"div":"b"},"\\u0074ext":1}')
    assert b"div" not in out
    assert "text" not in json.loads(out)


def test_an_allow_list_that_names_no_element_of_r4_stops_the_start() -> None:
    with pytest.raises(MaskError, match="no element `nme`"):
        MaskCompiler(DEFINITIONS).compile("Patient", frozenset({"nme"}))


def test_elements_asked_for_narrow_the_mask_and_never_widen_it() -> None:
    node = MASKS.node("HRESCH", "Patient")
    assert node is not None
    kept = restricted(node, frozenset({"gender", "name"}), DEFINITIONS, "Patient")
    assert set(kept.members) == {"resourceType", "id", "meta", "contained", "gender", "_gender"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "#p", "Patient/1"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["reference", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["text", "subject", "code", "meta", "contained", "extension", "zzz"]), _json))
def test_whatever_the_content_only_listed_members_come_out(content: dict[str, object]) -> None:
    body = json.dumps({"resourceType": "Condition", "id": "c", **content}).encode()
    try:
        out = json.loads(_minimized(body))
    except NotMinimizable:
        return
    assert not {"text", "zzz"} & set(out)
