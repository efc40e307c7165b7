"""FHIRPath Patch on resources: what each operation does, and what isn't taken.

The cases of HL7's own suite (FHIR/fhir-test-cases, `r4/patch/fhir-patch-tests.xml`, Apache-2.0) are named where one of
ours asks the same question; the resources and values are ours.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from fhirpathpy import evaluate
from fhirpathpy.models import models

from fhir.definitions import load_definitions
from fhir.fhirpath_patch import apply_path_patch, read_path_patch
from fhir.json_patch import MAX_OPERATIONS, MAX_PATCH, PatchRefused
from fhir.patch_path import MAX_PLACES, PathWalk, read_path

_MOST = 50_000
DEFINITIONS = load_definitions()
OFFICIAL = {"system": "urn:a", "use": "official", "value": "1"}
USUAL = {"system": "urn:b", "use": "usual", "value": "2"}
OLD = {"system": "urn:c", "use": "old", "value": "3"}


def _parts(**given: Any) -> list[dict[str, Any]]:
    kinds = {"type": "valueCode", "path": "valueString", "name": "valueString"}
    return [
        {"name": name, **(value if name == "value" else {kinds.get(name, "valueInteger"): value})}
        for name, value in given.items()
    ]


def op(type: Any, path: str, **more: Any) -> dict[str, Any]:
    """An operation; `value` is the value's member and JSON value."""
    return {"name": "operation", "part": _parts(type=type, path=path, **more)}


def _patch(*operations: object) -> bytes:
    return json.dumps({"resourceType": "Parameters", "parameter": operations}).encode()


def _patched(before: dict[str, Any], *operations: object, kind: str = "Patient") -> dict[str, Any]:
    body = json.dumps({"resourceType": kind, **before}).encode()
    patch = read_path_patch(_patch(*operations), kind)
    after: dict[str, Any] = json.loads(apply_path_patch(body, patch, DEFINITIONS, kind, max_bytes=_MOST))
    assert after.pop("resourceType") == kind
    return after


def _refused(before: dict[str, Any], *operations: object, kind: str = "Patient") -> PatchRefused:
    with pytest.raises(PatchRefused) as refused:
        _patched(before, *operations, kind=kind)
    return refused.value


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
    assert _patched(before, *operations) == after


def test_an_anonymous_type_is_given_as_parts_in_parts() -> None:
    deny = [
        {"name": "type", "valueCode": "deny"},
        {"name": "purpose", "valueCoding": {"code": "HRESCH"}},
        {"name": "purpose", "valueCoding": {"code": "HMARKT"}},
        {"name": "provision", "part": [{"name": "type", "valueCode": "permit"}]},
    ]
    patch = op("add", "Consent.provision", name="provision", value={"part": deny})
    assert _patched({"provision": {"type": "permit"}}, patch, kind="Consent")["provision"]["provision"] == [
        {"type": "deny", "purpose": [{"code": "HRESCH"}, {"code": "HMARKT"}], "provision": [{"type": "permit"}]}
    ]


def test_a_backbone_element_that_lost_everything_isnt_taken_away_unasked() -> None:
    before = {"provision": {"type": "permit", "provision": [{"type": "deny"}]}}
    after = _patched(before, op("delete", "Consent.provision.provision[0].type"), kind="Consent")
    assert after == {"provision": {"type": "permit", "provision": [{}]}}  # not valid, so it isn't kept


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
    refused = _refused(before, op("delete", "Patient.birthDate"), operation)
    assert (refused.status, refused.code, refused.expression) == (422, code, ("Parameters.parameter[1]",))
    assert refused.text.startswith("operation 1: ")


def test_a_function_that_isnt_taken_is_named_and_no_value_is() -> None:
    refused = _refused({}, op("delete", "Patient.managingOrganization.resolve().name.where(use = 'SECRET')"))
    assert "`resolve()`" in refused.text
    assert "SECRET" not in refused.text


def test_a_value_that_breaks_the_shape_for_the_next_operation_is_refused_there() -> None:
    broken = op("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": {"coding": "x"}})
    for path, name, value in (
        ("Patient.maritalStatus", "coding", {"valueCoding": {"code": "x"}}),
        ("Patient.maritalStatus.coding", "code", {"valueCode": "x"}),
    ):
        assert _refused({}, broken, op("add", path, name=name, value=value)).code == "processing"
    deeper = op("add", "Patient", name="managingOrganization", value={"valueReference": {"identifier": "x"}})
    last = op("add", "Patient.managingOrganization.identifier", name="value", value={"valueString": "y"})
    assert _refused({}, deeper, last).code == "processing"


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"[]", b"null", b"{}", b"\xff", b'{"resourceType":"Patient"}', b'{"resourceType":"Parameters"}'),
        *(b'{"resourceType":"Parameters","parameter":{}}', b'{"a":' * 10_000, _patch("operation"), _patch({})),
        b'{"resourceType":"Parameters","resourceType":"Parameters","parameter":[]}',
        b'{"resourceType":"Parameters","implicitRules":"urn:x","parameter":[{}]}',
        *(
            _patch({**op("delete", "Patient.gender"), **more})
            for more in ({"name": "x"}, {"part": 1}, {"valueCode": 1})
        ),
        *(
            _patch({"name": "operation", "part": [*op("delete", "Patient.gender")["part"], more]})
            for more in (
                *({"name": "path", "valueString": "Patient.name"}, {"name": "index", "valueInteger": 1}, {}, 7),
            )
        ),
        *(
            _patch(op(type, "Patient.gender"))
            for type in ("frobnicate", "add", "replace", "insert", "move", ["delete"])
        ),
        _patch({"name": "operation", "part": [{"name": "type", "valueString": "delete"}, {"name": "path"}]}),
        _patch(
            {"name": "operation", "part": [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueUri": "x"}]}
        ),
        *(_patch(op("move", "Patient.name", source=n, destination=0)) for n in (True, "1", 1.0, None)),
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
        assert (_refused({}, *[one] * number).status, _refused({}, *[one] * number).code) == (422, "too-costly")
    assert _refused({}, op("delete", "Patient" + ".contact" * 41)).code == "too-costly"
    assert _refused({}, op("delete", "Patient" + ".contact" * 200)).code == "too-long"
    many = {"identifier": [{"value": "x"}] * (MAX_PLACES + 1)}
    assert _refused(many, op("delete", "Patient.identifier[0]")).code == "too-costly"
    long = {"valueString": "x" * _MOST}
    assert _refused({}, op("add", "Patient", name="language", value={"valueCode": "x" * _MOST})).code == "too-long"
    assert _refused({}, op("add", "Patient", name="gender", value=long)).code == "value"


def test_parts_are_bounded_in_depth() -> None:
    deep: dict[str, Any] = {"part": [{"name": "type", "valueCode": "deny"}]}
    for _ in range(30):
        deep = {"part": [{"name": "provision", **deep}]}
    refused = _refused({}, op("add", "Consent", name="provision", value=deep), kind="Consent")
    assert (refused.status, refused.code) == (422, "too-costly")


def test_numbers_keep_their_digits() -> None:
    value = b'{"name":"value","valueDecimal":1.50}'
    patch = _patch(op("add", "Patient.extension[0]", name="value", value={"valueDecimal": 0}))
    read = read_path_patch(patch.replace(b'{"name": "value", "valueDecimal": 0}', value), "Patient")
    body = b'{"resourceType":"Patient","multipleBirthInteger":1,"extension":[{"url":"u"}]}'
    assert b'{"url":"u","valueDecimal":1.50}' in apply_path_patch(body, read, DEFINITIONS, "Patient", max_bytes=_MOST)


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
