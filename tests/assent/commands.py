"""Runs commands in this process, beside the server that a test has started."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from assent import cli


def command(arguments: Sequence[str], environment: Mapping[str, str], input: str | None = None) -> Result:
    """`assent <arguments>`; in a thread, because a command runs an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(CliRunner().invoke, cli.app, list(arguments), input=input, env=environment).result()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The settings with which commands are run."""

    database_url: str
    data_dir: Path

    async def run(self, *arguments: str, input: str | None = None, **environment: str) -> Result:
        """`assent <arguments>`."""
        settings = {"ASSENT_DATABASE_URL": self.database_url, "ASSENT_DATA_DIR": str(self.data_dir), **environment}
        return await asyncio.to_thread(command, arguments, settings, input)
