"""On which consents a clinician's access hangs (docs/decisions/0008): every one that applies, live, and no other."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from authz import tables
from authz.authorize.consent_details import ConsentDetails
from authz.authorize.launch_contexts import create_launch
from authz.authorize.requests import PendingRequest, find_request
from authz.clients.clients import NewClient, add_client
from authz.consents.clinician_access import ClinicianAccess, NotShared
from authz.consents.decisions import AlreadyDecided, end_consent
from authz.sign_in.accounts import Account, add_account
from fhir.consents.directory import Knows
from policies.codes import ACT_REASON_SYSTEM, CLIENT_SYSTEM, DATA_CATEGORY_SYSTEM, PARTICIPATION_SYSTEM
from policies.consent_rule import ConsentRule
from policies.memberships import Knowledge
from tests.authz.state_app import ANA, StateApp, state
from tests.leaks.world import ACT_CODE, ISSUER, REDIRECT, App, World, observation, patient, world

VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def _team(id: str) -> dict[str, object]:
    participant = [{"member": {"reference": "Practitioner/raman"}}]
    subject = {"reference": "Patient/ana"}
    return {"resourceType": "CareTeam", "id": id, "status": "active", "subject": subject, "participant": participant}


RESOURCES: list[dict[str, object]] = [
    patient("ana"),
    observation("lab0"),
    observation("vital0", category="vital-signs", code="8867-4"),
    {"resourceType": "Organization", "id": "hospital", "name": "Hospital"},
    {"resourceType": "Organization", "id": "ward", "name": "Ward", "partOf": {"reference": "Organization/hospital"}},
    {
        "resourceType": "PractitionerRole",
        "id": "r",
        "practitioner": {"reference": "Practitioner/raman"},
        "organization": {"reference": "Organization/ward"},
    },
    *map(_team, ("t", "asked-late", "listed-late")),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("clinician")
    async with world(await make_database(), folder, RESOURCES) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clinician(server: World) -> Account:
    who = Account("", "raman", "Dr. Raman", "Practitioner/raman", "clinician")
    async with server.assent.engine.begin() as connection:
        return await add_account(connection, who, "-", server.assent.authz.clock())


class Ward:
    """An app for treatment, and what the patient has decided about it."""

    def __init__(self, server: World, client_id: str, clinician: Account) -> None:
        self.server, self.client_id, self.clinician = server, client_id, clinician
        self.access = ClinicianAccess(server.assent.authz)

    def consent(self, *categories: str, actor: str | None = "app", permit: bool = True, **more: Any) -> dict[str, Any]:
        """A Consent of ana; `actor` None names nobody."""
        grantee = self.client_id if actor == "app" else actor
        provision: dict[str, Any] = {
            "type": "permit" if permit else "deny",
            "purpose": [{"system": ACT_REASON_SYSTEM, "code": "TREAT"}],
            "class": [{"system": DATA_CATEGORY_SYSTEM, "code": code} for code in categories],
        }
        if grantee is not None:
            role = {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP"}]}
            reference = {"identifier": {"system": CLIENT_SYSTEM, "value": grantee}}
            provision["actor"] = [{"role": role, "reference": reference}]
        return {
            "resourceType": "Consent",
            "status": "active",
            "scope": {"coding": [{"code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": "Patient/ana"},
            "dateTime": "2026-01-01T00:00:00Z",
            "provision": provision | more,
        }

    async def keep(self, consent: Mapping[str, Any]) -> str:
        """Store it, as another way of writing consents would."""
        stored = await self.server.assent.authz.repository.create(dict(consent))
        self.server.assent.bus.tell(_changed())
        return stored.id

    async def end(self, consent_id: str) -> None:
        """End a consent as /my does."""
        context = self.server.assent.authz
        async with context.engine.begin() as connection:
            ended = await end_consent(connection, context.repository, consent_id, context.clock())
        context.tell(_changed())
        for grant_id in ended.grants:
            context.tell(_changed("grant", grant_id))

    async def request(self, scope: str = "launch offline_access patient/*.rs", **launch: Any) -> PendingRequest:
        """An authorization request of a launch for ana, opened by the clinician."""
        context = self.server.assent.authz
        async with context.engine.begin() as connection:
            ehr, _ = await add_client(connection, NewClient("EHR", "ehr", scope="assent/launch.c"), context.clock())
            given = {"patient": "ana", **launch}
            created = await create_launch(connection, given, ehr=ehr.client_id, client_id=None, now=context.clock())
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": scope,
            "launch": created,
            "aud": f"{ISSUER}/fhir",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        answer = await self.server.http.get("/authorize", params=query)
        handle = parse_qs(urlsplit(answer.headers["location"]).query)["request"][0]
        async with context.engine.begin() as connection:
            pending = await find_request(connection, handle, self.clinician.id, context.clock())
        assert pending is not None
        return pending

    async def allow(self, pending: PendingRequest) -> str:
        """The code."""
        now = self.server.assent.authz.clock()
        url = await self.access.allow(pending, self.clinician, now, "test")
        return parse_qs(urlsplit(url).query)["code"][0]

    async def redeem(self, code: str) -> App:
        """The app with its tokens."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "client_id": self.client_id,
            "code_verifier": VERIFIER,
        }
        answer = await self.server.http.post("/token", data=form)
        assert answer.status_code == 200, answer.text
        return App(self.server, self.client_id, answer.json())

    async def open(self) -> App:
        """The whole way."""
        return await self.redeem(await self.allow(await self.request()))


