"""L60, L61, L64: who may write consents, about whom, and what a consent may say that is written over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from authz import tables
from authz.tokens.access_tokens import TokenClaims
from fhir.consents.check import findings_in, provisions_of
from fhir.consents.reading import read_consent
from fhir.store.change_bus import Change
from tests.authz.consent_recorder import CRUDS, category, consent, grantee, recorder
from tests.leaks.service import service
from tests.leaks.world import App, World
from tests.policies.generated_consents import r4, trees

WIDE = "launch/patient offline_access patient/*.cruds user/*.cruds patient/Consent.cruds user/Consent.cruds"


def _permit(app: App) -> dict[str, Any]:
    """A consent that would open everything to the app."""
    return consent({"type": "permit", "actor": grantee(app.client_id)})


async def _tries(leaky: World, app: App, consent_id: str, **headers: str) -> None:
    """Every way to write; each is refused, and the patient's consents stay as they are."""
    before = await _all(leaky)
    body, patch = json.dumps(_permit(app)), '[{"op":"replace","path":"/provision","value":{"type":"permit"}}]'
    with_id = json.dumps(_permit(app) | {"id": consent_id})
    tried = [
        ("POST", "Consent", body, "application/fhir+json"),
        ("PUT", f"Consent/{consent_id}", with_id, "application/fhir+json"),
        ("PUT", "Consent?patient=ana", body, "application/fhir+json"),
        ("PUT", "Consent/chosen-by-the-app", body, "application/fhir+json"),
        ("PATCH", f"Consent/{consent_id}", patch, "application/json-patch+json"),
        ("DELETE", f"Consent/{consent_id}", "", ""),
        ("DELETE", "Consent?patient=ana", "", ""),
        ("PUT", f"Consent/{consent_id}/_history/1", with_id, "application/fhir+json"),
        ("POST", "Provenance", "{}", "application/fhir+json"),
        ("POST", "", '{"resourceType":"Bundle","type":"transaction"}', "application/fhir+json"),
    ]
    for method, path, content, kind in tried:
        sent = {"Authorization": f"Bearer {app.token['access_token']}", "Content-Type": kind, **headers}
        answer = await leaky.http.request(method, f"/fhir/{path}", content=content, headers=sent)
        assert answer.status_code in (401, 403, 405, 501), (method, path, answer.text)
        assert app.client_id not in answer.text
    assert await _all(leaky) == before


async def _all(leaky: World) -> list[tuple[str, str]]:
    clerk = await recorder(leaky, "assent/consents.s")
    answer = await clerk.get("Consent?_count=100&_sort=_id&_total=none")
    return [(e["resource"]["id"], e["resource"]["meta"]["versionId"]) for e in answer.json().get("entry", ())]


@pytest.mark.leak("L60")
@pytest.mark.parametrize("scope", [WIDE, f"{WIDE} {CRUDS}"])
async def test_l60_no_scope_of_a_persons_app_writes_a_consent(leaky: World, scope: str) -> None:
    app = await leaky.app(["laboratory", "sharing-record"], scope=scope)
    await _tries(leaky, app, await app.consent_id())


@pytest.mark.leak("L60")
@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Forwarded-User"])
async def test_l60_no_header_makes_an_app_a_recorder(leaky: World, name: str) -> None:
    app = await leaky.app(["laboratory"])
    await _tries(leaky, app, await app.consent_id(), **{name: "PUT"})


