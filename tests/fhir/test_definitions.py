"""The shipped R4 definitions: what they hold, and how they are asked."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from fhir.r4.data.compile_expression import INDEXABLE
from fhir.r4.definitions import Definitions, SearchParameter, SearchPath, load_definitions


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


def _all_parameters(definitions: Definitions) -> list[tuple[str, SearchParameter]]:
    return [(name, p) for name in sorted(definitions.types) for p in definitions.search_parameters(name).values()]


def test_the_definitions_hold_all_of_r4(definitions: Definitions) -> None:
    assert definitions.version == "4.0.1"
    assert len(definitions.types) == 209
    assert len(definitions.resource_types) == 146
    assert len(definitions.primitives) == 20
    # 1,400 documents, less 3 examples and the 10 extension parameters that name no base type; and US Core's
    urls = {p.url for _, p in _all_parameters(definitions)}
    added = json.loads(resources.files("fhir.r4.data").joinpath("us_core.json").read_text())
    assert {parameter["url"] for parameter in added} < urls
    assert len(urls) == 1387 + len(added)
    assert {name: len(members) for name, members in definitions.compartments.items()} == {
        "Device": 32,
        "Encounter": 25,
        "Patient": 66,
        "Practitioner": 59,
        "RelatedPerson": 32,
    }


def test_every_compartment_parameter_exists(definitions: Definitions) -> None:
    for members in definitions.compartments.values():
        for resource_type, codes in members.items():
            assert set(codes) <= definitions.search_parameters(resource_type).keys()


def test_every_type_of_the_patient_compartment_says_whose_it_is(definitions: Definitions) -> None:
    without = {name for name in definitions.compartment if not definitions.owner_paths(name)}
    assert without == {"Patient"}


def test_every_parameter_but_special_ones_has_paths_to_an_existing_element(definitions: Definitions) -> None:
    for resource_type, parameter in _all_parameters(definitions):
        assert bool(parameter.paths) == (parameter.kind != "special"), (resource_type, parameter.code)
        for path in parameter.paths:
            if path.steps and path.steps[0] != "extension":
                assert definitions.element(resource_type, ".".join(path.steps))


def test_the_special_parameters_are_the_known_ones(definitions: Definitions) -> None:
    special = {(name, p.code) for name, p in _all_parameters(definitions) if p.kind == "special"}
    assert {pair for pair in special if not pair[1].startswith("_")} == {
        ("Bundle", "composition"),
        ("Bundle", "message"),
        ("Device", "din"),
        ("DocumentReference", "relationship"),
        ("Location", "near"),
        ("MolecularSequence", "chromosome-variant-coordinate"),
        ("MolecularSequence", "referenceseqid-variant-coordinate"),
        ("Observation", "amino-acid-change"),
        ("Observation", "dna-variant"),
        ("Observation", "gene-amino-acid-change"),
        ("Observation", "gene-dnavariant"),
        ("Patient", "age"),
        ("Patient", "birthOrderBoolean"),
        ("Patient", "mothersMaidenName"),
    }
    assert {code for _, code in special if code.startswith("_")} == {"_content", "_filter", "_query", "_text"}


def test_every_path_ends_in_a_type_that_its_kind_reads(definitions: Definitions) -> None:
    for resource_type, parameter in _all_parameters(definitions):
        for path in parameter.paths if parameter.kind != "composite" else ():
            assert path.exists or path.type in INDEXABLE[parameter.kind], (resource_type, parameter.code)


STATUS = "http://hl7.org/fhir/observation-status"
GENE = "http://hl7.org/fhir/StructureDefinition/observation-geneticsGene"
SUBJECT = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject"

PATHS = [
    ("Observation", "code", [SearchPath(("code",), "CodeableConcept")]),
    ("Observation", "status", [SearchPath(("status",), "code", system=STATUS)]),
    ("Observation", "patient", [SearchPath(("subject",), "Reference", target="Patient")]),
    ("Observation", "value-quantity", [SearchPath(("valueQuantity",), "Quantity")]),
    (
        "Observation",
        "date",
        [
            SearchPath(("effectiveDateTime",), "dateTime"),
            SearchPath(("effectivePeriod",), "Period"),
            SearchPath(("effectiveTiming",), "Timing"),
            SearchPath(("effectiveInstant",), "instant"),
        ],
    ),
    (
        "Observation",
        "value-string",
        [SearchPath(("valueString",), "string"), SearchPath(("valueCodeableConcept", "text"), "string")],
    ),
    (
        "Observation",
        "gene-identifier",
        [SearchPath(("extension", "valueCodeableConcept"), "CodeableConcept", ((0, "url", GENE),))],
    ),
    ("Patient", "phone", [SearchPath(("telecom",), "ContactPoint", ((0, "system", "phone"),))]),
    (
        "Patient",
        "deceased",
        [
            SearchPath(("deceasedBoolean",), "boolean", exists=True),
            SearchPath(("deceasedDateTime",), "dateTime", exists=True),
        ],
    ),
    ("Patient", "_lastUpdated", [SearchPath(("meta", "lastUpdated"), "instant")]),
    ("Patient", "_security", [SearchPath(("meta", "security"), "Coding")]),
    ("Goal", "start-date", [SearchPath(("startDate",), "date")]),
    (
        "QuestionnaireResponse",
        "item-subject",
        [SearchPath(("item", "answer", "valueReference"), "Reference", ((0, "extension.url", SUBJECT),))],
    ),
    (
        "Library",
        "predecessor",
        [SearchPath(("relatedArtifact", "resource"), "canonical", ((0, "type", "predecessor"),))],
    ),
]


@pytest.mark.parametrize(("resource_type", "code", "expected"), PATHS)
def test_expressions_become_paths(
    definitions: Definitions, resource_type: str, code: str, expected: list[SearchPath]
) -> None:
    assert list(definitions.search_parameters(resource_type)[code].paths) == expected


def test_a_composite_keeps_its_components(definitions: Definitions) -> None:
    combo = definitions.search_parameters("Observation")["combo-code-value-quantity"]
    assert [path.steps for path in combo.paths] == [(), ("component",)]
    assert [(c.code, c.kind, [p.steps for p in c.paths]) for c in combo.components] == [
        ("combo-code", "token", [("code",)]),
        ("combo-value-quantity", "quantity", [("valueQuantity",)]),
    ]


def test_base_parameters_reach_every_resource_and_narrative_search_only_domain_resources(
    definitions: Definitions,
) -> None:
    for name in definitions.resource_types:
        parameters = definitions.search_parameters(name)
        assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= parameters.keys()
    assert "_text" in definitions.search_parameters("Patient")
    assert "_text" not in definitions.search_parameters("Bundle")


def test_owner_paths_are_those_of_the_patient_parameter(definitions: Definitions) -> None:
    assert definitions.owner_paths("Patient") == ()
    assert definitions.owner_paths("Organization") == ()
    assert [p.steps for p in definitions.owner_paths("Immunization")] == [("patient",)]
    assert [p.steps for p in definitions.owner_paths("AuditEvent")] == [("agent", "who"), ("entity", "what")]


def test_types_without_a_patient_parameter_have_the_compartments_paths(definitions: Definitions) -> None:
    owners = {
        name: [".".join(p.steps) for p in definitions.owner_paths(name)]
        for name in definitions.compartment
        if name != "Patient" and "patient" not in definitions.search_parameters(name)
    }
    assert owners == {
        "AdverseEvent": ["subject"],
        "Group": ["member.entity"],
        "Schedule": ["actor"],
        "SupplyRequest": ["deliverTo"],
    }


ELEMENTS = [
    ("Patient", "name.family", ("string",), "1"),
    ("Patient", "contact.name.given", ("string",), "*"),
    ("Observation", "value[x].value", None, ""),
    ("Observation", "valueQuantity.value", ("decimal",), "1"),
    ("Observation", "component.valueCodeableConcept.coding.code", ("code",), "1"),
    ("Observation", "component.referenceRange.low.value", ("decimal",), "1"),
    ("Questionnaire", "item.item.item.linkId", ("string",), "1"),
    ("Patient", "nosuch", None, ""),
    ("Patient", "name.nosuch", None, ""),
    ("Patient", "gender.nosuch", None, ""),
    ("NoSuch", "id", None, ""),
]


@pytest.mark.parametrize(("type_name", "path", "types", "maximum"), ELEMENTS)
def test_elements_are_found_through_datatypes_choices_and_content_references(
    definitions: Definitions, type_name: str, path: str, types: tuple[str, ...] | None, maximum: str
) -> None:
    if types is None:
        with pytest.raises(KeyError):
            definitions.element(type_name, path)
    else:
        element = definitions.element(type_name, path)
        assert (element.types, element.max) == (types, maximum)


def test_children_are_named_in_fhir_spelling(definitions: Definitions) -> None:
    assert next(iter(definitions.children("Observation"))) == "id"
    assert "value[x]" in definitions.children("Observation", "component")
    assert "low" in definitions.children("Observation", "component.referenceRange")
    assert "family" in definitions.children("Patient", "name")
    assert definitions.children("Patient", "gender") == {}
    assert definitions.children("Bundle", "entry.resource") == definitions.children("Resource")


def test_reference_targets_and_cardinality_are_kept(definitions: Definitions) -> None:
    subject = definitions.element("Observation", "subject")
    assert subject.types == ("Reference",)
    assert set(subject.targets) == {"Patient", "Group", "Device", "Location"}
    assert (subject.min, subject.max, subject.summary) == (0, "1", True)
    assert definitions.element("Observation", "status").min == 1


def test_recursive_content_is_located_at_one_place(definitions: Definitions) -> None:
    assert definitions.locate("Questionnaire", "item.item.item") == ("Questionnaire", "item")
    assert definitions.locate("Patient", "name") == ("HumanName", "")
    assert definitions.locate("Observation", "value[x]") == ("", "")


def test_summary_elements_are_the_marked_ones(definitions: Definitions) -> None:
    summary = {element.path for element in definitions.summary_elements("Observation")}
    assert {"id", "meta", "status", "code", "subject", "value[x]"} <= summary
    assert summary.isdisjoint({"text", "note", "category"})


def test_places_that_hold_a_type_are_found_at_any_depth_and_recursion_ends(definitions: Definitions) -> None:
    wanted = frozenset({"Reference"})
    found = {path for path, _ in definitions.paths_holding("Observation", wanted)}
    assert {"subject", "performer", "note.authorReference", "subject.identifier.assigner"} <= found
    for name in ("Questionnaire", "Bundle", "Parameters", "PlanDefinition", "Extension"):
        assert len(list(definitions.paths_holding(name, wanted))) < 2000


def test_unknown_types_are_refused_and_grow_nothing(definitions: Definitions) -> None:
    assert "NoSuch" not in definitions.types
    for ask in (definitions.search_parameters, definitions.owner_paths, definitions.children):
        with pytest.raises(KeyError):
            ask("NoSuch")
