"""FHIRPath Patch on resources: what isn't taken, and what hostile patches run into."""

from __future__ import annotations

from typing import Any

import pytest

from fhir.r4.fhirpath_patch import read_path_patch
from fhir.r4.json_patch import MAX_OPERATIONS, MAX_PATCH, PatchRefused
from fhir.r4.patch_path import MAX_PLACES
from tests.fhir.path_patches import MOST, OFFICIAL, OLD, USUAL, op, patch, refused_by


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (
            op("add", "Patient.identifier.where(use = 'official').period", name="end", value={"valueDate": "2"}),
            "processing",
        ),
        (op("replace", "Patient.birthDate", value={"valueDate": "1930"}), "processing"),
        (op("add", "Patient", name="gender", value={"valueCode": "male"}), "processing"),
        (op("add", "Patient", name="deceased", value={"valueBoolean": True}), "processing"),
        (op("add", "Patient", name="surprise", value={"valueString": "x"}), "processing"),
        (op("add", "Patient", name="_birthDate", value={"valueString": "x"}), "processing"),
        (op("add", "Patient", name="resourceType", value={"valueString": "x"}), "processing"),
        (op("add", "Patient", name="deceased[x]", value={"valueBoolean": True}), "processing"),
        (op("add", "Patient.gender", name="x", value={"valueString": "x"}), "processing"),
        (op("add", "Patient.identifier", name="value", value={"valueString": "x"}), "processing"),
        (op("add", "Patient", name="birthDate", value={"valueString": "1930"}), "value"),
        (op("add", "Patient", name="birthDate", value={"valueDateTime": "1930"}), "value"),
        (op("add", "Patient", name="birthDate", value={"valueDate": {"x": 1}}), "value"),
        (op("add", "Patient", name="birthDate", value={"valueDate": None}), "value"),
        (op("add", "Patient", name="birthDate", value={"valueDate": ["1930"]}), "value"),
        (op("add", "Patient", name="birthDate", value={"part": [{"name": "x", "valueCode": "y"}]}), "value"),
        (op("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": "m"}), "value"),
        (op("add", "Patient", name="contact", value={"valueHumanName": {"text": "a"}}), "value"),
        (op("add", "Patient", name="contact", value={"part": []}), "structure"),
        (op("add", "Patient", name="contact", value={"part": [{"name": "x", "valueCode": "y"}]}), "processing"),
        (op("add", "Patient", name="contact", value={"part": [{"name": "gender", "valueCode": "y"}] * 2}), "value"),
        (op("add", "Patient", name="birthDate", value={"valueDate": "1", "_valueDate": {"id": "x"}}), "structure"),
        (op("add", "Patient", name="contained", value={"resource": {"resourceType": "Group"}}), "value"),
        (op("insert", "Patient.identifier", index=3, value={"valueIdentifier": OLD}), "processing"),
        (op("insert", "Patient.identifier", index=-1, value={"valueIdentifier": OLD}), "processing"),
        (op("insert", "Patient.identifier[0]", index=0, value={"valueIdentifier": OLD}), "processing"),
        (op("insert", "Patient.telecom", index=0, value={"valueContactPoint": {"value": "1"}}), "processing"),
        (op("insert", "Patient.gender", index=0, value={"valueCode": "male"}), "processing"),
        (op("insert", "Patient", index=0, value={"valueCode": "male"}), "processing"),
        (op("move", "Patient.identifier", source=2, destination=0), "processing"),
        (op("move", "Patient.identifier", source=0, destination=2), "processing"),
        (op("delete", "Patient"), "processing"),
        (op("replace", "Patient", value={"part": [{"name": "gender", "valueCode": "male"}]}), "processing"),
        (op("delete", "Patient.identifier"), "processing"),
        (op("delete", "Patient.surprise"), "processing"),
        (op("delete", "Patient.deceasedBoolean"), "processing"),
        (op("delete", "Patient.identifier.where(period = 'x')"), "not-supported"),
        (op("delete", "Patient.name[0].given[0]"), "not-supported"),
        (op("delete", "Group.name"), "processing"),
        (op("delete", "birthDate"), "processing"),
        *(
            (op("delete", path), "not-supported")
            for path in (
                *("Patient.managingOrganization.resolve()", "Patient.identifier.first()", "Patient.descendants()"),
                *("Patient.identifier.where(use = 'a' or true)", "Patient.identifier.where(use != 'a')", "Patient."),
                *(
                    "Patient.identifier[0",
                    "Patient.identifier[-1]",
                    "Patient.identifier[1000000]",
                    "Patient identifier",
                ),
                *(
                    "Patient.extension('urn:x')",
                    "Patient.`identifier`",
                    "Patient.%context",
                    "Patient.deceased.ofType(x)",
                ),
                *("Patient.identifier.where(use = 'it\\'s')", "Patient | Group", "Patient..identifier", "Patient.é"),
            )
        ),
    ],
    ids=str,
)
def test_what_isnt_taken_or_doesnt_fit_is_refused_by_its_number(operation: Any, code: str) -> None:
    before = {
        "identifier": [OFFICIAL, USUAL],
        "gender": "male",
        "deceasedBoolean": True,
        "name": [{"given": ["a", "b"], "_given": [None, {"id": "x"}]}],
    }
    refused = refused_by(before, op("delete", "Patient.birthDate"), operation)
    assert (refused.status, refused.code, refused.expression) == (422, code, ("Parameters.parameter[1]",))
    assert refused.text.startswith("operation 1: ")


