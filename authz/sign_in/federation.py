"""Signing in at an OpenID Provider: authorization code, PKCE, `state`, `nonce` (OpenID Connect Core §3.1).

`state` is kept as a hash and works once, in the browser that it was given to. PKCE's verifier and the nonce are derived
from that browser's secret and `state`, so that they are nowhere but in its cookie.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import quote_plus, urlencode, urlsplit

import structlog
from joserfc import jwt
from joserfc.jwk import JWKRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.clients.key_addresses import KeyAddresses
from authz.mail.notices import NO_NOTICES, Notices
from authz.sign_in.challenges import Begun, Recognized, SignInChallenges
from authz.sign_in.id_token import Proven, read_id_token, verify
from authz.sign_in.identities import link_account, linked_account
from authz.sign_in.identity_provider import IdentityProvider, SignInRefused
from authz.sign_in.idp_http import IdpHttp
from authz.sign_in.idp_metadata import Metadata, ProviderDocuments

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 60
_STATE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_MAX_CODE: Final = 4_096
_FRESH_SECONDS: Final = 60
"""Who must have signed in this lately is asked to do it again (`prompt=login`), not only told how old it may be."""

_log = structlog.get_logger(__name__)


class Federation:
    """One identity provider, and the way there and back."""

    def __init__(
        self,
        provider: IdentityProvider,
        addresses: KeyAddresses,
        engine: AsyncEngine,
        challenges: SignInChallenges,
        clock: Callable[[], datetime],
        notices: Notices = NO_NOTICES,
    ) -> None:
        """Nothing is asked yet; `addresses`: where. Raises joserfc's errors for a private key that isn't one."""
        self.provider = provider
        self._engine = engine
        self._challenges = challenges
        self._clock = clock
        self._notices = notices
        self._http = IdpHttp(addresses)
        self._documents = ProviderDocuments(provider, addresses, self._http)
        self._key = None if provider.private_jwk is None else JWKRegistry.import_key(dict(provider.private_jwk))

    @property
    def name(self) -> str:
        """How the sign-in page calls the provider."""
        return self.provider.name

    async def begin(self, browser: str, begun: Begun) -> str:
        """Where to send the browser. Raises SignInRefused."""
        try:
            metadata = await self._documents.metadata()
        except SignInRefused as refused:
            self._tell(refused)
            raise
        state = await self._challenges.give("federated", browser, begun)
        max_age = max(0, int((self._clock() - begun.since).total_seconds()))
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self.provider.redirect_uri,
            "scope": self.provider.scope,
            "state": state,
            "nonce": _derived(browser, "nonce", state),
            "code_challenge": _base64url(hashlib.sha256(_derived(browser, "verifier", state).encode()).digest()),
            "code_challenge_method": "S256",
            "max_age": str(max_age),
        }
        if max_age < _FRESH_SECONDS:
            query["prompt"] = "login"
        endpoint = metadata.authorization_endpoint
        return endpoint + ("&" if urlsplit(endpoint).query else "?") + urlencode(query)

    async def finish(self, browser: str, answer: Mapping[str, str]) -> Recognized:
        """Who came back with this answer. Raises SignInRefused."""
        begun = None
        try:
            state = answer.get("state", "")
            if browser and _STATE.fullmatch(state):
                begun = await self._challenges.take("federated", browser, state)
            if begun is None:
                raise SignInRefused("not-begun", "state")
            proven = await self._proven(browser, state, answer, begun)
            account_id = await self._account(browser, begun, proven)
        except SignInRefused as refused:
            refused.next_page = "" if begun is None else begun.next_page
            self._tell(refused)
            raise
        return Recognized(account_id, proven.auth_time, proven.methods, begun.next_page)

    async def linking(self, browser: str, link: str) -> Begun | None:
        """What linking was begun with; None when it is over."""
        return await self._challenges.look("link", browser, link) if _STATE.fullmatch(link) else None

    async def link(self, browser: str, link: str, account_id: str) -> bool:
        """Link an account, whose password was right, to who came back; False when it is over or either is linked."""
        begun = await self._challenges.take("link", browser, link) if _STATE.fullmatch(link) else None
        if begun is None or begun.subject is None:
            return False
        async with self._engine.begin() as connection:
            now, issuer = self._clock(), self.provider.issuer
            return await link_account(connection, account_id, issuer, begun.subject, now, self._notices)

    async def sign_out_address(self) -> str:
        """Where somebody signs out there. Raises SignInRefused."""
        endpoint = (await self._documents.metadata()).end_session_endpoint
        if endpoint is None:
            raise SignInRefused("no-sign-out", "no-sign-out")
        return endpoint + ("&" if urlsplit(endpoint).query else "?") + urlencode({"client_id": self.provider.client_id})

    async def close(self) -> None:
        """Let go of connections."""
        await self._documents.close()
        await self._http.close()

    async def _proven(self, browser: str, state: str, answer: Mapping[str, str], begun: Begun) -> Proven:
        metadata = await self._documents.metadata()
        named = answer.get("iss")
        if named != self.provider.issuer and (named is not None or metadata.names_itself):
            raise SignInRefused("untrusted", "mix-up")  # RFC 9207 §2.4
        if "error" in answer:
            declined = answer["error"] in ("access_denied", "login_required", "interaction_required")
            raise SignInRefused("declined" if declined else "provider-error", "error-answer")
        code = answer.get("code", "")
        if not 0 < len(code) <= _MAX_CODE:
            raise SignInRefused("untrusted", "code")
        token = read_id_token(await self._redeem(metadata, code, _derived(browser, "verifier", state)))
        keys = await self._documents.keys(metadata.jwks_uri, token.kid, token.alg)
        return verify(token, keys, self.provider, _derived(browser, "nonce", state), begun.since, self._clock())

    async def _redeem(self, metadata: Metadata, code: str, verifier: str) -> Mapping[str, object]:
        """The token endpoint's answer, of which only the ID token is used (OpenID Connect Core §3.1.3.1)."""
        provider = self.provider
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": provider.redirect_uri,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        if self._key is not None:
            assertion = self._assertion(metadata.token_endpoint)
            form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        elif metadata.secret_in_form:
            form |= {"client_id": provider.client_id, "client_secret": provider.secret or ""}
        else:
            # RFC 6749 §2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.secret or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return await self._http.post(metadata.token_endpoint, form, headers)

    def _assertion(self, audience: str) -> str:
        """RFC 7523 §3; the endpoint's address is one of the provider's own metadata."""
        key = self._key
        assert key is not None  # noqa: S101 - a type, not a check
        algorithm = "RS256" if key.key_type == "RSA" else "ES256"
        header = {"alg": algorithm, "typ": "JWT"} | ({"kid": key.kid} if key.kid else {})
        now, client_id = int(self._clock().timestamp()), self.provider.client_id
        claims = {"iss": client_id, "sub": client_id, "aud": audience, "jti": str(uuid.uuid4())}
        return jwt.encode(header, claims | {"iat": now, "exp": now + _ASSERTION_SECONDS}, key, algorithms=[algorithm])

    async def _account(self, browser: str, begun: Begun, proven: Proven) -> str:
        async with self._engine.connect() as connection:
            found = await linked_account(connection, self.provider.issuer, proven.subject)
        if found is None:
            link = await self._challenges.give("link", browser, replace(begun, subject=proven.subject))
            raise SignInRefused("no-account", "no-account", subject=proven.subject, link=link)
        return found

    def _tell(self, refused: SignInRefused) -> None:
        _log.warning("federated_sign_in_refused", problem=refused.problem, reason=refused.reason)


def _derived(browser: str, purpose: str, state: str) -> str:
    """256 bits that only who knows the browser's secret can make; RFC 7636 §4.1: 43 characters at least."""
    return _base64url(hmac.new(browser.encode(), f"assent {purpose} {state}".encode(), hashlib.sha256).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
