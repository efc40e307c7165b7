"""Who is told of what, on the whole server: each act leaves its letters, in its own transaction, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.consents.decisions import Choice, Decisions
from authz.mail import notices
from authz.mail.ending_notices import tell_of_endings
from authz.mail.notices import Notices
from authz.mail.tables import mail_address, mail_outbox
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.identities import link_identity, unlink_identity
from fhir.audit.event import AuditRecord
from fhir.audit.trail import AuditUnavailable
from tests.assent.mail_place import MailPlace
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, recorder
from tests.conftest import MakeDatabase
from tests.leaks.world import World, observation, patient, world

MOTHER, ANA = "mother@example.org", "ana@example.org"
Told = tuple[str, str, str, bool]
"""Kind, recipient, client_id, whether it is the reader's own record."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana"), observation("lab0")]
    server = {"mail_url": "smtp://127.0.0.1:9", "mail_from": "no-reply@share.example"}
    async with world(await make_database(), tmp_path_factory.mktemp("notices"), people, **server) as running:
        assert running.assent.mail is not None
        await running.assent.mail.close()  # letters wait, so that a test can read them
        async with running.assent.engine.begin() as connection:
            acts_for = (ActsFor("ana", "Ana", own=False),)
            who = Account("", "mother", "Mother", "RelatedPerson/m", "representative", acts_for)
            mother = await add_account(connection, who, "-", datetime.now(UTC))
            for user_id, address in ((mother.id, MOTHER), (running.account.id, ANA)):
                row = {"user_id": user_id, "address": address, "language": "en"}
                await connection.execute(insert(mail_address).values(row))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _empty(here: World) -> None:
    async with here.assent.engine.begin() as connection:
        await connection.execute(delete(mail_outbox))


async def told(here: World) -> Sequence[Told]:
    """The letters that wait, which are taken out."""
    o = mail_outbox.c
    async with here.assent.engine.begin() as connection:
        rows = await connection.execute(select(o.kind, o.recipient, o.client_id, o.own).order_by(o.recipient, o.id))
        found = [(row.kind, row.recipient, row.client_id, row.own) for row in rows]
        await connection.execute(delete(mail_outbox))
    return found


def both(kind: str, client_id: str) -> list[Told]:
    return [(kind, ANA, client_id, True), (kind, MOTHER, client_id, False)]


async def test_a_consent_given_changed_and_revoked_is_told_to_the_patient_and_who_decides_for_them(
    here: World,
) -> None:
    app = await here.app(["laboratory"])
    assert await told(here) == both("consent-given", app.client_id)
    decisions, consent_id = Decisions(here.assent.authz), await app.consent_id()
    choice = Choice(("laboratory",), ("laboratory", "vital-signs"), None, here.text)
    await decisions.change(consent_id, here.account, choice, "test")
    assert await told(here) == both("consent-changed", app.client_id)
    await decisions.revoke(consent_id, here.account, "test")
    assert await told(here) == both("consent-ended", app.client_id)
    await decisions.revoke(consent_id, here.account, "test")
    assert await told(here) == []


