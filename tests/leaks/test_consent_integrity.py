"""L60, L62-L64: a consent opens what it says in so many words; every doubt about it, and every loss of it, closes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from assent.app import build
from authz.consents.decisions import Choice, Decisions
from fhir.store.change_bus import Change
from policies.codes import CLIENT_SYSTEM, DATA_CATEGORY_SYSTEM
from tests.leaks.world import App, World, client_of, observation, settings_for
from tests.waiting import soon

RECIPIENT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
OPT_OUT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]}
Write = Callable[..., Awaitable[None]]


def _consent(app: App, provision: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Consent of ana's for the app that permits laboratory results, changed as told; None takes a member away."""
    grantee = {"identifier": {"system": CLIENT_SYSTEM, "value": app.client_id}}
    permit = {
        "type": "permit",
        "actor": [{"role": {"coding": [RECIPIENT]}, "reference": grantee}],
        "class": [{"system": DATA_CATEGORY_SYSTEM, "code": "laboratory"}],
        **provision,
    }
    whole = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "x"}],
        "patient": {"reference": "Patient/ana"},
        "provision": {name: value for name, value in permit.items() if value is not None},
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None or name == "root"}


@pytest_asyncio.fixture(loop_scope="session")
async def write(leaky: World) -> AsyncIterator[Write]:
    """A function that puts a Consent into Assent's store as it is; it is gone after the test."""
    context, written = leaky.assent.authz, list[str]()

    async def put(consent: dict[str, Any]) -> None:
        written.append((await context.repository.create(consent)).id)
        context.tell(Change("consent", "ana"))

    yield put
    for wanted in written:
        await context.repository.delete("Consent", wanted)
    context.tell(Change("consent", "ana"))


async def _narrowed(leaky: World) -> App:
    """An app whose token could open laboratory results, and whose consent doesn't any more."""
    app = await leaky.app(["laboratory", "vital-signs"])
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, leaky.text)
    await Decisions(leaky.assent.authz).change(await app.consent_id(), leaky.account, choice, "test")
    return app


@pytest.mark.leak("L64")
async def test_l64_a_second_consent_that_permits_opens(leaky: World, write: Write) -> None:
    app = await _narrowed(leaky)
    assert (await app.get("Observation/lab0")).status_code == 404
    await write(_consent(app, {}))
    assert (await app.get("Observation/lab0")).status_code == 200


