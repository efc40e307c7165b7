"""Whose access people ask about on pages: the one behind a consent, a grant or a token, with why it may not count.

What it opens is not decided here: `authz.consents.explain` says of what the question is made, and the rules answer it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from authz.clients.clients import find_client
from authz.consents.access import NamesNobody, access_named, why_not_live
from authz.context import AuthzContext
from authz.tokens.access_tokens import TokenRefused
from authz.tokens.gate import TokenGate
from authz.tokens.grants import find_grant
from fhir.consents.reading import read_consent
from policies.model import Access, Reason
from smart.scope_syntax import split_scope


class NothingToAsk(Exception):
    """There is no such consent or grant, it names no app, or the token needs a patient to be named."""


@dataclass(frozen=True, slots=True)
class AskedAccess:
    """An access, and where it comes from."""

    access: Access | None
    """None for a token that counts for nothing."""
    patient: str
    """Of whom it is asked; empty where there is no access."""
    said: tuple[Reason, ...]
    dead: Reason | None = None
    """Why it opens nothing, whatever the consents say."""
    consent_id: str = ""


async def access_of_consent(context: AuthzContext, consent_id: str, purpose: str = "") -> AskedAccess:
    """Of the app that the consent names, for the consent's purpose unless told. Raises NothingToAsk."""
    stored = await context.repository.read("Consent", consent_id)
    if stored is None or stored.deleted:
        raise NothingToAsk
    content: dict[str, Any] = msgspec.json.decode(stored.body)
    rule = read_consent(content)
    async with context.engine.connect() as connection:
        try:
            access, told = await access_named(connection, rule, purpose)
        except NamesNobody:
            raise NothingToAsk from None
        dead = await why_not_live(connection, access.client_id)
        client = await find_client(connection, access.client_id)
    if dead is None and client is not None and access.purpose not in client.purposes:
        dead = Reason("token", f"the app is not registered for the purpose `{access.purpose}`")
    if dead is None and not rule.active:
        dead = Reason(
            "consent", "the consent has ended, or isn't in force yet: nothing is opened by it", rule.reference
        )
    said = (Reason("consent", f"its status is `{content.get('status')}`", rule.reference), told)
    return AskedAccess(access, rule.patient, said, dead, consent_id)


async def access_of_grant(context: AuthzContext, grant_id: str) -> AskedAccess:
    """Of a grant, with the scope that was asked for. Raises NothingToAsk."""
    async with context.engine.connect() as connection:
        grant = await find_grant(connection, grant_id)
        if grant is None or grant.patient_id is None:
            raise NothingToAsk
        dead = await why_not_live(connection, grant.client_id)
    if grant.revoked or (grant.ends is not None and grant.ends <= context.clock()):
        dead = dead or Reason("token", "the grant has ended")
    scopes = split_scope(grant.scope_asked)[1]
    access = Access(
        *(grant.client_id, grant.id, scopes, 0, ""),
        patient=grant.patient_id,
        user=grant.fhir_user,
        subject=grant.user_id,
        purpose=grant.purpose,
        within=None if grant.categories is None else frozenset(grant.categories),
    )
    said = (Reason("token", "asked with the scope of this grant", grant.scope_asked),)
    return AskedAccess(access, grant.patient_id, said, dead, grant.consent_id or "")


async def access_of_token(gate: TokenGate, token: str, patient: str) -> AskedAccess:
    """Of an access token as the proxy takes it. `patient`: of whom, for a service's. Raises NothingToAsk.

    The token's text goes nowhere: neither into what is answered nor into an error.
    """
    found = await gate.live(token)
    if isinstance(found, TokenRefused):
        text = "the token counts for nothing here: it has expired or was revoked, or this server didn't make it"
        return AskedAccess(None, "", (Reason("token", text),))
    access, claims = found
    whose = patient if access.is_service else access.patient
    if not whose:
        raise NothingToAsk
    until = datetime.fromtimestamp(access.expires_at, UTC).isoformat()
    said = (Reason("token", f"the token is valid until `{until}`", str(claims["scope"])),)
    return AskedAccess(access, whose, said)
