"""Passkeys: discoverable credentials with user verification (Web Authentication Level 3 §7.1, §7.2).

Kept are public keys. Whose passkey answers is found by its credential id, and must agree with the user handle that the
authenticator kept. What the library refuses or stumbles over is refused: it reads what strangers send.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final, TypeVar
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
from webauthn.helpers import (
    bytes_to_base64url,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from webauthn.registration.verify_registration_response import VerifiedRegistration

from authz import tables
from authz.mail.notices import NO_NOTICES, Notices
from authz.sign_in.accounts import find_by_username
from authz.sign_in.challenges import Begun, Kind, Recognized, SignInChallenges
from authz.sign_in.methods import PASSKEY
from authz.sign_in.sessions import SignedInSession

MOST: Final = 20
"""Passkeys of one account."""
MAX_RESPONSE: Final = 24_000
MAX_NAME: Final = 60
_MAX_CREDENTIAL_ID: Final = 1_023
"""Level 3 §4, credential id."""
_WAIT_MILLISECONDS: Final = 120_000
_ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

Credential = TypeVar("Credential", AuthenticationCredential, RegistrationCredential)

_log = structlog.get_logger(__name__)


class PasskeyRefused(Exception):
    """A passkey that isn't taken; the text is one word for the operator's log."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """One of a person's passkeys."""

    id: str
    """The credential id, in base64url."""
    name: str
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """This server, as authenticators know it (Level 3 §5.1.2, `rpId`)."""

    id: str
    origin: str


def relying_party(public_url: str) -> RelyingParty | None:
    """The public URL's; None when it has an IP address, to which no passkey can be bound."""
    parts = urlsplit(public_url)
    host = parts.hostname or ""
    try:
        ip_address(host)
    except ValueError:
        port = "" if parts.port in (None, {"https": 443, "http": 80}.get(parts.scheme)) else f":{parts.port}"
        return RelyingParty(host, f"{parts.scheme}://{host}{port}")
    return None


