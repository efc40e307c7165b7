"""A small world: two patients in a real upstream behind a real Assent, and an app that holds a token for one of them.

`ana` is the patient in context, `bob` somebody else. The upstream is the sandbox's, over a socket; the proxy is the
whole server in process.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from assent.app import Assent, build
from assent.policy_files import load_policy_text
from assent.sandbox_mode.upstream import Dataset
from assent.settings import Settings
from authz.authorize.asked_categories import asked_categories
from authz.authorize.requests import choose_patient, find_request
from authz.clients.clients import NewClient, add_client
from authz.consents.decisions import Choice, Decisions
from authz.sign_in.accounts import Account, ActsFor, add_account
from fhir.r4.definitions import load_definitions
from fhir.store.change_bus import Change
from tests.leaks.upstream import TOKEN, Upstream, overheard_upstream

ISSUER = "http://127.0.0.1:8000"
REDIRECT = "http://localhost:9090/callback"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_VERIFIER = "v" * 50
_CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(_VERIFIER.encode()).digest()).rstrip(b"=").decode()


def observation(
    wanted: str, patient: str = "ana", category: str | None = "laboratory", code: str = "718-7", **more: object
) -> dict[str, object]:
    """A small Observation."""
    found: dict[str, object] = {
        "resourceType": "Observation",
        "id": wanted,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{patient}", "display": f"{patient} display"},
        "effectiveDateTime": "2026-01-02",
    }
    if category is not None:
        found["category"] = [{"coding": [{"system": CATEGORY, "code": category}]}]
    return found | more


def patient(wanted: str, **more: object) -> dict[str, object]:
    """A small Patient."""
    named = {"name": [{"family": wanted.title(), "given": ["Q"]}], "telecom": [{"system": "phone", "value": "555"}]}
    return {"resourceType": "Patient", "id": wanted, "gender": "female", "birthDate": "1980-05-17", **named, **more}


@dataclass(slots=True)
class World:
    """Server, upstream and the means to launch an app."""

    assent: Assent
    http: httpx.AsyncClient
    account: Account
    text: Any
    folder: Path
    """The data directory."""
    upstream: Upstream
    database_url: str = field(repr=False)

    async def app(
        self,
        categories: Sequence[str],
        *,
        scope: str = "launch/patient offline_access patient/*.rs",
        purpose: str = "PATRQT",
        until: datetime | None = None,
        writes: Sequence[str] = (),
    ) -> App:
        """An app that went through authorize, decision and token. `categories` are what the patient ticked."""
        client_id, token = await self.launch(categories, scope, purpose, until, writes)
        assert token.status_code == 200, token.text
        return App(self, client_id, token.json())

    async def launch(
        self,
        categories: Sequence[str],
        scope: str,
        purpose: str = "PATRQT",
        until: datetime | None = None,
        writes: Sequence[str] = (),
    ) -> tuple[str, httpx.Response]:
        """The id of a new app, and what the token endpoint said to it. `writes`: actions that the patient allowed."""
        context = self.assent.authz
        now = context.clock()
        async with self.assent.engine.begin() as connection:
            new = NewClient("App", "public", (REDIRECT,), purposes=(purpose,))
            client, _ = await add_client(connection, new, now)
        query = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": REDIRECT,
            "scope": scope,
            "state": "s",
            "aud": f"{ISSUER}/fhir",
            "code_challenge": _CHALLENGE,
            "code_challenge_method": "S256",
        }
        answer = await self.http.get(f"/authorize?{urlencode(query)}")
        handle = parse_qs(urlsplit(answer.headers["location"]).query)["request"][0]
        async with self.assent.engine.begin() as connection:
            pending = await find_request(connection, handle, self.account.id, now)
            assert pending is not None
            await choose_patient(connection, pending, "ana")
            pending = await find_request(connection, handle, self.account.id, now)
            assert pending is not None
        asked = asked_categories(scope, context.catalogue, writes=context.writes)
        ends = until or now + timedelta(days=1)
        choice = Choice(tuple(categories), asked, ends, self.text, tuple(writes))
        url = await Decisions(context).allow(pending, self.account, now, choice, "test")
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(url).query)["code"][0],
            "redirect_uri": REDIRECT,
            "client_id": client.client_id,
            "code_verifier": _VERIFIER,
        }
        return client.client_id, await self.http.post("/token", data=form)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis would print megabytes, and drown the falsifying example in them."""
        printer.text("World()")

    async def forget_consents(self) -> None:
        """Leave no consent behind: all are asked at every decision, and hundreds take time."""
        context = self.assent.authz
        for stored in (await context.repository.search(_consents(None))).matches:
            await context.repository.delete("Consent", stored.id)
            patient_id = json.loads(stored.body)["patient"]["reference"].removeprefix("Patient/")
            context.tell(Change("consent", patient_id))


