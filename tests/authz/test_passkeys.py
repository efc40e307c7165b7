"""Passkeys: one is added, signs in, is counted and removed; a table of answers that aren't taken."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.sign_in.accounts import Account, add_account
from authz.sign_in.challenges import Begun, SignInChallenges
from authz.sign_in.methods import PASSKEY
from authz.sign_in.passkeys import (
    MAX_RESPONSE,
    MOST,
    PasskeyRefused,
    Passkeys,
    RelyingParty,
    forget_passkeys,
    relying_party,
)
from authz.sign_in.sessions import SignedInSession
from tests.clients.authenticator import USER_PRESENT, USER_VERIFIED, Authenticator

PARTY = RelyingParty("share.example", "https://share.example")
COOKIE = "b" * 43


@dataclass
class Desk:
    """The server's side, and two people."""

    engine: AsyncEngine
    passkeys: Passkeys
    ada: SignedInSession
    ben: SignedInSession
    skew: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skew

    async def ask(self, cookie: str = COOKIE) -> str:
        return await self.passkeys.ask(cookie, Begun("/my/activity", self.now()))

    async def added(self, session: SignedInSession | None = None) -> Authenticator:
        device, who = authenticator(), session or self.ada
        await self.passkeys.add(who, device.create(await self.passkeys.offer(who)), "Phone")
        return device

    async def refused(self, answer: str, cookie: str = COOKIE) -> str:
        with pytest.raises(PasskeyRefused) as refused:
            await self.passkeys.recognize(cookie, answer)
        return str(refused.value)

    async def not_added(self, answer: str, session: SignedInSession | None = None) -> str:
        with pytest.raises(PasskeyRefused) as refused:
            await self.passkeys.add(session or self.ada, answer, "Phone")
        return str(refused.value)


def authenticator() -> Authenticator:
    return Authenticator(PARTY.origin, PARTY.id)


@pytest.fixture
async def desk(engine: AsyncEngine) -> Desk:
    found: Desk
    passkeys = Passkeys(PARTY, engine, SignInChallenges(engine, lambda: found.now()), lambda: found.now())
    now, sessions = datetime.now(UTC), []
    for name in ("ada", "ben"):
        async with engine.begin() as connection:
            account = await add_account(
                connection, Account("", name, name.title(), f"Patient/{name}", "patient", ()), "-", now
            )
        sessions.append(SignedInSession(f"session of {name}", account, now, "c"))
    ada, ben = sessions
    found = Desk(engine, passkeys, ada, ben)
    return found


async def test_a_passkey_is_added_signs_in_and_is_removed(desk: Desk) -> None:
    device = await desk.added()
    who = await desk.passkeys.recognize(COOKIE, device.get(await desk.ask()))
    assert (who.account_id, who.next_page, who.methods) == (desk.ada.account.id, "/my/activity", PASSKEY)
    assert abs(who.auth_time - desk.now()) < timedelta(seconds=5)
    (kept,) = await desk.passkeys.mine(desk.ada.account.id)
    assert (kept.name, kept.used_at is not None) == ("Phone", True)
    assert not await desk.passkeys.remove(desk.ben.account.id, kept.id)
    assert not await desk.passkeys.remove(desk.ada.account.id, "ä!")
    assert await desk.passkeys.remove(desk.ada.account.id, kept.id)
    assert await desk.passkeys.mine(desk.ada.account.id) == []
    assert await desk.refused(device.get(await desk.ask())) == "unknown"


