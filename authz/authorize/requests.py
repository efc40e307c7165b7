"""Authorization requests: validated once, kept until a person decides. RFC 6749 §4.1.1, RFC 7636, SMART 2.2.

The handle in the page's address is random and kept as a hash; a request belongs to the first person who opens it
signed in, and ends after a few minutes or when it is decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from authz import tables
from authz.authorize.asked_scopes import scope_within_registration
from authz.authorize.consent_details import (
    ConsentDetails,
    asked_details,
    details_from_row,
    held_to_scope,
    purpose_in,
)
from authz.authorize.launch_contexts import take_launch
from authz.clients.clients import Client, find_client
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of, new_secret
from authz.tokens.dpop import THUMBPRINT
from policies.catalogue import Catalogue

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""RFC 7636 §4.2: base64url of a SHA-256."""
_MAX_STATE: Final = 2_000
_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


class NotRedirectable(Exception):
    """Client or redirect URI is wrong: the answer goes to the person, never to that URI (RFC 6749 §4.1.2.1)."""


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A validated request that waits for a decision."""

    id_hash: str
    client: Client
    redirect_uri: str
    scope: str
    state: str | None
    code_challenge: str
    nonce: str | None
    purpose: str
    dpop_jkt: str | None = None
    """Thumbprint of the key to which the code is bound (RFC 9449 §10)."""
    patient_id: str | None = None
    user_id: str | None = None
    launch: Mapping[str, Any] | None = None
    """The context that an EHR gave (authz.authorize.launch_context_body); None for a standalone launch."""
    signed_in_since: datetime | None = None
    """A sign-in before this doesn't count for it."""
    details: ConsentDetails | None = None
    """What it asks for by `authorization_details`."""

    def is_for(self, fhir_user: str | None) -> bool:
        """Whether the person may answer it: a launch for one user is nobody else's."""
        return self.launch is None or self.launch.get("user") in (None, fhir_user)

    def redirect(self, issuer: str, **parameters: str) -> str:
        """The redirect URI with an answer; `iss` by RFC 9207, `state` unchanged."""
        return redirect_with(self.redirect_uri, self.state, issuer, parameters)


def redirect_with(uri: str, state: str | None, issuer: str, parameters: Mapping[str, str]) -> str:
    """RFC 6749 §4.1.2: parameters are added to the query that the URI may have."""
    answer = dict(parameters)
    if state is not None:
        answer["state"] = state
    answer["iss"] = issuer
    return uri + ("&" if urlsplit(uri).query else "?") + urlencode(answer)


async def client_of(connection: AsyncConnection, parameters: Mapping[str, str]) -> tuple[Client, str]:
    """Client and redirect URI, before anything may be redirected. Raises NotRedirectable."""
    client = await find_client(connection, parameters.get("client_id", ""))
    if client is None or not client.is_live or "authorization_code" not in client.grant_types:
        raise NotRedirectable("This app is not registered here, or not any more.")
    uri = parameters.get("redirect_uri")
    if uri is None and len(client.redirect_uris) == 1:
        uri = client.redirect_uris[0]
    if uri is None or uri not in client.redirect_uris:  # RFC 9700 §4.1.3: exact comparison
        raise NotRedirectable("The address to return to is not registered for this app.")
    return client, uri


def check_request(
    client: Client, redirect_uri: str, parameters: Mapping[str, str], *, audience: str, catalogue: Catalogue
) -> PendingRequest:
    """Everything else. Raises OAuthError, which is answered by redirect."""
    if parameters.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "`response_type` must be `code`")
    if parameters.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "`response_mode` must be `query`")
    details = asked_details(parameters, catalogue, audience)
    challenge = parameters.get("code_challenge", "")
    if parameters.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "`code_challenge_method` must be `S256`")
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "`code_challenge` must be the 43 characters of an S256 challenge")
    _check_audience(parameters, audience)
    if len(parameters.get("state", "")) > _MAX_STATE or len(parameters.get("nonce", "")) > _MAX_STATE:
        raise OAuthError("invalid_request", f"`state` and `nonce` may have at most {_MAX_STATE} characters")
    scope = scope_within_registration(client, parameters)
    if "launch" in parameters and "launch" not in scope.split(" "):
        raise OAuthError("invalid_request", "`launch` needs the scope `launch`")
    return PendingRequest(
        id_hash="",
        client=client,
        redirect_uri=redirect_uri,
        scope=scope,
        state=parameters.get("state"),
        code_challenge=challenge,
        nonce=parameters.get("nonce"),
        purpose=purpose_in(details, client, parameters, catalogue) or _purpose(client, parameters, catalogue),
        dpop_jkt=_code_key(parameters),
        details=held_to_scope(details, scope, catalogue),
    )


def with_sign_in(
    request: PendingRequest, parameters: Mapping[str, str], now: datetime, longest: timedelta
) -> PendingRequest:
    """The request with the sign-in that it needs: `prompt` and `max_age` (OpenID Connect Core §3.1.2.1).

    `longest`: how old a sign-in may be with which somebody decides. Raises OAuthError.
    """
    prompts = set(parameters.get("prompt", "").split())
    if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise OAuthError("invalid_request", "`prompt` must be `none`, or of `login`, `consent` and `select_account`")
    if "none" in prompts:
        # A decision always needs a person: consent is never given silently (OpenID Connect Core §3.1.2.6).
        raise OAuthError("interaction_required", "a person must decide")
    max_age = parameters.get("max_age")
    if max_age is not None and _SECONDS.fullmatch(max_age) is None:
        raise OAuthError("invalid_request", "`max_age` must be a number of seconds")
    again = bool(prompts & {"login", "select_account"})
    age = timedelta() if again else longest if max_age is None else min(longest, timedelta(seconds=int(max_age)))
    return replace(request, signed_in_since=now - age)


