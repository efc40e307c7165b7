"""A server whose people ask what an app can see and why; nothing on their pages may be data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from portal.patient_search import PatientSearch
from tests.clients.html_page import Page
from tests.conftest import MakeDatabase
from tests.leaks.test_people import PASSWORD, Visitor
from tests.leaks.world import World, client_of, observation, patient, world

UNSEEN = "NOBODY-MAY-SEE-THIS"
HIV = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}
RESOURCES: list[dict[str, object]] = [
    patient("ana", text={"status": "generated", "div": f"<div>{UNSEEN}</div>"}),
    patient("bob"),
    observation("lab0", note=[{"text": UNSEEN}], valueString=UNSEEN),
    observation("vital0", category="vital-signs"),
    observation("hiv0", meta=HIV),
    observation("bob1", "bob"),
    {
        "resourceType": "Condition",
        "id": "c0",
        "code": {"text": UNSEEN},
        "subject": {"reference": "Patient/ana"},
    },
]
PEOPLE = {
    "pat": Account("", "pat", "Pat", "Patient/ana", "patient", (ActsFor("ana", "Ana", own=True),)),
    "rep": Account("", "rep", "Rep", "RelatedPerson/rep", "representative", (ActsFor("ana", "Ana", own=False),)),
    "bob": Account("", "bob", "Bob", "Patient/bob", "patient", (ActsFor("bob", "Bob", own=True),)),
    "kim": Account("", "kim", "Kim", None, "operator"),
    "dev": Account("", "dev", "Dev", None, "developer"),
}
YES, PART, NO = "Yes, the app can see this.", "The app can see a part of this.", "No, the app can't see this."


class Asker(Visitor):
    """A visitor who also looks at the page's source."""

    html = ""

    def _shown(self, answer: httpx.Response) -> Page:
        self.html = answer.text
        return super()._shown(answer)


@dataclass(slots=True)
class Place:
    """A server with people who ask."""

    world: World

    @asynccontextmanager
    async def visit(self, username: str, language: str = "en") -> AsyncIterator[Asker]:
        """Somebody signed in, in a browser of their own."""
        async with client_of(self.world.assent) as http:
            http.headers["Accept-Language"] = "en"
            visitor = Asker(http)
            await visitor.open("/sign-in")
            await visitor.send("Sign in", username=username, password=PASSWORD)
            http.headers["Accept-Language"] = language
            yield visitor

    async def events(self) -> list[dict[str, Any]]:
        """AuditEvents about ana, newest first."""
        context = self.world.assent.authz
        await context.audit.settle("ana")
        page = await PatientSearch(context.repository).page("AuditEvent", "ana", (("_sort", "-date"),), 50)
        return [msgspec.json.decode(stored.body) for stored in page.matches]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with world(await make_database(), tmp_path_factory.mktemp("why"), RESOURCES) as running:
        hashed, now = await Passwords().hash(PASSWORD), running.assent.authz.clock()
        async with running.assent.engine.begin() as connection:
            for who in PEOPLE.values():
                await add_account(connection, who, hashed, now)
        yield Place(running)


async def ask(visitor: Asker, consent_id: str, button: str = "Ask", **question: str) -> Page:
    await visitor.open(f"/my/sharing/{consent_id}/explain")
    await visitor.send(button, **question)
    assert UNSEEN not in visitor.html
    return visitor.page