async def test_the_options_ask_for_a_verified_person_on_this_site(desk: Desk) -> None:
    device = await desk.added()
    asked = json.loads(await desk.ask())
    assert (asked["rpId"], asked["userVerification"]) == (PARTY.id, "required")
    assert asked.get("allowCredentials", []) == []  # nobody learns from it who has a passkey
    offered = json.loads(await desk.passkeys.offer(desk.ada))
    assert offered["rp"]["id"] == PARTY.id
    assert offered["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert offered["attestation"] == "none"
    (excluded,) = offered["excludeCredentials"]
    assert excluded["id"] == json.loads(device.get(json.dumps(asked)))["id"]


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"origin": "https://attacker.example"}, "assertion"),
        ({"origin": "http://share.example"}, "assertion"),
        ({"origin": "https://share.example:8443"}, "assertion"),
        ({"origin": "https://login.share.example"}, "assertion"),
        ({"rp_id": "example"}, "assertion"),
        ({"flags": USER_PRESENT}, "assertion"),
        ({"flags": USER_VERIFIED}, "assertion"),
        ({"flags": 0}, "assertion"),
        ({"type": "webauthn.create"}, "assertion"),
        ({"crossOrigin": True}, "framed"),
        ({"challenge": "AAAA"}, "challenge"),
        ({"challenge": ""}, "challenge"),
        ({"challenge": "_" * 43}, "client-data"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "assertion"),
        ({"user": b"somebody else"}, "user-handle"),
        ({"user": None}, "user-handle"),
        ({"count": 0}, "assertion"),
    ],
)
async def test_an_answer_that_isnt_true_signs_nobody_in(desk: Desk, lies: dict[str, Any], reason: str) -> None:
    device = await desk.added()
    await desk.passkeys.recognize(COOKIE, device.get(await desk.ask()))
    assert await desk.refused(device.get(await desk.ask(), **lies)) == reason


async def test_an_answer_counts_once_soon_and_in_the_browser_that_asked(desk: Desk) -> None:
    device = await desk.added()
    answer = device.get(await desk.ask())
    assert await desk.refused(answer, "c" * 43) == "challenge"
    await desk.passkeys.recognize(COOKIE, answer)
    assert await desk.refused(answer) == "challenge"
    late = device.get(await desk.ask())
    desk.skew = timedelta(minutes=5, seconds=1)
    assert await desk.refused(late) == "challenge"


async def test_a_refused_answer_uses_its_challenge_up(desk: Desk) -> None:
    device = await desk.added()
    options = await desk.ask()
    assert await desk.refused(device.get(options, flags=0)) == "assertion"
    assert await desk.refused(device.get(options)) == "challenge"


async def test_a_challenge_for_adding_is_none_for_signing_in(desk: Desk) -> None:
    device = await desk.added()
    assert await desk.refused(device.get(await desk.passkeys.offer(desk.ada)), desk.ada.id_hash) == "challenge"
    assert await desk.not_added(authenticator().create(_with_user(await desk.ask(desk.ada.id_hash)))) == "challenge"


async def test_a_copied_passkey_is_noticed_by_its_counter(desk: Desk) -> None:
    device = await desk.added()
    await desk.passkeys.recognize(COOKIE, device.get(await desk.ask(), count=10))
    for count in (10, 9, 1, 0):
        assert await desk.refused(device.get(await desk.ask(), count=count)) == "assertion"
    await desk.passkeys.recognize(COOKIE, device.get(await desk.ask(), count=11))


async def test_a_passkey_that_doesnt_count_signs_in_again_and_again(desk: Desk) -> None:
    device = await desk.added()
    for _ in range(2):
        await desk.passkeys.recognize(COOKIE, device.get(await desk.ask(), count=0))


async def test_of_two_answers_with_one_counter_at_once_one_counts(desk: Desk) -> None:
    device = await desk.added()
    answers = [device.get(await desk.ask(), count=5) for _ in range(2)]
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with desk.engine.connect() as holding:
        # Both have read the counter, and wait to raise it.
        await holding.execute(select(tables.passkey).with_for_update())
        tasks = [asyncio.create_task(desk.passkeys.recognize(COOKIE, answer)) for answer in answers]
        async with asyncio.timeout(20):
            while await holding.scalar(waiting) != 2:
                await asyncio.sleep(0.02)
                await holding.execute(text("SELECT pg_stat_clear_snapshot()"))
        await holding.rollback()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(str(one) for one in done if isinstance(one, PasskeyRefused)) == ["counter"]


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"origin": "https://attacker.example"}, "registration"),
        ({"rp_id": "attacker.example"}, "registration"),
        ({"flags": USER_PRESENT}, "registration"),
        ({"flags": 0}, "registration"),
        ({"type": "webauthn.get"}, "registration"),
        ({"crossOrigin": True}, "framed"),
        ({"challenge": "AAAA"}, "challenge"),
    ],
)
async def test_a_passkey_that_isnt_made_as_asked_isnt_kept(desk: Desk, lies: dict[str, Any], reason: str) -> None:
    assert await desk.not_added(authenticator().create(await desk.passkeys.offer(desk.ada), **lies)) == reason
    assert await desk.passkeys.mine(desk.ada.account.id) == []


