"""An app that keeps state at `/app-state`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.conformance.launching import FHIR_BASE, launch
from tests.leaks.world import ISSUER, World

BASE = f"{ISSUER}/app-state"
SYSTEM = "https://diary.example"
ANA = f"{FHIR_BASE}/Patient/ana"
SCOPE = "launch/patient openid fhirUser offline_access patient/*.rs patient/Basic.cruds user/Basic.cruds"


@dataclass(slots=True)
class StateApp:
    """It speaks HTTP and nothing else."""

    world: World
    client_id: str
    token: dict[str, Any]

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """One request below `/app-state`; `body` is sent as it is when it is bytes."""
        sent = {"Authorization": f"Bearer {self.token['access_token']}"}
        if body is not None:
            sent["Content-Type"] = "application/fhir+json"
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.world.http.request(method, f"{BASE}/{path}", content=content, headers={**sent, **given})

    async def kept(self, body: object) -> dict[str, Any]:
        """The state as it was created."""
        answer = await self.send("POST", "Basic", body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def found(self, code: str = "settings", subject: str | None = ANA) -> list[str]:
        """Ids of what a search finds."""
        answer = await self.search(code, subject)
        assert answer.status_code == 200, answer.text
        return [entry["resource"]["id"] for entry in answer.json().get("entry", ())]

    async def search(self, code: str = "settings", subject: str | None = ANA) -> httpx.Response:
        """A search by code and subject; None: of all users."""
        about = {"subject:missing": "true"} if subject is None else {"subject": subject}
        query = str(httpx.QueryParams({"code": f"{SYSTEM}|{code}", **about}))
        return await self.send("GET", f"Basic?{query}")


def state(code: str = "settings", subject: str | None = ANA, value: str = "x", **more: object) -> dict[str, Any]:
    """A Basic to keep; None takes a member away."""
    whole = {
        "resourceType": "Basic",
        "code": {"coding": [{"system": SYSTEM, "code": code}]},
        "subject": None if subject is None else {"reference": subject},
        "extension": [{"url": f"{SYSTEM}/{code}", "valueString": value}],
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


async def state_app(world: World, scope: str = SCOPE, categories: tuple[str, ...] = ("laboratory",)) -> StateApp:
    """A new app with a token of `ana`."""
    app = await (await launch(world, scope)).app(categories)
    return StateApp(world, app.client_id, dict(app.token))
