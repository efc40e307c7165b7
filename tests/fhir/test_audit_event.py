"""Audit events are valid R4, say who saw what, and hold nothing unbounded."""

from __future__ import annotations

import base64
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from fhir.audit.event import MAX_ENTITIES, MAX_QUERY, Action, AuditRecord, Kind, audit_event
from fhir.r4.definitions import load_definitions
from fhir.search.values import index

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fhir.resources.R4B.auditevent import AuditEvent as Checked

READ = AuditRecord(
    kind="read",
    action="R",
    outcome="0",
    recorded=datetime(2024, 6, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2))),
    request_id="req-1",
    client_id="app-1",
    client_name="Heart app",
    user="Patient/p1",
    patient="p1",
    purpose="PATRQT",
    entities=("Observation/o1",),
    consents=("Consent/c1/_history/3",),
)


def event(record: AuditRecord) -> dict[str, Any]:
    return audit_event(record)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("action", get_args(Action))
def test_every_kind_is_a_valid_audit_event(kind: Kind, action: Action) -> None:
    Checked.model_validate_json(msgspec.json.encode(audit_event(replace(READ, kind=kind, action=action, query="a=b"))))


def test_the_least_that_can_be_recorded_is_a_valid_audit_event() -> None:
    least = AuditRecord("token", "E", "8", datetime(2024, 6, 1, tzinfo=UTC), "")
    Checked.model_validate_json(msgspec.json.encode(audit_event(least)))
    assert [agent["requestor"] for agent in event(least)["agent"]] == [False]
    assert "entity" not in event(least)


def test_a_read_names_app_person_record_and_consent() -> None:
    found = event(READ)
    assert found["type"]["code"] == "rest"
    assert [c["code"] for c in found["subtype"]] == ["read"]
    assert found["recorded"] == "2024-06-01T12:00:00.123456Z"
    assert found["agent"][0]["who"] == {
        "type": "Device",
        "identifier": {"system": "urn:assent:client", "value": "app-1"},
        "display": "Heart app",
    }
    assert [agent["requestor"] for agent in found["agent"]] == [True, False, False]
    assert found["agent"][1]["who"] == {"reference": "Patient/p1"}
    assert found["source"]["observer"] == {"display": "Assent"}
    assert found["purposeOfEvent"][0]["coding"][0]["code"] == "PATRQT"
    shown = [(e.get("role", {}).get("code"), e["what"]) for e in found["entity"]]
    assert shown == [
        ("1", {"reference": "Patient/p1"}),
        ("4", {"reference": "Observation/o1"}),
        ("13", {"reference": "Consent/c1/_history/3"}),
        (None, {"identifier": {"value": "req-1"}}),
    ]
    assert found["entity"][-1]["type"]["code"] == "XrequestId"


def test_a_search_keeps_its_query() -> None:
    found = event(replace(READ, kind="search", action="E", query="Observation?code=ü"))
    query = next(e for e in found["entity"] if "query" in e)
    assert base64.b64decode(query["query"]).decode() == "Observation?code=ü"
    assert (query["role"]["code"], query["type"]["code"]) == ("24", "2")
    assert [c["code"] for c in found["subtype"]] == ["search"]


def test_what_is_unbounded_is_cut_and_the_cut_is_told() -> None:
    many = tuple(f"Observation/o{n}" for n in range(MAX_ENTITIES + 5))
    found = event(replace(READ, entities=many, query="x" * 99_999, client_id="c" * 9_999, description="d" * 9_999))
    assert found["entity"][MAX_ENTITIES]["detail"] == [{"type": "omitted", "valueString": "5"}]
    query = next(e for e in found["entity"] if "query" in e)
    assert len(base64.b64decode(query["query"])) == MAX_QUERY
    assert len(found["agent"][0]["who"]["identifier"]["value"]) == 256
    assert len(found["outcomeDesc"]) == 256


@pytest.mark.parametrize(
    "name", ["javascript:x", "Patient/../x", "http://elsewhere.example/Patient/1", "Patient/", "\n"]
)
def test_what_is_no_reference_never_looks_like_one(name: str) -> None:
    found = event(replace(READ, entities=(name,), user=name, patient=f"x {name}", consents=(name,)))
    assert "reference" not in found["agent"][1]["who"]
    assert all("reference" not in e["what"] for e in found["entity"])


def test_the_record_is_found_by_its_patient() -> None:
    codes = {code for code, _ in index(audit_event(READ), load_definitions())}
    assert {"patient", "entity", "agent", "date", "action", "outcome", "type", "subtype"} <= codes


def test_a_query_that_is_no_unicode_text_is_recorded_all_the_same() -> None:
    found = event(replace(READ, kind="search", query="code=\udcff"))
    queries = [entity["query"] for entity in found["entity"] if "query" in entity]
    assert base64.b64decode(queries[0]) == b"code=\\udcff"
