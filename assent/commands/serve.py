"""`assent serve`: the server in front of an upstream FHIR server."""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated

import typer

from assent.app import build
from assent.commands.output import MISUSED
from assent.database import own_database
from assent.load_settings import load_settings
from assent.log_setup import set_up_logging
from assent.migrate import migrate
from assent.named_files import read_named_files
from assent.progress import Progress
from assent.server import listen, run_until_signal, serve_until
from assent.settings import Settings
from assent.upstream_checks import log_upstreams
from assent.worker import supervise

HostOption = Annotated[str | None, typer.Option(help="Address to listen on (ASSENT_HOST).")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on (ASSENT_PORT).", min=1, max=65535)]


def serve_command(
    host: HostOption = None,
    port: PortOption = None,
    workers: Annotated[int | None, typer.Option(help="Server processes (ASSENT_WORKERS).", min=1, max=64)] = None,
) -> None:
    """Serve, in front of the FHIR server that ASSENT_UPSTREAM_URL names."""
    settings = load_settings(host=host, port=port, workers=workers)
    if not settings.upstream_tables():
        typer.echo(
            "set ASSENT_UPSTREAM_URL to a FHIR R4 base URL, or name upstreams in the file, or try `assent sandbox`",
            err=True,
        )
        raise typer.Exit(MISUSED)
    read_named_files(settings)
    set_up_logging(settings.log_format, settings.log_level)
    progress = Progress(lambda line: typer.echo(line, err=True))

    async def main(stop: asyncio.Event) -> None:
        await serve(settings, stop, progress)

    run_until_signal(main)


async def serve(settings: Settings, stop: asyncio.Event, progress: Progress) -> None:
    """Database, schema, application, socket, in this order; the reverse at the end."""
    listener = listen(settings.host, settings.port)
    try:
        progress.step("connecting to PostgreSQL" if settings.database_url else "starting PostgreSQL")
        async with own_database(settings) as url:
            progress.step("bringing the database to this release's schema")
            await migrate(url)
            looking = asyncio.create_task(log_upstreams(settings))
            try:
                await _serve_on(settings, url, listener, stop, progress)
            finally:
                looking.cancel()
            progress.step("stopping")
    finally:
        listener.close()
    progress.step("stopped")


async def _serve_on(
    settings: Settings, url: str, listener: socket.socket, stop: asyncio.Event, progress: Progress
) -> None:
    if settings.workers > 1:
        text = f"serving {settings.public_url} with {settings.workers} processes"
        progress.step(f"starting {settings.workers} server processes")
        await supervise(settings, url, listener, stop, lambda: progress.step(text))
        return
    assent = await build(settings, url)
    try:
        await serve_until(
            stop, assent.asgi, listener, settings, lambda: progress.step(f"serving {settings.public_url}")
        )
    finally:
        await assent.aclose()