def _changed(kind: Any = "consent", key: str = "ana") -> Any:
    from fhir.store.change_bus import Change

    return Change(kind, key)


@pytest_asyncio.fixture(loop_scope="session")
async def ward(server: World, clinician: Account) -> AsyncIterator[Ward]:
    async with server.assent.engine.begin() as connection:
        new = NewClient("Ward", "public", (REDIRECT,), purposes=("PATRQT", "TREAT"))
        client, _ = await add_client(connection, new, server.assent.authz.clock())
    made = Ward(server, client.client_id, clinician)
    yield made
    # The next test begins without this one's consents, which speak about every app where they name none.
    for stored in (await server.assent.authz.repository.search(_all_active())).matches:
        await made.end(stored.id)


def _all_active() -> Any:
    from fhir.r4.definitions import load_definitions
    from fhir.search.query import parse_search

    pairs = (("patient", "Patient/ana"), ("status", "active"), ("_count", "500"))
    return parse_search("Consent", pairs, load_definitions(), max_count=500)


def _actor(reference: str) -> list[dict[str, Any]]:
    return [{"role": {"coding": [{"code": "IRCP"}]}, "reference": {"reference": reference}}]


@pytest.mark.parametrize(
    "name", ["Practitioner/raman", "PractitionerRole/r", "Organization/ward", "Organization/hospital", "CareTeam/t"]
)
async def test_a_consent_for_a_clinician_or_what_holds_them_opens_to_the_app_in_their_hands(
    ward: Ward, name: str
) -> None:
    consent = ward.consent("laboratory", actor=None)
    consent["provision"]["actor"] = _actor(name)
    given = await ward.keep(consent)
    app = await ward.open()
    assert "patient/" in app.token["scope"]
    assert (await app.get("Observation/lab0")).status_code == 200
    assert await app.ids("Observation") == ["Observation/lab0"]
    assert (await app.get("Observation/vital0")).status_code == 404
    await ward.end(given)
    assert (await app.get("Observation/lab0")).status_code == 401


@pytest.mark.parametrize("name", ["Practitioner/other", "Organization/elsewhere", "CareTeam/nowhere", "Group/nowhere"])
async def test_a_consent_for_others_opens_nothing_to_a_clinician(ward: Ward, name: str) -> None:
    consent = ward.consent("laboratory", actor=None)
    consent["provision"]["actor"] = _actor(name)
    await ward.keep(consent)
    with pytest.raises(NotShared):
        await ward.open()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("Organization/elsewhere", 200),
        ("CareTeam/t", 404),
        ("Organization/hospital", 404),
        ("PractitionerRole/r", 404),
        ("CareTeam/nowhere", 404),
    ],
)
async def test_a_deny_of_a_group_reaches_who_belongs_to_it_or_may(ward: Ward, name: str, status: int) -> None:
    vital_signs = [{"system": DATA_CATEGORY_SYSTEM, "code": "vital-signs"}]
    await ward.keep(ward.consent("vital-signs", "laboratory", actor=None))
    consent = ward.consent(actor=None)
    consent["provision"] = {"type": "deny", "actor": _actor(name), "class": vital_signs}
    await ward.keep(consent)
    app = await ward.open()
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await app.get("Observation/vital0")).status_code == status


