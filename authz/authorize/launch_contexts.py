"""Launches that an EHR began: SMART App Launch 2.2, "EHR launch". A launch is a secret, kept as its hash.

It belongs to the first app that presents it, lives for minutes, and is taken by one authorization request: an UPDATE
that only one can win. Whoever else presents it learns nothing but that it doesn't count.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of, new_secret

LIFETIME: Final = timedelta(minutes=5)
"""From the EHR's button to the app's authorization request: a redirect or two."""
_TOKEN_PARAMETERS: Final = ("encounter", "fhirContext", "need_patient_banner", "intent", "smart_style_url", "tenant")


async def create_launch(
    connection: AsyncConnection, context: Mapping[str, Any], *, ehr: str, client_id: str | None, now: datetime
) -> str:
    """Keep a checked context for the app that presents the launch; `client_id` names the only one that may."""
    launch = new_secret()
    table = tables.launch_context
    await connection.execute(delete(table).where(table.c.expires_at < now))
    await connection.execute(
        insert(table).values(
            launch_hash=hash_of(launch),
            ehr_client_id=ehr,
            client_id=client_id,
            context=dict(context),
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    return launch


async def take_launch(connection: AsyncConnection, launch: str, client_id: str, now: datetime) -> Mapping[str, Any]:
    """The context, once, for the app to which it belongs. Raises OAuthError."""
    c = tables.launch_context.c
    found: Mapping[str, Any] | None = (
        await connection.execute(
            update(tables.launch_context)
            .where(c.launch_hash == hash_of(launch), c.used_at.is_(None), c.expires_at > now)
            .where(or_(c.client_id.is_(None), c.client_id == client_id))
            # An EHR that was disabled meanwhile launches nothing any more.
            .where(c.ehr_client_id.in_(select(tables.client.c.client_id).where(tables.client.c.disabled_at.is_(None))))
            .values(used_at=now, client_id=client_id)
            .returning(c.context)
        )
    ).scalar_one_or_none()
    if found is None:
        raise OAuthError("invalid_request", "`launch` is unknown, expired, used, or another app's")
    return found


def token_parameters(patient_id: str | None, context: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a token response and introspection say about the launch (SMART 2.2, "Launch context arrives …")."""
    answer: dict[str, Any] = {}
    if patient_id is not None:
        answer = {"patient": patient_id, "need_patient_banner": True}
    given = context or {}
    return answer | {name: given[name] for name in _TOKEN_PARAMETERS if name in given}
