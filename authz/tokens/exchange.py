"""Token exchange: a gateway swaps the access token of an app for one that opens less (RFC 8693).

The new token hangs on the same grant, so on the same patient and consent, live. It never has wider scopes or a longer
life than the one it came from, and ends with it. `client_id` stays the app, which the consent names; `act` says who
uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from authz.clients.clients import TOKEN_EXCHANGE
from authz.context import AuthzContext
from authz.oauth_errors import OAuthError
from authz.tokens.access_tokens import TokenClaims, TokenRefused
from authz.tokens.dpop import wrong_proof
from authz.tokens.gate import TokenGate
from authz.tokens.grants import OpenNow
from authz.tokens.request import TokenRequest, token_answer, token_record
from authz.tokens.scope_narrowing import narrowed, still_open
from policies.model import Access
from smart.scope_syntax import format_as_asked, split_scope

Subject = tuple[Access, Mapping[str, Any]]
"""A live access token: what it claims, and all its claims as they stand."""
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
_MAX_ACTORS: Final = 4


async def read_subject(gate: TokenGate, form: Mapping[str, str]) -> Subject | None:
    """The token to be exchanged, if it counts at this moment. Nothing is said of it before its client is known."""
    if form.get("grant_type") != TOKEN_EXCHANGE or form.get("subject_token_type") != ACCESS_TOKEN:
        return None
    found = await gate.live(form.get("subject_token", ""))
    return None if isinstance(found, TokenRefused) else found


async def exchange(context: AuthzContext, asked: TokenRequest, subject: Subject | None) -> dict[str, Any]:
    """RFC 8693 §2. Raises OAuthError."""
    _check_form(asked.form, context.fhir_base)
    # One text for every reason: whose token it was, and what became of it, is nobody else's to know.
    unacceptable = OAuthError("invalid_request", "`subject_token` can't be exchanged")
    if subject is None or not subject[0].grant_id or len(subject[0].actors) >= _MAX_ACTORS:
        raise unacceptable
    access, claims = subject
    if (access.jkt or access.x5t) and not (asked.jkt or asked.x5t):
        raise wrong_proof("a bound token is exchanged for one that is bound to your own key: send a proof")
    grant = await context.grants.find(access.grant_id)
    opened = None if grant is None else await context.grants.now(grant, asked.now)
    left = None if opened is None else _left(str(claims["scope"]), opened)
    seconds = _seconds(access, asked.now, context)
    if left is None or seconds <= 0:
        raise unacceptable
    scope = narrowed(left, asked.form.get("scope"))
    token, jti = context.tokens.mint(
        TokenClaims(
            client_id=access.client_id,
            subject=access.subject,
            scope=scope,
            lifetime=context.lifetimes.access_token,
            grant_id=access.grant_id,
            patient=access.patient,
            fhir_user=access.user,
            purpose=access.purpose,
            consents=left.consents,
            jkt=asked.jkt,
            x5t=asked.x5t,
            actors=(asked.client.client_id, *access.actors),
            ancestors=(access.jti, *access.ancestors),
            not_after=access.expires_at,
        )
    )
    described = f"access token {jti}, in exchange for {access.jti}"
    who = {"user": access.user, "patient": access.patient}
    await context.audit.record(token_record(context, asked, described, consents=left.consents, **who))
    return token_answer(token, scope, seconds, asked.jkt) | {"issued_token_type": ACCESS_TOKEN}


def _check_form(form: Mapping[str, str], fhir_base: str) -> None:
    """RFC 8693 §2.1. Raises OAuthError."""
    if "subject_token" not in form or form.get("subject_token_type") != ACCESS_TOKEN:
        raise OAuthError("invalid_request", f"`subject_token` is needed, and its type must be `{ACCESS_TOKEN}`")
    if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
        raise OAuthError("invalid_request", f"`requested_token_type` must be `{ACCESS_TOKEN}`")
    if "actor_token" in form or "actor_token_type" in form:
        raise OAuthError("invalid_request", "`actor_token` is not supported: who acts is the client itself")
    if any(form.get(name, fhir_base).rstrip("/") != fhir_base for name in ("resource", "audience")):
        raise OAuthError("invalid_target", "`resource` and `audience` must be the FHIR base URL")


def _left(claimed: str, opened: OpenNow) -> OpenNow | None:
    """What the token opens of the patient's data at this moment; who signed in and offline access stay the app's."""
    _, clinical, _ = split_scope(still_open(claimed, opened))
    scope = format_as_asked(clinical, claimed)
    return OpenNow(scope, clinical, opened.consents) if scope else None


def _seconds(access: Access, now: datetime, context: AuthzContext) -> int:
    return min(int(context.lifetimes.access_token.total_seconds()), access.expires_at - int(now.timestamp()))