async def _while_the_directory_thinks(ward: Ward, doing: Awaitable[Any]) -> Any:
    """What comes of it; asserts that no connection to the database waits meanwhile."""
    pool: Any = ward.server.assent.authz.engine.pool
    begun, in_use = len(ward.server.upstream.asked), pool.checkedout()
    with ward.server.upstream.hanging():
        task = asyncio.ensure_future(doing)
        while len(ward.server.upstream.asked) == begun:
            assert not task.done()
            await asyncio.sleep(0.01)
        assert pool.checkedout() <= in_use
    return await task


async def test_a_slow_directory_holds_no_connection_while_a_clinician_is_let_in(ward: Ward) -> None:
    consent = ward.consent("laboratory", actor=None)
    consent["provision"]["actor"] = _actor("CareTeam/asked-late")
    await ward.keep(consent)
    code = await _while_the_directory_thinks(ward, ward.allow(await ward.request()))
    assert (await (await ward.redeem(code)).get("Observation/lab0")).status_code == 200


async def test_a_slow_directory_holds_no_connection_while_records_are_found(ward: Ward) -> None:
    consent = ward.consent("laboratory", actor=None)
    consent["provision"]["actor"] = _actor("CareTeam/listed-late")
    await ward.keep(consent)
    found = await _while_the_directory_thinks(ward, ward.access.record(await ward.request(), ward.clinician, "ana"))
    assert "laboratory" in {category.code for category in found.standing.categories}


async def test_a_consent_that_is_given_while_the_directory_thinks_opens_nothing_by_itself(ward: Ward) -> None:
    """Whom it names wasn't asked about, so it isn't known who belongs to them."""
    consent, pending = ward.consent("laboratory", actor=None), await ward.request()
    consent["provision"]["actor"] = _actor("CareTeam/t")
    slow = _Slow(ward.server.assent.authz.directory, lambda: ward.keep(consent))
    context = replace(ward.server.assent.authz, directory=slow)
    with pytest.raises(NotShared):
        await ClinicianAccess(context).allow(pending, ward.clinician, context.clock(), "test")
    await ward.redeem(await ward.allow(pending))


@dataclass(frozen=True)
class _Slow:
    """A directory during whose answer something else happens."""

    directory: Knows
    meanwhile: Callable[[], Awaitable[object]]

    async def knowledge(self, rules: Iterable[ConsentRule], users: Iterable[str]) -> Knowledge:
        known = await self.directory.knowledge(rules, users)
        await self.meanwhile()
        return known


async def test_a_consent_that_names_no_app_opens_to_every_app_for_treatment(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory", actor=None))
    app = await ward.open()
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await app.get("Observation/vital0")).status_code == 404


async def test_a_gateway_learns_what_to_keep_back_as_pcf_says_it(ward: Ward) -> None:
    """IHE PCF 1.1, ITI-71: every consent, the policies behind them, and rules for what the scopes can't tell."""
    hiv = [{"system": ACT_CODE, "code": "HIV"}]
    one = await ward.keep(
        {
            **ward.consent("laboratory", provision=[{"type": "deny", "securityLabel": hiv}]),
            "policy": [{"uri": "http://example.org/policy"}],
        }
    )
    other = await ward.keep(ward.consent("vital-signs", actor=None))
    context = ward.server.assent.authz
    async with context.engine.begin() as connection:
        gateway, secret = await add_client(connection, NewClient("G", "gateway"), context.clock())
    auth, app = httpx.BasicAuth(gateway.client_id, secret or ""), await ward.open()

    async def told() -> dict[str, Any]:
        answer = await ward.server.http.post("/introspect", data={"token": app.token["access_token"]}, auth=auth)
        found: dict[str, Any] = answer.json()["extensions"]["ihe_pcf"]
        return found

    fhir = f"{ISSUER}/fhir"
    assert await told() == {
        "patient_id": f"{fhir}/Patient/ana",
        "doc_id": [f"{fhir}/Consent/{id}/_history/1" for id in (one, other)],
        "acp": ["http://example.org/policy"],
        "residual": [{"type": "forbid", "securityLabel": hiv}],
    }
    denied = {"type": "deny", "dataPeriod": {"end": "2024"}, "data": _data("related", "Encounter/e")}
    await ward.keep({**ward.consent(), "provision": denied})
    assert (await told())["residual"][1:] == [
        {
            "type": "forbid",
            "dataPeriod": {"end": "2024-12-31T23:59:59.999Z"},
            "data": [{"meaning": "related", "reference": {"reference": f"{fhir}/Encounter/e"}}],
        }
    ]


