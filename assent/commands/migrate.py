"""`assent migrate`: bring the database to this release's schema."""

from __future__ import annotations

import asyncio

from assent.commands.output import JsonOption, show_record
from assent.database import any_database
from assent.load_settings import load_settings
from assent.migrate import migrate


def migrate_command(json: JsonOption = False) -> None:
    """Bring the database to this release's schema; harmless when it is there already."""

    async def run() -> tuple[str | None, str | None]:
        async with any_database(load_settings()) as url:
            return await migrate(url)

    before, after = asyncio.run(run())
    show_record({"before": before, "after": after, "changed": before != after}, as_json=json)