@pytest.mark.leak("L60")
async def test_l60_no_service_writes_a_consent_by_what_it_may_read(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"]}, registered="system/*.cruds system/Consent.cruds")
    await _tries(leaky, app, app.consents["ana"])


@pytest.mark.leak("L60")
async def test_l60_who_reads_data_keeps_no_consents_even_if_it_was_registered_for_both(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"]})
    both = f"system/*.rs {CRUDS}"
    async with leaky.assent.engine.begin() as connection:
        c = tables.client.c
        await connection.execute(update(tables.client).where(c.client_id == app.client_id).values(scope=both))
    leaky.assent.authz.tell(Change("client", app.client_id))
    claims = TokenClaims(app.client_id, app.client_id, both, timedelta(minutes=5), purpose="TREAT")
    token, _ = leaky.assent.authz.tokens.mint(claims)
    await _tries(leaky, App(leaky, app.client_id, {"access_token": token}), app.consents["ana"])
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    others = await leaky.http.post("/fhir/Consent", content=json.dumps(consent()), headers=sent)
    assert others.status_code == 405


@pytest.mark.leak("L60")
async def test_l60_a_recorder_opens_nothing_to_itself(leaky: World) -> None:
    clerk = await recorder(leaky)
    await clerk.created(consent({"type": "permit"}))
    for provision in (
        {"type": "permit", "actor": grantee(clerk.client_id)},
        {"type": "deny", "provision": [{"type": "permit", "actor": grantee(clerk.client_id)}]},
    ):
        assert (await clerk.send("POST", "Consent", consent(provision))).status_code == 403
    for path in ("Observation/lab0", "Patient/ana", "Observation?patient=ana", "Patient", "AuditEvent"):
        answer = await clerk.get(path)
        assert answer.status_code in (403, 404)
        assert "ana" not in answer.text


@pytest.mark.leak("L60")
async def test_l60_history_is_nobodys_to_edit(leaky: World) -> None:
    clerk = await recorder(leaky)
    made = await clerk.created(
        consent(dateTime="2020-01-01", meta={"versionId": "9", "lastUpdated": "1999-01-01T00:00:00Z"})
    )
    path = f"Consent/{made['id']}"
    assert made["meta"]["versionId"] == "1"
    assert not made["meta"]["lastUpdated"].startswith("1999")
    first = (await clerk.get(f"{path}/_history/1")).content
    backdated = [{"op": "add", "path": "/meta/lastUpdated", "value": "1999-01-01T00:00:00Z"}]
    patched = await clerk.send("PATCH", path, [*backdated, {"op": "add", "path": "/meta/versionId", "value": "1"}])
    assert (patched.json()["meta"]["versionId"], "1999" in patched.text) == ("2", False)
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        for version in ("/_history", "/_history/1", "/_history/2"):
            assert (await clerk.send(method, f"{path}{version}", {})).status_code == 405
    assert (await clerk.get(f"{path}/_history/1")).content == first


@pytest.mark.leak("L60")
async def test_l60_an_app_sees_nothing_of_who_wrote_which_version(leaky: World) -> None:
    clerk = await recorder(leaky)
    app = await leaky.app(["laboratory", "sharing-record"])
    made = await clerk.created(consent(patient={"reference": "Patient/bob"}))
    assert (await app.get(f"Consent/{made['id']}")).status_code == 404
    assert (await app.get(f"Consent/{made['id']}/_history/1")).status_code == 404
    found = await app.get(f"Provenance?target=Consent/{made['id']}")
    assert found.status_code == 403 or "entry" not in found.json()


@pytest.mark.leak("L44", "L45", "L46")
async def test_l44_l45_l46_who_may_only_write_learns_nothing_of_what_others_wrote(leaky: World) -> None:
    made = await (await recorder(leaky)).created(consent(identifier=[{"system": "urn:x", "value": "secret"}]))
    path, criteria = f"Consent/{made['id']}", "identifier=urn:x|secret"
    writer = await recorder(leaky, "assent/consents.cud")
    date = {"op": "replace", "path": "/dateTime", "value": "2026-02-02"}
    asking = [
        ("POST", "Consent", consent(), {"If-None-Exist": criteria}),
        ("PUT", f"Consent?{criteria}", consent(), {}),
        ("PATCH", f"Consent?{criteria}", [date], {}),
        ("DELETE", f"Consent?{criteria}", None, {}),
        ("PATCH", path, [{"op": "test", "path": "/status", "value": "active"}, date], {}),
    ]
    for method, where, body, headers in asking:
        one = await writer.send(method, where, body, headers=headers)
        other = await writer.send(method, where.replace("secret", "none"), body, headers=headers)
        assert (one.status_code, one.json()) == (403, other.json()), (method, where)
    patched = await writer.send("PATCH", path, [date], headers={"Prefer": "return=representation"})
    assert (patched.status_code, patched.content) == (200, b"")
    searching = await recorder(leaky, "assent/consents.cs")
    found = await searching.send("POST", "Consent", consent(), headers={"If-None-Exist": criteria})
    assert (found.status_code, found.content) == (200, b"")


@pytest.mark.leak("L61")
@pytest.mark.parametrize(
    "about",
    [
        *(
            {"reference": name}
            for name in ("Practitioner/doc", "Patient/ana/_history/1", "https://x/Patient/ana", "#ana")
        ),
        *({"reference": name} for name in ("Patient/", "Patient", "patient/ana", "Patient/ana,Patient/bob", "")),
        *(
            {"identifier": {"system": "urn:mrn", "value": "ana"}},
            {"display": "Ana"},
            [{"reference": "Patient/ana"}],
            {},
        ),
    ],
    ids=str,
)
async def test_l61_a_consent_is_for_one_patient_of_this_server_in_plain_words(leaky: World, about: object) -> None:
    clerk = await recorder(leaky)
    answer = await clerk.send("POST", "Consent", consent(patient=about))
    assert answer.status_code in (400, 422), answer.text
    assert any(p.startswith("Consent.patient") for i in answer.json()["issue"] for p in i["expression"])


@pytest.mark.leak("L61")
async def test_l61_a_consent_never_moves_to_another_patient(leaky: World) -> None:
    clerk = await recorder(leaky)
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    moved = {**made, "patient": {"reference": "Patient/bob"}}
    assert (await clerk.send("PUT", path, moved)).status_code == 422
    patch = [{"op": "replace", "path": "/patient/reference", "value": "Patient/bob"}]
    assert (await clerk.send("PATCH", path, patch)).status_code == 422
    assert (await clerk.get(path)).json() == made


@pytest.mark.leak("L64")
@pytest.mark.parametrize(
    "provision",
    [
        *({"type": value} for value in ("PERMIT", "permit ", "", None, True, ["permit"])),
        *({}, [], "permit", {"class": category("laboratory")}, {"type": "permit", "provision": [{}]}),
        {"type": "permit", "class": [{"code": "laboratory"}]},
        {"type": "permit", "actor": []},
        {"type": "permit", "actor": [{"reference": {"reference": "Device/x"}}]},
        {"type": "permit", "action": [{"coding": [{"code": "look"}]}]},
        {"type": "permit", "period": {"start": "some day"}},
        {"type": "permit", "modifierExtension": [{"url": "http://x", "valueBoolean": True}]},
        {"type": "permit", "surprise": 1},
    ],
    ids=str,
)
async def test_l64_what_would_only_deny_by_doubt_is_refused_to_its_writer(leaky: World, provision: object) -> None:
    clerk = await recorder(leaky)
    answer = await clerk.send("POST", "Consent", {**consent(), "provision": provision})
    assert answer.status_code in (400, 422), answer.text
    assert any(p.startswith("Consent.provision") for i in answer.json()["issue"] for p in i["expression"])


@pytest.mark.leak("L64")
@given(tree=trees(), broken=st.sampled_from([None, "type", "actor", "class", "purpose", "period", "extra"]))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_l64_whatever_is_kept_is_understood_whole(tree: Any, broken: str | None) -> None:
    whole = r4(
        tree, **{k: v for k, v in consent().items() if k not in ("provision", "patient", "resourceType", "status")}
    )
    if broken is not None:
        whole["provision"][broken] = {"type": "x", "extra": 1}.get(broken, [{"code": ""}])
    rule = read_consent(whole)
    doubts = [*rule.not_understood, *(place for p in provisions_of(rule.root) for place in p.not_understood)]
    assert bool(doubts) <= bool(findings_in(whole).issues)
    assert broken is not None or not findings_in(whole).issues
