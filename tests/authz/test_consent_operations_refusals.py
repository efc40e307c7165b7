"""What `$fileConsent` and `$revokeConsent` don't take: a refusal names the element, quotes nothing, leaves nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import pytest
import pytest_asyncio

from fhir.consents.check import MAX_CONSENT
from tests.authz.consent_recorder import RecorderClient, issues, recorder
from tests.authz.filing import ANA, MRN, TWINS, answers, document, fast, file, filed, parameters, revoke
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


async def _kept(clerk: RecorderClient) -> int:
    return int((await clerk.get("Consent?_summary=count")).json()["total"])


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
        ({"patient": {"identifier": {**MRN, "system": "\x00"}}}, "value", "Consent.patient.identifier"),
        ({"patient": {"identifier": TWINS}}, "multiple-matches", "Consent.patient.identifier"),
        ({"scope": {"coding": [{"system": ["x"], "code": {}}, 7]}}, "value", "Consent.scope"),
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


@pytest.mark.parametrize(
    "told",
    [
        {"resourceType": "Patient", "id": "bob"},
        {"resourceType": "Patient", "id": "bob", "identifier": [{"system": "urn:mrn", "value": "008"}]},
        {"resourceType": "Patient", "id": "bob", "identifier": [{"system": "urn:other", "value": MRN["value"]}]},
        {"resourceType": "Patient", "id": "bob", "identifier": [{"value": MRN["value"]}]},
    ],
    ids=str,
)
async def test_whom_the_upstream_finds_without_the_identifier_is_not_who_is_meant(
    clerk: RecorderClient, told: dict[str, Any]
) -> None:
    before = await _kept(clerk)
    found = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": told}]}
    with clerk.world.upstream.saying("/Patient", json.dumps(found).encode()):
        answer = await file(clerk, consent=fast())
    assert answer.status_code == 422, answer.text
    assert ("not-found", ("Consent.patient.identifier",)) in issues(answer)
    assert await _kept(clerk) == before


async def test_a_patient_who_has_two_identifiers_in_one_place_is_not_known(clerk: RecorderClient) -> None:
    one, other = (json.dumps([identifier]) for identifier in (MRN, {"system": "urn:mrn", "value": "008"}))
    told = f'{{"resourceType":"Patient","id":"bob","identifier":{other},"identifier":{one}}}'
    with clerk.world.upstream.saying(
        "/Patient", f'{{"resourceType":"Bundle","entry":[{{"resource":{told}}}]}}'.encode()
    ):
        assert (await file(clerk, consent=fast())).status_code == 502


DOCUMENTS = [
    ({"resourceType": "Binary"}, 422, "value", ""),
    ({"type": None}, 422, "value", ".type"),
    ({"type": {"coding": [{"system": "urn:x", "code": "64292-6"}]}}, 422, "value", ".type"),
    ({"type": {"coding": [{"system": ["urn:x"], "code": {}}]}}, 422, "value", ".type"),
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


async def test_a_consent_isnt_larger_with_its_document_than_any_other_may_be(clerk: RecorderClient) -> None:
    numbers = ",".join(['{"url":"urn:x","valueDecimal":1e5}'] * 7_400)  # each is written with a digit more
    sent = json.dumps(parameters(consent=fast(extension=["MANY"]), document=document())).replace('"MANY"', numbers)
    assert len(sent) < MAX_CONSENT
    answer = await clerk.send("POST", "Consent/$fileConsent", sent.encode())
    assert (answer.status_code, issues(answer)) == (413, [("too-long", ())])
    assert (await clerk.send("POST", "Consent/$fileConsent", b" " * (MAX_CONSENT + 1))).status_code == 413
