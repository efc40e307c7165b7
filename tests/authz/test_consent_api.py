"""`/fhir/Consent` for recorders: every interaction over HTTP, and what stays of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from authz.clients.clients import disable_client
from fhir.store.change_bus import Change
from tests.authz.consent_recorder import RecorderClient, consent, recorder
from tests.conftest import MakeDatabase
from tests.leaks.world import ISSUER, World, observation, patient, world

BASE = f"{ISSUER}/fhir"
IDENTIFIER = {"system": "urn:mrn", "value": "007"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana", identifier=[IDENTIFIER]), patient("bob"), observation("lab0"), observation("bob1", "bob")]
    async with world(await make_database(), tmp_path_factory.mktemp("consents"), people) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


async def test_a_consent_is_created_and_read_back_as_it_was_sent(clerk: RecorderClient) -> None:
    sent = consent()
    answer = await clerk.send("POST", "Consent", sent)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}/Consent/{made['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    read = await clerk.get(f"Consent/{made['id']}")
    assert (read.status_code, read.content) == (200, answer.content)
    assert {k: v for k, v in made.items() if k not in ("id", "meta")} == {k: v for k, v in sent.items() if k != "id"}
    assert (await clerk.get(f"Consent/{made['id']}", **{"If-None-Match": 'W/"1"'})).status_code == 304


async def test_numbers_stay_as_they_were_written(clerk: RecorderClient) -> None:
    extension = b'"extension":[{"url":"urn:x","valueDecimal":1.50}],'
    body = json.dumps(consent()).encode().replace(b'"status"', extension + b'"status"')
    answer = await clerk.send("POST", "Consent", body)
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]
    assert b"1.50" in (await clerk.get(f"Consent/{id}")).content
    patch = [{"op": "replace", "path": "/status", "value": "inactive"}]
    assert b"1.50" in (await clerk.send("PATCH", f"Consent/{id}", patch)).content


async def test_every_change_is_a_version_and_none_is_ever_rewritten(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path, shown = f"Consent/{made['id']}", []
    shown.append((await clerk.get(path)).content)
    changed = await clerk.send("PUT", path, {**made, "dateTime": "2026-02-03"})
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    shown.append(changed.content)
    patched = await clerk.send("PATCH", path, [{"op": "add", "path": "/status", "value": "inactive"}])
    assert (patched.status_code, patched.json()["status"]) == (200, "inactive")
    shown.append(patched.content)
    assert (await clerk.send("DELETE", path)).status_code == 204
    for number, body in enumerate(shown, 1):
        answer = await clerk.get(f"{path}/_history/{number}")
        assert (answer.status_code, answer.content) == (200, body)
    assert [(await clerk.get(p)).status_code for p in (path, f"{path}/_history/4", f"{path}/_history/5")] == [
        *(410, 410, 404)
    ]
    history = (await clerk.get(f"{path}/_history")).json()
    assert [e["request"]["method"] for e in history["entry"]] == ["DELETE", "PUT", "PUT", "POST"]
    assert [e["response"]["etag"] for e in history["entry"]] == [f'W/"{n}"' for n in (4, 3, 2, 1)]


async def test_a_deleted_consent_stays_so(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    assert (await clerk.send("DELETE", path)).status_code == 204
    assert (await clerk.send("DELETE", path)).status_code == 204
    assert (await clerk.send("PUT", path, made)).status_code == 410
    assert (await clerk.send("PATCH", path, [{"op": "remove", "path": "/dateTime"}])).status_code == 410
    assert len((await clerk.get(f"{path}/_history")).json()["entry"]) == 2


async def test_what_never_was_is_not_there(clerk: RecorderClient) -> None:
    for path in ("Consent/none", "Consent/none/_history", "Consent/none/_history/1", "Provenance/none"):
        assert (await clerk.get(path)).status_code == 404
    assert (await clerk.send("DELETE", "Consent/none")).status_code == 204
    assert (await clerk.send("PUT", "Consent/none", consent(id="none"))).status_code == 405
    assert (await clerk.send("PATCH", "Consent/none", [{"op": "remove", "path": "/x"}])).status_code == 404


async def test_each_version_has_a_provenance_that_says_who_made_it_from_what(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    await clerk.send("PATCH", path, [{"op": "replace", "path": "/status", "value": "inactive"}])
    await clerk.send("DELETE", path)
    found = (await clerk.get(f"Provenance?target={path}&_sort=_lastUpdated")).json()["entry"]
    told = [e["resource"] for e in found]
    assert [p["activity"]["coding"][0]["code"] for p in told] == ["CREATE", "UPDATE", "DELETE"]
    assert [p["target"][0]["reference"] for p in told] == [f"{path}/_history/{n}" for n in (1, 2, 3)]
    assert [p.get("entity", [{}])[0].get("what", {}).get("reference") for p in told] == [
        *(None, f"{path}/_history/1", f"{path}/_history/2")
    ]
    assert {p["agent"][0]["who"]["identifier"]["value"] for p in told} == {clerk.client_id}
    again = await clerk.get(f"Provenance/{told[0]['id']}")
    assert again.json() == told[0]


async def test_each_act_leaves_an_audit_record_about_the_patient(here: World, clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    await clerk.get(path)
    await clerk.send("PATCH", path, [{"op": "replace", "path": "/status", "value": "inactive"}])
    await clerk.send("DELETE", path)
    await here.assent.authz.audit.settle("ana")
    app = await here.app(["laboratory", "sharing-record"])
    found = (await app.get("AuditEvent?_count=200")).json()["entry"]
    events = [e["resource"] for e in found]
    named = [(e["action"], x["what"].get("reference", "")) for e in events for x in e.get("entity", ()) if "what" in x]
    mine = {(action, name) for action, name in named if name.startswith(path)}
    assert mine == {(action, path) for action in "CRUD"}


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [
        ("return=minimal", None),
        ("return=representation", "Consent"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("handling=strict, return=minimal", None),
    ],
)
async def test_what_a_write_answers_is_what_was_preferred(clerk: RecorderClient, prefer: str, kind: str | None) -> None:
    answer = await clerk.send("POST", "Consent", consent(), headers={"Prefer": prefer})
    assert answer.status_code == 201
    assert (json.loads(answer.content or b"{}").get("resourceType")) == kind


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("assent/consents.c", {"create"}),
        ("assent/consents.r", {"read", "history"}),
        ("assent/consents.u", {"update", "patch"}),
        ("assent/consents.d", {"delete"}),
        ("assent/consents.s", {"search"}),
        ("assent/consents.c assent/consents.rs", {"create", "read", "history", "search"}),
    ],
)
async def test_each_letter_of_the_scope_allows_its_interactions_alone(
    here: World, clerk: RecorderClient, scope: str, allowed: set[str]
) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    acting = await recorder(here, scope)
    asked: dict[str, tuple[str, str, Any]] = {
        "create": ("POST", "Consent", consent()),
        "read": ("GET", path, None),
        "history": ("GET", f"{path}/_history", None),
        "search": ("GET", "Consent?patient=ana", None),
        "update": ("PUT", path, made),
        "patch": ("PATCH", path, [{"op": "replace", "path": "/status", "value": "inactive"}]),
        "delete": ("DELETE", path, None),
    }
    statuses = {name: (await acting.send(*request)).status_code for name, request in asked.items()}
    assert {name for name, status in statuses.items() if status < 300} == allowed
    assert {status for status in statuses.values() if status >= 300} == {403}


@pytest.mark.parametrize("scope", ["assent/consents.", "assent/consents.rc", "assent/consents.*", "assent/Consents.c"])
async def test_a_scope_that_isnt_written_as_it_must_be_makes_nobody_a_recorder(here: World, scope: str) -> None:
    acting = await recorder(here, scope)
    assert (await acting.send("POST", "Consent", consent())).status_code == 405
    assert (await acting.get("Consent/x")).status_code in (403, 404)


async def test_a_recorder_that_was_disabled_is_nobody_any_more(here: World) -> None:
    acting = await recorder(here)
    assert (await acting.get("Consent?patient=ana")).status_code == 200
    async with here.assent.engine.begin() as connection:
        await disable_client(connection, acting.client_id, here.assent.authz.clock())
    here.assent.authz.tell(Change("client", acting.client_id))
    for method, path in (("GET", "Consent"), ("POST", "Consent"), ("DELETE", "Consent/x")):
        answer = await acting.send(method, path)
        assert answer.status_code == 401, method
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer x.y.z", "Basic eDp5", "bearer  "])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "Consent/x", 401), ("GET", "Consent?patient=ana", 401), ("GET", "Consent/x/_history", 401)),
        *(
            ("POST", "Consent", 401),
            ("PUT", "Consent/x", 401),
            ("PATCH", "Consent/x", 401),
            ("DELETE", "Consent/x", 401),
        ),
        *(("GET", "Consent/x/$explain", 401), ("TRACE", "Consent/x", 405), ("GET", "Consentx", 404)),
    ],
)
async def test_who_shows_no_token_that_counts_is_asked_for_one(
    here: World, method: str, path: str, status: int, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await here.http.request(method, f"/fhir/{path}", headers=headers)
    assert answer.status_code == status
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.startswith("Bearer") == (status == 401)
    sent = authorization is not None and authorization.lower().startswith("bearer")
    assert ("invalid_token" in challenge) == (status == 401 and sent)
