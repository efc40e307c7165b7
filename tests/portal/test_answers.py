"""Answering on `/my`: a request that was left open goes on, and a proposed consent is allowed, in part, or denied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import update

from authz import tables
from authz.clients.clients import NewClient, add_client
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from fhir.search.query import parse_search
from policies.codes import ACT_REASON_SYSTEM
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, recorder
from tests.conftest import MakeDatabase
from tests.leaks.test_people import PASSWORD, Visitor
from tests.leaks.world import ISSUER, REDIRECT, World, client_of, observation, patient, world

TREATMENT = [{"system": ACT_REASON_SYSTEM, "code": "TREAT"}]


@dataclass(slots=True)
class Desk:
    """A recorder, an app for treatment, and two people who are signed in."""

    world: World
    clerk: RecorderClient
    app: str
    ana: Visitor
    bob: Visitor

    async def proposed(self, **more: Any) -> dict[str, Any]:
        """A proposal to share laboratory results and conditions with the app."""
        kinds = category("laboratory", "conditions")
        permit = {"type": "permit", "actor": grantee(self.app), "purpose": TREATMENT, "class": kinds}
        return await self.clerk.created(consent({**permit, **more.pop("provision", {})}, status="proposed", **more))

    async def stored(self, consent_id: str) -> tuple[int, dict[str, Any]]:
        """Version and content."""
        found = await self.world.assent.authz.repository.read("Consent", consent_id)
        assert found is not None
        return found.version, msgspec.json.decode(found.body)

    async def events(self, kind: str, consent_id: str) -> list[dict[str, Any]]:
        """Resources of a type that name the consent."""
        context = self.world.assent.authz
        await context.audit.settle("ana")
        parameter = "target" if kind == "Provenance" else "entity"
        query = parse_search(
            kind, ((parameter, f"Consent/{consent_id}"),), context.repository.definitions, max_count=50
        )
        return [msgspec.json.decode(found.body) for found in (await context.repository.search(query)).matches]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    people = [patient("ana"), patient("bob"), observation("lab0")]
    async with world(await make_database(), tmp_path_factory.mktemp("answers"), people) as running:
        visitors = []
        for name in ("ana", "bob"):
            async with running.assent.engine.begin() as connection:
                acts_for = (ActsFor(name, name.title(), own=True),)
                who = Account("", f"{name}-herself", name.title(), f"Patient/{name}", "patient", acts_for)
                await add_account(connection, who, await Passwords().hash(PASSWORD), running.assent.authz.clock())
            visitor = Visitor(client_of(running.assent))
            await visitor.open("/sign-in")
            await visitor.send("Sign in", username=f"{name}-herself", password=PASSWORD)
            visitors.append(visitor)
        async with running.assent.engine.begin() as connection:
            new = NewClient("Clinic App", "public", (REDIRECT,), purposes=("TREAT",))
            app, _ = await add_client(connection, new, running.assent.authz.clock())
        yield Desk(running, await recorder(running), app.client_id, *visitors)
        for visitor in visitors:
            await visitor.http.aclose()


async def test_a_proposal_is_offered_on_my_with_nothing_sensitive_ticked(desk: Desk) -> None:
    spoofed = [{**grantee(desk.app)[0]}]
    spoofed[0]["reference"] = {**grantee(desk.app)[0]["reference"], "display": "Your Doctor"}  # type: ignore[dict-item]
    made = await desk.proposed(provision={"actor": spoofed})
    assert f"/my/proposals/{made['id']}" in (await desk.ana.http.get("/my")).text
    page = await desk.ana.open(f"/my/proposals/{made['id']}")
    assert "Share your health information with Clinic App?" in page.text
    form = page.form_with("submit", "Allow")
    assert form is not None
    sent = form.pressed(form.find("submit", "Allow"))
    assert sorted(value for name, value in sent if name == "category") == ["conditions", "laboratory"]
    assert dict(sent)["version"] == "1"


async def test_who_saw_what_names_the_app_of_a_proposal_as_it_is_registered(desk: Desk) -> None:
    await desk.proposed()
    text = (await desk.ana.open("/my/activity")).text
    assert "recorded what Clinic App may see" in text
    assert desk.app not in text


async def test_allowing_less_writes_the_next_version_with_provenance_and_record(desk: Desk) -> None:
    made = await desk.proposed(identifier=[{"system": "urn:paper", "value": "p-77"}])
    await desk.ana.open(f"/my/proposals/{made['id']}")
    page = await desk.ana.send("Allow", category="laboratory", duration="year")
    assert (page.status, page.url.split("?")[0]) == (200, f"{ISSUER}/my")
    version, content = await desk.stored(made["id"])
    assert (version, content["status"], content["provision"]["type"]) == (2, "active", "permit")
    assert [c["code"] for c in content["provision"]["class"]] == ["laboratory"]
    assert content["performer"] == [{"reference": "Patient/ana", "display": "Ana"}]
    assert content["identifier"] == [{"system": "urn:paper", "value": "p-77"}]
    assert content["provision"]["actor"][0]["reference"]["display"] == "Clinic App"
    authors = [
        event["agent"][0]["who"]
        for event in await desk.events("Provenance", made["id"])
        if event["target"][0]["reference"].endswith("/_history/2")
    ]
    assert authors == [{"reference": "Patient/ana", "display": "Ana"}]
    acts = [(e["subtype"][0]["code"], e["outcome"]) for e in await desk.events("AuditEvent", made["id"])]
    assert ("authorize", "0") in acts


async def test_denying_leaves_a_decision_and_opens_nothing(desk: Desk) -> None:
    made = await desk.proposed()
    await desk.ana.open(f"/my/proposals/{made['id']}")
    assert (await desk.ana.send("Deny")).status == 200
    version, content = await desk.stored(made["id"])
    assert (version, content["status"], content["provision"]["type"]) == (2, "rejected", "deny")
    acts = [(e["subtype"][0]["code"], e["outcome"]) for e in await desk.events("AuditEvent", made["id"])]
    assert ("authorize", "4") in acts
    assert (await desk.ana.open(f"/my/proposals/{made['id']}")).status == 409


async def test_a_proposal_is_answered_as_it_was_shown_or_not_at_all(desk: Desk) -> None:
    made = await desk.proposed()
    await desk.ana.open(f"/my/proposals/{made['id']}")
    wider = {**made, "provision": {**made["provision"], "class": category("laboratory", "conditions", "medications")}}
    assert (await desk.clerk.send("PUT", f"Consent/{made['id']}", wider)).status_code == 200
    assert (await desk.ana.send("Allow")).status == 400
    version, content = await desk.stored(made["id"])
    assert (version, content["status"]) == (2, "proposed")
    # What it says now is on the page that told of it.
    assert (await desk.ana.send("Allow")).status == 200
    version, content = await desk.stored(made["id"])
    assert (version, content["status"]) == (3, "active")


async def test_what_was_not_proposed_cant_be_added(desk: Desk) -> None:
    made = await desk.proposed()
    await desk.ana.open(f"/my/proposals/{made['id']}")
    assert (await desk.ana.send("Allow", category="medications")).status == 400
    assert (await desk.stored(made["id"]))[1]["status"] == "proposed"


async def test_nobody_answers_for_somebody_else(desk: Desk) -> None:
    made = await desk.proposed()
    await desk.ana.open(f"/my/proposals/{made['id']}")
    assert (await desk.bob.open(f"/my/proposals/{made['id']}")).status == 404
    await desk.bob.open("/my/revoke-all?patient=bob")
    await desk.bob.open("/my/sign-out")
    assert (await desk.bob.send("Sign out", to=f"/my/proposals/{made['id']}", decision="allow")).status == 404
    assert (await desk.stored(made["id"]))[1]["status"] == "proposed"


@pytest.mark.parametrize(
    "shape",
    [
        {"status": "draft"},
        {"provision": {"purpose": None}},
        {"provision": {"actor": [*grantee("x"), *grantee("y")]}},
        {"provision": {"dataPeriod": {"start": "2020-01-01"}}},
        {"provision": {"period": {"end": "2020-01-01"}}},
        {"provision": {"class": category("unheard-of")}},
        {"provision": {"type": "deny"}},
        {"sourceReference": {"reference": "DocumentReference/paper"}},
    ],
    ids=str,
)
async def test_a_proposal_that_the_form_cant_say_whole_is_not_answered_here(desk: Desk, shape: dict[str, Any]) -> None:
    inside = {"type": "permit", "actor": grantee(desk.app), "purpose": TREATMENT, "class": category("laboratory")}
    inside |= shape.get("provision", {})
    whole = {"status": "proposed", **{name: value for name, value in shape.items() if name != "provision"}}
    made = await desk.clerk.created(consent({n: v for n, v in inside.items() if v is not None}, **whole))
    mine = await desk.ana.http.get("/my")
    assert (mine.status_code, f"/my/proposals/{made['id']}" in mine.text) == (200, False)
    assert (await desk.ana.open(f"/my/proposals/{made['id']}")).status == 409


@pytest.mark.parametrize(
    "provision",
    [{"actor": grantee("nobody-registered-it")}, {"purpose": [{"system": ACT_REASON_SYSTEM, "code": "HRESCH"}]}],
    ids=["unknown app", "another purpose"],
)
async def test_an_app_that_isnt_in_use_for_it_can_be_denied_only(desk: Desk, provision: dict[str, Any]) -> None:
    made = await desk.proposed(provision=provision)
    await desk.ana.open(f"/my/proposals/{made['id']}")
    assert (await desk.ana.send("Allow")).status == 409
    assert (await desk.stored(made["id"]))[1]["status"] == "proposed"
    await desk.ana.open(f"/my/proposals/{made['id']}")
    assert (await desk.ana.send("Deny")).status == 200
    assert (await desk.stored(made["id"]))[1]["status"] == "rejected"


async def test_the_end_that_was_proposed_is_offered_first(desk: Desk) -> None:
    ends = (datetime.now(UTC) + timedelta(days=40)).replace(microsecond=0)
    made = await desk.proposed(provision={"period": {"end": ends.isoformat()}})
    await desk.ana.open(f"/my/proposals/{made['id']}")
    await desk.ana.send("Allow")
    content = (await desk.stored(made["id"]))[1]
    # FHIR R4 `Period.end`: the end of the second that is named.
    assert datetime.fromisoformat(content["provision"]["period"]["end"]).replace(microsecond=0) == ends


async def test_an_answer_needs_a_sign_in_that_is_as_fresh_as_for_an_app(desk: Desk) -> None:
    made = await desk.proposed()
    await desk.ana.open(f"/my/proposals/{made['id']}")
    s = tables.session
    engine, now = desk.world.assent.engine, desk.world.assent.authz.clock()
    async with engine.begin() as connection:
        await connection.execute(update(s).values(auth_time=now - timedelta(hours=2)))
    try:
        page = await desk.ana.send("Allow")
    finally:
        async with engine.begin() as connection:
            await connection.execute(update(s).values(auth_time=now))
    assert page.url.startswith(f"{ISSUER}/sign-in")
    assert (await desk.stored(made["id"]))[1]["status"] == "proposed"


async def _opened(desk: Desk) -> str:
    """An app's request that ana opened and left; its handle."""
    query = {
        "response_type": "code",
        "client_id": desk.app,
        "redirect_uri": REDIRECT,
        "scope": "launch/patient patient/Observation.rs",
        "state": "s",
        "aud": f"{ISSUER}/fhir",
        "purpose_of_use": "TREAT",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    page = await desk.ana.open(f"/authorize?{urlencode(query)}")
    assert page.status == 200
    return parse_qs(urlsplit(page.url).query)["request"][0]


async def test_a_request_that_was_left_open_goes_on_from_my_with_another_handle(desk: Desk) -> None:
    handle = await _opened(desk)
    await desk.ana.open("/my")
    page = await desk.ana.send("Answer")
    again = parse_qs(urlsplit(page.url).query)["request"][0]
    assert (page.status, again == handle) == (200, False)
    assert page.form_with("submit", "Allow") is not None
    assert (await desk.ana.open(f"/authorize/continue?request={handle}")).status == 400
    assert (await desk.ana.open(f"/authorize/continue?request={again}")).status == 200


async def test_nobody_goes_on_with_somebody_elses_request_nor_with_one_that_is_over(desk: Desk) -> None:
    handle = await _opened(desk)
    await desk.ana.open("/my")
    form = desk.ana.page.form_with("submit", "Answer")
    assert form is not None
    waiting = dict(form.pressed(form.find("submit", "Answer")))["request"]
    await desk.bob.open("/my/sign-out")
    assert (await desk.bob.send("Sign out", to="/my/requests", request=waiting)).status == 400
    assert (await desk.ana.open(f"/authorize/continue?request={handle}")).status == 200
    r = tables.authorization_request
    async with desk.world.assent.engine.begin() as connection:
        await connection.execute(update(r).where(r.c.id_hash == waiting).values(completed_at=datetime.now(UTC)))
    await desk.ana.open("/my/sign-out")
    for unfit in (waiting, "made-up", ""):
        assert (await desk.ana.send("Sign out", to="/my/requests", request=unfit)).status == 400
        await desk.ana.open("/my/sign-out")
