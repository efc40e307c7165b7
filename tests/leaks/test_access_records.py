"""L70: each interaction leaves a record of what it showed, under its own name, and of what it refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.leaks.world import App, World

SHARED = ("laboratory", "conditions", "documents", "sharing-record")


async def _records(app: App) -> list[dict[str, Any]]:
    """What is on record of the app's own requests below the base, newest first."""
    found = (await app.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]
    events = [entry["resource"] for entry in found]
    return [e for e in events if app.client_id in json.dumps(e) and e["type"]["code"] == "rest" and "subtype" in e]


@pytest.mark.leak("L70")
@pytest.mark.parametrize(
    ("path", "subtypes", "shown"),
    [
        ("Observation/lab0", ["read"], {"Observation/lab0"}),
        ("Observation/lab0/_history/1", ["read", "vread"], {"Observation/lab0"}),
        ("Observation/lab0/_history", ["read", "history-instance"], {"Observation/lab0"}),
        ("Condition", ["search"], {"Condition/flu"}),
        ("?_type=Condition", ["search", "search-system"], {"Condition/flu"}),
        ("Patient/ana/$everything?_type=Condition", ["search", "operation"], {"Condition/flu"}),
        ("Binary/letter-text", ["read"], {"Binary/letter-text"}),
        ("Observation/hiv-by-code/_history", ["read", "history-instance"], set()),
        ("Patient/bob/$everything", ["search", "operation"], set()),
        ("Binary/hiv-text", ["read"], set()),
        ("?_type=Condition&_id=opioid", ["search", "search-system"], set()),
    ],
)
async def test_l70_what_was_shown_is_on_record(leaky: World, path: str, subtypes: list[str], shown: set[str]) -> None:
    app = await leaky.app(SHARED)
    answer = await app.get(path)
    record = next(r for r in await _records(app) if [c["code"] for c in r["subtype"]] == subtypes)
    named = {e["what"]["reference"] for e in record["entity"] if "reference" in e.get("what", {})}
    clinical = {name for name in named if name.partition("/")[0] in ("Observation", "Condition", "Binary")}
    assert clinical == shown
    assert record["outcome"] == ("0" if answer.status_code == 200 else "4")
    assert record["action"] == ("E" if "search" in subtypes else "R")
    for secret in ("hiv", "opioid", "bob"):
        assert secret not in json.dumps(record)


@pytest.mark.leak("L70")
@pytest.mark.parametrize(
    "path", ["Observation/lab0/_history?_at=2020", "?_type=Nonsense", "Patient/ana/$everything?x=y", "$export"]
)
async def test_what_no_decision_was_asked_for_is_not_on_record(leaky: World, path: str) -> None:
    app = await leaky.app(SHARED)
    assert (await app.get(path)).status_code in (400, 403)
    assert [record for record in await _records(app) if record["action"] == "R"] == []
