"""What `/my` looks up, on the whole server: the store, the access record, requests that wait, and the download."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from assent.language_files import load_languages
from authz import tables
from authz.sign_in.accounts import ActsFor
from authz.sign_in.sessions import SignedInSession
from portal.consent_book import PatientsConsentBook
from portal.patient_record import StoredRecord
from portal.pending_requests import PendingRequests
from portal.ports import ConsentChoice
from portal.record_ports import ActivityAsked, NoSuchPage
from tests.leaks.world import World, observation, patient, world

MakeDatabase = Callable[[], Awaitable[str]]
ANA = ActsFor("ana", "Ana", own=True)
RECORDED: dict[str, Any] = {
    "resourceType": "Consent",
    "status": "active",
    "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "patient": {"reference": "Patient/ana"},
    "dateTime": "2026-02-01",
    "performer": [{"display": "Dr Day"}],
    "policyRule": {"text": "house rules"},
}

PROVENANCE: dict[str, Any] = {
    "resourceType": "Provenance",
    "recorded": "2026-02-01T10:00:00Z",
    "agent": [{"who": {"display": "Assent"}}],
}


@pytest.fixture(scope="module")
async def here(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    resources = [patient("ana"), patient("bob"), observation("o1"), observation("o2", category="vital-signs")]
    async with world(await make_database(), tmp_path_factory.mktemp("record"), resources) as found:
        yield found


@pytest.fixture
def book(here: World) -> PatientsConsentBook:
    return PatientsConsentBook(here.assent.authz, PendingRequests(here.assent.authz))


@pytest.fixture
def record(here: World, book: PatientsConsentBook) -> StoredRecord:
    return StoredRecord(here.assent.authz, book)


@pytest.fixture
def me(here: World) -> SignedInSession:
    return SignedInSession("s", here.account, here.assent.authz.clock(), "c")


def english(here: World) -> Any:
    return load_languages(here.assent.authz.catalogue).english


async def test_a_history_tells_each_version_and_who_ended_it(
    here: World, book: PatientsConsentBook, record: StoredRecord, me: SignedInSession
) -> None:
    app = await here.app(["laboratory", "vital-signs"])
    consent_id = await app.consent_id()
    spanish = load_languages(here.assent.authz.catalogue).by_tag["es"].policy
    await book.change(consent_id, ConsentChoice(("laboratory",), None, spanish), me)
    await book.revoke(consent_id, me)
    ended, changed, given = await record.history(consent_id, english(here))
    assert [v.version for v in (ended, changed, given)] == [3, 2, 1]
    assert [v.state for v in (ended, changed, given)] == ["revoked", "limited", "limited"]
    assert [v.who for v in (ended, changed, given)] == ["Ana"] * 3
    assert (changed.categories, set(given.categories)) == (("laboratory",), {"laboratory", "vital-signs"})
    assert changed.until is None
    assert (changed.policy, given.policy) == (spanish, here.text)
    assert changed.when > given.when


async def test_a_text_that_is_not_what_its_hash_says_is_not_shown(here: World, record: StoredRecord) -> None:
    app = await here.app(["laboratory"])
    t = tables.policy_text
    change = update(t).where(t.c.sha256 == here.text.sha256)
    async with here.assent.engine.begin() as connection:
        await connection.execute(change.values(text="You agreed to all."))
    try:
        (version,) = await record.history(await app.consent_id(), english(here))
    finally:
        async with here.assent.engine.begin() as connection:
            await connection.execute(change.values(text=here.text.text))
    assert version.policy is None


async def test_activity_is_narrowed_by_app_and_day_and_goes_on_where_it_stopped(
    here: World, record: StoredRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.patient_record.LINES", 3)
    app = await here.app(["laboratory", "vital-signs"])
    for wanted in ("o1", "o2", "o1", "o2"):
        assert (await app.get(f"Observation/{wanted}")).status_code == 200
    first = await record.activity(ANA, ActivityAsked(app.client_id), english(here))
    assert (len(first.lines), first.older is None) == (3, False)
    assert first.lines[0].sentence.striptags() == "App looked at Vital signs"
    assert (app.client_id, "App") in first.apps
    rest = await record.activity(ANA, ActivityAsked(app.client_id, older=first.older or ""), english(here))
    assert rest.lines[0].sentence.striptags() == "App looked at Lab results"
    assert rest.lines[0].when <= first.lines[-1].when
    before = ActivityAsked(app.client_id, datetime.now(UTC).date() - timedelta(days=1))
    assert (await record.activity(ANA, before, english(here))).lines == []
    with pytest.raises(NoSuchPage):
        await record.activity(ANA, ActivityAsked(older="made-up"), english(here))
    with pytest.raises(NoSuchPage):
        await record.activity(ANA, ActivityAsked("other", date(2026, 1, 1), first.older or ""), english(here))


@pytest.mark.parametrize("app", ["a|b", "a,b", "a$b\\", "'"])
async def test_an_app_that_nobody_knows_has_no_lines(here: World, record: StoredRecord, app: str) -> None:
    assert (await record.activity(ANA, ActivityAsked(app), english(here))).lines == []


async def test_a_request_waits_for_the_one_who_opened_it_until_it_is_answered(
    here: World, record: StoredRecord, me: SignedInSession
) -> None:
    client_id, _ = await here.launch(["laboratory"], "launch/patient patient/Observation.rs")
    assert await record.waiting("ana", me) == []
    r = tables.authorization_request
    opened = update(r).where(r.c.client_id == client_id)
    async with here.assent.engine.begin() as connection:
        later = here.assent.authz.clock() + timedelta(minutes=5)
        await connection.execute(opened.values(completed_at=None, expires_at=later))
    (waits,) = await record.waiting("ana", me)
    assert (waits.app_name, waits.until) == ("App", later)
    assert {"laboratory", "vital-signs"} <= set(waits.asked)
    assert await record.waiting("bob", me) == []
    async with here.assent.engine.begin() as connection:
        await connection.execute(opened.values(expires_at=here.assent.authz.clock() - timedelta(seconds=1)))
    assert await record.waiting("ana", me) == []


@pytest.mark.parametrize(
    ("provision", "told"),
    [
        (
            {"type": "permit", "actor": [_actor := {"role": {"text": "x"}, "reference": {"display": "Lakeside"}}]},
            ("Lakeside", False, True, False),
        ),
        ({"type": "deny", "actor": [_actor]}, ("Lakeside", False, False, False)),
        ({"type": "permit"}, ("", False, True, False)),
        ({}, ("", False, False, False)),
        (
            {
                "type": "permit",
                "actor": [
                    {
                        "role": {"text": "x"},
                        "reference": {"identifier": {"system": "urn:assent:client", "value": "a"}, "display": "A"},
                    }
                ],
                "dataPeriod": {"start": "2020"},
            },
            ("A", True, True, False),
        ),
        (
            {"type": "permit", "actor": [{"role": {"text": "x"}, "reference": {"identifier": {"value": "npi"}}}]},
            ("npi", False, True, False),
        ),
    ],
)
async def test_what_others_wrote_is_told_as_far_as_it_goes(
    here: World,
    book: PatientsConsentBook,
    record: StoredRecord,
    provision: dict[str, Any],
    told: tuple[str, bool, bool, bool],
) -> None:
    stored = await here.assent.authz.repository.create({**RECORDED, "provision": provision})
    found = await book.find(stored.id)
    assert found is not None
    assert (found.app_name, found.is_app, found.permits, found.plain) == told
    assert (found.recorded_by, found.can_be_changed, found.can_be_revoked) == ("Dr Day", False, told[2])
    (version,) = await record.history(stored.id, english(here))
    assert (version.who, version.policy, version.plain) == ("Dr Day", None, False)
    await here.assent.authz.repository.delete("Consent", stored.id)


async def test_revoking_everything_ends_each_permit_of_this_patient_and_no_deny(
    here: World, book: PatientsConsentBook, me: SignedInSession
) -> None:
    await here.forget_consents()
    first, second = await here.app(["laboratory"]), await here.app(["vital-signs"])
    create = here.assent.authz.repository.create
    deny = await create({**RECORDED, "provision": {"type": "deny"}})
    bobs = await create({**RECORDED, "patient": {"reference": "Patient/bob"}, "provision": {"type": "permit"}})
    await book.revoke_all("ana", me)
    assert {s.consent_id for s in await book.sharing("ana") if s.state in ("granted", "limited")} == {deny.id}
    assert [s.consent_id for s in await book.sharing("bob") if s.state == "granted"] == [bobs.id]
    assert [(await app.get("Observation/o1")).status_code for app in (first, second)] == [401, 401]


async def test_no_crowd_of_ended_consents_hides_what_counts_now(
    here: World, book: PatientsConsentBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.consent_book._MOST_ACTIVE", 2)
    monkeypatch.setattr("portal.consent_book._MOST_ENDED", 2)
    await here.forget_consents()
    create = here.assent.authz.repository.create
    active = await create({**RECORDED, "provision": {"type": "permit"}})
    for _ in range(3):
        await create({**RECORDED, "status": "rejected"})
    assert [s.state for s in await book.sharing("ana")] == ["granted", "denied", "denied"]
    assert (await book.sharing("ana"))[0].consent_id == active.id


async def test_the_download_holds_every_version_the_access_record_and_the_texts_of_one_patient(
    here: World, book: PatientsConsentBook, record: StoredRecord, me: SignedInSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.archive._PAGE", 2)
    await here.forget_consents()
    app = await here.app(["laboratory"])
    await app.get("Observation/o1")
    consent_id = await app.consent_id()
    await book.revoke(consent_id, me)
    create = here.assent.authz.repository.create
    bobs = await create({**RECORDED, "patient": {"reference": "Patient/bob"}})
    for target in (f"Consent/{consent_id}/_history/2", f"Consent/{bobs.id}/_history/1"):
        await create({**PROVENANCE, "target": [{"reference": target}]})
    content = b"".join([piece async for piece in await record.archive("ana", me, english(here))])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        consents = [json.loads(line) for line in archive.read("consents.ndjson").splitlines()]
        provenance = [json.loads(line) for line in archive.read("provenance.ndjson").splitlines()]
        events = [json.loads(line) for line in archive.read("access-record.ndjson").splitlines()]
        text = archive.read(f"texts/{here.text.sha256}.md")
    assert names == [
        "read-me.txt",
        "consents.ndjson",
        "provenance.ndjson",
        "access-record.ndjson",
        f"texts/{here.text.sha256}.md",
    ]
    assert [(c["id"], c["meta"]["versionId"], c["status"]) for c in consents] == [
        (consent_id, "1", "active"),
        (consent_id, "2", "inactive"),
    ]
    assert [p["target"] for p in provenance] == [[{"reference": f"Consent/{consent_id}/_history/2"}]]
    assert hashlib.sha256(text).hexdigest() == here.text.sha256
    assert {e["resourceType"] for e in events} == {"AuditEvent"}
    assert len({e["id"] for e in events}) == len(events)
    assert "export" in {e["subtype"][0]["code"] for e in events}
    assert "Patient/bob" not in json.dumps([consents, events])
    assert bobs.id not in json.dumps([consents, provenance, events])


async def test_the_download_of_somebody_about_whom_nothing_is_kept_is_whole_too(
    here: World, record: StoredRecord, me: SignedInSession
) -> None:
    pieces = [piece async for piece in await record.archive("nobody", me, english(here))]
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.read("consents.ndjson") == b""
        assert len(archive.read("access-record.ndjson").splitlines()) == 1
