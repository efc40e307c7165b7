"""`assent user`: the people who can sign in."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from assent.commands.connection import in_transaction, now, refuse
from assent.commands.output import MISUSED, JsonOption, show_record, show_rows
from assent.language_files import load_languages
from assent.load_settings import load_settings
from assent.policy_files import load_catalogue
from assent.settings import Settings, variable
from assent.wiring.mail import notices_of
from authz.mail.addresses import TooManyCodes, UnfitAddress, ask_address
from authz.sign_in.accounts import (
    ROLES,
    Account,
    AccountExists,
    ActsFor,
    add_account,
    change_password,
    find_by_username,
    list_accounts,
    load_account,
)
from authz.sign_in.endings import close_account, decide_for
from authz.sign_in.identities import LinkRefused, link_identity, unlink_identity
from authz.sign_in.passkeys import forget_passkeys
from authz.sign_in.passwords import NO_PASSWORD, Passwords
from portal.languages import ENGLISH

MIN_PASSWORD_LENGTH = 8
"""NIST SP 800-63B §5.1.1.1."""

EmailOption = Annotated[str | None, typer.Option("--email", help="Where they are told; they confirm it by a code.")]
LanguageOption = Annotated[str, typer.Option(help="Language of what they are told, such as `es`.")]

PatientOption = Annotated[list[str] | None, typer.Option(help="`id=name` of another patient they decide for; repeat.")]

app = typer.Typer(help="The people who can sign in.", no_args_is_help=True)


@app.command("add")
def add(
    username: Annotated[str, typer.Argument(help="What they sign in with.")],
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "patient",
    name: Annotated[str, typer.Option(help="How pages call them.")] = "",
    fhir_user: Annotated[str | None, typer.Option(help="Who they are in FHIR, for example `Patient/p1`.")] = None,
    patient: PatientOption = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="They sign in at the identity provider only.")
    ] = False,
    email: EmailOption = None,
    language: LanguageOption = ENGLISH,
    json: JsonOption = False,
) -> None:
    """Add somebody; the password is asked for, or read from standard input, never taken from the command line."""
    if role not in ROLES:
        raise _misused(f"there is no role `{role}`; choose one of {', '.join(ROLES)}")
    called = name or username
    account = Account("", username, called, fhir_user, role, _acts_for(patient or [], fhir_user, called))
    password = None if no_password else _password()

    async def work(connection: AsyncConnection) -> Account:
        stored = NO_PASSWORD if password is None else await Passwords().hash(password)
        made = await add_account(connection, account, stored, now())
        if email is not None:
            await ask_address(connection, notices_of(settings), made.id, email, language, now())
        return made

    settings = load_settings()
    if email is not None:
        _check_mail(settings, language)
    try:
        made = in_transaction(settings, work)
    except (AccountExists, ValueError) as error:
        raise refuse(str(error)) from None
    show_record(_row(made) | {"patients": _patients(made)}, as_json=json)


@app.command("email")
def set_email(
    username: Annotated[str, typer.Argument(help="Whose address.")],
    address: Annotated[str, typer.Argument(help="Where they want to be told.")],
    language: LanguageOption = ENGLISH,
) -> None:
    """Send somebody a code to an address; it is used once they have typed the code at `/my/e-mail`."""
    settings = load_settings()
    _check_mail(settings, language)

    async def work(connection: AsyncConnection) -> bool:
        found = await find_by_username(connection, username)
        if found is not None:
            await ask_address(connection, notices_of(settings), found[0], address, language, now())
        return found is not None

    try:
        known = in_transaction(settings, work)
    except UnfitAddress as unfit:
        raise refuse(str(unfit)) from None
    except TooManyCodes:
        raise refuse("they were sent as many codes as a day allows; they can try again tomorrow") from None
    if not known:
        raise _nobody(username)


@app.command("password")
def set_password(username: Annotated[str, typer.Argument(help="Whose password.")]) -> None:
    """Give somebody another password, asked for or read from standard input; they are signed out."""
    settings, password = load_settings(), _password()

    async def work(connection: AsyncConnection) -> bool:
        found = await find_by_username(connection, username)
        if found is not None:
            await change_password(connection, found[0], await Passwords().hash(password))
            await notices_of(settings).to_account(connection, found[0], "password-changed", now())
        return found is not None

    if not in_transaction(settings, work):
        raise _nobody(username)


@app.command("patients")
def set_patients(
    username: Annotated[str, typer.Argument(help="Who decides.")],
    patient: PatientOption = None,
    json: JsonOption = False,
) -> None:
    """Let somebody decide for these patients, themselves included, and for no others; what they decided stays."""

    async def work(connection: AsyncConnection) -> tuple[Account, int] | None:
        found = await find_by_username(connection, username)
        account = None if found is None else await load_account(connection, found[0])
        if account is None:
            return None
        patients = _acts_for(patient or [], account.fhir_user, account.display_name)
        ended = await decide_for(connection, account.id, patients, now())
        return replace(account, acts_for=patients), ended

    done = in_transaction(load_settings(), work)
    if done is None:
        raise _nobody(username)
    account, ended = done
    show_record(_row(account) | {"patients": _patients(account), "grants_ended": ended}, as_json=json)


@app.command("close")
def close(username: Annotated[str, typer.Argument(help="Who left.")], json: JsonOption = False) -> None:
    """End an account: nobody signs in with it any more, apps lose what they hold in this person's name."""
    ended = in_transaction(load_settings(), lambda connection: close_account(connection, username, now()))
    if ended is None:
        raise _nobody(username)
    show_record({"username": username, "closed": True, "grants_ended": ended}, as_json=json)


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the accounts."""
    accounts = in_transaction(load_settings(), list_accounts)
    show_rows([_row(account) for account in accounts], ("username", "name", "role", "fhir_user"), as_json=json)


@app.command("link")
def link(
    username: Annotated[str, typer.Argument(help="Whose account.")],
    subject: Annotated[str, typer.Option(help="Who they are there: the value of ASSENT_OIDC_SUBJECT_CLAIM.")],
    issuer: Annotated[str | None, typer.Option(help="The identity provider. Default: ASSENT_OIDC_ISSUER.")] = None,
) -> None:
    """Let somebody sign in at the identity provider."""
    settings = load_settings()
    named = _issuer(settings, issuer)

    async def work(connection: AsyncConnection) -> None:
        await link_identity(connection, username, named, subject, now(), notices_of(settings))

    _linking(settings, work)


@app.command("unlink")
def unlink(
    username: Annotated[str, typer.Argument(help="Whose account.")],
    issuer: Annotated[str | None, typer.Option(help="The identity provider. Default: ASSENT_OIDC_ISSUER.")] = None,
) -> None:
    """Don't let somebody sign in at the identity provider any more; they are signed out."""
    settings = load_settings()
    named = _issuer(settings, issuer)

    async def work(connection: AsyncConnection) -> None:
        await unlink_identity(connection, username, named, now(), notices_of(settings))

    _linking(settings, work)


