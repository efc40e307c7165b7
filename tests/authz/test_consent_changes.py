"""Changing consents: two at once, preconditions, all or nothing, and what a change does to tokens at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from assent.app import build
from authz.consents.decisions import Choice, Decisions
from fhir.audit.event import AuditRecord
from fhir.audit.trail import AuditUnavailable
from policies.codes import PARTICIPATION_SYSTEM
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, issues, recorder
from tests.conformance.launching import register
from tests.conftest import MakeDatabase
from tests.leaks.world import World, client_of, observation, patient, settings_for, world
from tests.waiting import soon


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana"), observation("lab0")]
    async with world(await make_database(), tmp_path_factory.mktemp("changes"), people) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


async def test_two_who_change_the_same_version_at_once_dont_overwrite_each_other(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    dates = [f"2026-03-{day:02}" for day in range(1, 11)]
    answers = await asyncio.gather(
        *(clerk.send("PUT", path, {**made, "dateTime": date}, headers={"If-Match": 'W/"1"'}) for date in dates)
    )
    assert sorted(a.status_code for a in answers) == [200, *[412] * 9]
    (won,) = [a for a in answers if a.status_code == 200]
    assert (await clerk.get(path)).content == won.content
    assert len((await clerk.get(f"{path}/_history")).json()["entry"]) == 2


async def test_patches_at_once_without_a_precondition_are_all_kept(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    patches = [[{"op": "add", "path": "/category/-", "value": {"coding": [{"code": f"c{n}"}]}}] for n in range(8)]
    answers = await asyncio.gather(*(clerk.send("PATCH", path, patch) for patch in patches))
    assert {a.status_code for a in answers} == {200}
    assert len((await clerk.get(path)).json()["category"]) == 9
    assert len((await clerk.get(f"{path}/_history")).json()["entry"]) == 9


@pytest.mark.parametrize("held", ['W/"2"', '"7"', "1", 'W/"1', "", 'W/"x"', "W/'1'"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_precondition_that_does_not_hold_or_cant_be_read_stops_the_change(
    clerk: RecorderClient, method: str, held: str
) -> None:
    made = await clerk.created(consent())
    body = {"PUT": made, "PATCH": [{"op": "remove", "path": "/dateTime"}]}.get(method)
    answer = await clerk.send(method, f"Consent/{made['id']}", body, headers={"If-Match": held})
    assert (answer.status_code, issues(answer)) == (412, [("conflict", ())])
    assert (await clerk.get(f"Consent/{made['id']}")).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize("name", ["If-None-Match", "If-Unmodified-Since"])
@pytest.mark.parametrize("value", ["*", 'W/"7"', "Sat, 21 Nov 2099 09:00:00 GMT", ""])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_preconditions_never_hold_for_a_change(
    clerk: RecorderClient, method: str, name: str, value: str
) -> None:
    made = await clerk.created(consent())
    body = made if method == "PUT" else None
    assert (await clerk.send(method, f"Consent/{made['id']}", body, headers={name: value})).status_code == 412
    assert (await clerk.get(f"Consent/{made['id']}")).json() == made


@pytest.mark.parametrize("held", ['W/"1"', '"1"', "*", 'W/"3", W/"1"'])
async def test_a_precondition_that_holds_lets_the_change_through(clerk: RecorderClient, held: str) -> None:
    made = await clerk.created(consent())
    answer = await clerk.send("PUT", f"Consent/{made['id']}", made, headers={"If-Match": held})
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')


async def test_a_conditional_create_creates_once_even_when_sent_at_once(clerk: RecorderClient) -> None:
    sent = consent(identifier=[{"system": "urn:paper", "value": "p-1"}])
    headers = {"If-None-Exist": "identifier=urn:paper|p-1"}
    answers = await asyncio.gather(*(clerk.send("POST", "Consent", sent, headers=headers) for _ in range(6)))
    assert sorted(a.status_code for a in answers) == [200] * 5 + [201]
    assert len({a.json()["id"] for a in answers}) == 1
    found = (await clerk.get("Consent?identifier=urn:paper|p-1")).json()
    assert found["total"] == 1
    await clerk.created(sent)
    assert (await clerk.send("POST", "Consent", sent, headers=headers)).status_code == 412


async def test_a_conditional_update_changes_the_only_match(clerk: RecorderClient) -> None:
    criteria = "Consent?identifier=urn:paper|p-2"
    sent = consent(identifier=[{"system": "urn:paper", "value": "p-2"}])
    assert (await clerk.send("PUT", criteria, sent)).status_code == 405
    made = await clerk.created(sent)
    changed = await clerk.send("PUT", criteria, {**sent, "dateTime": "2026-05-06"})
    assert (changed.status_code, changed.json()["id"], changed.headers["etag"]) == (200, made["id"], 'W/"2"')
    patched = await clerk.send("PATCH", criteria, [{"op": "remove", "path": "/dateTime"}])
    assert (patched.status_code, "dateTime" in patched.json()) == (200, False)
    await clerk.created(sent)
    assert (await clerk.send("PUT", criteria, sent)).status_code == 412
    assert (await clerk.send("DELETE", criteria)).status_code == 412


@pytest.mark.parametrize("criteria", ["", "_count=1", "_sort=date", "nonsense=1", "_include=Consent:patient"])
async def test_a_conditional_write_without_sound_criteria_is_refused(clerk: RecorderClient, criteria: str) -> None:
    answer = await clerk.send("POST", "Consent", consent(), headers={"If-None-Exist": criteria})
    assert answer.status_code == 400
    assert (await clerk.send("DELETE", f"Consent?{criteria}")).status_code == 400


async def test_recording_and_ending_a_consent_counts_at_the_next_request(here: World, clerk: RecorderClient) -> None:
    app = await here.app(["laboratory", "vital-signs"])
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, here.text)
    await Decisions(here.assent.authz).change(await app.consent_id(), here.account, choice, "test")
    assert (await app.get("Observation/lab0")).status_code == 404
    permit = {"type": "permit", "actor": grantee(app.client_id), "class": category("laboratory")}
    made = await clerk.created(consent(permit))
    assert (await app.get("Observation/lab0")).status_code == 200
    narrower = {**made, "provision": {**permit, "class": category("vital-signs")}}
    assert (await clerk.send("PUT", f"Consent/{made['id']}", narrower)).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 404
    assert (await clerk.send("PUT", f"Consent/{made['id']}", made)).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await clerk.send("DELETE", f"Consent/{made['id']}")).status_code == 204
    assert (await app.get("Observation/lab0")).status_code == 404


@pytest.mark.parametrize("who", ["app", "person"])
async def test_a_deny_by_another_consent_counts_for_introspection_and_refresh_as_for_reads(
    here: World, clerk: RecorderClient, who: str
) -> None:
    app = await here.app(["laboratory", "vital-signs"], scope="launch/patient offline_access patient/Observation.rs")
    gateway, secret = await register(here, kind="gateway", redirect_uris=())

    async def introspected() -> dict[str, Any]:
        form = {"token": app.token["access_token"]}
        found: dict[str, Any] = (await here.http.post("/introspect", data=form, auth=(gateway, secret or ""))).json()
        return found

    before = await introspected()
    assert [consent["reference"].split("/")[1] for consent in before["consent"]] == [await app.consent_id()]
    role = {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP"}]}
    actor = grantee(app.client_id) if who == "app" else [{"role": role, "reference": {"reference": "Patient/ana"}}]
    made = await clerk.created(consent({"type": "deny", "actor": actor, "class": category("vital-signs")}))
    narrowed = await introspected()
    assert (narrowed["active"], len(narrowed["consent"])) == (True, 2)
    assert ("laboratory" in narrowed["scope"], "vital-signs" in narrowed["scope"]) == (True, False)
    deny = {**made, "provision": {"type": "deny", "actor": actor}}
    assert (await clerk.send("PUT", f"Consent/{made['id']}", deny)).status_code == 200
    assert await introspected() == {"active": False}
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    answer = await here.http.post("/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert (await clerk.send("DELETE", f"Consent/{made['id']}")).status_code == 204
    assert (await introspected())["scope"] == before["scope"]


async def test_a_change_counts_in_every_process(here: World, clerk: RecorderClient) -> None:
    app = await here.app(["laboratory"])
    headers = {"Authorization": f"Bearer {app.token['access_token']}"}
    deny = {"type": "deny", "actor": grantee(app.client_id)}
    other = await build(settings_for(here.folder, here.upstream), here.database_url)
    try:
        async with client_of(other) as http:

            async def answered() -> bool:
                return (await http.get("/fhir/Observation/lab0", headers=headers)).status_code == 200

            async def refused() -> bool:
                return not await answered()

            assert await answered()
            made = await clerk.created(consent(deny))
            assert await soon(refused)
            await clerk.send("DELETE", f"Consent/{made['id']}")
            assert await soon(answered)
    finally:
        await other.aclose()


@pytest.mark.parametrize("status", ["inactive", "entered-in-error", "rejected"])
async def test_ending_the_consent_that_a_person_gave_ends_the_apps_tokens(
    here: World, clerk: RecorderClient, status: str
) -> None:
    app = await here.app(["laboratory"])
    assert (await app.get("Observation/lab0")).status_code == 200
    path = f"Consent/{await app.consent_id()}"
    answer = await clerk.send("PATCH", path, [{"op": "replace", "path": "/status", "value": status}])
    assert answer.status_code == 200, answer.text
    assert (await app.get("Observation/lab0")).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    assert (await here.http.post("/token", data=form)).status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_change_that_cant_be_recorded_is_not_made(
    here: World, clerk: RecorderClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    bodies = {"POST": consent(), "PUT": made, "PATCH": [{"op": "remove", "path": "/dateTime"}]}
    counts = [(await clerk.get(f"{kind}?_summary=count")).json()["total"] for kind in ("Consent", "Provenance")]

    async def fail(record: AuditRecord, connection: object = None) -> None:
        raise AuditUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(here.assent.authz.audit, "record", fail)
        answer = await clerk.send(method, "Consent" if method == "POST" else path, bodies.get(method))
    assert (answer.status_code, issues(answer)) == (503, [("transient", ())])
    assert (await clerk.get(path)).json() == made
    assert [(await clerk.get(f"{kind}?_summary=count")).json()["total"] for kind in ("Consent", "Provenance")] == counts