async def test_an_offer_counts_once_and_for_its_session(desk: Desk) -> None:
    device = authenticator()
    answer = device.create(await desk.passkeys.offer(desk.ada))
    assert await desk.not_added(answer, desk.ben) == "challenge"
    await desk.passkeys.add(desk.ada, answer, "Phone")
    assert await desk.not_added(answer) == "challenge"


async def test_nobody_adds_a_passkey_that_is_somebody_elses(desk: Desk) -> None:
    device = await desk.added()
    assert await desk.not_added(device.create(await desk.passkeys.offer(desk.ben)), desk.ben) == "known"
    device.user = desk.ada.account.id.encode()
    assert (await desk.passkeys.recognize(COOKIE, device.get(await desk.ask()))).account_id == desk.ada.account.id


async def test_one_person_keeps_so_many_and_no_more(desk: Desk) -> None:
    for _ in range(MOST):
        await desk.added()
    assert await desk.not_added(authenticator().create(await desk.passkeys.offer(desk.ada))) == "too-many"


@pytest.mark.parametrize(
    "answer",
    ["", "{}", "[]", "null", "a" * (MAX_RESPONSE + 1), "[" * 20_000, '{"id": "ä"}', '{"id": 1, "rawId": 2}'],
)
async def test_what_is_no_answer_is_refused(desk: Desk, answer: str) -> None:
    assert await desk.refused(answer) in ("malformed", "too-large")
    assert await desk.not_added(answer) in ("malformed", "too-large")


async def test_the_operator_removes_all_and_signs_out(desk: Desk) -> None:
    for _ in range(2):
        await desk.added()
    async with desk.engine.begin() as connection:
        await connection.execute(
            tables.session.insert().values(
                id_hash="h",
                user_id=desk.ada.account.id,
                csrf_secret="c",  # noqa: S106 - of a test
                auth_time=desk.now(),
                last_seen=desk.now(),
                expires_at=desk.now(),
            )
        )
        assert await forget_passkeys(connection, "ada", datetime.now(UTC)) == 2
        assert await forget_passkeys(connection, "nobody", datetime.now(UTC)) is None
        assert (await connection.execute(select(tables.session))).all() == []
    assert await desk.passkeys.mine(desk.ada.account.id) == []


async def test_challenges_are_kept_as_hashes_and_forgotten_when_they_are_over(desk: Desk) -> None:
    challenge = json.loads(await desk.ask())["challenge"]
    rows = text("SELECT * FROM assent.sign_in_challenge")
    async with desk.engine.connect() as connection:
        assert challenge not in str((await connection.execute(rows)).all())
    desk.skew = timedelta(minutes=6)
    await desk.ask()
    async with desk.engine.connect() as connection:
        assert len((await connection.execute(rows)).all()) == 1


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://share.example", RelyingParty("share.example", "https://share.example")),
        ("https://share.example:443", RelyingParty("share.example", "https://share.example")),
        ("https://share.example:8443", RelyingParty("share.example", "https://share.example:8443")),
        ("http://localhost:8000", RelyingParty("localhost", "http://localhost:8000")),
        ("https://Share.Example", RelyingParty("share.example", "https://share.example")),
        ("http://127.0.0.1:8000", None),
        ("https://[::1]", None),
    ],
)
def test_the_relying_party_follows_the_public_url(public_url: str, expected: RelyingParty | None) -> None:
    assert relying_party(public_url) == expected


def _with_user(options: str) -> str:
    return json.dumps(json.loads(options) | {"user": {"id": ""}})
