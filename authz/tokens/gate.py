"""Whether an access token counts, at this moment: the proxy's first step, and introspection's.

Verified tokens are remembered by the hash of their text. INVARIANT: while the change bus isn't healthy nothing is
remembered; the database is asked, and an error there is an error here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Text, any_, bindparam, exists, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.opaque_secret import hash_of
from authz.tokens.access_tokens import INVALID, NO_TOKEN, AccessTokens, TokenRefused
from authz.tokens.dpop import ProofRefused, read_proof, use_proof
from fhir.proxy.presented_token import PresentedToken
from fhir.store.change_bus import Change, ChangeBus
from fhir.store.heard_cache import HeardCache
from fhir.store.prepared_statement import PreparedStatement
from policies.model import Access

_MAX_TOKENS: Final = 20_000
_INVALID_WITH_PROOF: Final = replace(INVALID, scheme="DPoP")
_UNPROVEN: Final = replace(INVALID, description="the token is bound to a key: it needs the scheme DPoP", scheme="DPoP")
_OTHER_CERTIFICATE: Final = replace(INVALID, description="the token is bound to the certificate of another connection")
_UNBOUND: Final = replace(INVALID, description="the token is bound to no key: it needs the scheme Bearer")

_c, _g, _r = tables.client.c, tables.grant.c, tables.revoked_token.c
_family, _actors = (bindparam(name, type_=ARRAY(Text)) for name in ("family", "actors"))
_of_grant: BindParameter[str] = bindparam("grant_id", type_=Text)
_acting = tables.client.alias().c
_LIVE_CLIENT: Final = PreparedStatement(
    select(_c.name).where(
        _c.client_id == bindparam("client_id"),
        _c.disabled_at.is_(None),
        ~exists().where(_r.jti == any_(_family)),
        or_(_of_grant == "", exists().where(_g.id == _of_grant, _g.revoked_at.is_(None))),
        select(func.count()).where(_acting.client_id == any_(_actors), _acting.disabled_at.is_(None)).scalar_subquery()
        == func.cardinality(_actors),
    )
)
"""The client of a token, if neither it nor the token's grant, family or actors (each once) have ended."""


class TokenGate:
    """Verifies access tokens, live."""

    def __init__(
        self, tokens: AccessTokens, engine: AsyncEngine, bus: ChangeBus, clock: Callable[[], datetime]
    ) -> None:
        self._tokens = tokens
        self._engine = engine
        self._clock = clock
        self._known: HeardCache[str, tuple[Access, dict[str, Any]]] = HeardCache(bus, _MAX_TOKENS)
        bus.subscribe(self._on_change)

    async def access(self, presented: PresentedToken) -> Access | TokenRefused:
        """What the token of a request claims, or why it counts for nothing."""
        found = await self.claims(presented)
        return found if isinstance(found, TokenRefused) else found[0]

    async def still(self, presented: PresentedToken) -> Access | TokenRefused:
        """As `access`, later in the same request: its proof was looked at and counts once."""
        found = await self.live((presented.authorization or "").partition(" ")[2])
        return found if isinstance(found, TokenRefused) else found[0]

    async def goes_on(self, access: Access) -> bool:
        """Whether neither the token nor what it hangs on was taken back; asks the database. That it expired is fine."""
        return await self._live_client(access) is not None

    async def claims(self, presented: PresentedToken) -> tuple[Access, dict[str, Any]] | TokenRefused:
        """As `access`, with all claims. A bound token counts with a proof, another one without (RFC 9449 §7.1)."""
        if presented.authorization is None:
            return NO_TOKEN
        scheme, _, token = presented.authorization.partition(" ")
        scheme = scheme.lower()
        if scheme not in ("bearer", "dpop"):
            return NO_TOKEN
        found = await self.live(token)
        if isinstance(found, TokenRefused):
            return found if scheme == "bearer" else _INVALID_WITH_PROOF
        jkt, x5t = found[0].jkt, found[0].x5t
        if x5t is not None and presented.certificate != x5t:
            return replace(_OTHER_CERTIFICATE, scheme="Bearer" if jkt is None else "DPoP")
        if scheme == "bearer":
            return found if jkt is None else _UNPROVEN
        if jkt is None:
            return _UNBOUND
        refused = await self._unproven(presented, token, jkt)
        return found if refused is None else refused

    async def _unproven(self, presented: PresentedToken, token: str, jkt: str) -> TokenRefused | None:
        """Why the request doesn't prove that who sends the token has its key."""
        now, url = self._clock(), self._tokens.issuer + presented.path
        try:
            proof = read_proof(presented.dpop or "", method=presented.method, url=url, now=now, token=token)
            if proof.jkt != jkt:
                raise ProofRefused("the proof's key is not the one to which the token is bound")
            await use_proof(self._engine, proof, now)
        except ProofRefused as refused:
            return TokenRefused(401, "invalid_dpop_proof", str(refused), "DPoP")
        return None

    async def live(self, token: str) -> tuple[Access, dict[str, Any]] | TokenRefused:
        """Claims of a token that is valid and not revoked, nor its grant, nor its client; by whomever it is sent."""
        found = await self._known.get(hash_of(token), lambda: self._verified(token))
        return INVALID if found is None or found[0].expires_at <= self._clock().timestamp() else found

    async def _verified(self, token: str) -> tuple[Access, dict[str, Any]] | None:
        verified = self._tokens.verify(token)
        if isinstance(verified, TokenRefused):
            return None
        client_name = await self._live_client(verified[0])
        return None if client_name is None else (replace(verified[0], client_name=client_name), verified[1])

    async def _live_client(self, access: Access) -> str | None:
        """The name of the token's client; None when the token, or whatever it hangs on, has ended."""
        found = await _LIVE_CLIENT.rows(
            self._engine,
            client_id=access.client_id,
            family=[access.jti, *access.ancestors],
            actors=list(set(access.actors)),
            grant_id=access.grant_id,
        )
        return str(found[0]["name"]) if found else None

    def _on_change(self, change: Change) -> None:
        if change.kind == "all":
            self._known.forget_all()
        elif change.kind in ("grant", "client", "token"):
            self._known.forget_where(lambda known: change.key in _hangs_on(known[0]))


def _hangs_on(access: Access) -> tuple[str, ...]:
    """Ids with whose end the token ends."""
    return (access.grant_id, access.client_id, access.jti, *access.actors, *access.ancestors)
