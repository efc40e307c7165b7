"""`assent user`: the people who can sign in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from assent.commands.connection import in_transaction, now, refuse
from assent.commands.output import MISUSED, JsonOption, show_record, show_rows
from assent.load_settings import load_settings
from authz.accounts import ROLES, Account, AccountExists, ActsFor, add_account, list_accounts
from authz.passwords import Passwords

MIN_PASSWORD_LENGTH = 8
"""NIST SP 800-63B §5.1.1.1."""

app = typer.Typer(help="The people who can sign in.", no_args_is_help=True)


@app.command("add")
def add(
    username: Annotated[str, typer.Argument(help="What they sign in with.")],
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "patient",
    name: Annotated[str, typer.Option(help="How pages call them.")] = "",
    fhir_user: Annotated[str | None, typer.Option(help="Who they are in FHIR, for example `Patient/p1`.")] = None,
    patient: Annotated[list[str] | None, typer.Option(help="`id=name` of a patient they decide for; repeat.")] = None,
    json: JsonOption = False,
) -> None:
    """Add somebody; the password is asked for, or read from standard input, never taken from the command line."""
    if role not in ROLES:
        raise _misused(f"there is no role `{role}`; choose one of {', '.join(ROLES)}")
    account = Account("", username, name or username, fhir_user, role, _acts_for(patient or [], fhir_user))
    password = _password()

    async def work(connection: AsyncConnection) -> Account:
        return await add_account(connection, account, await Passwords().hash(password), now())

    try:
        made = in_transaction(load_settings(), work)
    except (AccountExists, ValueError) as error:
        raise refuse(str(error)) from None
    show_record(_row(made) | {"patients": [one.patient_id for one in made.acts_for]}, as_json=json)


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the accounts."""
    accounts = in_transaction(load_settings(), list_accounts)
    show_rows([_row(account) for account in accounts], ("username", "name", "role", "fhir_user"), as_json=json)


def _acts_for(patients: list[str], fhir_user: str | None) -> tuple[ActsFor, ...]:
    found = []
    for text in patients:
        patient_id, separator, name = text.partition("=")
        if not separator or not patient_id or not name:
            raise _misused(f"`{text}` isn't `id=name`")
        found.append(ActsFor(patient_id, name, own=fhir_user == f"Patient/{patient_id}"))
    return tuple(found)


def _password() -> str:
    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < MIN_PASSWORD_LENGTH:
        raise _misused(f"a password has {MIN_PASSWORD_LENGTH} characters or more")
    return password


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
