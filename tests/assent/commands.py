"""Runs commands in this process, beside the server that a test has started."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from assent import cli


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The settings with which commands are run."""

    database_url: str
    data_dir: Path

    async def run(self, *arguments: str, input: str | None = None, **environment: str) -> Result:
        """`assent <arguments>`; in a thread, because a command runs an event loop of its own."""
        settings = {"ASSENT_DATABASE_URL": self.database_url, "ASSENT_DATA_DIR": str(self.data_dir), **environment}

        def invoke() -> Result:
            return CliRunner().invoke(cli.app, list(arguments), input=input, env=settings)

        return await asyncio.to_thread(invoke)
