"""E-mail addresses: what is one, and that it is used only once its owner has typed the code that was sent there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.mail.addresses import (
    CODE_LIFETIME,
    CODES_WITHIN,
    MOST_CODES,
    MOST_TRIES,
    MailAddresses,
    MailSettings,
    TooManyCodes,
    UnfitAddress,
    checked_address,
)
from authz.mail.outbox import Letter, Outbox
from authz.mail.tables import mail_address, mail_outbox
from authz.sign_in.accounts import Account, add_account
from tests.assent.mail_place import MailPlace

NEW = "ana.new@example.org"


@pytest.fixture
def place(engine: AsyncEngine) -> MailPlace:
    return MailPlace(engine, 9)


@pytest.fixture
def addresses(place: MailPlace) -> MailAddresses:
    return MailAddresses(place.engine, place.clock, place.notices)


async def newcomer(place: MailPlace) -> str:
    """Somebody who gave no address."""
    async with place.engine.begin() as connection:
        account = await add_account(connection, Account("", "new", "New", None, "patient"), "-", place.now)
    return account.id


async def taken(place: MailPlace) -> list[Letter]:
    """Every letter that is due."""
    outbox, found = Outbox(place.engine, place.clock), []
    while (letter := await outbox.take()) is not None:
        found.append(letter)
        await outbox.sent(letter)
    return found


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.org",
        " ana@example.org ",
        "a.b+c_d'e@sub.example-site.org",
        f"{'l' * 64}@example.org",
        "1@2.example",
    ],
)
def test_usual_addresses_are_addresses(address: str) -> None:
    assert checked_address(address) == address.strip()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ana",
        "ana@",
        "@example.org",
        "ana@example",
        "ana@@example.org",
        "ana@example..org",
        ".ana@example.org",
        "ana.@example.org",
        "a..b@example.org",
        "ana@-example.org",
        "ana@example-.org",
        "ana@[127.0.0.1]",
        '"ana x"@example.org',
        "Ana <ana@example.org>",
        "ana@example.org, bob@example.org",
        "ana@example.org\nBcc: all@example.org",
        "ana@example.org\r\nSubject: x",
        "ana\r\n@example.org",
        "ana\x00@example.org",
        "ana @example.org",
        "añá@example.org",
        "ana@exämple.org",
        "ana@example.org\u2028",
        f"{'l' * 65}@example.org",
        f"a@{'d' * 64}.org",
        "a@" + ".".join(["d" * 60] * 5),
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    if address == "ana@example.org\u2028":  # a line end at the end is stripped like a space
        assert checked_address(address) == "ana@example.org"
        return
    with pytest.raises(UnfitAddress):
        checked_address(address)


async def test_an_address_is_used_once_its_code_was_typed(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await newcomer(place)
    await addresses.ask(ana, NEW, "es")
    assert await addresses.of(ana) == MailSettings(None, NEW, sharing=True, language="es")
    await place.tell(ana)  # not told anywhere yet
    (letter,) = await taken(place)
    assert (letter.kind, letter.recipient, letter.language) == ("confirm-address", NEW, "es")
    assert await addresses.confirm(ana, letter.code.lower().replace("-", " "))
    assert await addresses.of(ana) == MailSettings(NEW, None, sharing=True, language="es")
    assert not await addresses.confirm(ana, letter.code)
    await place.tell(ana)
    assert [(told.kind, told.recipient) for told in await taken(place)] == [("passkey-added", NEW)]


async def test_a_code_counts_for_half_an_hour_from_its_sending(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await newcomer(place)
    await addresses.ask(ana, NEW, "en")
    place.later(timedelta(hours=3))
    (letter,) = await taken(place)
    place.later(CODE_LIFETIME)
    assert not await addresses.confirm(ana, letter.code)


async def test_wrong_codes_end_the_right_one(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await newcomer(place)
    await addresses.ask(ana, NEW, "en")
    (letter,) = await taken(place)
    for wrong in ["", "0" * 12, letter.code[:-1], letter.code + "2", "x" * 10_000][:MOST_TRIES]:
        assert not await addresses.confirm(ana, wrong)
    assert not await addresses.confirm(ana, letter.code)
    assert (await addresses.of(ana)) == MailSettings(None, NEW, sharing=True, language="en")


async def test_a_code_is_its_persons_and_its_address_alone(place: MailPlace, addresses: MailAddresses) -> None:
    ana, bob = await newcomer(place), await place.person("bob", "bob")
    await addresses.ask(ana, NEW, "en")
    await addresses.ask(bob, NEW, "en")
    mine = {letter.id: letter for letter in await taken(place)}
    first = mine[min(mine)]
    assert not await addresses.confirm(bob, first.code)
    await addresses.ask(ana, "other@example.org", "en")
    assert not await addresses.confirm(ana, first.code)


async def test_a_letter_to_an_address_that_was_replaced_before_it_left_is_not_sent(
    place: MailPlace, addresses: MailAddresses
) -> None:
    ana = await newcomer(place)
    await addresses.ask(ana, "first@example.org", "en")
    await addresses.ask(ana, NEW, "en")
    assert [letter.recipient for letter in await taken(place)] == [NEW]


async def test_the_newest_code_counts(place: MailPlace, addresses: MailAddresses) -> None:
    """A letter that is sent again has a code of its own: the first is kept nowhere."""
    ana, outbox = await newcomer(place), Outbox(place.engine, place.clock)
    await addresses.ask(ana, NEW, "en")
    first = await outbox.take()
    assert first is not None
    await outbox.failed(first, for_good=False)
    place.later(timedelta(minutes=1))
    second = await outbox.take()
    assert second is not None
    assert not await addresses.confirm(ana, first.code)
    assert await addresses.confirm(ana, second.code)


async def test_no_code_is_kept_but_its_hash(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await newcomer(place)
    await addresses.ask(ana, NEW, "en")
    letter = await Outbox(place.engine, place.clock).take()
    assert letter is not None
    async with place.engine.connect() as connection:
        rows = [*await connection.execute(select(mail_address)), *await connection.execute(select(mail_outbox))]
    kept = repr(rows)
    assert letter.code not in kept
    assert letter.code.replace("-", "") not in kept


async def test_nobodys_mailbox_is_filled_with_codes(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await newcomer(place)
    for number in range(MOST_CODES):
        await addresses.ask(ana, f"victim{number}@example.org", "en")
    with pytest.raises(TooManyCodes):
        await addresses.ask(ana, NEW, "en")
    async with place.engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(mail_outbox)) == MOST_CODES
    place.later(CODES_WITHIN)
    await addresses.ask(ana, NEW, "en")


async def test_a_change_tells_the_old_address(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await place.person("ana", "ana", sharing=False)
    await addresses.ask(ana, NEW, "en")
    assert (await addresses.of(ana)) == MailSettings("ana@example.org", NEW, sharing=False, language="en")
    (code,) = [letter.code for letter in await taken(place)]
    assert await addresses.confirm(ana, code)
    assert [(letter.kind, letter.recipient) for letter in await taken(place)] == [
        ("address-changed", "ana@example.org")
    ]


async def test_a_removed_address_is_told_so_and_gets_nothing_more(place: MailPlace, addresses: MailAddresses) -> None:
    ana = await place.person("ana", "ana")
    await place.share("ana")
    await addresses.remove(ana)
    await place.share("ana")
    await place.tell(ana)
    place.later(timedelta(minutes=1))
    assert [(letter.kind, letter.recipient) for letter in await taken(place)] == [
        ("address-removed", "ana@example.org")
    ]
    assert await addresses.of(ana) == MailSettings(None, None, sharing=True, language="en")
