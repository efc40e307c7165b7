"""`$fileConsent` and `$revokeConsent` over HTTP: what HL7's Scalable Consent Management asks, and what stays of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import httpx
import pytest
import pytest_asyncio

from authz.decisions import Choice, Decisions
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, issues, recorder
from tests.conftest import MakeDatabase
from tests.leaks.world import ISSUER, World, observation, patient, world

BASE = f"{ISSUER}/fhir"
MRN = {"system": "urn:mrn", "value": "007"}
TWINS = {"system": "urn:mrn", "value": "twin"}
ANA: dict[str, Any] = {"identifier": MRN}
NEVER = "NEVER-IN-AN-ANSWER"
LOINC = "http://loinc.org"


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


def document(**more: object) -> dict[str, Any]:
    """A scan of a signed form; None takes an element away."""
    whole = {
        "resourceType": "DocumentReference",
        "id": "scan-1",
        "status": "current",
        "subject": ANA,
        "type": {"coding": [{"system": LOINC, "code": "64292-6"}]},
        "category": [{"coding": [{"system": LOINC, "code": "57016-8"}]}],
        "content": [{"attachment": {"contentType": "application/pdf", "url": "https://desk.example/scans/1"}}],
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


def answers(**more: object) -> dict[str, Any]:
    """A form that was filled in."""
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "form-1",
        "status": "completed",
        "subject": ANA,
        "questionnaire": "https://desk.example/Questionnaire/sharing",
        "item": [{"linkId": "1", "answer": [{"valueBoolean": True}]}],
        **more,
    }


def fast(provision: object = None, **more: object) -> dict[str, Any]:
    """A Consent as FASTConsent has it."""
    return consent(
        provision,
        **{
            "identifier": [{"system": "urn:desk", "value": "1"}],
            "patient": ANA,
            "performer": [ANA],
            "sourceReference": {"reference": "DocumentReference/scan-1"},
            **more,
        },
    )


def parameters(**given: dict[str, Any]) -> dict[str, Any]:
    """The operation's input: a resource where it has a type, a Reference otherwise."""
    members = {n: "resource" if "resourceType" in v else "valueReference" for n, v in given.items()}
    return {"resourceType": "Parameters", "parameter": [{"name": n, members[n]: v} for n, v in given.items()]}


async def file(clerk: RecorderClient, **given: dict[str, Any]) -> httpx.Response:
    return await clerk.send(
        "POST", "Consent/$fileConsent", parameters(**{"consent": fast(), "document": document()} | given)
    )


async def filed(clerk: RecorderClient, **given: dict[str, Any]) -> str:
    """Path of the Consent."""
    answer = await file(clerk, **given)
    assert answer.status_code == 200, answer.text
    return answer.headers["location"].removeprefix(f"{BASE}/").partition("/_history")[0]


async def revoke(clerk: RecorderClient, path: str, **given: dict[str, Any]) -> httpx.Response:
    given = {"consent": {"reference": path}, "patient": ANA} | given
    sent = parameters(**given)
    return await clerk.send("POST", "Consent/$revokeConsent", sent)


async def _kept(clerk: RecorderClient) -> int:
    return int((await clerk.get("Consent?_summary=count")).json()["total"])


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