@dataclass(slots=True)
class App:
    """An app with its token."""

    world: World
    client_id: str
    token: Mapping[str, Any]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As of the world."""
        printer.text("App()")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Read or search below the FHIR base."""
        sent = {"Authorization": f"Bearer {self.token['access_token']}", **headers}
        url = path if path.startswith("http") else f"/fhir/{path}"
        return await self.world.http.get(url, headers=sent)

    async def post_search(self, kind: str, form: str, query: str = "") -> httpx.Response:
        """Search by form."""
        headers = {
            "Authorization": f"Bearer {self.token['access_token']}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self.world.http.post(f"/fhir/{kind}/_search{query}", content=form, headers=headers)

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Write below the FHIR base: `body` is JSON, or text as it is."""
        kind = "application/json-patch+json" if method == "PATCH" else "application/fhir+json"
        content = body if isinstance(body, (str, bytes)) else b"" if body is None else json.dumps(body)
        sent = {"Authorization": f"Bearer {self.token['access_token']}", "Content-Type": kind, **headers}
        return await self.world.http.request(method, f"/fhir/{path}", content=content, headers=sent)

    async def post_bundle(self, body: str, path: str = "", **headers: str) -> httpx.Response:
        """Send a Bundle to the base."""
        sent = {
            "Authorization": f"Bearer {self.token['access_token']}",
            "Content-Type": "application/fhir+json",
            **headers,
        }
        return await self.world.http.post(f"/fhir{path}", content=body, headers=sent)

    async def ids(self, search: str) -> list[str]:
        """`Type/id` of every entry of a search."""
        answer = await self.get(search)
        assert answer.status_code == 200, answer.text
        return [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.json().get("entry", ())]

    async def renew(self) -> None:
        """Get a fresh access token for the refresh token."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.token["refresh_token"],
            "client_id": self.client_id,
        }
        answer = await self.world.http.post("/token", data=form)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()

    async def consent_id(self) -> str:
        """Id of the consent behind the token."""
        rows = await self.world.assent.authz.repository.search(_consents())
        found = [json.loads(r.body) for r in rows.matches]
        mine = [c for c in found if self.client_id in json.dumps(c)]
        return str(mine[0]["id"])


def _consents(of: str | None = "ana") -> Any:
    from fhir.search.query import parse_search

    pairs = [("_count", "500"), ("_sort", "-_lastUpdated")]
    if of is not None:
        pairs.append(("patient", f"Patient/{of}"))
    return parse_search("Consent", pairs, load_definitions(), max_count=500)


@asynccontextmanager
async def world(
    database_url: str, folder: Path, resources: Sequence[Mapping[str, object]], **more: object
) -> AsyncIterator[World]:
    """Start everything on a fresh database, with these resources upstream; `more`: settings besides the usual ones."""
    engine = create_async_engine(database_url)
    dataset = Dataset(hashlib.sha256(repr(resources).encode()).hexdigest(), lambda: resources)
    try:
        async with (
            overheard_upstream(engine, dataset) as upstream,
            world_of(settings_for(folder, upstream, **more), upstream, database_url) as running,
        ):
            yield running
    finally:
        await engine.dispose()


@asynccontextmanager
async def world_of(settings: Settings, upstream: Upstream, database_url: str) -> AsyncIterator[World]:
    """A server with these settings, before upstreams that run already; ana has an account."""
    assent = await build(settings, database_url)
    try:
        async with assent.engine.begin() as connection:
            who = Account("", "ana", "Ana", "Patient/ana", "patient", (ActsFor("ana", "Ana", own=True),))
            account = await add_account(connection, who, "-", datetime.now(UTC))
        text = load_policy_text(assent.authz.catalogue)
        async with client_of(assent) as http:
            yield World(assent, http, account, text, settings.data_dir, upstream, database_url)
    finally:
        await assent.aclose()


def settings_for(folder: Path, upstream: Upstream, **more: object) -> Settings:
    """Settings of a server before this upstream."""
    return Settings.model_validate(
        {
            "data_dir": folder,
            "upstream_url": upstream.url,
            "upstream_auth": "bearer",
            "upstream_bearer_token": SecretStr(TOKEN),
            "export_groups": "cohort",
            # It is made to fail often: each failure must be seen, and not that there were some before.
            "upstream_failures": 1000,
            # What a busy machine delays isn't away: it would be another answer than the one that is asked for.
            "upstream_timeout_seconds": 120,
            "upstream_connect_seconds": 60,
            **more,
        }
    )


def client_of(assent: Assent) -> httpx.AsyncClient:
    """A client that reaches the server without a socket."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(assent.asgi), base_url=ISSUER, timeout=30)
