"""FHIRPath Patch on resources: what each operation does, and where paths lead.

The cases of HL7's own suite (FHIR/fhir-test-cases, `r4/patch/fhir-patch-tests.xml`, Apache-2.0) are named where one of
ours asks the same question; the resources and values are ours.
"""

from __future__ import annotations

from typing import Any

import pytest
from fhirpathpy import evaluate
from fhirpathpy.models import models

from fhir.r4.fhirpath_patch import apply_path_patch, read_path_patch
from fhir.r4.patch_path import PathWalk, read_path
from tests.fhir.path_patches import DEFINITIONS, MOST, OFFICIAL, OLD, USUAL, op, patch, patched


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        pytest.param(
            {"birthDate": "1920-01-01"},
            [op("replace", "Patient.birthDate", value={"valueDate": "1930-01-01"})],
            {"birthDate": "1930-01-01"},
            id="Replace Primitive",
        ),
        pytest.param({"birthDate": "1920-01-01"}, [op("delete", "Patient.birthDate")], {}, id="Delete Primitive"),
        pytest.param({}, [op("delete", "Patient.birthDate")], {}, id="delete what isn't there"),
        pytest.param(
            {},
            [op("add", "Patient", name="birthDate", value={"valueDate": "1930"})],
            {"birthDate": "1930"},
            id="Add Primitive",
        ),
        pytest.param(
            {"contact": [{"gender": "male"}]},
            [op("replace", "Patient.contact[0].gender", value={"valueCode": "female"})],
            {"contact": [{"gender": "female"}]},
            id="Replace Nested Primitive #1",
        ),
        pytest.param(
            {"contact": [{"name": {"text": "a"}}]},
            [op("replace", "Patient.contact[0].name.text", value={"valueString": "b"})],
            {"contact": [{"name": {"text": "b"}}]},
            id="Replace Nested Primitive #2",
        ),
        pytest.param(
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
            [op("delete", "Patient.contact[0].gender")],
            {"contact": [{"name": {"text": "a"}}]},
            id="Delete Nested Primitive #1",
        ),
        pytest.param(
            {"contact": [{"name": {"text": "a"}, "gender": "male"}]},
            [op("delete", "Patient.contact[0].name.text")],
            {"contact": [{"gender": "male"}]},
            id="Delete Nested Primitive #2",
        ),
        pytest.param(
            {},
            [op("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": {"text": "m"}})],
            {"maritalStatus": {"text": "m"}},
            id="Add Complex",
        ),
        pytest.param(
            {"maritalStatus": {"text": "m"}},
            [op("replace", "Patient.maritalStatus", value={"valueCodeableConcept": {"text": "n"}})],
            {"maritalStatus": {"text": "n"}},
            id="Replace Complex",
        ),
        pytest.param(
            {"maritalStatus": {"text": "m"}}, [op("delete", "Patient.maritalStatus")], {}, id="Delete Complex"
        ),
        pytest.param(
            {},
            [
                op(
                    "add",
                    "Patient",
                    name="contact",
                    value={"part": [{"name": "name", "valueHumanName": {"text": "a"}}]},
                )
            ],
            {"contact": [{"name": {"text": "a"}}]},
            id="Add Anonymous Type",
        ),
        pytest.param(
            {"contact": [{"gender": "male"}]}, [op("delete", "Patient.contact[0]")], {}, id="Delete Anonymous"
        ),
        pytest.param(
            {"identifier": [OFFICIAL, USUAL]},
            [
                op("replace", "Patient.identifier[0].value", value={"valueString": "2"}),
                op("replace", "Patient.identifier[1].value", value={"valueString": "1"}),
            ],
            {"identifier": [{**OFFICIAL, "value": "2"}, {**USUAL, "value": "1"}]},
            id="List unchanged, contents changed",
        ),
        pytest.param(
            {"identifier": [OFFICIAL]},
            [op("add", "Patient", name="identifier", value={"valueIdentifier": USUAL})],
            {"identifier": [OFFICIAL, USUAL]},
            id="Add to list",
        ),
        *(
            pytest.param(
                {"identifier": [OFFICIAL, USUAL]},
                [op("insert", "Patient.identifier", index=index, value={"valueIdentifier": OLD})],
                {"identifier": after},
                id=f"Insert in list at {index}",
            )
            for index, after in enumerate(([OLD, OFFICIAL, USUAL], [OFFICIAL, OLD, USUAL], [OFFICIAL, USUAL, OLD]))
        ),
        *(
            pytest.param(
                {"identifier": [OFFICIAL, USUAL, OLD]},
                [op("delete", f"Patient.identifier[{index}]")],
                {"identifier": after},
                id=f"Delete item {index} of a list",
            )
            for index, after in enumerate(([USUAL, OLD], [OFFICIAL, OLD], [OFFICIAL, USUAL]))
        ),
        *(
            pytest.param(
                {"identifier": [{"value": letter} for letter in "abcd"]},
                [op("move", "Patient.identifier", source=source, destination=destination)],
                {"identifier": [{"value": letter} for letter in after]},
                id=f"Reorder List, {source} to {destination}",
            )
            for source, destination, after in (
                *((3, 1, "adbc"), (3, 0, "dabc"), (3, 2, "abdc"), (0, 3, "bcda"), (1, 0, "bacd"), (2, 2, "abcd")),
            )
        ),
        pytest.param(
            {"contact": [{"gender": "male"}]},
            [
                op("delete", "Patient.contact[0].gender"),
                op("add", "Patient.contact[0]", name="name", value={"valueHumanName": {"text": "a"}}),
                op("add", "Patient", name="contact", value={"part": [{"name": "gender", "valueCode": "male"}]}),
            ],
            {"contact": [{"name": {"text": "a"}}, {"gender": "male"}]},
            id="Consecutive operations",
        ),
        pytest.param(
            {"identifier": [OFFICIAL, USUAL]},
            [op("delete", "Patient.identifier.where(use = 'usual').system")],
            {"identifier": [OFFICIAL, {"use": "usual", "value": "2"}]},
            id="where",
        ),
        pytest.param(
            {"deceasedBoolean": True},
            [op("replace", "Patient.deceased", value={"valueDateTime": "2026"})],
            {"deceasedDateTime": "2026"},
            id="a choice takes another of its types",
        ),
        pytest.param(
            {"birthDate": "1930", "_birthDate": {"extension": [{"url": "urn:x", "valueCode": "y"}]}},
            [op("replace", "Patient.birthDate", value={"valueDate": "1931"})],
            {"birthDate": "1931"},
            id="the extensions of a primitive go with it",
        ),
        pytest.param(
            {"extension": [{"url": "urn:x", "valueCode": "y"}]},
            [op("replace", "Patient.extension.where(url = 'urn:x').value", value={"valueDecimal": 1.5})],
            {"extension": [{"url": "urn:x", "valueDecimal": 1.5}]},
            id="the value of an extension",
        ),
        pytest.param(
            {"text": {"status": "generated", "div": "<div>a</div>"}},
            [op("replace", "Patient.text.div", value={"valueString": "<div>b</div>"})],
            {"text": {"status": "generated", "div": "<div>b</div>"}},
            id="Full Resource, its narrative",
        ),
    ],
)
def test_each_operation_does_what_r4_says(before: Any, operations: Any, after: Any) -> None:
    assert patched(before, *operations) == after


