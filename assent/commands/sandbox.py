"""`assent sandbox`: everything on this machine with synthetic patients; what `make run` starts."""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

import typer

from assent.app import Assent, build
from assent.commands.serve import HostOption, PortOption
from assent.load_settings import load_settings
from assent.log_setup import set_up_logging
from assent.progress import Progress
from assent.sandbox_mode.manifest import sandbox_extras, sandbox_keys, seed
from assent.sandbox_mode.mode import serve_sandbox
from assent.sandbox_mode.upstream import Dataset
from assent.server import run_until_signal
from assent.settings import Settings
from fhir.r4.definitions import load_definitions
from sandbox.people import USERS
from sandbox.records.population import generate


def sandbox_command(host: HostOption = None, port: PortOption = None) -> None:
    """Serve a sandbox: synthetic patients, demo users and apps, open registration. Never for real data."""
    settings = load_settings(host=host, port=port)
    set_up_logging(settings.log_format, settings.log_level)
    progress = Progress(lambda line: typer.echo(line, err=True))
    keys = sandbox_keys(settings.data_dir)

    async def build_sandbox(with_upstream: Settings, database_url: str) -> Assent:
        assent = await build(with_upstream, database_url, sandbox=sandbox_extras(keys))
        await seed(assent, keys)
        return assent

    async def main(stop: asyncio.Event) -> None:
        await serve_sandbox(
            settings,
            load_definitions(),
            Dataset(edition(), generate),
            build_sandbox,
            stop,
            progress,
            lambda: typer.echo(welcome(settings)),
        )

    run_until_signal(main)


def edition() -> str:
    """Names what the generator makes and how it is stored: another source, another edition, and it is loaded anew."""
    digest = hashlib.sha256()
    for file in made_by():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def made_by() -> list[Traversable]:
    """The source of the generator, and of how resources are stored and indexed."""
    records = sorted(resources.files("sandbox.records").iterdir(), key=lambda file: file.name)
    stored = [
        resources.files("fhir.store") / "tables.py",
        resources.files("fhir.search") / "values.py",
        resources.files("fhir.r4.data") / "r4.json.gz",
    ]
    return [*(file for file in records if file.name.endswith(".py")), *stored]


def welcome(settings: Settings) -> str:
    """What to open, and who to sign in as."""
    base = settings.public_url
    people = [f"    {u.username:<20} {u.password:<12} {u.role}" for u in USERS[:7]]
    return "\n".join(
        [
            "",
            "  Assent sandbox is ready. All people in it are made up.",
            "",
            f"    {base}/sandbox/launcher    an app to launch",
            f"    {base}/my                  what a patient shares, and with whom",
            f"    {base}/sandbox/mail        letters that people got",
            f"    {base}/docs                the API",
            f"    {base}/sandbox/manifest.json  every user and client",
            "",
            "  Sign in as (username, password):",
            *people,
            "    and others, such as `clinician`, `operator` and `developer`: docs/sandbox.md",
            "",
            "  Ctrl-C ends it.",
            "",
        ]
    )