async def test_what_a_recorder_does_is_told(here: World, clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    assert await told(here) == both("consent-given", "x")
    path = f"Consent/{made['id']}"
    assert (await clerk.send("PUT", path, {**made, "dateTime": "2026-02-02"})).status_code == 200
    assert await told(here) == both("consent-changed", "x")
    assert (await clerk.send("PUT", path, {**made, "status": "inactive"})).status_code == 200
    assert await told(here) == both("consent-ended", "x")
    assert (await clerk.send("DELETE", path)).status_code in (200, 204)
    assert await told(here) == []


async def test_a_proposal_is_told_as_a_question(here: World, clerk: RecorderClient) -> None:
    await clerk.created(consent(status="proposed"))
    assert await told(here) == both("consent-asked", "x")
    await clerk.created(consent(status="draft"))
    assert await told(here) == []


@pytest.mark.parametrize(
    "actor",
    [
        [],
        [{**grantee("x")[0], "reference": {"reference": "Practitioner/psychiatrist", "display": "Dr. P, psychiatry"}}],
        [*grantee("x"), *grantee("y")],
    ],
    ids=["nobody", "a practitioner", "two apps"],
)
async def test_whom_a_consent_is_about_is_named_only_when_it_is_one_app(
    here: World, clerk: RecorderClient, actor: list[dict[str, object]]
) -> None:
    provision = {"type": "permit", "class": category("laboratory"), **({"actor": actor} if actor else {})}
    await clerk.created(consent(provision))
    assert await told(here) == both("consent-given", "")


async def test_an_act_that_fails_tells_nobody(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await here.app(["laboratory"])
    await told(here)

    async def broken(record: AuditRecord, connection: object = None) -> None:
        raise AuditUnavailable("test")

    monkeypatch.setattr(here.assent.authz.audit, "record", broken)
    with pytest.raises(AuditUnavailable):
        await Decisions(here.assent.authz).revoke(await app.consent_id(), here.account, "test")
    assert await told(here) == []


async def test_ways_to_sign_in_are_told_to_their_person_alone(here: World) -> None:
    context, now = here.assent.authz, datetime.now(UTC)
    async with here.assent.engine.begin() as connection:
        await link_identity(connection, "ana", "https://idp.example", "s1", now, context.notices)
    assert await told(here) == [("sign-in-linked", ANA, "", True)]
    async with here.assent.engine.begin() as connection:
        await unlink_identity(connection, "ana", "https://idp.example", now, context.notices)
    assert await told(here) == [("sign-in-unlinked", ANA, "", True)]


async def test_sharing_that_ends_within_a_week_is_told_once_for_each_end(here: World) -> None:
    context, now = here.assent.authz, here.assent.authz.clock()
    await here.forget_consents()
    far = await here.app(["laboratory"], until=now + timedelta(days=30))
    short = await here.app(["laboratory"], until=now + timedelta(days=6))
    ends = now + timedelta(days=6)
    long = await here.app(["laboratory"], until=ends)
    body = (await context.repository.read("Consent", await long.consent_id())).body  # type: ignore[union-attr]
    await told(here)
    assert far.client_id != short.client_id
    await tell_of_endings(context)
    assert await told(here) == []  # what lasts six days ends as its giver expects
    content = msgspec.json.decode(body)
    content["provision"]["period"]["start"] = (now - timedelta(days=60)).isoformat()
    await context.repository.update(content, expected_version=None)
    content["provision"]["period"]["end"] = (ends + timedelta(hours=1)).isoformat()
    await context.repository.update(content, expected_version=None)
    await tell_of_endings(context)
    assert await told(here) == both("sharing-ends", long.client_id)
    await tell_of_endings(context)
    assert await told(here) == []
    content["provision"]["period"]["end"] = (ends + timedelta(hours=2)).isoformat()
    await context.repository.update(content, expected_version=None)
    await tell_of_endings(context)
    assert await told(here) == both("sharing-ends", long.client_id)


async def test_who_doesnt_want_to_hear_of_sharing_hears_of_emergencies_and_sign_ins(engine: AsyncEngine) -> None:
    place = MailPlace(engine, 9)
    quiet = await place.person("quiet", "p", sharing=False)
    await place.person("loud", "p")
    await place.share("p")
    async with engine.begin() as connection:
        await place.notices.about_emergency(connection, "p", "app", place.now)
    await place.tell(quiet)
    assert await place.waiting() == [
        ("consent-given", "loud@example.org", 0),
        ("emergency", "loud@example.org", 0),
        ("emergency", "quiet@example.org", 0),
        ("passkey-added", "quiet@example.org", 0),
    ]


async def test_several_changes_in_a_row_are_one_letter(engine: AsyncEngine) -> None:
    place = MailPlace(engine, 9)
    await place.person("ana", "ana")
    for _ in range(20):
        await place.share("ana", "consent-changed", "app")
    await place.share("ana", "consent-changed", "other")
    assert await place.waiting() == [("consent-changed", "ana@example.org", 0)] * 2


async def test_the_table_has_a_bound_and_room_for_what_is_always_told(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "MOST_WAITING", 5)
    monkeypatch.setattr(notices, "_RESERVED", 2)
    place = MailPlace(engine, 9)
    ana = await place.person("ana", "ana")
    for number in range(9):
        await place.share("ana", "consent-changed", f"app{number}")
    assert len(await place.waiting()) == 3
    for kind in ("passkey-added", "passkey-removed", "password-changed", "sign-in-linked"):
        await place.tell(ana, kind)
    assert [kind for kind, _, _ in await place.waiting()][3:] == ["passkey-added", "passkey-removed"]


async def test_where_no_e_mail_is_sent_nothing_is_written_down(engine: AsyncEngine) -> None:
    place = MailPlace(engine, 9, notices=Notices(on=False))
    await place.tell(await place.person("ana", "ana"))
    await place.share("ana")
    assert await place.waiting() == []