def _data(meaning: str, reference: str) -> list[dict[str, Any]]:
    return [{"meaning": meaning, "reference": {"reference": reference}}]


async def test_several_consents_open_together_and_each_counts_as_long_as_it_lasts(ward: Ward) -> None:
    labs, vitals = await ward.keep(ward.consent("laboratory")), await ward.keep(ward.consent("vital-signs", actor=None))
    app = await ward.open()
    assert len(app.token["scope"].split("patient/Observation.rs?")) == 3
    for wanted in ("lab0", "vital0"):
        assert (await app.get(f"Observation/{wanted}")).status_code == 200
    await ward.end(vitals)
    # The grant could hang on what ended, so it ends; what is left is opened again.
    assert (await app.get("Observation/lab0")).status_code == 401
    again = await ward.open()
    assert (await again.get("Observation/lab0")).status_code == 200
    assert (await again.get("Observation/vital0")).status_code == 404
    await ward.end(labs)
    with pytest.raises(NotShared):
        await ward.open()


async def test_a_consent_that_denies_overrides_one_that_permits(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory", "vital-signs"))
    app = await ward.open()
    await ward.keep(ward.consent("laboratory", actor=None, permit=False))
    assert (await app.get("Observation/lab0")).status_code == 404
    assert (await app.get("Observation/vital0")).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"purpose": [{"system": ACT_REASON_SYSTEM, "code": "PATRQT"}]},
        {"purpose": [{"system": ACT_REASON_SYSTEM, "code": "HRESCH"}]},
        {"period": {"end": "2026-01-02"}},
        {"period": {"start": "2999-01-01"}},
        {"type": "deny"},
        {"class": [{"system": "urn:nowhere", "code": "laboratory"}]},
        {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]},
        {"actor": [{"role": {"text": "?"}, "reference": {"reference": "Practitioner/raman"}}]},
    ],
)
async def test_a_consent_that_doesnt_apply_opens_nothing(ward: Ward, more: dict[str, Any]) -> None:
    await ward.keep(ward.consent("laboratory", **more))
    with pytest.raises(NotShared):
        await ward.open()


@pytest.mark.parametrize("change", [{"status": "inactive"}, {"status": "rejected"}, {"status": "proposed"}])
async def test_a_consent_that_isnt_active_opens_nothing(ward: Ward, change: dict[str, str]) -> None:
    await ward.keep({**ward.consent("laboratory"), **change})
    with pytest.raises(NotShared):
        await ward.open()


async def test_another_patients_and_another_apps_consents_open_nothing(ward: Ward) -> None:
    await ward.keep({**ward.consent("laboratory"), "patient": {"reference": "Patient/ben"}})
    await ward.keep(ward.consent("laboratory", actor="another-app"))
    with pytest.raises(NotShared):
        await ward.open()


@pytest.mark.parametrize(
    "change",
    [
        {"role": "operator"},
        {"role": "patient"},
        {"fhir_user": None},
        {"fhir_user": "Patient/raman"},
        {"fhir_user": "RelatedPerson/raman"},
    ],
)
async def test_only_a_clinician_whom_fhir_knows_as_one_opens_records(ward: Ward, change: dict[str, Any]) -> None:
    await ward.keep(ward.consent("laboratory"))
    pending = await ward.request()
    now = ward.server.assent.authz.clock()
    with pytest.raises(NotShared):
        await ward.access.allow(pending, replace(ward.clinician, **change), now, "test")
    assert await ward.access.record(pending, replace(ward.clinician, **change), "ana") is None
    await ward.redeem(await ward.allow(pending))  # nothing was taken