@app.command("forget-passkeys")
def forget(username: Annotated[str, typer.Argument(help="Whose passkeys.")]) -> None:
    """Remove all of somebody's passkeys; they are signed out."""

    async def work(connection: AsyncConnection) -> int | None:
        return await forget_passkeys(connection, username, now(), notices_of(settings))

    settings = load_settings()
    count = in_transaction(settings, work)
    if count is None:
        raise _nobody(username)
    typer.echo(f"removed {count}")


def _linking(settings: Settings, work: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    try:
        in_transaction(settings, work)
    except LinkRefused as refused:
        raise refuse(str(refused)) from None


def _issuer(settings: Settings, given: str | None) -> str:
    named = given or settings.oidc_issuer
    if named is None:
        raise _misused(f"no identity provider is set; name one with `--issuer`, or set `{variable('oidc_issuer')}`")
    return named


def _acts_for(patients: list[str], fhir_user: str | None, called: str) -> tuple[ActsFor, ...]:
    """Who is a patient decides for themselves, and for those who are named."""
    names = {}
    for text in patients:
        patient_id, separator, name = text.partition("=")
        if not separator or not patient_id or not name:
            raise _misused(f"`{text}` isn't `id=name`")
        names[patient_id] = name
    resource_type, _, own = (fhir_user or "").partition("/")
    if resource_type == "Patient" and own:
        names.setdefault(own, called)
    return tuple(
        ActsFor(patient_id, name, own=fhir_user == f"Patient/{patient_id}") for patient_id, name in names.items()
    )


def _patients(account: Account) -> list[str]:
    return [one.patient_id for one in account.acts_for]


def _password() -> str:
    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < MIN_PASSWORD_LENGTH:
        raise _misused(f"a password has {MIN_PASSWORD_LENGTH} characters or more")
    return password


def _nobody(username: str) -> typer.Exit:
    return refuse(f"there is nobody called `{username}`")


def _check_mail(settings: Settings, language: str) -> None:
    if settings.mail_url is None:
        raise _misused(f"no e-mail is sent here; set `{variable('mail_url')}` first")
    spoken = load_languages(load_catalogue(settings.policy_dir), settings.policy_dir).by_tag
    if language not in spoken:
        raise _misused(f"`{language}` isn't spoken here; choose one of {', '.join(spoken)}")


def _misused(text: str) -> typer.Exit:
    typer.echo(text, err=True)
    return typer.Exit(MISUSED)


def _row(account: Account) -> dict[str, object]:
    return {
        "username": account.username,
        "name": account.display_name,
        "role": account.role,
        "fhir_user": account.fhir_user,
    }
