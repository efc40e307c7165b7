"""`assent client`: the apps that are registered."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from assent.commands.connection import in_transaction, now, refuse
from assent.commands.output import MISUSED, JsonOption, show_record, show_rows
from assent.load_settings import load_settings
from authz.app_registry import approve_app
from authz.clients import (
    KINDS,
    Client,
    ClientError,
    ClientKind,
    NewClient,
    add_client,
    disable_client,
    list_clients,
    rotate_secret,
)

app = typer.Typer(help="The apps that are registered.", no_args_is_help=True)

ClientIdArgument = Annotated[str, typer.Argument(help="Its client_id; `assent client list` shows them.")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name that people see on the consent page.")],
    kind: Annotated[str, typer.Option(help=f"One of: {', '.join(KINDS)}.")] = "public",
    redirect_uri: Annotated[list[str] | None, typer.Option(help="https, or http to loopback; may be repeated.")] = None,
    scope: Annotated[str, typer.Option(help="What it may ask for.")] = "",
    purpose: Annotated[list[str] | None, typer.Option(help="Purposes of use; may be repeated.")] = None,
    jwks: Annotated[Path | None, typer.Option(help="File with its public keys (JWK Set).")] = None,
    json: JsonOption = False,
) -> None:
    """Register an app; a secret, if it has one, is shown this once."""
    new = NewClient(
        name=name,
        kind=cast(ClientKind, kind),
        redirect_uris=tuple(redirect_uri or ()),
        scope=scope,
        purposes=tuple(purpose or ("PATRQT",)),
        jwks=None if jwks is None else _read_jwks(jwks),
    )
    try:
        client, secret = in_transaction(load_settings(), lambda connection: add_client(connection, new, now()))
    except ClientError as error:
        raise refuse(str(error)) from None
    show_record(_row(client) | ({} if secret is None else {"client_secret": secret}), as_json=json)


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the apps."""
    clients = in_transaction(load_settings(), list_clients)
    show_rows([_row(client) for client in clients], ("client_id", "name", "kind", "disabled", "scope"), as_json=json)


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


@app.command("disable")
def disable(client_id: ClientIdArgument, json: JsonOption = False) -> None:
    """End an app: its tokens count for nothing from now on."""
    if not in_transaction(load_settings(), lambda connection: disable_client(connection, client_id, now())):
        raise refuse(f"there is no client `{client_id}`; see `assent client list`")
    show_record({"client_id": client_id, "disabled": True}, as_json=json)


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
    return {
        "client_id": client.client_id,
        "name": client.name,
        "kind": client.kind,
        "redirect_uris": list(client.redirect_uris),
        "scope": client.scope,
        "purposes": list(client.purposes),
        "disabled": client.disabled,
        "awaits_review": client.awaits_review,
    }