def _check_audience(parameters: Mapping[str, str], audience: str) -> None:
    """SMART 2.2: `aud` is the FHIR base; RFC 8707 `resource` is taken for the same, and can't be another."""
    if parameters.get("resource", audience).rstrip("/") != audience:
        raise OAuthError("invalid_target", "`resource` is not this server's FHIR base URL")
    named = parameters.get("aud") or parameters.get("resource")
    if named is None:
        raise OAuthError("invalid_request", "`aud` is missing, it must be the FHIR base URL")
    if named.rstrip("/") != audience:
        raise OAuthError("invalid_request", "`aud` is not this server's FHIR base URL")


def _code_key(parameters: Mapping[str, str]) -> str | None:
    jkt = parameters.get("dpop_jkt")
    if jkt is not None and not THUMBPRINT.fullmatch(jkt):
        raise OAuthError("invalid_request", "`dpop_jkt` must be the 43 characters of a SHA-256 thumbprint")
    return jkt


def _purpose(client: Client, parameters: Mapping[str, str], catalogue: Catalogue) -> str:
    purpose = parameters.get("purpose_of_use") or next(iter(client.purposes), "")
    if purpose not in client.purposes or purpose not in catalogue.askable:
        raise OAuthError("invalid_request", "`purpose_of_use` is not one that is registered for this app")
    return purpose


async def with_launch(
    connection: AsyncConnection, request: PendingRequest, launch: str | None, now: datetime
) -> PendingRequest:
    """The request with the context of its launch, which is taken with this. Raises OAuthError."""
    if launch is None:
        return request
    context = await take_launch(connection, launch, request.client.client_id, now)
    return replace(request, launch=context, patient_id=context.get("patient"))


async def keep_request(connection: AsyncConnection, request: PendingRequest, now: datetime, lifetime: timedelta) -> str:
    """Store it; returns the handle."""
    handle = new_secret()
    # Named only where there is one: processes of the release before don't know it.
    more: dict[str, Any] = {} if request.dpop_jkt is None else {"dpop_jkt": request.dpop_jkt}
    if request.details is not None:
        more["details"] = request.details.row
    await connection.execute(
        insert(tables.authorization_request).values(
            id_hash=hash_of(handle),
            client_id=request.client.client_id,
            patient_id=request.patient_id,
            launch=request.launch,
            signed_in_since=request.signed_in_since,
            parameters={
                "redirect_uri": request.redirect_uri,
                "scope": request.scope,
                "state": request.state,
                "code_challenge": request.code_challenge,
                "nonce": request.nonce,
                "purpose": request.purpose,
                **more,
            },
            created_at=now,
            expires_at=now + lifetime,
        )
    )
    return handle


async def find_request(
    connection: AsyncConnection, handle: str, user_id: str | None, now: datetime, *, auth_time: datetime | None = None
) -> PendingRequest | None:
    """A request that can still be decided, by this person; None otherwise.

    The first person who opens it with a sign-in that counts for it (`auth_time`, now when None) keeps it.
    """
    r = tables.authorization_request
    row = (
        await connection.execute(
            select(r).where(r.c.id_hash == hash_of(handle), r.c.expires_at > now, r.c.completed_at.is_(None))
        )
    ).first()
    if row is None or (row.user_id is not None and row.user_id != user_id):
        return None
    client = await find_client(connection, row.client_id)
    if client is None or not client.is_live:
        return None
    counts = row.signed_in_since is None or (auth_time or now) >= row.signed_in_since
    if user_id is not None and row.user_id is None and counts:
        await connection.execute(
            update(r).where(r.c.id_hash == row.id_hash, r.c.user_id.is_(None)).values(user_id=user_id)
        )
    kept = dict(row.parameters)
    details = kept.pop("details", None)
    return PendingRequest(
        row.id_hash,
        client,
        **kept,
        patient_id=row.patient_id,
        user_id=user_id,
        launch=row.launch,
        signed_in_since=row.signed_in_since,
        details=None if details is None else details_from_row(details),
    )


async def choose_patient(connection: AsyncConnection, request: PendingRequest, patient_id: str) -> None:
    """Put a patient in context; the caller has checked that the person may act for them."""
    r = tables.authorization_request
    await connection.execute(update(r).where(r.c.id_hash == request.id_hash).values(patient_id=patient_id))


async def reopen_request(connection: AsyncConnection, id_hash: str, user_id: str, now: datetime) -> str | None:
    """A new handle for a request that this person opened and that can still be decided; the old one opens nothing.

    Handles are kept as hashes: who lost the page where theirs stood gets another.
    """
    r, handle = tables.authorization_request, new_secret()
    mine = (r.c.id_hash == id_hash, r.c.user_id == user_id)
    waits = (r.c.expires_at > now, r.c.completed_at.is_(None))
    renewed = await connection.execute(update(r).where(*mine, *waits).values(id_hash=hash_of(handle)))
    return handle if renewed.rowcount else None


async def complete_request(connection: AsyncConnection, request: PendingRequest, now: datetime) -> bool:
    """Mark it decided. False when it was decided before: of two clicks one counts."""
    r = tables.authorization_request
    done = await connection.execute(
        update(r).where(r.c.id_hash == request.id_hash, r.c.completed_at.is_(None)).values(completed_at=now)
    )
    return bool(done.rowcount)
