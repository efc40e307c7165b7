"""`assent user close` and `assent user patients`: who left, and who represents somebody no longer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.sign_in.accounts import find_by_username, load_account
from authz.sign_in.sessions import NewSession, Sessions
from tests.assent.commands import CommandLine

PASSWORD = "correct horse"  # noqa: S105 - made up


@pytest.fixture
async def assent(database_url: str, engine: AsyncEngine, tmp_path: Path) -> CommandLine:
    """A mother who decides for herself and two children, and an app that she let see all three."""
    line = CommandLine(database_url, tmp_path / "data")
    children = ("--patient", "ann=Ann", "--patient", "bo=Bo")
    added = await line.run("user", "add", "eve", "--fhir-user", "Patient/eve", *children, input=f"{PASSWORD}\n")
    assert added.exit_code == 0, added.output
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO assent.client (client_id, name, kind, redirect_uris, scope, purposes, created_at)"
                " VALUES ('app', 'App', 'public', '{}', '', '{}', now())"
            )
        )
        for patient in ("eve", "ann", "bo"):
            await connection.execute(
                text(
                    'INSERT INTO assent."grant" (id, client_id, user_id, patient_id, consent_id, scope_asked, purpose,'
                    " offline, auth_time, created_at) SELECT :patient, 'app', id, :patient, :patient, 'openid',"
                    " 'PATRQT', true, now(), now() FROM assent.user_account WHERE username = 'eve'"
                ),
                {"patient": patient},
            )
    return line


async def open_grants(engine: AsyncEngine) -> set[str]:
    g = tables.grant.c
    async with engine.connect() as connection:
        return set((await connection.execute(select(g.id).where(g.revoked_at.is_(None)))).scalars())


async def patients_of(engine: AsyncEngine, username: str) -> list[str]:
    async with engine.connect() as connection:
        found = await find_by_username(connection, username)
        account = None if found is None else await load_account(connection, found[0])
    assert account is not None
    return [one.patient_id for one in account.acts_for]


async def test_who_represents_a_child_no_longer_decides_for_it_no_longer(
    assent: CommandLine, engine: AsyncEngine
) -> None:
    done = await assent.run("user", "patients", "eve", "--patient", "bo=Bo", "--json")
    assert (done.exit_code, json.loads(done.stdout)["grants_ended"]) == (0, 1)
    assert await patients_of(engine, "eve") == ["eve", "bo"]
    assert await open_grants(engine) == {"eve", "bo"}


async def test_a_closed_account_lets_nobody_in_and_its_apps_get_nothing(
    assent: CommandLine, engine: AsyncEngine
) -> None:
    sessions = Sessions(engine, lambda: datetime.now(UTC), idle=timedelta(hours=1), absolute=timedelta(hours=8))
    begun = await sessions.sign_in("eve", PASSWORD, "127.0.0.1")
    assert isinstance(begun, NewSession)
    done = await assent.run("user", "close", "eve", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"username": "eve", "closed": True, "grants_ended": 3})
    assert await sessions.sign_in("eve", PASSWORD, "127.0.0.1") is None
    async with engine.connect() as connection:
        assert (await connection.execute(select(tables.session.c.user_id))).all() == []
    assert (await patients_of(engine, "eve"), await open_grants(engine)) == ([], set())


@pytest.mark.parametrize("command", ["close", "patients"])
async def test_nobody_of_that_name_is_said(assent: CommandLine, command: str) -> None:
    done = await assent.run("user", command, "adam")
    assert (done.exit_code, "adam" in done.stderr) == (1, True)
