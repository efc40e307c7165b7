"""Laboratory: ServiceRequest, Specimen, the Observations of a panel, and the DiagnosticReport over them."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal
from typing import Final

from sandbox.chart import Chart
from sandbox.courses import Course
from sandbox.elements import Json, concept, quantity, reference, terminology
from sandbox.lab_tests import PANELS, Found, Measured, Panel
from sandbox.visits import Visit

CATEGORY: Final = terminology("observation-category", "laboratory", "Laboratory")
_REPORT_CATEGORY: Final = terminology("v2-0074", "LAB", "Laboratory")
_LABORATORY: Final = reference("Organization/hilltop-laboratory", "Hilltop Laboratory")
_INTERPRETATION: Final = {"H": "High", "L": "Low", "N": "Normal"}


def write_panel(chart: Chart, visit: Visit, name: str) -> str:
    """Order, specimen, results and report of a panel; returns the report's reference."""
    panel = PANELS[name]
    order = _order(chart, visit, panel)
    specimen = chart.add(
        "Specimen",
        {
            "status": "available",
            "type": concept(panel.specimen),
            "subject": chart.subject(),
            "receivedTime": visit.at(90),
            "request": [reference(order)],
            "collection": {"collectedDateTime": visit.at(15)},
        },
    )
    results = [_result(chart, visit, test, specimen) for test in panel.tests]
    return _report(chart, visit, panel, order, specimen, results)


def _order(chart: Chart, visit: Visit, panel: Panel) -> str:
    content: Json = {
        "status": "completed",
        "intent": "order",
        "category": [{"text": "Laboratory procedure"}],
        "code": concept(panel.code),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "authoredOn": visit.at(10),
        "requester": reference(visit.clinician.reference, visit.clinician.name),
    }
    if visit.course is not None:
        content["reasonCode"] = [concept(visit.course.codes[0])]
    return chart.add("ServiceRequest", content, profile="us-core-servicerequest")


def _result(chart: Chart, visit: Visit, test: Measured | Found, specimen: str) -> str:
    content: Json = {
        "status": "final",
        "category": [CATEGORY],
        "code": concept(test.code, text=test.code.display.partition(" [")[0]),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "effectiveDateTime": visit.at(15),
        "issued": visit.at(240),
        "performer": [_LABORATORY],
    }
    content |= _number(chart, test) if isinstance(test, Measured) else _finding(chart, test)
    content["specimen"] = reference(specimen)
    return chart.add("Observation", content, profile="us-core-observation-lab")


def _number(chart: Chart, test: Measured) -> Json:
    value = chart.decimal(test.low, test.high)
    content: Json = {"valueQuantity": quantity(value, test.unit)}
    if test.normal is not None:
        low, high = Decimal(test.normal[0]), Decimal(test.normal[1])
        flag = "L" if value < low else "H" if value > high else "N"
        content["interpretation"] = [terminology("v3-ObservationInterpretation", flag, _INTERPRETATION[flag])]
        content["referenceRange"] = [{"low": quantity(low, test.unit), "high": quantity(high, test.unit)}]
    return content


def _finding(chart: Chart, test: Found) -> Json:
    finding = test.findings[0] if chart.rng.random() < 0.8 else test.findings[-1]
    return {"valueCodeableConcept": concept(finding, text=finding.display.partition(" (")[0])}


def _report(chart: Chart, visit: Visit, panel: Panel, order: str, specimen: str, results: list[str]) -> str:
    course: Course | None = visit.course
    content: Json = {
        "basedOn": [reference(order)],
        "status": "final",
        "category": [_REPORT_CATEGORY],
        "code": concept(panel.code),
        "subject": chart.subject(),
        "encounter": visit.context(),
        "effectiveDateTime": visit.at(15),
        "issued": visit.at(250),
        "performer": [_LABORATORY],
        "specimen": [reference(specimen)],
        "result": [reference(result) for result in results],
    }
    if course is not None and visit.index % 2:
        content["conclusion"] = f"{course.title}: follow-up of known disease."
        content["conclusionCode"] = [concept(*course.codes)]
    if visit.index % 3 == 0:
        lines = f"{panel.code.display}\nPatient: {chart.persona.name}\nCollected: {visit.at(15)}\n"
        content["presentedForm"] = [
            {
                "contentType": "text/plain",
                "data": b64encode(lines.encode()).decode(),
                "title": f"{panel.code.display} for {chart.persona.name}",
            }
        ]
    return chart.add("DiagnosticReport", content, profile="us-core-diagnosticreport-lab")
