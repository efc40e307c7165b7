"""What the tests of writes share: who may write, what is there, and what must not change by it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from policies.codes import CONFIDENTIALITY_SYSTEM
from tests.leaks.world import ACT_CODE, App, World, observation, patient

TICKED = ("demographics", "laboratory", "vital-signs", "conditions", "encounters")
ACTIONS = ("collect", "correct")
SCOPE = "launch/patient offline_access patient/*.cruds"
NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">NARRATIVE-SECRET</div>'}
HIV = {"security": [{"system": ACT_CODE, "code": "HIV"}]}
NORMAL = {"system": CONFIDENTIALITY_SYSTEM, "code": "N"}
HIV_CODE = "75622-1"
SECRET = "withheld-secret"  # noqa: S105  # what a writer must never see

RESOURCES: list[dict[str, object]] = [
    patient("ana", text=NARRATIVE, photo=[{"title": SECRET}]),
    patient("bob"),
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Doc"}]},
    {"resourceType": "Practitioner", "id": "hivdoc", "meta": HIV, "name": [{"family": SECRET}]},
    {
        "resourceType": "Encounter",
        "id": "enc",
        "status": "finished",
        "class": {"system": ACT_CODE, "code": "AMB"},
        "subject": {"reference": "Patient/ana"},
    },
    observation("plain"),
    observation("other"),
    observation(
        "rich",
        text=NARRATIVE,
        meta={
            "tag": [{"code": SECRET}],
            "source": "http://x/source",
            "security": [NORMAL],
        },
        extension=[
            {"url": "http://x/hidden", "valueString": SECRET},
            {"url": "http://x/hidden", "valueReference": {"reference": "Observation/hiv-label"}},
            {"url": "http://x/hidden", "valueAttachment": {"url": "Binary/hidden"}},
        ],
        performer=[{"reference": "Practitioner/doc", "identifier": {"value": SECRET}}],
        valueQuantity={"value": 1.5, "unit": "g/dL"},
    ),
    observation("hiv-label", meta=HIV),
    observation("hiv-code", code=HIV_CODE),
    observation("bobs", patient="bob"),
    observation("nothing", category="social-history"),
    observation("modified", modifierExtension=[{"url": "http://x/not", "valueBoolean": True}]),
]


async def writer(world: World, scope: str = SCOPE, **more: Any) -> App:
    """An app that may write all that it may see."""
    return await world.app(more.pop("categories", TICKED), scope=scope, writes=more.pop("writes", ACTIONS), **more)


async def stored(world: World, name: str) -> dict[str, Any]:
    """A resource as the upstream has it."""
    found = await world.upstream.repository.read(name.partition("/")[0], name.partition("/")[2])
    assert found is not None
    return {"deleted": True} if found.deleted else dict(json.loads(found.body))


def said(answer: httpx.Response) -> tuple[int, str]:
    """Status and issue code."""
    assert answer.json()["resourceType"] == "OperationOutcome", answer.text
    assert SECRET not in answer.text
    return answer.status_code, answer.json()["issue"][0]["code"]


def new_observation(**more: object) -> dict[str, object]:
    """One as an app sends it: without an id, and without what it couldn't read back."""
    found = observation("x", subject={"reference": "Patient/ana"}) | more
    return {name: value for name, value in found.items() if (name != "id" or "id" in more) and value is not None}
