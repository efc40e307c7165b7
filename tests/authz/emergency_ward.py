"""A server where emergency access is switched on, an app for treatment, and the people around it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from authz import tables
from authz.authorize.launch_contexts import create_launch
from authz.clients.clients import NewClient, add_client
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from fhir.store.change_bus import Change
from portal.patient_search import PatientSearch
from tests.conftest import MakeDatabase
from tests.leaks.test_people import PASSWORD, Visitor
from tests.leaks.world import ACT_CODE, ISSUER, REDIRECT, App, World, client_of, observation, patient, world

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REASON = "Unconscious after a road accident, medicines not known"
SCOPE = "launch openid fhirUser offline_access patient/*.rs"


def labelled(wanted: str, label: str) -> dict[str, object]:
    return observation(wanted, meta={"security": [{"system": ACT_CODE, "code": label}]})


def _organization(id: str) -> dict[str, object]:
    return {"resourceType": "Organization", "id": id, "name": id}


def _group(id: str, practitioner: str) -> dict[str, object]:
    member = [{"entity": {"reference": f"Practitioner/{practitioner}"}}]
    return {"resourceType": "Group", "id": id, "type": "practitioner", "actual": True, "member": member}


RESOURCES: list[dict[str, object]] = [
    patient("ana"),
    patient("bob"),
    observation("lab0"),
    labelled("hiv0", "HIV"),
    labelled("alcohol0", "ETHUD"),
    labelled("violence0", "SDV"),
    labelled("unknown0", "no-such-label"),
    observation("bob0", "bob"),
    {
        "resourceType": "PractitionerRole",
        "id": "r",
        "practitioner": {"reference": "Practitioner/raman"},
        "organization": {"reference": "Organization/hospital"},
    },
    *map(_organization, ("hospital", "elsewhere")),
    _group("with-raman", "raman"),
    _group("others", "somebody"),
]
OPENED = {"Observation/lab0", "Observation/hiv0", "Observation/alcohol0"}
PEOPLE = {
    "raman": Account("", "raman", "Dr. Raman", "Practitioner/raman", "clinician"),
    "own": Account("", "own", "Dr. Own", "Practitioner/own", "clinician", (ActsFor("ana", "Ana", own=False),)),
    "pat": Account("", "pat", "Pat", "Patient/ana", "patient", (ActsFor("ana", "Ana", own=True),)),
    "dev": Account("", "dev", "Dev", None, "developer"),
    "kim": Account("", "kim", "Kim", None, "operator"),
    "fake": Account("", "fake", "Fake", "Patient/fake", "clinician"),
}


@dataclass(slots=True)
class Ward:
    """An app for treatment in a server where emergency access is switched on."""

    server: World
    client_id: str
    people: dict[str, Account]

    @asynccontextmanager
    async def visit(self, username: str) -> AsyncIterator[Visitor]:
        """Somebody signed in, in a browser of their own."""
        async with client_of(self.server.assent) as http:
            visitor = Visitor(http)
            await visitor.open("/sign-in")
            await visitor.send("Sign in", username=username, password=PASSWORD)
            yield visitor

    async def asked(self, scope: str = SCOPE, standalone: bool = False, **more: str) -> str:
        """The page on which a request of the app waits: launched by an EHR for ana, or standalone."""
        context = self.server.assent.authz
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": scope.replace("launch", "launch/patient") if standalone else scope,
            "state": "s",
            "aud": f"{ISSUER}/fhir",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        if not standalone:
            async with context.engine.begin() as connection:
                ehr, _ = await add_client(connection, NewClient("EHR", "ehr", scope="assent/launch.c"), context.clock())
                about, now = {"patient": "ana"}, context.clock()
                query["launch"] = await create_launch(connection, about, ehr=ehr.client_id, client_id=None, now=now)
        answer = await self.server.http.get("/authorize", params=query | more)
        return str(answer.headers["location"])

    async def emergency(self, visitor: Visitor, address: str, **changed: str) -> httpx.Response:
        """The form, filled as somebody in a hurry would, and its answer before any redirect is followed."""
        await visitor.open(address.replace("/authorize/continue", "/authorize/emergency"))
        form = visitor.page.form_with("submit", "Open in an emergency")
        assert form is not None, visitor.page.text
        given = dict(form.pressed(form.find("submit", "Open in an emergency")))
        sent = given | {"reason": REASON, "confirm": "yes"} | changed
        return await visitor.http.post(form.action, data=sent, headers={"Origin": ISSUER})

    async def redeem(self, answer: httpx.Response) -> httpx.Response:
        """What the token endpoint says to the code in a redirect."""
        assert answer.status_code == 303, answer.text
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(answer.headers["location"]).query)["code"][0],
            "redirect_uri": REDIRECT,
            "client_id": self.client_id,
            "code_verifier": VERIFIER,
        }
        return await self.server.http.post("/token", data=form)

    async def opened(self, **changed: str) -> App:
        """The whole way, by the clinician."""
        async with self.visit("raman") as visitor:
            answer = await self.redeem(await self.emergency(visitor, await self.asked(), **changed))
        assert answer.status_code == 200, answer.text
        return App(self.server, self.client_id, answer.json())

    async def keep(self, **provision: Any) -> str:
        """A Consent of ana, as somebody else would write it."""
        consent = {
            "resourceType": "Consent",
            "status": "active",
            "scope": {"coding": [{"code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": "Patient/ana"},
            "dateTime": "2026-01-01T00:00:00Z",
            "provision": provision,
        }
        stored = await self.server.assent.authz.repository.create(consent)
        self.server.assent.authz.tell(Change("consent", "ana"))
        return str(stored.id)

    async def events(self, **conditions: str) -> list[dict[str, Any]]:
        """AuditEvents about ana, newest first."""
        context = self.server.assent.authz
        await context.audit.settle("ana")
        pairs = (("_sort", "-date"), *conditions.items())
        page = await PatientSearch(context.repository).page("AuditEvent", "ana", pairs, 50)
        return [msgspec.json.decode(stored.body) for stored in page.matches]

    async def opened_ever(self) -> int:
        async with self.server.assent.engine.connect() as connection:
            return int(
                (await connection.execute(select(func.count()).select_from(tables.emergency_access))).scalar_one()
            )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ground(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("emergency")
    server = {"emergency_access": True, "mail_url": "smtp://127.0.0.1:9", "mail_from": "no-reply@share.example"}
    async with world(await make_database(), folder, RESOURCES, **server) as running:
        assert running.assent.mail is not None
        await running.assent.mail.close()  # letters wait, so that a test can read them
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(ground: World) -> dict[str, Account]:
    hashed = await Passwords().hash(PASSWORD)
    async with ground.assent.engine.begin() as connection:
        now = ground.assent.authz.clock()
        return {name: await add_account(connection, who, hashed, now) for name, who in PEOPLE.items()}


@pytest_asyncio.fixture(loop_scope="session")
async def ward(ground: World, people: dict[str, Account]) -> AsyncIterator[Ward]:
    async with ground.assent.engine.begin() as connection:
        new = NewClient("Ward", "public", (REDIRECT,), purposes=("TREAT",))
        client, _ = await add_client(connection, new, ground.assent.authz.clock())
    yield Ward(ground, client.client_id, people)
    await ground.forget_consents()
