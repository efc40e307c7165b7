"""What of an upstream's resources isn't R4 is counted by type and kind, in bounds, and beside the event loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fhir.r4.definitions import load_definitions
from fhir.upstream.schema_drift import MAX_BODY, MAX_RESOURCES, SECONDS, SchemaDrift
from tests.leaks.world import observation, patient

DEFINITIONS = load_definitions()
JSON = "application/fhir+json; charset=utf-8"


def _seen(*resources: object, content_type: str = JSON) -> dict[tuple[str, str], int]:
    drift = SchemaDrift(DEFINITIONS)
    for resource in resources:
        drift.look(json.dumps(resource).encode(), content_type)
    return {(resource_type, str(kind)): count for (resource_type, kind), count in drift.counts.items()}


@pytest.mark.parametrize(
    "resource",
    [
        observation("o1", valueQuantity={"value": 1, "code": "g"}),
        observation("o1", extension=[{"url": "http://x", "valueString": "x"}], _status={"id": "s"}),
        observation("o1", component=[{"code": {"text": "x"}, "valueCodeableConcept": {"text": "y"}}]),
        observation("o1", contained=[patient("p1")]),
        patient("p1", contact=[{"name": {"family": "x"}, "telecom": [{"system": "phone"}]}]),
        {"resourceType": "Questionnaire", "status": "draft", "item": [{"linkId": "1", "type": "group", "item": []}]},
        {"resourceType": "Bundle", "type": "searchset", "link": [{"relation": "next", "url": "x"}], "entry": []},
    ],
)
def test_what_is_r4_is_not_counted(resource: dict[str, Any]) -> None:
    assert _seen(resource) == {}


@pytest.mark.parametrize(
    ("resource", "counted"),
    [
        (observation("o1", instantiatesReference={"reference": "x"}), ("Observation", "unknown-element")),
        (observation("o1", referenceRange=[{"normal": {}}]), ("Observation", "unknown-element")),
        (observation("o1", valueDecimal=1), ("Observation", "unknown-element")),
        (observation("o1", contained=[{**patient("p1"), "x": 1}]), ("Observation", "unknown-element")),
        (observation("o1", component=[{"valueString": "x"}]), ("Observation", "missing-element")),
        ({"resourceType": "Observation", "status": "final"}, ("Observation", "missing-element")),
        (observation("o1", performer={"reference": "Practitioner/x"}), ("Observation", "wrong-cardinality")),
        (observation("o1", status=["final"]), ("Observation", "wrong-cardinality")),
        ({"resourceType": "BiologicallyDerivedProductDispense"}, ("other", "unknown-type")),
        ({"resourceType": "Resource"}, ("other", "unknown-type")),
        ({"resourceType": ["Observation"]}, ("other", "unknown-type")),
        ({}, ("other", "unknown-type")),
    ],
    ids=str,
)
def test_what_is_not_r4_is_counted_by_type_and_kind(resource: dict[str, Any], counted: tuple[str, str]) -> None:
    assert _seen(resource) == {counted: 1}


@pytest.mark.parametrize(
    ("content_type", "other"),
    [
        ("application/fhir+json; fhirVersion=5.0", True),
        ('application/fhir+json;FHIRVERSION="4.3"; charset=utf-8', True),
        ("application/fhir+json; fhirVersion=4.0", False),
        ("application/fhir+json; fhirVersion=4.0.1", False),
        ("application/fhir+json", False),
    ],
)
def test_another_version_of_fhir_is_counted(content_type: str, other: bool) -> None:
    assert _seen(patient("p1"), content_type=content_type) == ({("Patient", "other-version"): 1} if other else {})


def test_a_resource_counts_once_for_each_kind_and_a_bundle_is_looked_into() -> None:
    worse = observation("o1", x=1, y=2, component=[{"z": 1}])
    entries = [{"resource": worse}, {"resource": observation("o2")}, {"resource": worse}, {"response": {}}, "no entry"]
    assert _seen({"resourceType": "Bundle", "type": "searchset", "entry": entries}) == {
        ("Observation", "unknown-element"): 2,
        ("Observation", "missing-element"): 2,
    }


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"entry":1,"resourceType":1}'])
def test_what_can_not_be_read_is_counted_and_never_raises(body: bytes) -> None:
    drift = SchemaDrift(DEFINITIONS)
    drift.look(body, JSON)
    assert dict(drift.counts) == {("other", "unknown-type"): 1}


def test_a_long_bundle_is_looked_into_up_to_a_bound() -> None:
    drift = SchemaDrift(DEFINITIONS)
    bundle = {"resourceType": "Bundle", "entry": [{"resource": patient("p1")}] * (MAX_RESOURCES + 5)}
    drift.look(json.dumps(bundle).encode(), JSON)
    assert drift.sampled == MAX_RESOURCES


async def test_one_answer_in_a_second_is_looked_at_and_no_large_one() -> None:
    now = 0.0
    drift = SchemaDrift(DEFINITIONS, monotonic=lambda: now)
    body = json.dumps(patient("p1", x=1)).encode()
    drift.offer(b" " * (MAX_BODY + 1), JSON)
    for _ in range(5):
        drift.offer(body, JSON)
    await _counted(drift, 1)
    now = SECONDS
    drift.offer(body, JSON)
    await _counted(drift, 2)
    assert dict(drift.counts) == {("Patient", "unknown-element"): 2}


async def _counted(drift: SchemaDrift, sampled: int) -> None:
    async with asyncio.timeout(5):
        while drift.sampled < sampled:  # noqa: ASYNC110 - the thread tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert drift.sampled == sampled
