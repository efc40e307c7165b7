"""A server where registration is open, in two processes, with an app's way to its own registration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from assent.app import Assent, build
from tests.conformance.launching import ASSERTION_TYPE, assertion
from tests.leaks.world import REDIRECT, World, client_of, observation, patient, settings_for, world

GOOD: dict[str, Any] = {
    "client_name": "Diary",
    "redirect_uris": [REDIRECT],
    "token_endpoint_auth_method": "none",
    "scope": "launch/patient offline_access patient/*.rs",
}
SERVICE: dict[str, Any] = {
    "client_name": "Service",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "private_key_jwt",
    "scope": "system/Patient.rs",
}


@dataclass(slots=True)
class Open:
    """A server where registration is open, and a second process of it."""

    world: World
    http: httpx.AsyncClient
    other: httpx.AsyncClient
    assent: Assent

    async def register(self, **change: Any) -> dict[str, Any]:
        answer = await self.http.post("/register", json=GOOD | change)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def send(self, method: str, registered: dict[str, Any], **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {registered['registration_access_token']}"}
        sent = {"client_id": registered["client_id"], **body} if method == "PUT" else None
        return await self.http.request(method, registered["registration_client_uri"], headers=headers, json=sent)

    async def service_token(self, client_id: str, key: bytes, jti: str, http: httpx.AsyncClient | None = None) -> int:
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Patient.rs",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(client_id, key, "ES384", jti=jti),
        }
        answer = await (http or self.http).post("/token", data=form)
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        return answer.status_code


@asynccontextmanager
async def open_server(database_url: str, folder: Path) -> AsyncIterator[Open]:
    """Two processes on a fresh database, before one patient."""
    async with world(database_url, folder, [patient("ana"), observation("lab0")]) as running:
        settings = settings_for(folder, running.upstream).model_copy(update={"open_registration": True})
        processes = [await build(settings, running.database_url) for _ in range(2)]
        try:
            async with client_of(processes[0]) as http, client_of(processes[1]) as other:
                opened = World(
                    processes[0], http, running.account, running.text, folder, running.upstream, running.database_url
                )
                yield Open(opened, http, other, processes[0])
        finally:
            for process in processes:
                await process.aclose()


@asynccontextmanager
async def closed_server(server: Open) -> AsyncIterator[Open]:
    """A third process of the same server, with registration closed."""
    settings = settings_for(server.world.folder, server.world.upstream)
    closed = await build(settings, server.world.database_url)
    try:
        async with client_of(closed) as http:
            yield Open(server.world, http, http, closed)
    finally:
        await closed.aclose()
