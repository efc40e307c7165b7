"""L30-L38 inside one resource: what no list names is not there, at any depth and in any spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.leaks.world import App, World, observation, patient

HIDDEN = "HIDDEN-CONTENT"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


async def _shown(leaky: World, app: App, resource: dict[str, Any]) -> dict[str, Any]:
    """The resource as the app sees it, with what is hidden searched for in its whole text."""
    path = f"{resource['resourceType']}/{resource['id']}"
    with leaky.upstream.saying(f"/{path}", json.dumps(resource).encode()):
        answer = await app.get(path)
    assert answer.status_code == 200
    assert HIDDEN not in answer.text
    found: dict[str, Any] = answer.json()
    return found


def _extension(**value: object) -> list[dict[str, object]]:
    return [{"url": "http://example.org/anything", **(value or {"valueString": HIDDEN})}]


@pytest.mark.leak("L30", "L33", "L36")
@pytest.mark.parametrize(
    "more",
    [
        {"text": {"status": "generated", "div": HIDDEN}},
        {"extension": _extension()},
        {"extension": [{"url": "http://example.org/a", "extension": _extension()}]},
        {"extension": [{"url": ["no text"], "valueString": "x"}, *_extension()][1:]},
        {"meta": {"source": HIDDEN, "tag": [{"code": HIDDEN}], "extension": _extension()}},
        {"meta": {"unheard": HIDDEN}},
        {"fhir_comments": [HIDDEN], "unheard": HIDDEN, "_unheard": {"extension": _extension()}},
        {"_id": {"extension": _extension()}, "_resourceType": HIDDEN},
        {"Status": HIDDEN, "STATUS": HIDDEN, "status ": HIDDEN, "": HIDDEN},
    ],
    ids=lambda more: ",".join(more),
)
async def test_l30_l33_l36_what_no_list_names_at_the_top_is_removed(leaky: World, more: dict[str, Any]) -> None:
    app = await leaky.app(["laboratory"])
    found = await _shown(leaky, app, observation("lab0", **more))
    assert set(found) == {"resourceType", "id", "meta", "status", "code", "subject", "effectiveDateTime", "category"}
    assert found["meta"]["tag"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    ]


@pytest.mark.leak("L31")
@pytest.mark.parametrize(
    ("inside", "stays"),
    [
        ({"resourceType": "Patient", "id": "x", "name": [{"text": HIDDEN}]}, False),
        ({"resourceType": "RelatedPerson", "id": "x", "name": [{"text": HIDDEN}]}, False),
        ({"resourceType": "Observation", "id": "x", "valueString": HIDDEN}, False),
        ({"resourceType": "Bundle", "id": "x", "entry": [{"resource": {"id": HIDDEN}}]}, False),
        ({"resourceType": "Practitioner", "name": [{"text": HIDDEN}]}, False),
        ({"resourceType": "Practitioner", "id": "x", "contained": [{"id": HIDDEN}]}, False),
        ({"resourceType": "Practitioner", "id": "x", "birthDate": HIDDEN, "photo": [{"data": HIDDEN}]}, True),
        ({"resourceType": "Practitioner", "id": "x", "text": {"div": HIDDEN}, "meta": {"source": HIDDEN}}, True),
    ],
    ids=lambda value: str(value)[:70],
)
async def test_l31_contained_resources_are_masked_or_gone(leaky: World, inside: dict[str, Any], stays: bool) -> None:
    app = await leaky.app(["laboratory"])
    resource = observation("lab0", contained=[inside], performer=[{"reference": "#x", "display": HIDDEN}])
    found = await _shown(leaky, app, resource)
    assert ("contained" in found) is stays
    assert ("reference" in found["performer"][0]) is stays


@pytest.mark.leak("L32", "L34")
@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Patient/bob", "display": HIDDEN},
        {"reference": "Patient/ana", "identifier": {"value": HIDDEN}},
        {"reference": "RelatedPerson/r", "display": HIDDEN},
        {"reference": "Condition/opioid", "display": HIDDEN},
        {"reference": "Practitioner/doc", "identifier": {"value": HIDDEN, "assigner": {"display": HIDDEN}}},
        {"reference": "Practitioner/doc", "extension": _extension(), "unheard": HIDDEN},
        {"reference": f"http://elsewhere.example/{HIDDEN}", "display": HIDDEN},
        {"reference": f"urn:uuid:{HIDDEN}"},
        {"reference": f"Patient?identifier={HIDDEN}"},
        {"identifier": {"value": HIDDEN}},
        {"display": HIDDEN},
    ],
    ids=lambda value: str(value)[:70],
)
@pytest.mark.parametrize("place", ["focus", "performer", "note", "derivedFrom"])
async def test_l32_l34_references_say_no_more_than_where_they_lead(
    leaky: World, place: str, reference: dict[str, Any]
) -> None:
    app = await leaky.app(["laboratory"])
    value = {"text": "a note", "authorReference": reference} if place == "note" else reference
    more: dict[str, Any] = {place: [value]}
    await _shown(leaky, app, observation("lab0", **more))


@pytest.mark.leak("L34")
async def test_l34_identifiers_of_people_stay_hidden_in_backbones_and_datatypes(leaky: World) -> None:
    app = await leaky.app(["encounters", "demographics"])
    who = {"identifier": {"value": HIDDEN}, "display": HIDDEN}
    encounter = {
        "resourceType": "Encounter",
        "id": "enc",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/ana"},
        "identifier": [{"value": "e1", "assigner": who}],
        "participant": [{"individual": who}],
        "location": [{"location": who}],
        "hospitalization": {"origin": who, "destination": who},
    }
    assert (await _shown(leaky, app, encounter))["identifier"][0]["value"] == "e1"


@pytest.mark.leak("L37", "L38")
@pytest.mark.parametrize(
    "more",
    [
        {"deceasedString": HIDDEN, "multipleBirthInteger": 2, "multipleBirthString": HIDDEN},
        {"_multipleBirthBoolean": {"extension": _extension()}, "_birthDate": {"extension": _extension()}},
        {"address": [{"state": "VT", "line": [HIDDEN], "_line": [None, {"extension": _extension()}], "city": HIDDEN}]},
        {"address": [{"state": "VT", "text": HIDDEN, "extension": _extension(), "unheard": HIDDEN}]},
        {"address": [{"state": "VT", "_state": {"id": "s"}, "period": {"start": HIDDEN}}, {"postalCode": HIDDEN}]},
        {"contact": [{"name": {"text": HIDDEN}, "organization": {"display": HIDDEN}}], "photo": [{"data": HIDDEN}]},
        {"name": [{"text": HIDDEN}], "telecom": [{"value": HIDDEN}], "identifier": [{"value": HIDDEN}]},
        {"name": [None, {"given": [None, HIDDEN]}], "_name": HIDDEN, "link": [{"other": {"display": HIDDEN}}]},
    ],
    ids=lambda value: str(value)[:60],
)
async def test_l37_l38_every_variant_and_every_depth_of_a_masked_element_goes(
    leaky: World, more: dict[str, Any]
) -> None:
    app = await leaky.app(["demographics"], purpose="HRESCH")
    found = await _shown(leaky, app, patient("ana", **more))
    allowed = {"resourceType", "id", "meta", "gender", "address", "deceasedBoolean", "deceasedDateTime"}
    assert set(found) <= allowed
    nothing = {"extension": [{"url": ABSENT, "valueCode": "masked"}]}
    addresses = [address for address in found.get("address", ()) if address != nothing]
    assert all(address and set(address) <= {"state", "_state", "country", "id"} for address in addresses)


@pytest.mark.leak("L37")
async def test_l37_what_is_required_and_masked_is_named_masked_whatever_its_variant(leaky: World) -> None:
    app = await leaky.app(["documents"], purpose="HRESCH")
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": "Patient/ana"},
        "content": [{"attachment": {"data": HIDDEN, "url": HIDDEN, "title": HIDDEN}}],
        "description": HIDDEN,
    }
    found = await _shown(leaky, app, document)
    masked = {"extension": [{"url": ABSENT, "valueCode": "masked"}]}
    assert found["content"] == [{**masked, "attachment": masked}]


@pytest.mark.leak("L35")
@pytest.mark.parametrize("purpose", ["HRESCH", "HPAYMT"])
async def test_l35_attachments_are_not_part_of_the_limited_mask(leaky: World, purpose: str) -> None:
    app = await leaky.app(["laboratory"], purpose=purpose)
    form = [{"data": HIDDEN, "url": f"data:text/plain,{HIDDEN}", "title": HIDDEN}]
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]}],
        "code": {"text": "x"},
        "subject": {"reference": "Patient/ana"},
        "presentedForm": form,
        "media": [{"link": {"display": HIDDEN}}],
        "conclusion": HIDDEN,
    }
    assert "presentedForm" not in await _shown(leaky, app, report)


@pytest.mark.leak("L38")
@pytest.mark.parametrize(
    "more",
    [
        {"subject": None},
        {"code": ["no object"], "performer": [[{"reference": HIDDEN}]]},
        {"performer": "no list"},
        {"focus": [None]},
        {"meta": [HIDDEN]},
        {"meta": {"security": HIDDEN}},
        {"contained": {"resourceType": "Practitioner", "id": HIDDEN}},
        {"extension": {"url": HIDDEN}},
        {"note": [{"text": HIDDEN, "authorReference": HIDDEN}]},
    ],
    ids=lambda value: str(value)[:60],
)
async def test_l38_what_is_not_shaped_as_fhir_is_withheld_whole(leaky: World, more: dict[str, Any]) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.saying("/Observation/lab0", json.dumps(observation("lab0", **more)).encode()):
        answer = await app.get("Observation/lab0")
    assert answer.status_code == 404
    assert HIDDEN not in answer.text


@pytest.mark.leak("L33")
@pytest.mark.parametrize(("purpose", "stays"), [("PATRQT", True), ("HRESCH", False)])
async def test_l33_extensions_stay_by_the_mask_of_the_purpose(leaky: World, purpose: str, stays: bool) -> None:
    app = await leaky.app(["demographics"], purpose=purpose)
    born = {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"city": "Burlington"}}
    sex = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": "F"}
    found = await _shown(leaky, app, patient("ana", extension=[born, sex]))
    assert found["extension"] == ([born, sex] if stays else [sex])


RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
NAMED = {"url": "http://example.org/anything", "valueHumanName": {"text": HIDDEN}}
NORMAL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}
ABSENCE = {"url": ABSENT, "valueCode": "unknown"}


@pytest.mark.leak("L33", "L38")
@pytest.mark.parametrize(
    "more",
    [
        {"communication": [{"language": {"text": "es"}, "extension": [NAMED]}]},
        {"communication": [{"language": {"text": "es", "extension": [NAMED]}}]},
        {"communication": [{"language": {"text": "es", "_text": {"extension": [NAMED]}}}]},
        {"communication": [{"language": {"coding": [{"code": "es", "extension": [NAMED], "heard": HIDDEN}]}}]},
        {"communication": [{"id": HIDDEN, "preferred": True, "_preferred": {"id": HIDDEN}, "note": HIDDEN}]},
        {"communication": [{"fhir_comments": [HIDDEN], "preferred": True}]},
        {"_gender": {"extension": [NAMED], "id": HIDDEN, "note": HIDDEN}},
        {"_gender": {"extension": [ABSENCE | {"extension": [NAMED], "valueHumanName": {"text": HIDDEN}}]}},
        {"_deceasedBoolean": {"extension": [{"url": "http://example.org/a", "extension": [NAMED]}]}},
        {"extension": [{"url": RACE, "valueAddress": {"city": HIDDEN}, "valueReference": {"display": HIDDEN}}]},
        {"extension": [{"url": RACE, "extension": [NAMED, {"url": "text", "valueHumanName": {"text": HIDDEN}}]}]},
        {"extension": [{"url": RACE, "extension": [{"url": "text", "valueString": "x", "extension": [NAMED]}]}]},
        {"extension": [{"url": RACE, "extension": [{"valueString": HIDDEN}, {"url": "", "valueString": HIDDEN}]}]},
        {"extension": [{"url": RACE, "_url": {"extension": [NAMED]}, "unheard": HIDDEN}]},
        {"managingOrganization": {"reference": "Organization/o", "extension": [NAMED], "_type": NAMED}},
        {"meta": {"security": [NORMAL | {"extension": [NAMED], "unheard": HIDDEN}]}},
    ],
    ids=lambda more: json.dumps(more)[:90],
)
async def test_l33_l38_a_limited_mask_shows_of_an_element_what_r4_has_there_and_listed_extensions(
    leaky: World, more: dict[str, Any]
) -> None:
    app = await leaky.app(["demographics"], purpose="HRESCH")
    found = await _shown(leaky, app, patient("ana", **more))
    assert found["meta"]["tag"][0]["code"] == "SUBSETTED"


@pytest.mark.leak("L33")
async def test_l33_a_limited_mask_keeps_reasons_of_absence_and_listed_extensions_with_their_parts(leaky: World) -> None:
    app = await leaky.app(["demographics"], purpose="HRESCH")
    race = {
        "url": RACE,
        "extension": [{"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238"}}],
    }
    language = {"coding": [{"code": "es"}], "_text": {"extension": [ABSENCE]}}
    resource = patient(
        "ana", extension=[race], communication=[{"language": language}], _gender={"extension": [ABSENCE]}
    )
    del resource["gender"]
    found = await _shown(leaky, app, resource)
    assert found["extension"] == [race]
    assert found["communication"] == [{"language": language}]
    assert found["_gender"] == {"extension": [ABSENCE]}


@pytest.mark.leak("L33")
async def test_l33_beside_a_list_of_primitives_extensions_keep_their_place(leaky: World) -> None:
    app = await leaky.app(["laboratory"], purpose="HRESCH")
    stays: list[Any] = [None, {"extension": [ABSENCE]}]
    resource = {
        "effectiveTiming": {"event": ["2026-01-01", None, "2026-01-02"], "_event": [*stays, {"extension": [NAMED]}]},
    }
    del (timed := observation("lab0") | resource)["effectiveDateTime"]
    found = await _shown(leaky, app, timed)
    assert found["effectiveTiming"] == {"event": ["2026-01-01", None, "2026-01-02"], "_event": [*stays, None]}


@pytest.mark.leak("L38")
@pytest.mark.parametrize("purpose", ["PATRQT", "HRESCH"])
@pytest.mark.parametrize(
    "more",
    [
        {"gender": {"text": HIDDEN}},
        {"gender": [{"text": HIDDEN}]},
        {"gender": ["female", {"text": HIDDEN}]},
        {"gender": [[HIDDEN]]},
        {"active": {"reference": "Practitioner/d", "display": HIDDEN}},
        {"_gender": HIDDEN},
        {"communication": HIDDEN},
        {"communication": [HIDDEN]},
        {"communication": [{"language": {"text": "es"}}, HIDDEN]},
        {"communication": [[{"language": {"text": HIDDEN}}]]},
        {"managingOrganization": "Organization/o"},
        {"managingOrganization": {"reference": {"display": HIDDEN}}},
        {"managingOrganization": {"reference": "Organization/o", "type": {"text": HIDDEN}}},
        {"managingOrganization": {"reference": "Organization/o", "display": {"text": HIDDEN}}},
        {"language": {"text": HIDDEN}},
        {"meta": {"versionId": {"text": HIDDEN}}},
        {"meta": {"profile": [{"text": HIDDEN}]}},
        {"meta": {"security": [NORMAL | {"display": {"text": HIDDEN}}]}},
    ],
    ids=json.dumps,
)
async def test_l38_an_object_where_r4_has_a_text_and_the_other_way_round_withholds_the_resource(
    leaky: World, more: dict[str, Any], purpose: str
) -> None:
    app = await leaky.app(["demographics"], purpose=purpose)
    with leaky.upstream.saying("/Patient/ana", json.dumps(patient("ana", **more)).encode()):
        answer = await app.get("Patient/ana")
    assert answer.status_code == 404
    assert HIDDEN not in answer.text


@pytest.mark.leak("L32", "L33", "L34")
@pytest.mark.parametrize(
    "value",
    [
        {"valueAnnotation": {"text": "x", "authorReference": {"reference": "Patient/bob", "display": HIDDEN}}},
        {"valueSignature": {"who": {"reference": "RelatedPerson/x", "identifier": {"value": HIDDEN}}}},
        {"valueIdentifier": {"value": "x", "assigner": {"display": HIDDEN}}},
        {"valueDataRequirement": {"type": "x", "subjectReference": {"reference": "http://x/Patient/1"}}},
    ],
)
async def test_l33_whom_an_extension_names_in_a_data_type_withholds_the_resource(
    leaky: World, value: dict[str, Any]
) -> None:
    app = await leaky.app(["laboratory"])
    inside = _extension(extension=_extension(**value))
    for more in ({"valueQuantity": {"value": 1, "extension": inside}}, {"_valueString": {"extension": inside}}):
        told = json.dumps(observation("lab0", **more)).encode()
        with leaky.upstream.saying("/Observation/lab0", told):
            assert (await app.get("Observation/lab0")).status_code == 404
