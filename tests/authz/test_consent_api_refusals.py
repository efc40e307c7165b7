"""What may not be kept at `/fhir/Consent`: a refusal names the element, quotes nothing and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from authz.clients.clients import ClientError, NewClient, add_client
from tests.authz.consent_recorder import RecorderClient, consent, grantee, issues, recorder
from tests.conformance.launching import key_pair
from tests.conftest import MakeDatabase
from tests.leaks.world import World, observation, patient, world

UNSEEN = "NEVER-IN-AN-ANSWER"
GROUP = {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
IN_ITSELF = {**GROUP, "contained": [{**GROUP, "member": [{"entity": {"reference": "#g"}}]}]}
LABELLED = {**GROUP, "meta": {"security": [{"system": "urn:x", "code": "R"}]}}
REFERENCE = {"reference": f"https://{UNSEEN}.example/Patient/ana"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana"), patient("bob"), observation("lab0")]
    async with world(await make_database(), tmp_path_factory.mktemp("refusals"), people) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


async def _kept(clerk: RecorderClient) -> int:
    return int((await clerk.get("Consent?_summary=count")).json()["total"])


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"null", b"[]", b"{", b'"x"', b"\xff\xfe", b"{} {}", b'{"resourceType":"Consent","resourceType":"X"}'),
        b'{"resourceType":"Consent","status":"draft","stat\\u0075s":"active"}',
        *(b'{"resourceType":"Consent","provision":{"type":"deny","type":"permit"}}', b"[" * 50_000, b'{"a":' * 50_000),
    ],
    ids=lambda raw: repr(raw[:30]),
)
async def test_what_is_no_json_object_is_refused(clerk: RecorderClient, raw: bytes) -> None:
    answer = await clerk.send("POST", "Consent", raw)
    assert (answer.status_code, issues(answer)) == (400, [("structure", ())])


@pytest.mark.parametrize(
    ("change", "status", "code", "expression"),
    [
        ({"resourceType": "Patient"}, 400, "invalid", "Consent"),
        ({"status": None}, 400, "required", "Consent.status"),
        ({"status": UNSEEN}, 422, "code-invalid", "Consent.status"),
        ({"status": 7}, 400, "value", "Consent.status"),
        ({"scope": None}, 400, "required", "Consent.scope"),
        ({"category": None}, 400, "required", "Consent.category"),
        ({"category": []}, 400, "structure", "Consent.category"),
        ({"category": [{"coding": []}]}, 400, "structure", "Consent.category[0].coding"),
        ({"category": [{}]}, 400, "structure", "Consent.category[0]"),
        ({"language": ""}, 400, "structure", "Consent.language"),
        ({"performer": [None]}, 400, "structure", "Consent.performer[0]"),
        ({"patient": None}, 422, "required", "Consent.patient"),
        ({"patient": REFERENCE}, 422, "not-supported", "Consent.patient"),
        ({"patient": {"reference": "Group/x"}}, 422, "value", "Consent.patient.reference"),
        ({"patient": {"identifier": {"value": UNSEEN}}}, 422, "value", "Consent.patient.reference"),
        ({"patient": {"reference": "Patient/ana", "type": "Group"}}, 422, "value", "Consent.patient.reference"),
        ({"patient": {"reference": "Patient/ana", "type": 7}}, 400, "value", "Consent.patient.type"),
        ({"patient": {"reference": "Patient/ana/_history/3"}}, 422, "value", "Consent.patient.reference"),
        ({"policy": None}, 422, "invariant", "Consent"),
        ({"dateTime": UNSEEN}, 400, "value", "Consent.dateTime"),
        (
            {"modifierExtension": [{"url": "urn:x", "valueString": UNSEEN}]},
            422,
            "not-supported",
            "Consent.modifierExtension",
        ),
        ({"implicitRules": "http://x"}, 422, "not-supported", "Consent.implicitRules"),
        ({"surprise": UNSEEN}, 400, "structure", "Consent.surprise"),
        ({"contained": [{"resourceType": UNSEEN}]}, 400, "value", "Consent"),
        ({"contained": [{"resourceType": UNSEEN}]}, 400, "structure", "Consent.contained[0].resourceType"),
        ({"contained": [{"resourceType": 7}]}, 400, "structure", "Consent.contained[0].resourceType"),
        ({"contained": [{"resourceType": [UNSEEN]}]}, 400, "structure", "Consent.contained[0].resourceType"),
        ({"contained": [{"id": "x"}]}, 422, "structure", "Consent.contained[0].resourceType"),
        ({"contained": [{"resourceType": "DomainResource"}]}, 422, "structure", "Consent.contained[0].resourceType"),
        (
            {"contained": [{"resourceType": "Group", "contained": []}]},
            400,
            "structure",
            "Consent.contained[0].contained",
        ),
        ({"contained": [IN_ITSELF]}, 422, "invariant", "Consent.contained[0].contained"),
        ({"contained": [LABELLED]}, 422, "invariant", "Consent.contained[0].meta.security"),
        ({"sourceAttachment": {"url": 7}}, 400, "value", "Consent"),
        ({"sourceAttachment": {"url": {"x": UNSEEN}}}, 400, "value", "Consent"),
        ({"provision": []}, 422, "not-supported", "Consent.provision"),
        ({"provision": {}}, 400, "structure", "Consent.provision"),
        ({"provision": {"type": UNSEEN}}, 422, "not-supported", "Consent.provision.type"),
        ({"provision": {"type": "permit", "class": []}}, 400, "structure", "Consent.provision.class"),
        (
            {"provision": {"type": "permit", "provision": [{"type": "deny"}, {}]}},
            *(400, "structure", "Consent.provision.provision[1]"),
        ),
        (
            {"provision": {"type": "permit", "period": {"start": "2027-01-01", "end": "2026-01-01"}}},
            *(422, "not-supported", "Consent.provision.period"),
        ),
        (
            {
                "provision": {
                    "type": "permit",
                    "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "X"}],
                }
            },
            *(422, "not-supported", "Consent.provision.purpose"),
        ),
        (
            {"provision": {"type": "permit", "provision": [{"type": "deny", "code": [{"text": UNSEEN}]}]}},
            *(422, "not-supported", "Consent.provision.provision[0].code[0].coding"),
        ),
        (
            {
                "provision": {
                    "type": "permit",
                    "actor": [{"role": {"coding": [{"code": "AUT"}]}, "reference": {"reference": "Device/x"}}],
                }
            },
            *(422, "not-supported", "Consent.provision.actor[0].role"),
        ),
        ({"provision": [{"type": "permit"}], "decision": "deny"}, 422, "not-supported", "Consent.decision"),
        ({"subject": {"reference": "Patient/ana"}}, 422, "not-supported", "Consent.subject"),
    ],
    ids=str,
)
async def test_each_problem_is_told_with_the_element_it_stands_at(
    clerk: RecorderClient, change: dict[str, Any], status: int, code: str, expression: str
) -> None:
    before = await _kept(clerk)
    answer = await clerk.send("POST", "Consent", consent(**change))
    assert answer.status_code == status, answer.text
    assert (code, (expression,)) in issues(answer)
    assert UNSEEN not in answer.text
    assert await _kept(clerk) == before


async def test_all_problems_are_told_at_once(clerk: RecorderClient) -> None:
    answer = await clerk.send("POST", "Consent", consent(status="x", policy=None, provision={"type": "x"}))
    assert {e for _, e in issues(answer)} == {("Consent.status",), ("Consent",), ("Consent.provision.type",)}


async def test_a_consent_in_r5_is_refused_as_such(clerk: RecorderClient) -> None:
    newer = {
        "resourceType": "Consent",
        "status": "active",
        "subject": {"reference": "Patient/ana"},
        "decision": "permit",
        "provision": [{"period": {"end": "2030"}}],
    }
    answer = await clerk.send("POST", "Consent", newer)
    assert answer.status_code == 422
    assert issues(answer) == [("not-supported", (f"Consent.{n}",)) for n in ("decision", "subject", "provision")]
    assert "R5" in answer.text


@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"identifier": [{"system": "urn:x", "value": text}]},
        lambda text: {"patient": {"reference": f"Patient/{text}"}},
        lambda text: {"category": [{"coding": [{"system": "urn:x", "code": text}]}]},
        lambda text: {"provision": {"type": "permit", "actor": grantee(text)}},
        lambda text: {"extension": [{"url": "urn:x", "valueString": text}]},
        lambda text: {"id": text},
        lambda text: {"meta": {"profile": [text], "tag": [{"system": "urn:x", "code": text}]}},
    ],
)
@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "x" * 5_000, "ä" * 300, "'; DROP TABLE x; --"])
async def test_no_text_breaks_the_server(clerk: RecorderClient, place: Any, text: str) -> None:
    sent = json.dumps(consent(**place(text))).encode()
    assert (await clerk.send("POST", "Consent", sent)).status_code in (201, 400, 422)
    assert (await clerk.get("Consent?_count=1&_sort=-_lastUpdated")).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "expression"),
    [
        ({"id": "other"}, 400, "Consent.id"),
        ({"id": None}, 400, "Consent.id"),
        ({"patient": {"reference": "Patient/bob"}}, 422, "Consent.patient"),
    ],
)
async def test_a_change_keeps_what_the_consent_is_about(
    clerk: RecorderClient, change: dict[str, Any], status: int, expression: str
) -> None:
    made = await clerk.created(consent())
    changed = {name: value for name, value in {**made, **change}.items() if value is not None}
    answer = await clerk.send("PUT", f"Consent/{made['id']}", changed)
    assert answer.status_code == status
    assert issues(answer)[0][1] == (expression,)


@pytest.mark.parametrize("kind", ["text/plain", "application/fhir+xml", "application/json; charset=latin-1", ""])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_another_content_type_is_refused(clerk: RecorderClient, method: str, kind: str) -> None:
    made = await clerk.created(consent())
    path = "Consent" if method == "POST" else f"Consent/{made['id']}"
    assert (await clerk.send(method, path, made, headers={"Content-Type": kind})).status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("PUT", "Consent/x/_history/1", 405), ("DELETE", "Consent/x/_history/1", 405), ("POST", "Consent/x", 405)),
        *(("DELETE", "Consent/x/_history", 405), ("POST", "Provenance", 405), ("PUT", "Provenance/x", 405)),
        *(("DELETE", "Provenance/x", 405), ("POST", "Consent/_history", 405), ("GET", "Consent/a/b", 404)),
        *(("GET", "Consent/%2e%2e/x", 404), ("GET", "Consent/x%2F_history", 404), ("GET", "Consent/", 404)),
        ("GET", f"Consent/{'x' * 65}", 404),
    ],
)
async def test_history_and_provenance_are_nobodys_to_write(
    clerk: RecorderClient, method: str, path: str, status: int
) -> None:
    assert (await clerk.send(method, path, consent(id="x"))).status_code == status


async def test_no_recorder_keeps_a_consent_that_names_it(clerk: RecorderClient) -> None:
    own = [
        ({"type": "permit", "actor": grantee(clerk.client_id)}, "Consent.provision.actor"),
        ({"type": "deny", "actor": grantee(clerk.client_id)}, "Consent.provision.actor"),
        ({"type": "deny", "actor": grantee(clerk.client_id.upper())}, "Consent.provision.actor"),
        (
            {"type": "deny", "provision": [{"type": "permit", "actor": [*grantee("x"), *grantee(clerk.client_id)]}]},
            "Consent.provision.provision[0].actor",
        ),
    ]
    made = await clerk.created(consent())
    for provision, place in own:
        for request in (
            ("POST", "Consent", consent(provision)),
            ("PUT", f"Consent/{made['id']}", {**made, "provision": provision}),
        ):
            answer = await clerk.send(*request)
            assert (answer.status_code, issues(answer)) == (403, [("forbidden", (place,))])


async def test_a_recorder_does_not_end_a_consent_that_names_it(here: World, clerk: RecorderClient) -> None:
    other = await recorder(here)
    made = await other.created(consent({"type": "deny", "actor": grantee(clerk.client_id)}))
    path = f"Consent/{made['id']}"
    assert (await clerk.send("DELETE", path)).status_code == 403
    assert (await clerk.send("PUT", path, {**made, "provision": {"type": "deny"}})).status_code == 403
    assert (
        await clerk.send("PATCH", path, [{"op": "replace", "path": "/status", "value": "inactive"}])
    ).status_code == 403
    assert (await clerk.get(path)).json() == made


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        ("backend", "assent/consents.c system/*.rs"),
        ("backend", "system/Observation.r assent/consents.cruds"),
        ("public", "assent/consents.r"),
        ("gateway", "assent/introspect assent/consents.r"),
    ],
)
async def test_who_keeps_consents_reads_nothing_by_them(here: World, kind: Any, scope: str) -> None:
    keys = {"keys": [key_pair("ES384")[0]]} if kind == "backend" else None
    uris = ("https://app.example/cb",) if kind == "public" else ()
    async with here.assent.engine.begin() as connection:
        with pytest.raises(ClientError):
            await add_client(connection, NewClient("x", kind, uris, scope=scope, jwks=keys), here.assent.authz.clock())