@pytest.mark.leak("L64")
@pytest.mark.parametrize(
    ("provision", "more"),
    [
        *(({"type": value}, {}) for value in ("deny", "PERMIT", "permit ", "", None, ["permit"], True)),
        ({"type": None}, {"policyRule": OPT_OUT}),
        ({"type": None}, {"policyRule": {"coding": [{"system": "http://x", "code": "OPTIN"}]}}),
        ({"type": None}, {"policyRule": {"text": "permit"}}),
        *(({}, {"root": {}}), ({}, {"root": []}), ({}, {"root": "permit"}), ({}, {"root": None})),
        ({"class": [{"system": DATA_CATEGORY_SYSTEM, "code": "everything"}]}, {}),
        ({"class": [{"code": "laboratory"}]}, {}),
        ({"class": []}, {}),
        ({"class": "laboratory"}, {}),
        ({"action": [{"coding": [{"code": "collect"}]}]}, {}),
        ({"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}]}, {}),
        ({"period": {"end": "2020-01-01"}}, {}),
        ({"period": {"start": "2099-01-01"}}, {}),
        ({"period": {"start": "some day"}}, {}),
        ({"dataPeriod": {"end": "2001"}}, {}),
        ({"provision": [{"type": "deny"}]}, {}),
        ({"provision": [{}]}, {}),
        ({"provision": [{"type": "nonsense"}]}, {}),
        ({"modifierExtension": [{"url": "http://x", "valueBoolean": True}]}, {}),
        ({}, {"modifierExtension": [{"url": "http://x", "valueBoolean": True}]}),
        ({}, {"implicitRules": "http://x"}),
        ({}, {"patient": {"reference": "Patient/bob"}}),
        ({}, {"patient": None}),
        ({"actor": [{"role": {"coding": [RECIPIENT]}, "reference": {"reference": "Organization/x"}}]}, {}),
        ({"actor": []}, {}),
        *(({}, {"status": value}) for value in ("draft", "proposed", "rejected", "inactive", "entered-in-error", "x")),
    ],
    ids=str,
)
async def test_l64_whatever_is_no_plain_permit_opens_nothing(
    leaky: World, write: Write, provision: dict[str, Any], more: dict[str, Any]
) -> None:
    app = await _narrowed(leaky)
    consent = _consent(app, provision, **more)
    if "root" in more:
        consent["provision"] = consent.pop("root")
    await write(consent)
    assert (await app.get("Observation/lab0")).status_code in (403, 404)
    found = await app.get("Observation?_id=lab0")
    assert found.status_code == 403 or "entry" not in found.json()


@pytest.mark.leak("L32", "L64")
@pytest.mark.parametrize("meaning", ["instance", "related", "dependents"])
async def test_l32_l64_a_provider_kept_by_name_is_withheld_and_named_nowhere(
    leaky: World, write: Write, meaning: str
) -> None:
    app = await leaky.app(["laboratory"])
    doctor = {"reference": "Practitioner/doc", "display": "Dr DOC-SECRET"}
    seen_by = observation("lab0", performer=[doctor, {"reference": "Practitioner/hivdoc", "display": "Other"}])

    async def read() -> dict[str, Any]:
        with leaky.upstream.saying("/Observation/lab0", json.dumps(seen_by).encode()):
            found: dict[str, Any] = (await app.get("Observation/lab0")).json()
        return found

    assert (await app.get("Practitioner/doc")).status_code == 200
    assert (await read())["performer"][0] == doctor
    named = {
        "type": "deny",
        "class": None,
        "data": [{"meaning": meaning, "reference": {"reference": doctor["reference"]}}],
    }
    await write(_consent(app, named))
    for path in ("Practitioner/doc", "Practitioner/doc?_elements=name"):
        assert (await app.get(path)).status_code == 404
    assert (await app.get("Practitioner/hivdoc")).status_code == 200
    assert "Practitioner/doc" not in await app.ids("Practitioner")
    if meaning == "instance":  # what is related to a thing can't be told, so a deny of it closes what it could reach
        assert (await read())["performer"] == [{"reference": "Practitioner/doc"}, seen_by["performer"][1]]  # type: ignore[index]


@pytest.mark.leak("L64")
@pytest.mark.parametrize(
    "provision",
    [
        {"type": "deny"},
        {"type": "deny", "class": None},
        {"type": None},
        {"provision": [{"type": "deny", "class": [{"system": DATA_CATEGORY_SYSTEM, "code": "laboratory"}]}]},
        {"modifierExtension": [{"url": "http://x", "valueBoolean": True}]},
    ],
    ids=str,
)
async def test_l64_a_deny_beside_a_permit_closes(leaky: World, write: Write, provision: dict[str, Any]) -> None:
    app = await leaky.app(["laboratory"])
    assert (await app.get("Observation/lab0")).status_code == 200
    await write(_consent(app, provision))
    assert (await app.get("Observation/lab0")).status_code in (403, 404)


@pytest.mark.leak("L60")
async def test_l60_another_patients_consents_and_records_are_not_there(leaky: World, write: Write) -> None:
    app = await leaky.app(["laboratory", "sharing-record"])
    await write(_consent(app, {}, id="x", patient={"reference": "Patient/bob"}))
    for query in ("Consent?_count=200", "Consent?patient=bob", "Consent?patient=Patient/bob", "AuditEvent?patient=bob"):
        answer = await app.get(query)
        assert answer.status_code == 200
        assert "Patient/bob" not in str(answer.json().get("entry"))


@pytest.mark.leak("L62")
async def test_l62_a_consent_that_ended_gives_no_further_token(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    await Decisions(leaky.assent.authz).revoke(await app.consent_id(), leaky.account, "test")
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    answer = await leaky.http.post("/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.leak("L63")
async def test_l63_no_restart_and_no_lost_connection_brings_a_permit_back(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    headers = {"Authorization": f"Bearer {app.token['access_token']}"}
    other = await build(settings_for(leaky.folder, leaky.upstream), leaky.database_url)
    try:
        async with client_of(other) as http:

            async def refused() -> bool:
                return (await http.get("/fhir/Observation/lab0", headers=headers)).status_code == 401

            assert not await refused()
            async with leaky.assent.engine.begin() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'assent change bus' AND datname = current_database()"
                    )
                )
            await Decisions(leaky.assent.authz).revoke(await app.consent_id(), leaky.account, "test")
            assert await soon(refused)
            for _ in range(30):
                assert (await http.get("/fhir/Observation/lab0", headers=headers)).status_code == 401
                await asyncio.sleep(0.05)
    finally:
        await other.aclose()
    again = await build(settings_for(leaky.folder, leaky.upstream), leaky.database_url)
    try:
        async with client_of(again) as http:
            assert (await http.get("/fhir/Observation/lab0", headers=headers)).status_code == 401
    finally:
        await again.aclose()
