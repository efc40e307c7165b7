"""`assent doctor`: can this installation work, and if not, what is to be done."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from assent.commands.output import NO, JsonOption, show_rows
from assent.doctor import Check, examine
from assent.load_settings import load_settings


def doctor_command(json: JsonOption = False) -> None:
    """Check database, keys, policies, upstream and clock; exit code 1 when something must be done."""
    settings = load_settings()

    async def run() -> list[Check]:
        return [check async for check in examine(settings, lambda: datetime.now(UTC))]

    checks = asyncio.run(run())
    show_rows([asdict(check) for check in checks], ("name", "state", "text"), as_json=json)
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(NO)