async def test_an_app_that_names_another_purpose_is_no_clinicians(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    pending = await ward.request()
    client = replace(pending.client, purposes=("PATRQT", "HRESCH", "TREAT"))
    with pytest.raises(NotShared):
        await ward.allow(replace(pending, client=client, purpose="HRESCH"))
    with pytest.raises(NotShared):
        await ward.allow(replace(pending, client=replace(client, purposes=("PATRQT",))))
    await ward.redeem(await ward.allow(pending))


async def test_a_launch_for_another_user_is_refused_whatever_page_asks(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    with pytest.raises(NotShared):
        await ward.allow(await ward.request(user="Practitioner/somebody-else"))


async def test_the_patient_of_a_launch_cant_be_exchanged(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    pending = await ward.request()
    with pytest.raises(NotShared):
        await ward.access.choose(pending, ward.clinician, "ana")


async def test_a_decision_counts_once(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    pending = await ward.request()
    done = await asyncio.gather(*(ward.allow(pending) for _ in range(3)), return_exceptions=True)
    assert sorted(type(d) is AlreadyDecided for d in done) == [False, True, True]


async def test_a_clinicians_decision_writes_no_consent(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    before = len((await ward.server.assent.authz.repository.search(_all_active())).matches)
    await ward.open()
    assert len((await ward.server.assent.authz.repository.search(_all_active())).matches) == before


async def test_a_consent_that_ends_before_the_code_is_exchanged_gives_no_token(ward: Ward) -> None:
    consent = await ward.keep(ward.consent("laboratory"))
    code = await ward.allow(await ward.request())
    await ward.end(consent)
    with pytest.raises(AssertionError, match="invalid_grant"):
        await ward.redeem(code)


async def test_a_consent_that_runs_out_closes_reads_and_refresh(ward: Ward) -> None:
    end = datetime.now(UTC) + timedelta(seconds=2)
    await ward.keep(ward.consent("laboratory", period={"end": end.isoformat()}))
    app = await ward.open()
    assert (await app.get("Observation/lab0")).status_code == 200
    await asyncio.sleep(2.1)
    assert (await app.get("Observation/lab0")).status_code == 403
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    assert (await ward.server.http.post("/token", data=form)).json()["error"] == "invalid_grant"


async def test_no_grant_slips_past_the_end_of_the_consent(ward: Ward) -> None:
    """Whichever comes first: either there is no grant, or it ended with the consent."""
    g = tables.grant.c
    for _ in range(5):
        consent = await ward.keep(ward.consent("laboratory"))
        pending = await ward.request()
        await asyncio.gather(ward.allow(pending), ward.end(consent), return_exceptions=True)
        async with ward.server.assent.engine.connect() as connection:
            live = select(g.id).where(g.client_id == ward.client_id, g.revoked_at.is_(None))
            assert (await connection.execute(live)).all() == []


async def test_ending_a_consent_leaves_the_grants_of_other_apps_and_purposes(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    app = await ward.open()
    own = await ward.server.app(["laboratory"])
    other = await ward.keep(ward.consent("laboratory", actor="another-app"))
    research = await ward.keep(ward.consent("laboratory", purpose=[{"system": ACT_REASON_SYSTEM, "code": "HRESCH"}]))
    await ward.end(other)
    await ward.end(research)
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await own.get("Observation/lab0")).status_code == 200


async def test_a_clinicians_read_is_recorded_with_the_clinician_and_the_purpose(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    app = await ward.open()
    await app.get("Observation/lab0")
    from fhir.r4.definitions import load_definitions
    from fhir.search.query import parse_search

    pairs = (("patient", "Patient/ana"), ("_sort", "-date"), ("_count", "20"))
    query = parse_search("AuditEvent", pairs, load_definitions(), max_count=20)
    await ward.server.assent.authz.audit.settle("ana")
    found = [stored.body.decode() for stored in (await ward.server.assent.authz.repository.search(query)).matches]
    mine = [event for event in found if ward.client_id in event]
    assert mine
    assert any("Observation/lab0" in event and "Practitioner/raman" in event and "TREAT" in event for event in mine)


async def test_an_app_keeps_settings_of_a_clinician_and_nothing_about_the_patient(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory"))
    scope = "launch patient/*.rs patient/Basic.cruds user/Basic.cruds"
    token = (await ward.redeem(await ward.allow(await ward.request(scope)))).token
    granted = token["scope"].split(" ")
    assert "user/Basic.cruds" in granted
    assert "patient/Basic.cruds" not in granted
    app = StateApp(ward.server, ward.client_id, dict(token))
    assert (await app.send("POST", "Basic", state(subject=ANA))).status_code == 403
    await app.kept(state(subject=f"{ISSUER}/fhir/Practitioner/raman"))


async def test_authorization_details_hold_a_clinicians_launch_to_their_categories(ward: Ward) -> None:
    await ward.keep(ward.consent("laboratory", "vital-signs"))
    pending = replace(await ward.request(), details=ConsentDetails(("vital-signs",)))
    app = await ward.redeem(await ward.allow(pending))
    assert app.token["authorization_details"][0]["categories"] == ["vital-signs"]
    assert [(await app.get(f"Observation/{name}")).status_code for name in ("lab0", "vital0")] == [404, 200]
