"""`assent user`: people without a password, and their links to an identity provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.mail.addresses import put_address
from authz.mail.tables import mail_address, mail_outbox
from authz.sign_in import passwords
from authz.sign_in.identities import linked_account
from authz.sign_in.sessions import NewSession, Sessions
from tests.assent.commands import CommandLine

ISSUER = "https://idp.example"
PROVIDER = {
    "ASSENT_OIDC_ISSUER": ISSUER,
    "ASSENT_OIDC_NAME": "IdP",
    "ASSENT_OIDC_CLIENT_ID": "assent",
    "ASSENT_OIDC_CLIENT_SECRET": "s",
}

MAIL = {"ASSENT_MAIL_URL": "smtp://127.0.0.1:9", "ASSENT_MAIL_FROM": "no-reply@share.example"}


@pytest.fixture
async def assent(database_url: str, tmp_path: Path) -> CommandLine:
    line = CommandLine(database_url, tmp_path / "data")
    for name in ("jane", "joe"):
        added = await line.run("user", "add", name, "--fhir-user", f"Patient/{name}", "--no-password")
        assert added.exit_code == 0, added.output
    return line


async def test_who_has_no_password_cant_sign_in_with_any(assent: CommandLine, engine: AsyncEngine) -> None:
    sessions = Sessions(engine, lambda: datetime.now(UTC), idle=timedelta(hours=1), absolute=timedelta(hours=8))
    for password in ("-", "", "nobody has this password"):
        assert await sessions.sign_in("jane", password, "127.0.0.1") is None


async def test_who_has_no_password_takes_as_long_as_a_name_that_isnt_there(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def verify(stored: str, password: str) -> bool:
        compared.append(stored)
        return False

    monkeypatch.setattr(passwords, "_verify", verify)
    for stored in (None, passwords.NO_PASSWORD):
        assert not await passwords.Passwords().check("sandbox", stored)
    assert [one.split("$")[1] for one in compared] == ["argon2id", "argon2id"]


def test_passwords_are_hashed_as_rfc_9106_recommends(servers_hasher: PasswordHasher) -> None:
    assert extract_parameters(servers_hasher.hash("a password")) == RFC_9106_LOW_MEMORY


async def test_a_link_is_made_once_and_ended(assent: CommandLine, engine: AsyncEngine) -> None:
    link = ("user", "link", "jane", "--subject", "77")
    assert (await assent.run(*link, **PROVIDER)).exit_code == 0
    async with engine.connect() as connection:
        assert await linked_account(connection, ISSUER, "77") is not None
        assert await linked_account(connection, f"{ISSUER}/", "77") is None
    for words in (link, ("user", "link", "joe", "--subject", "77"), ("user", "link", "jane", "--subject", "78")):
        again = await assent.run(*words, **PROVIDER)
        assert (again.exit_code, "linked to" in again.output) == (1, True)
    assert (await assent.run("user", "unlink", "jane", **PROVIDER)).exit_code == 0
    assert (await assent.run("user", "unlink", "jane", **PROVIDER)).exit_code == 1
    async with engine.connect() as connection:
        assert await linked_account(connection, ISSUER, "77") is None


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("link", "nobody", "--subject", "1"), 1, "there is nobody called `nobody`"),
        (("link", "jane", "--subject", "a" * 256), 1, "a subject has 1 to 255 printable ASCII characters"),
        (("link", "jane", "--subject", "ä"), 1, "a subject has"),
        (("link", "jane", "--subject", ""), 1, "a subject has"),
        (("unlink", "nobody"), 1, "`nobody` isn't linked"),
        (("forget-passkeys", "nobody"), 1, "there is nobody called `nobody`"),
        (("forget-passkeys", "jane"), 0, "removed   0"),
    ],
)
async def test_what_cant_be_done_is_said(assent: CommandLine, words: tuple[str, ...], code: int, says: str) -> None:
    result = await assent.run("user", *words, **PROVIDER)
    assert (result.exit_code, says in result.output) == (code, True), result.output


async def test_without_a_provider_one_must_be_named(assent: CommandLine) -> None:
    result = await assent.run("user", "link", "jane", "--subject", "1")
    assert (result.exit_code, "no identity provider is set" in result.output) == (2, True)
    named = await assent.run("user", "link", "jane", "--subject", "1", "--issuer", ISSUER)
    assert named.exit_code == 0


async def test_an_address_that_an_operator_gives_waits_for_its_code(assent: CommandLine, engine: AsyncEngine) -> None:
    added = await assent.run("user", "add", "zoe", "--no-password", "--email", "zoe@example.org", **MAIL)
    assert added.exit_code == 0, added.output
    assert (await assent.run("user", "email", "joe", "joe@example.org", "--language", "es", **MAIL)).exit_code == 0
    o, a = mail_outbox.c, mail_address.c
    async with engine.connect() as connection:
        letters = (await connection.execute(select(o.kind, o.recipient, o.language).order_by(o.id))).all()
        confirmed = (await connection.execute(select(a.address))).scalars().all()
    assert [tuple(letter) for letter in letters] == [
        ("confirm-address", "zoe@example.org", "en"),
        ("confirm-address", "joe@example.org", "es"),
    ]
    assert confirmed == [None, None]


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        (("email", "joe", "joe@example.org"), {}, 2, "set `ASSENT_MAIL_URL` first"),
        (("add", "kay", "--no-password", "--email", "kay@example.org"), {}, 2, "set `ASSENT_MAIL_URL` first"),
        (("email", "joe", "joe@example.org", "--language", "tlh"), MAIL, 2, "`tlh` isn't spoken here"),
        (("email", "joe", "joe"), MAIL, 1, "an e-mail address is like"),
        (("email", "nobody", "joe@example.org"), MAIL, 1, "there is nobody called `nobody`"),
        (("add", "kay", "--no-password", "--email", "x\nBcc: y@z.example"), MAIL, 1, "an e-mail address is like"),
    ],
)
async def test_an_address_that_cant_be_given_is_refused(
    assent: CommandLine, arguments: tuple[str, ...], environment: dict[str, str], code: int, says: str
) -> None:
    refused = await assent.run("user", *arguments, **environment)
    assert (refused.exit_code, says in refused.output) == (code, True), refused.output
    assert "kay" not in (await assent.run("user", "list")).output


async def test_another_password_replaces_the_first_signs_out_and_is_told(
    assent: CommandLine, engine: AsyncEngine
) -> None:
    sessions = Sessions(engine, lambda: datetime.now(UTC), idle=timedelta(hours=1), absolute=timedelta(hours=8))
    assert (await assent.run("user", "password", "joe", input="first password\n")).exit_code == 0
    begun = await sessions.sign_in("joe", "first password", "127.0.0.1")
    assert isinstance(begun, NewSession)
    async with engine.begin() as connection:
        await put_address(connection, begun.session.account.id, "joe@example.org", "en")
    assert (await assent.run("user", "password", "joe", input="second password\n", **MAIL)).exit_code == 0
    assert await sessions.current(begun.cookie) is None
    assert await sessions.sign_in("joe", "first password", "127.0.0.1") is None
    assert isinstance(await sessions.sign_in("joe", "second password", "127.0.0.1"), NewSession)
    async with engine.connect() as connection:
        assert (await connection.execute(select(mail_outbox.c.kind))).scalars().all() == ["password-changed"]
    assert (await assent.run("user", "password", "nobody", input="second password\n")).exit_code == 1
