"""FHIRPath to search paths: what is understood, and that everything else is refused."""

from __future__ import annotations

import pytest
from fhirpathpy.parser import parse

from fhir.r4.data.compile_expression import ExpressionCompiler, NotUnderstoodError
from fhir.r4.definitions import SearchKind, load_definitions


@pytest.fixture(scope="module")
def compiler() -> ExpressionCompiler:
    return ExpressionCompiler(load_definitions(), parse, {}, {"http://e/x": ("string", "Quantity")})


UNDERSTOOD: list[tuple[str, str, SearchKind, list[str]]] = [
    ("Patient.active", "Patient", "token", ["active"]),
    ("Resource.id", "Resource", "token", ["id"]),
    ("id", "Resource", "token", ["id"]),
    ("name | alias", "InsurancePlan", "string", ["name", "alias"]),
    ("Patient.name.family | Practitioner.name.given", "Practitioner", "string", ["name.given"]),
    ("(Observation.value as Quantity)", "Observation", "quantity", ["valueQuantity"]),
    ("Observation.value as Quantity", "Observation", "quantity", ["valueQuantity"]),
    ("Observation.value.as(Quantity)", "Observation", "quantity", ["valueQuantity"]),
    ("Observation.value.as(DateTime)", "Observation", "date", ["valueDateTime"]),
    ("Observation.value.ofType(Quantity)", "Observation", "quantity", ["valueQuantity"]),
    ("Observation.value", "Observation", "date", ["valueDateTime", "valuePeriod"]),
    ("(Observation.value as SampledData)", "Observation", "quantity", []),
    ("Patient.extension('http://e/x')", "Patient", "string", ["extension.valueString"]),
    ("Consent.`provision`.purpose", "Consent", "token", ["provision.purpose"]),
]


@pytest.mark.parametrize(("expression", "base", "kind", "expected"), UNDERSTOOD)
def test_expression_is_compiled(
    compiler: ExpressionCompiler, expression: str, base: str, kind: SearchKind, expected: list[str]
) -> None:
    assert [".".join(path.steps) for path in compiler.paths(expression, base, kind)] == expected


REFUSED: list[tuple[str, str, SearchKind]] = [
    ("activ", "Patient", "token"),
    ("Patient.nosuch", "Patient", "token"),
    ("Patient.name", "Practitioner", "string"),
    ("Patient.name", "Patient", "token"),
    ("Patient.name[0]", "Patient", "string"),
    ("Patient.name.first()", "Patient", "string"),
    ("Patient.name as Quantity", "Patient", "string"),
    ("Observation.value.value", "Observation", "number"),
    ("Observation.value as Address", "Observation", "string"),
    ("Patient.name.where(use = 'a' or use = 'b')", "Patient", "string"),
    ("Patient.name.where(use != 'old')", "Patient", "string"),
    ("Patient.name.where(resolve() is Patient)", "Patient", "string"),
    ("Patient.link.other.where(resolve() is Patient).type", "Patient", "token"),
    ("Patient.extension('http://e/unknown')", "Patient", "string"),
    ("Patient.active.exists() and Patient.deceased != false", "Patient", "token"),
    ("Patient.active and Patient.deceased", "Patient", "token"),
    ("%resource.name", "Patient", "string"),
    ("Patient.name.family + 'x'", "Patient", "string"),
]


@pytest.mark.parametrize(("expression", "base", "kind"), REFUSED)
def test_expression_that_is_not_understood_is_refused(
    compiler: ExpressionCompiler, expression: str, base: str, kind: SearchKind
) -> None:
    with pytest.raises(NotUnderstoodError):
        compiler.paths(expression, base, kind)