def test_an_anonymous_type_is_given_as_parts_in_parts() -> None:
    deny = [
        {"name": "type", "valueCode": "deny"},
        {"name": "purpose", "valueCoding": {"code": "HRESCH"}},
        {"name": "purpose", "valueCoding": {"code": "HMARKT"}},
        {"name": "provision", "part": [{"name": "type", "valueCode": "permit"}]},
    ]
    adding = op("add", "Consent.provision", name="provision", value={"part": deny})
    assert patched({"provision": {"type": "permit"}}, adding, kind="Consent")["provision"]["provision"] == [
        {"type": "deny", "purpose": [{"code": "HRESCH"}, {"code": "HMARKT"}], "provision": [{"type": "permit"}]}
    ]


def test_a_backbone_element_that_lost_everything_isnt_taken_away_unasked() -> None:
    before = {"provision": {"type": "permit", "provision": [{"type": "deny"}]}}
    after = patched(before, op("delete", "Consent.provision.provision[0].type"), kind="Consent")
    assert after == {"provision": {"type": "permit", "provision": [{}]}}  # not valid, so it isn't kept


def test_numbers_keep_their_digits() -> None:
    value = b'{"name":"value","valueDecimal":1.50}'
    raw = patch(op("add", "Patient.extension[0]", name="value", value={"valueDecimal": 0}))
    read = read_path_patch(raw.replace(b'{"name": "value", "valueDecimal": 0}', value), "Patient")
    body = b'{"resourceType":"Patient","multipleBirthInteger":1,"extension":[{"url":"u"}]}'
    assert b'{"url":"u","valueDecimal":1.50}' in apply_path_patch(body, read, DEFINITIONS, "Patient", max_bytes=MOST)


@pytest.mark.parametrize(
    "path",
    [
        *("Patient", "Patient.gender", "Patient.identifier", "Patient.identifier[1]", "Patient.identifier.value[1]"),
        *("Patient.identifier[0].value", "Patient.identifier.where(use = 'usual').value", "Patient.name.given[2]"),
        *("Patient.identifier.where(use='x')", "Patient.name[1].given", "Patient.telecom", "Patient.deceased"),
    ],
)
def test_a_path_leads_where_fhirpath_leads(path: str) -> None:
    content = {
        "resourceType": "Patient",
        "identifier": [OFFICIAL, USUAL],
        "gender": "male",
        "deceasedBoolean": True,
        "name": [{"given": ["a", "b"]}, {"given": ["c"]}],
    }
    walk = PathWalk(DEFINITIONS, "Patient")
    found = [place.value for place in walk.places(content, read_path(path, "Patient"))]
    assert found == evaluate(content, path, model=models["r4"])
