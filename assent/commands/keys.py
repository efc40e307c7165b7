"""`assent keys`: the keys that sign tokens."""

from __future__ import annotations

import asyncio

import typer

from assent.commands.connection import command_engine, now
from assent.commands.output import JsonOption, show_record, show_rows
from assent.load_settings import load_settings
from assent.secret_file import secret_for
from authz.tokens.signing_keys import SigningKey, SigningKeys

app = typer.Typer(help="The keys that sign tokens.", no_args_is_help=True)


@app.command("list")
def list_all(json: JsonOption = False) -> None:
    """List the keys that are published."""
    settings = load_settings()

    async def run() -> tuple[SigningKey, ...]:
        async with command_engine(settings) as engine:
            keys = SigningKeys(engine, await secret_for(settings, engine), now)
            await keys.start()
            return keys.listed()

    rows = [
        {"kid": key.kid, "alg": key.alg, "active_from": key.active_from, "retires_at": key.retires_at}
        for key in asyncio.run(run())
    ]
    show_rows(rows, ("kid", "alg", "active_from", "retires_at"), as_json=json)


@app.command("rotate")
def rotate(json: JsonOption = False) -> None:
    """Make new keys; the old ones stay published until the tokens that they signed have ended."""
    settings = load_settings()

    async def run() -> list[str]:
        async with command_engine(settings) as engine:
            keys = SigningKeys(engine, await secret_for(settings, engine), now)
            await keys.start()
            return await keys.rotate()

    show_record({"new": asyncio.run(run())}, as_json=json)