def test_a_function_that_isnt_taken_is_named_and_no_value_is() -> None:
    refused = refused_by({}, op("delete", "Patient.managingOrganization.resolve().name.where(use = 'SECRET')"))
    assert "`resolve()`" in refused.text
    assert "SECRET" not in refused.text


def test_a_value_that_breaks_the_shape_for_the_next_operation_is_refused_there() -> None:
    broken = op("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": {"coding": "x"}})
    for path, name, value in (
        ("Patient.maritalStatus", "coding", {"valueCoding": {"code": "x"}}),
        ("Patient.maritalStatus.coding", "code", {"valueCode": "x"}),
    ):
        assert refused_by({}, broken, op("add", path, name=name, value=value)).code == "processing"
    deeper = op("add", "Patient", name="managingOrganization", value={"valueReference": {"identifier": "x"}})
    last = op("add", "Patient.managingOrganization.identifier", name="value", value={"valueString": "y"})
    assert refused_by({}, deeper, last).code == "processing"


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"[]", b"null", b"{}", b"\xff", b'{"resourceType":"Patient"}', b'{"resourceType":"Parameters"}'),
        *(b'{"resourceType":"Parameters","parameter":{}}', b'{"a":' * 10_000, patch("operation"), patch({})),
        b'{"resourceType":"Parameters","resourceType":"Parameters","parameter":[]}',
        b'{"resourceType":"Parameters","implicitRules":"urn:x","parameter":[{}]}',
        *(patch({**op("delete", "Patient.gender"), **more}) for more in ({"name": "x"}, {"part": 1}, {"valueCode": 1})),
        *(
            patch({"name": "operation", "part": [*op("delete", "Patient.gender")["part"], more]})
            for more in (
                *({"name": "path", "valueString": "Patient.name"}, {"name": "index", "valueInteger": 1}, {}, 7),
            )
        ),
        *(patch(op(type, "Patient.gender")) for type in ("frobnicate", "add", "replace", "insert", "move", ["delete"])),
        patch({"name": "operation", "part": [{"name": "type", "valueString": "delete"}, {"name": "path"}]}),
        patch(
            {"name": "operation", "part": [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueUri": "x"}]}
        ),
        *(patch(op("move", "Patient.name", source=n, destination=0)) for n in (True, "1", 1.0, None)),
    ],
    ids=lambda raw: repr(raw[-60:]),
)
def test_what_is_no_patch_is_refused(raw: bytes) -> None:
    with pytest.raises(PatchRefused) as refused:
        read_path_patch(raw, "Patient")
    assert (refused.value.status, refused.value.code) == (400, "structure")


def test_a_patch_is_bounded() -> None:
    with pytest.raises(PatchRefused) as refused:
        read_path_patch(b" " * (MAX_PATCH + 1), "Patient")
    assert refused.value.status == 413
    one = op("delete", "Patient.gender")
    for number in (0, MAX_OPERATIONS + 1):
        assert (refused_by({}, *[one] * number).status, refused_by({}, *[one] * number).code) == (422, "too-costly")
    assert refused_by({}, op("delete", "Patient" + ".contact" * 41)).code == "too-costly"
    assert refused_by({}, op("delete", "Patient" + ".contact" * 200)).code == "too-long"
    many = {"identifier": [{"value": "x"}] * (MAX_PLACES + 1)}
    assert refused_by(many, op("delete", "Patient.identifier[0]")).code == "too-costly"
    long = {"valueString": "x" * MOST}
    assert refused_by({}, op("add", "Patient", name="language", value={"valueCode": "x" * MOST})).code == "too-long"
    assert refused_by({}, op("add", "Patient", name="gender", value=long)).code == "value"


def test_parts_are_bounded_in_depth() -> None:
    deep: dict[str, Any] = {"part": [{"name": "type", "valueCode": "deny"}]}
    for _ in range(30):
        deep = {"part": [{"name": "provision", **deep}]}
    refused = refused_by({}, op("add", "Consent", name="provision", value=deep), kind="Consent")
    assert (refused.status, refused.code) == (422, "too-costly")
