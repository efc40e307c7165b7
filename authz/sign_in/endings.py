"""When somebody leaves, or represents a patient no longer: their ways in end, and what apps hold in their name.

What they decided stays. It is the patient's decision, on record, and for the patient and others to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.sign_in.accounts import ActsFor, change_password, find_by_username, set_acts_for
from authz.sign_in.passwords import NO_PASSWORD
from authz.tokens.grants import revoke_grants


async def close_account(connection: AsyncConnection, username: str, now: datetime) -> int | None:
    """Nobody signs in with the account any more, and it decides for nobody; how many grants of apps ended with it.

    None when nobody has the name. The account itself stays, since decisions and records name it.
    """
    found = await find_by_username(connection, username)
    if found is None:
        return None
    account_id, _ = found
    await change_password(connection, account_id, NO_PASSWORD)
    for way_in in (tables.identity, tables.passkey):
        await connection.execute(delete(way_in).where(way_in.c.user_id == account_id))
    await set_acts_for(connection, account_id, ())
    return len(await revoke_grants(connection, now, tables.grant.c.user_id == account_id))


async def decide_for(connection: AsyncConnection, account_id: str, patients: Sequence[ActsFor], now: datetime) -> int:
    """Let an account decide for these patients and no others; how many grants about others ended."""
    await set_acts_for(connection, account_id, patients)
    g = tables.grant.c
    others = g.patient_id.not_in([patient.patient_id for patient in patients])
    return len(await revoke_grants(connection, now, g.user_id == account_id, g.consent_id.is_not(None), others))
