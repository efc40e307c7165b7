"""`$fileConsent` and `$revokeConsent` over HTTP: what HL7's Scalable Consent Management asks, and what stays of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from authz.consents.decisions import Choice, Decisions
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, issues, recorder
from tests.authz.filing import ANA, BASE, MRN, TWINS, answers, document, fast, file, filed, parameters, revoke
from tests.conftest import MakeDatabase
from tests.leaks.world import World, observation, patient, world

NEVER = "NEVER-IN-AN-ANSWER"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [
        *(patient("ana", identifier=[MRN]), patient("bob", identifier=[TWINS]), patient("cyd", identifier=[TWINS])),
        observation("lab0"),
    ]
    async with world(await make_database(), tmp_path_factory.mktemp("operations"), people) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


@pytest.mark.parametrize("kind", ["DocumentReference", "QuestionnaireResponse"])
async def test_a_consent_is_filed_with_its_document_inside(clerk: RecorderClient, kind: str) -> None:
    sent = document() if kind == "DocumentReference" else answers()
    source = {"reference": f"{kind}/{sent['id']}"}
    answer = await file(clerk, consent=fast(sourceReference=source), document=sent)
    assert answer.status_code == 200, answer.text
    assert issues(answer) == [("informational", ())]
    assert answer.headers["etag"] == 'W/"1"'
    path = answer.headers["location"].removeprefix(f"{BASE}/").partition("/_history")[0]
    kept = (await clerk.get(path)).json()
    assert kept["contained"] == [sent]
    assert kept["sourceReference"] == {"reference": f"#{sent['id']}"}
    assert kept["patient"] == {"identifier": MRN, "reference": "Patient/ana"}
    assert kept["status"] == "active"


async def test_filing_counts_at_the_next_request_and_revoking_too(here: World, clerk: RecorderClient) -> None:
    app = await here.app(["laboratory", "vital-signs"])
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, here.text)
    await Decisions(here.assent.authz).change(await app.consent_id(), here.account, choice, "test")
    assert (await app.get("Observation/lab0")).status_code == 404
    permit = {"type": "permit", "actor": grantee(app.client_id), "class": category("laboratory")}
    path = await filed(clerk, consent=fast(permit))
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await revoke(clerk, path)).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 404


async def test_revoking_leaves_an_inactive_version_and_keeps_the_document_with_its_provenance(
    clerk: RecorderClient,
) -> None:
    path = await filed(clerk)
    before = (await clerk.get(path)).json()
    sent = document(id="scan-2", subject=ANA)
    answer = await revoke(clerk, path, document=sent)
    assert (answer.status_code, issues(answer)) == (200, [("informational", ())])
    assert (answer.headers["etag"], answer.headers["location"]) == ('W/"2"', f"{BASE}/{path}/_history/2")
    after = (await clerk.get(path)).json()
    assert {n: v for n, v in after.items() if n != "meta"} == {
        n: v for n, v in (before | {"status": "inactive"}).items() if n != "meta"
    }
    told = [e["resource"] for e in (await clerk.get(f"Provenance?target={path}&_sort=_lastUpdated")).json()["entry"]]
    assert [p["activity"]["coding"][0]["code"] for p in told] == ["CREATE", "UPDATE"]
    assert told[1]["contained"] == [sent]
    assert [(e["role"], e["what"]["reference"]) for e in told[1]["entity"]] == [
        *(("revision", f"{path}/_history/1"), ("source", "#scan-2"))
    ]
    assert (await clerk.get(f"{path}/_history/1")).json()["status"] == "active"


async def test_each_operation_leaves_an_audit_record_about_the_patient(here: World, clerk: RecorderClient) -> None:
    path = await filed(clerk)
    await revoke(clerk, path)
    await here.assent.authz.audit.settle("ana")
    app = await here.app(["laboratory", "sharing-record"])
    events = [e["resource"] for e in (await app.get("AuditEvent?_count=200")).json()["entry"]]
    named = [(e["action"], x["what"].get("reference", "")) for e in events for x in e.get("entity", ()) if "what" in x]
    assert {action for action, name in named if name == path} == {"C", "U"}


async def test_an_app_never_sees_the_document_of_a_consent(here: World, clerk: RecorderClient) -> None:
    path = await filed(clerk, document=document(description=NEVER))
    app = await here.app(["laboratory", "sharing-record"], scope="launch/patient patient/Consent.rs")
    answer = await app.get("Consent?_count=100")
    assert answer.status_code == 200
    assert NEVER not in answer.text
    assert path.removeprefix("Consent/") in answer.text


async def test_a_document_loses_the_version_that_another_server_gave_it(clerk: RecorderClient) -> None:
    meta = {"versionId": "7", "lastUpdated": "2026-01-01T00:00:00Z", "profile": ["urn:x"]}
    path = await filed(clerk, document=document(meta=meta))
    assert (await clerk.get(path)).json()["contained"][0]["meta"] == {"profile": ["urn:x"]}


@pytest.mark.parametrize("named", [{"reference": "Patient/ana"}, {"reference": "Patient/ana", "identifier": MRN}])
async def test_a_consent_is_named_by_its_id_alone_or_with_this_servers_address(
    clerk: RecorderClient, named: dict[str, Any]
) -> None:
    path = await filed(clerk)
    answer = await revoke(clerk, path, consent={"reference": f"{BASE}/{path}"}, patient=named)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("status", ["draft", "inactive", "rejected", "entered-in-error"])
async def test_what_isnt_active_isnt_revoked(clerk: RecorderClient, status: str) -> None:
    made = await clerk.created(consent(status=status))
    answer = await revoke(clerk, f"Consent/{made['id']}")
    assert (answer.status_code, issues(answer)) == (422, [("business-rule", ("Consent.status",))])


async def test_a_deleted_consent_isnt_revoked(clerk: RecorderClient) -> None:
    path = await filed(clerk)
    await clerk.send("DELETE", path)
    assert (await revoke(clerk, path)).status_code == 410


async def test_of_two_who_revoke_at_once_one_does(clerk: RecorderClient) -> None:
    path = await filed(clerk)
    found = await asyncio.gather(*(revoke(clerk, path) for _ in range(5)))
    assert sorted(answer.status_code for answer in found) == [200, 422, 422, 422, 422]
    assert (await clerk.get(path)).headers["etag"] == 'W/"2"'


async def test_preconditions_count_for_the_operations_too(clerk: RecorderClient) -> None:
    path = await filed(clerk)
    sent = parameters(consent={"reference": path}, patient=ANA)
    for headers in ({"If-Match": 'W/"2"'}, {"If-None-Match": "*"}):
        assert (await clerk.send("POST", "Consent/$revokeConsent", sent, headers=headers)).status_code == 412
    both = parameters(consent=fast(), document=document())
    answer = await clerk.send("POST", "Consent/$fileConsent", both, headers={"If-None-Exist": "identifier=urn:desk|1"})
    assert (answer.status_code, issues(answer)[0][0]) == (400, "not-supported")


@pytest.mark.parametrize(
    ("scope", "filing", "revoking"),
    [
        *(("assent/consents.cs", 200, 403), ("assent/consents.us", 403, 200), ("assent/consents.cu", 403, 403)),
        ("assent/consents.rds", 403, 403),
    ],
)
async def test_each_operation_takes_the_right_to_write_and_the_right_to_search(
    here: World, clerk: RecorderClient, scope: str, filing: int, revoking: int
) -> None:
    path, acting = await filed(clerk), await recorder(here, scope)
    assert (await file(acting)).status_code == filing
    assert (await revoke(acting, path)).status_code == revoking


async def test_no_recorder_files_or_revokes_a_consent_that_names_it(here: World, clerk: RecorderClient) -> None:
    own = {"type": "permit", "actor": grantee(clerk.client_id)}
    assert (await file(clerk, consent=fast(own))).status_code == 403
    path = await filed(await recorder(here), consent=fast({**own, "type": "deny"}))
    assert (await revoke(clerk, path)).status_code == 403


async def test_the_operations_are_nobody_elses(here: World) -> None:
    app = await here.app(["laboratory"])
    for name in ("$fileConsent", "$revokeConsent"):
        headers = {"Authorization": f"Bearer {app.token['access_token']}", "Content-Type": "application/fhir+json"}
        answer = await here.http.post(f"/fhir/Consent/{name}", content=b"{}", headers=headers)
        assert answer.status_code in (404, 405)
        assert (await here.http.post(f"/fhir/Consent/{name}", content=b"{}")).status_code == 401