@pytest.mark.parametrize(
    ("change", "code", "expression"),
    [
        ({"status": "inactive"}, "business-rule", "Consent.status"),
        ({"status": "draft"}, "business-rule", "Consent.status"),
        ({"scope": {"coding": [{"code": "research"}]}}, "value", "Consent.scope"),
        ({"identifier": None}, "required", "Consent.identifier"),
        ({"dateTime": None}, "required", "Consent.dateTime"),
        ({"performer": None}, "required", "Consent.performer"),
        ({"performer": [{"reference": "Patient/ana"}]}, "required", "Consent.performer[0].identifier"),
        ({"organization": [{"reference": "Organization/x"}]}, "structure", "Consent.organization"),
        ({"sourceReference": None}, "required", "Consent.source"),
        ({"sourceReference": {"reference": "DocumentReference/other"}}, "value", "Consent.source"),
        ({"sourceReference": {"reference": "#scan-1"}}, "value", "Consent.source"),
        ({"sourceReference": "x"}, "value", "Consent.source"),
        ({"policy": [{"authority": "urn:x"}]}, "required", "Consent.policy[0].uri"),
        ({"provision": {"period": {"start": "2026"}}}, "required", "Consent.provision.type"),
        (
            {"provision": {"type": "permit", "provision": [{"type": "deny", "provision": [{"type": "permit"}]}]}},
            *("structure", "Consent.provision.provision[0].provision"),
        ),
        ({"patient": {"reference": "Patient/ana"}}, "required", "Consent.patient.identifier"),
        ({"patient": "Patient/ana"}, "required", "Consent.patient.identifier"),
        ({"patient": {"identifier": {"value": "007"}}}, "value", "Consent.patient.identifier"),
        ({"patient": {"identifier": {"system": "urn:mrn", "value": ["007"]}}}, "value", "Consent.patient.identifier"),
        ({"patient": {"identifier": {"system": "urn:mrn", "value": NEVER}}}, "not-found", "Consent.patient.identifier"),
        (
            {"patient": {"identifier": {"system": "urn:x,urn:mrn", "value": "007"}}},
            "not-found",
            "Consent.patient.identifier",
        ),
        ({"patient": {"identifier": TWINS}}, "multiple-matches", "Consent.patient.identifier"),
        ({"patient": {"identifier": MRN, "reference": "Patient/bob"}}, "business-rule", "Consent.patient"),
        ({"patient": {"identifier": MRN, "reference": 7}}, "business-rule", "Consent.patient"),
        ({"contained": [document()]}, "duplicate", "Consent.contained"),
        ({"modifierExtension": [{"url": "urn:x", "valueString": NEVER}]}, "not-supported", "Consent.modifierExtension"),
        ({"provision": {"type": NEVER}}, "not-supported", "Consent.provision.type"),
    ],
    ids=str,
)
async def test_what_isnt_a_fast_consent_of_one_patient_is_not_filed(
    clerk: RecorderClient, change: dict[str, Any], code: str, expression: str
) -> None:
    before = await _kept(clerk)
    answer = await file(clerk, consent=fast(**change))
    assert answer.status_code == 422, answer.text
    assert (code, (expression,)) in issues(answer)
    assert NEVER not in answer.text
    assert await _kept(clerk) == before


DOCUMENTS = [
    ({"resourceType": "Binary"}, 422, "value", ""),
    ({"type": None}, 422, "value", ".type"),
    ({"type": {"coding": [{"system": "urn:x", "code": "64292-6"}]}}, 422, "value", ".type"),
    ({"category": None}, 422, "value", ".category"),
    ({"subject": None}, 422, "required", ".subject"),
    ({"subject": {"reference": "Patient/bob"}}, 422, "business-rule", ".subject"),
    ({"subject": {**ANA, "reference": "Patient/bob"}}, 422, "business-rule", ".subject"),
    ({"subject": {"identifier": TWINS}}, 422, "business-rule", ".subject"),
    ({"subject": {"identifier": "x"}}, 422, "business-rule", ".subject"),
    ({"subject": {"display": "Ana"}}, 422, "business-rule", ".subject"),
    ({"subject": 7}, 422, "business-rule", ".subject"),
    ({"id": "not an id"}, 400, "value", ".id"),
]


@pytest.mark.parametrize(("change", "status", "code", "expression"), DOCUMENTS, ids=str)
async def test_a_document_of_another_kind_or_another_person_is_not_taken(
    clerk: RecorderClient, change: dict[str, Any], status: int, code: str, expression: str
) -> None:
    path = await filed(clerk)
    sent = document(**change)
    source = {"reference": f"{sent['resourceType']}/{sent.get('id')}"}
    answer = await file(clerk, consent=fast(sourceReference=source), document=sent)
    assert (answer.status_code, issues(answer)[0]) == (
        status,
        (code, (f"Parameters.parameter[1].resource{expression}",)),
    )
    answer = await revoke(clerk, path, document=sent)
    assert (answer.status_code, issues(answer)[0]) == (
        status,
        (code, (f"Parameters.parameter[2].resource{expression}",)),
    )
    assert (await clerk.get(path)).json()["status"] == "active"


@pytest.mark.parametrize(
    ("change", "status", "code", "element"),
    [
        ({"content": None}, 400, "required", ".content"),
        ({"surprise": NEVER}, 400, "structure", ".surprise"),
        ({"status": ""}, 400, "structure", ".status"),
        ({"contained": [{"resourceType": "Patient", "id": "x"}]}, 422, "invariant", ".contained"),
        ({"meta": {"security": [{"system": "urn:x", "code": "R"}]}}, 422, "invariant", ".meta.security"),
        ({"content": [{"attachment": {"url": 7}}]}, 400, "value", None),
    ],
    ids=str,
)
async def test_a_document_that_isnt_valid_is_not_taken(
    clerk: RecorderClient, change: dict[str, Any], status: int, code: str, element: str | None
) -> None:
    path = await filed(clerk)
    for answer, place in (
        (await file(clerk, document=document(**change)), "Consent.contained[0]"),
        (await revoke(clerk, path, document=document(**change)), "Parameters.parameter[2].resource"),
    ):
        assert answer.status_code == status, answer.text
        assert element is None or (code, (f"{place}{element}",)) in issues(answer)
        assert NEVER not in answer.text
    assert (await clerk.get(path)).json()["status"] == "active"


