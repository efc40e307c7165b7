"""What a request may do with App State: by its token, and by the consents as they stand now.

SMART App Launch 2.2, "App State", security and access controls. An app reaches its own state only, whichever scopes it
has, so a state code needs no registration. What concerns all users of an app, only an operator changes through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authz.context import AuthzContext
from authz.sign_in.accounts import load_account
from authz.tokens.access_tokens import INVALID, TokenRefused
from authz.tokens.scope_narrowing import still_open
from policies.model import Access, Scope
from smart.app_state import is_state, opens
from smart.scope_syntax import split_scope


@dataclass(frozen=True, slots=True)
class StateRights:
    """What is open to one token at this moment."""

    client_id: str
    client_name: str
    scopes: tuple[Scope, ...]
    patient: str | None
    """The patient in context, such as `Patient/p1`."""
    user: str | None
    """Who signed in, such as `Practitioner/p1`."""
    is_operator: bool

    def has(self, letter: str) -> bool:
        """Whether any state is open to this letter of `cruds`."""
        return any(letter in scope.permissions for scope in self.scopes)

    def allow(self, letter: str, subject: str, code: str) -> bool:
        """Whether state with this subject (empty: of all users) and code is."""
        contexts = {scope.context for scope in self.scopes if opens(scope, letter, code)}
        if not subject:
            return "user" in contexts and (self.is_operator or letter in "rs")
        return (subject == self.patient and "patient" in contexts) or (subject == self.user and "user" in contexts)


async def rights_of(context: AuthzContext, access: Access, claims: Mapping[str, Any]) -> StateRights | TokenRefused:
    """What a live token opens. One that was exchanged, or is a service's own, opens nothing: no user holds it."""
    nothing = StateRights(access.client_id, access.client_name, (), None, None, is_operator=False)
    if not access.grant_id or access.actors:
        return nothing
    async with context.engine.connect() as connection:
        account = await load_account(connection, access.subject)
    grant = await context.grants.find(access.grant_id)
    opened = None if grant is None else await context.grants.now(grant, context.clock())
    if account is None or opened is None:
        return INVALID
    _, scopes, _ = split_scope(still_open(str(claims["scope"]), opened))
    return StateRights(
        access.client_id,
        access.client_name,
        tuple(scope for scope in scopes if is_state(scope)),
        access.patient and f"Patient/{access.patient}",
        account.fhir_user,
        is_operator=account.role == "operator",
    )
