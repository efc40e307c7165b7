"""L46 where a part of a category is shared: an app writes within that part, and moves nothing in or out of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.leaks.world import World
from tests.leaks.writes import said

HL7 = "http://terminology.hl7.org/CodeSystem/condition-category"
SCOPE = "launch/patient offline_access patient/Condition.cruds"


def _condition(*codes: str, **more: object) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/ana"},
        "code": {"text": "x"},
        **more,
    }
    return found | ({"category": [{"coding": [{"system": HL7, "code": c} for c in codes]}]} if codes else {})


@pytest.mark.leak("L46")
async def test_an_app_writes_within_the_part_that_is_shared(writable: World) -> None:
    app = await writable.app(["problem-list"], scope=SCOPE, writes=("collect", "correct"))
    (left,) = [scope for scope in str(app.token["scope"]).split() if "Condition" in scope]
    assert left == f"patient/Condition.cruds?category={HL7}|problem-list-item"
    for codes in ((), ("encounter-diagnosis",)):
        assert said(await app.send("POST", "Condition", _condition(*codes))) == (403, "forbidden")
    made = await app.send("POST", "Condition", _condition("problem-list-item"))
    assert made.status_code == 201, made.text
    path = f"Condition/{made.json()['id']}"
    for codes in ((), ("encounter-diagnosis",)):
        moved = _condition(*codes, id=made.json()["id"])
        assert said(await app.send("PUT", path, moved)) == (403, "forbidden")
    assert (await app.send("DELETE", path)).status_code == 204


@pytest.mark.leak("L46")
async def test_who_shares_the_whole_lets_an_app_write_all_of_it(writable: World) -> None:
    app = await writable.app(["conditions"], scope=SCOPE, writes=("collect", "correct"))
    assert SCOPE.split()[-1] in str(app.token["scope"]).split()
    for codes in ((), ("encounter-diagnosis",), ("problem-list-item",)):
        assert (await app.send("POST", "Condition", _condition(*codes))).status_code == 201
