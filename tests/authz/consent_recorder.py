"""A recorder in a world: a backend service that keeps consents at `/fhir/Consent`, with a token of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from policies.codes import CLIENT_SYSTEM, DATA_CATEGORY_SYSTEM
from tests.leaks.service import service
from tests.leaks.world import World

CRUDS = "assent/consents.cruds"
_RECIPIENT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}


@dataclass(slots=True)
class RecorderClient:
    """It speaks HTTP and nothing else."""

    world: World
    client_id: str
    token: str

    async def send(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One request below the FHIR base; `body` is sent as it is when it is bytes."""
        kind = "application/json-patch+json" if method == "PATCH" else "application/fhir+json"
        sent = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            sent["Content-Type"] = kind
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else f"/fhir/{path}"
        return await self.world.http.request(method, url, content=content, headers={**sent, **(headers or {})})

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Read or search."""
        return await self.send("GET", path, headers=headers)

    async def created(self, consent: object) -> dict[str, Any]:
        """The Consent as it was stored."""
        answer = await self.send("POST", "Consent", consent)
        assert answer.status_code == 201, answer.text
        stored: dict[str, Any] = answer.json()
        return stored


async def recorder(world: World, scope: str = CRUDS, *, registered: str | None = None) -> RecorderClient:
    """A new recorder. `scope` is asked for, of what is `registered`."""
    made = await service(world, {}, registered=registered or scope, scope=scope)
    return RecorderClient(world, made.client_id, str(made.token["access_token"]))


def grantee(client_id: str) -> list[dict[str, object]]:
    """An actor: the app as information recipient."""
    who = {"identifier": {"system": CLIENT_SYSTEM, "value": client_id}}
    return [{"role": {"coding": [_RECIPIENT]}, "reference": who}]


def category(*codes: str) -> list[dict[str, object]]:
    """Data categories for `class`."""
    return [{"system": DATA_CATEGORY_SYSTEM, "code": code} for code in codes]


def consent(provision: object = None, **more: object) -> dict[str, Any]:
    """A valid Consent; None takes an element away. Without `provision`: a permit of laboratory results to app `x`."""
    permit = {"type": "permit", "actor": grantee("x"), "class": category("laboratory")}
    whole = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": _SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/ana"},
        "dateTime": "2026-01-02",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": permit if provision is None else provision,
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


def issues(answer: httpx.Response) -> list[tuple[str, tuple[str, ...]]]:
    """Code and expressions of every issue of an OperationOutcome."""
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome", answer.text
    return [(issue["code"], tuple(issue.get("expression", ()))) for issue in outcome["issue"]]


_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