class Passkeys:
    """Adds, removes and asks for passkeys."""

    def __init__(
        self,
        party: RelyingParty,
        engine: AsyncEngine,
        challenges: SignInChallenges,
        clock: Callable[[], datetime],
        notices: Notices = NO_NOTICES,
    ) -> None:
        self._party = party
        self._notices = notices
        self._engine = engine
        self._challenges = challenges
        self._clock = clock

    async def ask(self, browser: str, begun: Begun) -> str:
        """PublicKeyCredentialRequestOptions as JSON, to sign in with any passkey of this server."""
        challenge = await self._challenges.give("passkey", browser, begun)
        options = generate_authentication_options(
            rp_id=self._party.id,
            challenge=challenge.encode(),
            timeout=_WAIT_MILLISECONDS,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json(options)

    async def recognize(self, browser: str, response: str) -> Recognized:
        """Whose passkey answered. Raises PasskeyRefused."""
        try:
            credential = _read(response, parse_authentication_credential_json)
            begun = await self._take("passkey", browser, credential)
            async with self._engine.begin() as connection:
                account_id = await self._check(connection, credential)
        except PasskeyRefused as refused:
            _log.warning("passkey_refused", reason=str(refused))
            raise
        return Recognized(account_id, self._clock(), PASSKEY, begun.next_page)

    async def offer(self, session: SignedInSession) -> str:
        """PublicKeyCredentialCreationOptions as JSON, for a new passkey of the person signed in."""
        account = session.account
        begun = Begun("", self._clock())
        challenge = await self._challenges.give("new-passkey", session.id_hash, begun)
        options = generate_registration_options(
            rp_id=self._party.id,
            rp_name="Assent",
            user_id=account.id.encode(),
            user_name=account.username,
            user_display_name=account.display_name,
            challenge=challenge.encode(),
            timeout=_WAIT_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(base64url_to_bytes(passkey.id)) for passkey in await self.mine(account.id)
            ],
            supported_pub_key_algs=_ALGORITHMS,
        )
        return options_to_json(options)

    async def add(self, session: SignedInSession, response: str, name: str) -> None:
        """Keep a new passkey. Raises PasskeyRefused."""
        try:
            credential = _read(response, parse_registration_credential_json)
            await self._take("new-passkey", session.id_hash, credential)
            await self._insert(session.account.id, self._registered(credential), name)
        except PasskeyRefused as refused:
            _log.warning("passkey_refused", reason=str(refused))
            raise

    async def mine(self, account_id: str) -> Sequence[Passkey]:
        """An account's passkeys, oldest first."""
        p = tables.passkey.c
        async with self._engine.connect() as connection:
            rows = await connection.execute(
                select(p.credential_id, p.name, p.created_at, p.used_at)
                .where(p.user_id == account_id)
                .order_by(p.created_at, p.credential_id)
            )
        return [Passkey(bytes_to_base64url(r.credential_id), r.name, r.created_at, r.used_at) for r in rows]

    async def remove(self, account_id: str, passkey_id: str) -> bool:
        """Remove one of the account's passkeys; False when it has none such."""
        try:
            credential_id = base64url_to_bytes(passkey_id)
        except ValueError:
            return False
        p = tables.passkey
        async with self._engine.begin() as connection:
            gone = await connection.execute(
                delete(p).where(p.c.user_id == account_id, p.c.credential_id == credential_id)
            )
            if gone.rowcount:
                await self._notices.to_account(connection, account_id, "passkey-removed", self._clock())
        return bool(gone.rowcount)

    async def _take(
        self, kind: Kind, browser: str, credential: AuthenticationCredential | RegistrationCredential
    ) -> Begun:
        """What was begun with the challenge that the browser signed; it counts once."""
        try:
            data = parse_client_data_json(credential.response.client_data_json)
            challenge = data.challenge.decode("ascii")
        except Exception:
            raise PasskeyRefused("client-data") from None
        begun = await self._challenges.take(kind, browser, challenge)
        if begun is None:
            raise PasskeyRefused("challenge")
        if data.cross_origin:
            raise PasskeyRefused("framed")
        return begun

    async def _check(self, connection: AsyncConnection, credential: AuthenticationCredential) -> str:
        p = tables.passkey
        row = (await connection.execute(select(p).where(p.c.credential_id == credential.raw_id))).first()
        if row is None:
            raise PasskeyRefused("unknown")
        if credential.response.user_handle != row.user_id.encode():
            raise PasskeyRefused("user-handle")  # Level 3 §7.2, 6
        verified = self._verified(credential, row)
        # Of two answers with one counter, which only a copied passkey gives, one counts.
        counted = await connection.execute(
            update(p)
            .where(p.c.credential_id == credential.raw_id, p.c.sign_count == row.sign_count)
            .values(sign_count=verified.new_sign_count, used_at=self._clock())
        )
        if not counted.rowcount:
            raise PasskeyRefused("counter")
        return str(row.user_id)

    def _verified(self, credential: AuthenticationCredential, row: Row[tuple[object, ...]]) -> VerifiedAuthentication:
        try:
            return verify_authentication_response(
                credential=credential,
                expected_challenge=parse_client_data_json(credential.response.client_data_json).challenge,
                expected_rp_id=self._party.id,
                expected_origin=self._party.origin,
                credential_public_key=row.public_key,
                credential_current_sign_count=row.sign_count,
                require_user_verification=True,
            )
        except Exception:
            raise PasskeyRefused("assertion") from None

    def _registered(self, credential: RegistrationCredential) -> VerifiedRegistration:
        try:
            return verify_registration_response(
                credential=credential,
                expected_challenge=parse_client_data_json(credential.response.client_data_json).challenge,
                expected_rp_id=self._party.id,
                expected_origin=self._party.origin,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
        except Exception:
            raise PasskeyRefused("registration") from None

    async def _insert(self, account_id: str, made: VerifiedRegistration, name: str) -> None:
        if len(made.credential_id) > _MAX_CREDENTIAL_ID:
            raise PasskeyRefused("credential-id")
        p = tables.passkey
        async with self._engine.begin() as connection:
            # One at a time for each account, so that two don't pass the limit together.
            await connection.execute(
                select(tables.user_account.c.id).where(tables.user_account.c.id == account_id).with_for_update()
            )
            count = await connection.scalar(select(func.count()).select_from(p).where(p.c.user_id == account_id))
            if (count or 0) >= MOST:
                raise PasskeyRefused("too-many")
            new = insert(p).values(
                credential_id=made.credential_id,
                user_id=account_id,
                public_key=made.credential_public_key,
                sign_count=made.sign_count,
                name=name[:MAX_NAME],
                created_at=self._clock(),
            )
            inserted = await connection.execute(new.on_conflict_do_nothing())
            if not inserted.rowcount:
                raise PasskeyRefused("known")  # Level 3 §7.1, 26: a credential id belongs to one person
            await self._notices.to_account(connection, account_id, "passkey-added", self._clock())


async def forget_passkeys(
    connection: AsyncConnection, username: str, now: datetime, notices: Notices = NO_NOTICES
) -> int | None:
    """Remove all of a person's passkeys and end their sessions; how many there were, None when nobody has the name."""
    found = await find_by_username(connection, username)
    if found is None:
        return None
    gone = await connection.execute(delete(tables.passkey).where(tables.passkey.c.user_id == found[0]))
    await connection.execute(delete(tables.session).where(tables.session.c.user_id == found[0]))
    if gone.rowcount:
        await notices.to_account(connection, found[0], "passkey-removed", now)
    return int(gone.rowcount)


def _read(response: str, parse: Callable[[str], Credential]) -> Credential:
    if len(response) > MAX_RESPONSE:
        raise PasskeyRefused("too-large")
    try:
        return parse(response)
    except Exception:
        raise PasskeyRefused("malformed") from None