async def test_a_document_loses_the_version_that_another_server_gave_it(clerk: RecorderClient) -> None:
    meta = {"versionId": "7", "lastUpdated": "2026-01-01T00:00:00Z", "profile": ["urn:x"]}
    path = await filed(clerk, document=document(meta=meta))
    assert (await clerk.get(path)).json()["contained"][0]["meta"] == {"profile": ["urn:x"]}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{", {"resourceType": "Consent"}, {"resourceType": "Parameters"}),
        {"resourceType": "Parameters", "parameter": {}},
        {"resourceType": "Parameters", "parameter": [7]},
        {"resourceType": "Parameters", "parameter": [{"name": "consent"}]},
        {"resourceType": "Parameters", "parameter": [{"name": ["consent"], "resource": {}}]},
        {"resourceType": "Parameters", "implicitRules": "urn:x", "parameter": []},
        parameters(consent=fast()),
        parameters(document=document()),
        parameters(consent=fast(), document=document(), patient=ANA),
        parameters(consent={"reference": "Consent/x"}, document=document()),
        {**parameters(consent=fast(), document=document()), "extension": []},
        {"resourceType": "Parameters", "parameter": parameters(consent=fast())["parameter"] * 2},
        {"resourceType": "Parameters", "parameter": [{"name": "consent", "resource": fast(), "part": []}]},
        b'{"resourceType":"Parameters","resourceType":"Parameters","parameter":[]}',
        b'{"resourceType":"Parameters","parameter":' + b"[" * 10_000,
    ],
    ids=lambda body: str(body)[:60],
)
async def test_what_isnt_the_operations_input_is_refused(clerk: RecorderClient, body: Any) -> None:
    answer = await clerk.send("POST", "Consent/$fileConsent", body)
    assert answer.status_code == 400, answer.text
    assert issues(answer)[0][0] in ("structure", "required")


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"consent": {"reference": "Consent/none"}}, 404, "not-found"),
        ({"consent": {"reference": "Patient/ana"}}, 422, "value"),
        ({"consent": {"reference": "https://other.example/fhir/Consent/x"}}, 422, "value"),
        ({"consent": {"reference": "Consent/x/_history/1"}}, 422, "value"),
        ({"consent": {"identifier": {"system": "urn:desk", "value": "1"}}}, 422, "value"),
        ({"patient": {"reference": "Patient/bob"}}, 422, "business-rule"),
        ({"patient": {"identifier": TWINS}}, 422, "multiple-matches"),
        ({"patient": {"identifier": MRN, "reference": "Patient/bob"}}, 422, "business-rule"),
        ({"patient": {"display": "Ana"}}, 422, "value"),
    ],
    ids=str,
)
async def test_only_the_patients_own_consent_is_revoked(
    clerk: RecorderClient, given: dict[str, Any], status: int, code: str
) -> None:
    path = await filed(clerk)
    answer = await revoke(clerk, path, **deepcopy(given))
    assert (answer.status_code, issues(answer)[0][0]) == (status, code)
    assert (await clerk.get(path)).headers["etag"] == 'W/"1"'


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


@pytest.mark.parametrize("depth", [30, 200, 300, 400, 450, 480, 490, 600, 5_000])
async def test_no_depth_of_a_document_breaks_the_server(clerk: RecorderClient, depth: int) -> None:
    path = await filed(clerk)
    item = '{"linkId":"1","item":[' * depth + '{"linkId":"1"}' + "]}" * depth
    source = {"reference": "QuestionnaireResponse/form-1"}
    whole = parameters(consent=fast(sourceReference=source), document=answers(item=["DEEP"]))
    again = parameters(consent={"reference": path}, patient=ANA, document=answers(item=["DEEP"]))
    for name, sent in (("$fileConsent", whole), ("$revokeConsent", again)):
        answer = await clerk.send("POST", f"Consent/{name}", json.dumps(sent).replace('"DEEP"', item).encode())
        assert answer.status_code in (200, 400, 422)
    assert (await clerk.get("Provenance?_count=5&_sort=-_lastUpdated")).status_code == 200
    assert (await clerk.get("Consent?_count=5&_sort=-_lastUpdated")).status_code == 200
