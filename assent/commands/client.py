"""`assent client`: the apps that are registered."""

from __future__ import annotations

import json as json_format
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from assent.client_addresses import key_addresses
from assent.commands.connection import in_transaction, now, refuse
from assent.commands.output import MISUSED, JsonOption, show_record, show_rows
from assent.load_settings import load_settings
from assent.policy_files import load_catalogue
from authz.clients.app_registry import approve_app
from authz.clients.changes import replace_keys
from authz.clients.clients import (
    CERTIFICATE,
    DPOP,
    KINDS,
    PUSHED,
    SIGNED,
    Client,
    ClientError,
    ClientKind,
    NewClient,
    add_client,
    disable_client,
    find_client,
    list_clients,
    rotate_secret,
)
from authz.clients.initial_access_tokens import create_initial_token
from authz.clients.software_statements import statement_of

app = typer.Typer(help="The apps that are registered.", no_args_is_help=True)

ClientIdArgument = Annotated[str, typer.Argument(help="Its client_id; `assent client list` shows them.")]

JwksOption = Annotated[Path | None, typer.Option(help="File with its public keys (JWK Set).")]
JwksUrlOption = Annotated[str | None, typer.Option(help="https URL at which it keeps its public keys (JWK Set).")]

_REQUIREMENTS = {"dpop": DPOP, "pushed-request": PUSHED, "signed-request": SIGNED, "certificate": CERTIFICATE}
_REQUIRE_HELP = (
    "What it must do beyond SMART; may be repeated. `dpop`: bind its tokens to a key (RFC 9449). `pushed-request`: "
    "begin at `/par` (RFC 9126). `signed-request`: sign its requests, for a client with keys (RFC 9101). "
    "`certificate`: bind its tokens to its TLS certificate (RFC 8705)."
)
_OPTIONS = {
    "`client_name`": "the name",
    "`redirect_uris`": "`--redirect-uri`",
    "`scope`": "`--scope`",
    "`jwks`": "`--jwks`",
    "`jwks_uri`": "`--jwks-url`",
    **{f"`{member}`": f"`--require {name}`" for name, member in _REQUIREMENTS.items()},
}
"""What the members of a registration are called here."""


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name that people see on the consent page.")],
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}.")] = "public",
    redirect_uri: Annotated[list[str] | None, typer.Option(help="https, or http to loopback; may be repeated.")] = None,
    post_logout_redirect_uri: Annotated[
        list[str] | None, typer.Option(help="Where people go once they are signed out; may be repeated.")
    ] = None,
    scope: Annotated[str, typer.Option(help="What it may ask for.")] = "",
    purpose: Annotated[list[str] | None, typer.Option(help="Purposes of use; may be repeated.")] = None,
    jwks: JwksOption = None,
    jwks_url: JwksUrlOption = None,
    require: Annotated[list[str] | None, typer.Option(metavar="WHAT", help=_REQUIRE_HELP)] = None,
    json: JsonOption = False,
) -> None:
    """Register an app; a secret, if it has one, is shown this once."""
    unknown = next((what for what in require or () if what not in _REQUIREMENTS), None)
    if unknown is not None:
        raise refuse(f"`--require` takes {', '.join(_REQUIREMENTS)}, not `{unknown}`")
    new = NewClient(
        name=name,
        kind=cast(ClientKind, kind),
        redirect_uris=tuple(redirect_uri or ()),
        post_logout_redirect_uris=tuple(post_logout_redirect_uri or ()),
        scope=scope,
        purposes=tuple(purpose or ("PATRQT",)),
        jwks=None if jwks is None else _read_jwks(jwks),
        jwks_uri=jwks_url,
        requires=frozenset(_REQUIREMENTS[what] for what in require or ()),
    )
    settings = load_settings()
    addresses = key_addresses(settings)
    askable = load_catalogue(settings.policy_dir).askable
    if not set(new.purposes) <= set(askable):
        raise refuse(f"`--purpose` must be one of {', '.join(sorted(askable))}")
    try:
        client, secret = in_transaction(settings, lambda done: add_client(done, new, now(), addresses=addresses))
    except ClientError as error:
        raise refuse(_in_options(error)) from None
    _remind(client)
    show_record(_row(client) | ({} if secret is None else {"client_secret": secret}), as_json=json)


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the apps."""
    clients = in_transaction(load_settings(), list_clients)
    show_rows(
        [_row(client) for client in clients],
        ("client_id", "name", "kind", "disabled", "awaits_review", "statement_issuer", "scope"),
        as_json=json,
    )


@app.command("show")
def show(client_id: ClientIdArgument, json: JsonOption = False) -> None:
    """Show one app, and who vouched for it."""
    client = in_transaction(load_settings(), lambda connection: find_client(connection, client_id))
    if client is None:
        raise refuse(f"there is no client `{client_id}`; see `assent client list`")
    show_record(_row(client), as_json=json)


@app.command("rotate")
def rotate(client_id: ClientIdArgument, json: JsonOption = False) -> None:
    """Give an app a new secret, shown this once; the old one ends at once."""
    secret = in_transaction(load_settings(), lambda connection: rotate_secret(connection, client_id))
    if secret is None:
        raise refuse(f"there is no client `{client_id}` with a secret; see `assent client list`")
    show_record({"client_id": client_id, "client_secret": secret}, as_json=json)


@app.command("approve")
def approve(client_id: ClientIdArgument, json: JsonOption = False) -> None:
    """Let an app live that a developer registered and that waits for review."""
    if not in_transaction(load_settings(), lambda connection: approve_app(connection, client_id)):
        raise refuse(f"no client `{client_id}` waits for review; see `assent client list`")
    show_record({"client_id": client_id, "awaits_review": False}, as_json=json)


@app.command("keys")
def keys(
    client_id: ClientIdArgument, jwks: JwksOption = None, jwks_url: JwksUrlOption = None, json: JsonOption = False
) -> None:
    """Give an app other keys, or the address where they stand; the old ones end at once."""
    if (jwks is None) == (jwks_url is None):
        typer.echo("give one of `--jwks` and `--jwks-url`", err=True)
        raise typer.Exit(MISUSED)
    new = None if jwks is None else _read_jwks(jwks)
    settings = load_settings()
    addresses = key_addresses(settings)
    try:
        client = in_transaction(
            settings,
            lambda connection: replace_keys(connection, client_id, jwks=new, jwks_uri=jwks_url, addresses=addresses),
        )
    except ClientError as error:
        raise refuse(_in_options(error)) from None
    if client is None:
        raise refuse(f"there is no client `{client_id}`; see `assent client list`")
    _remind(client)
    show_record(_row(client), as_json=json)


@app.command("registration-token")
def registration_token(
    uses: Annotated[int, typer.Option(min=1, max=1000, help="How many apps it registers.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it lives.")] = 7,
    json: JsonOption = False,
) -> None:
    """Make a token, shown this once, with which its holder registers apps while registration is closed."""
    made = now()
    token = in_transaction(
        load_settings(),
        lambda connection: create_initial_token(connection, uses=uses, lifetime=timedelta(days=days), now=made),
    )
    expires = (made + timedelta(days=days)).isoformat(timespec="seconds")
    show_record({"registration_token": token, "uses": uses, "expires_at": expires}, as_json=json)


@app.command("disable")
def disable(client_id: ClientIdArgument, json: JsonOption = False) -> None:
    """End an app: its tokens count for nothing from now on."""
    if not in_transaction(load_settings(), lambda connection: disable_client(connection, client_id, now())):
        raise refuse(f"there is no client `{client_id}`; see `assent client list`")
    show_record({"client_id": client_id, "disabled": True}, as_json=json)


def _in_options(error: ClientError) -> str:
    text = str(error)
    for member, option in _OPTIONS.items():
        text = text.replace(member, option)
    return text


def _remind(client: Client) -> None:
    """SMART 2.2, asymmetric authentication: keys that were handed over change only when they are handed over again."""
    if client.jwks is not None:
        typer.echo("when these keys change, hand over the new ones: `assent client keys`", err=True)


def _read_jwks(file: Path) -> dict[str, Any]:
    try:
        found = json_format.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        typer.echo(f"`{file}` can't be read as a JWK Set, a JSON object with `keys`", err=True)
        raise typer.Exit(MISUSED)
    return found


def _row(client: Client) -> dict[str, object]:
    statement = statement_of(client)
    return {
        "client_id": client.client_id,
        "name": client.name,
        "kind": client.kind,
        "redirect_uris": list(client.redirect_uris),
        "post_logout_redirect_uris": list(client.post_logout_redirect_uris),
        "scope": client.scope,
        "purposes": list(client.purposes),
        "key_ids": [key["kid"] for key in client.jwks["keys"]] if client.jwks is not None else [],
        "jwks_uri": client.jwks_uri,
        "requires": sorted(client.requires),
        "statement_issuer": None if statement is None else statement.issuer,
        "statement_subject": None if statement is None else statement.subject,
        "disabled": client.disabled,
        "awaits_review": client.awaits_review,
    }
