"""Whose access a Consent speaks of: the access that the app it names has, or would have, when no token is at hand.

`assent explain --consent` and `$explain` (authz.consents.explain) ask the rules about it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.clients.clients import Client, find_client
from policies.codes import CLIENT_SYSTEM
from policies.consent_rule import ConsentRule
from policies.model import Access, Reason, Scope
from smart.scope_syntax import split_scope

_WIDEST: Final[tuple[Scope, ...]] = (Scope("patient", "*", "cruds"),)
"""What is asked about when no token is at hand: everything that a scope could open."""
Asked = tuple[Access, Reason]
"""An access, and where its scopes come from."""


class NamesNobody(ValueError):
    """The Consent names no app or no patient, so it says nothing about any access."""


class NotRegistered(ValueError):
    """There is no such app, or it isn't registered for the purpose; the text says which of the two, as a parameter."""


async def access_asked(
    connection: AsyncConnection, rule: ConsentRule, client_id: str = "", purpose: str = "", user: str = ""
) -> Asked:
    """The access of an app to the Consent's patient; without `client_id` of the one that the Consent names.

    `user`: the person behind it, as `Type/id`. Raises NamesNobody and NotRegistered.
    """
    if not client_id:
        access, told = await access_named(connection, rule, purpose)
    else:
        client = await find_client(connection, client_id)
        if client is None:
            raise NotRegistered("client")
        wanted = purpose or next(iter(client.purposes), "")
        if wanted not in client.purposes:
            raise NotRegistered("purpose")
        access, told = access_of(client, rule.patient, wanted)
    return (replace(access, user=user) if user else access), told


async def access_named(connection: AsyncConnection, rule: ConsentRule, purpose: str = "") -> Asked:
    """The access of the first app that the Consent names, for its first purpose unless told. Raises NamesNobody."""
    named = next((a for a in rule.root.actors if a.startswith(f"{CLIENT_SYSTEM}|")), None)
    if named is None or not rule.patient:
        raise NamesNobody
    client_id = named.partition("|")[2]
    wanted = purpose or next((p.code for p in rule.root.purposes), "PATRQT")
    client = await find_client(connection, client_id)
    if client is not None and client.kind == "backend":
        return access_of(client, rule.patient, wanted)
    granted = await _granted(connection, rule.id)
    if granted is None:
        told = "no grant hangs on the consent any more; asked as if a token had the widest scope"
        return _for_patient(client_id, _WIDEST, rule.patient, wanted), Reason("token", told, "patient/*.cruds")
    told = "asked with the scope of the newest grant on the consent"
    scope, within = granted
    access = _for_patient(client_id, split_scope(scope)[1], rule.patient, wanted)
    return replace(access, within=within), Reason("token", told, scope)


def access_of(client: Client, patient: str, purpose: str) -> Asked:
    """The access to one patient that a token with everything in the app's registration gives."""
    scopes = split_scope(client.scope)[1]
    told = Reason("token", "asked with the scope for which the app is registered", client.scope)
    if client.kind == "backend":
        own = tuple(scope for scope in scopes if scope.context == "system")
        return Access(client.client_id, "", own, 0, "", subject=client.client_id, purpose=purpose), told
    if not scopes:
        told = Reason("token", "the app is registered for any scope; asked with the widest", "patient/*.cruds")
    return _for_patient(client.client_id, scopes or _WIDEST, patient, purpose), told


def _for_patient(client_id: str, scopes: tuple[Scope, ...], patient: str, purpose: str) -> Access:
    return Access(client_id, "", scopes, 0, "", patient=patient, purpose=purpose)


async def _granted(connection: AsyncConnection, consent_id: str) -> tuple[str, frozenset[str] | None] | None:
    """Scope and bound of the newest grant on a consent."""
    g = tables.grant.c
    newest = select(g.scope_asked, g.categories).where(g.consent_id == consent_id, g.revoked_at.is_(None))
    row = (await connection.execute(newest.order_by(g.created_at.desc()).limit(1))).first()
    if row is None:
        return None
    return row.scope_asked, None if row.categories is None else frozenset(row.categories)


async def why_not_live(connection: AsyncConnection, client_id: str) -> Reason | None:
    """Why an app can do nothing at all, whatever consents say; None for one that is live."""
    client = await find_client(connection, client_id)
    if client is None or client.disabled:
        return Reason("token", "the app is disabled or gone: none of its tokens counts")
    return Reason("token", "the app waits for review: it gets no token") if client.awaits_review else None
