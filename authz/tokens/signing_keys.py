"""The server's signing keys: ES256 for access tokens, RS256 for id tokens (SMART 2.2), rotated with an overlap.

A new key is published before it signs, and an old one stays published until everything it signed has expired. Private
keys are kept encrypted (AES-256-GCM, key derived from the server's secret).
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import ECKey, KeyParameters, RSAKey
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authz import tables
from authz.opaque_secret import new_secret
from fhir.store.change_bus import Change, announce

Algorithm = Literal["ES256", "RS256"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("ES256", "RS256")
PUBLISH_AHEAD: Final = timedelta(minutes=10)
"""How long a new key is published before it signs: longer than the JWKS may be cached."""
KEEP_AFTER: Final = timedelta(hours=2)
"""How long a replaced key stays published: longer than any token lives."""
_ROTATION_LOCK: Final = 7_301_554


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair."""

    kid: str
    alg: Algorithm
    key: ECKey | RSAKey
    public_jwk: dict[str, Any]
    active_from: datetime
    retires_at: datetime | None


class SigningKeys:
    """Keys in use, loaded from the database; `reload` when they change."""

    def __init__(self, engine: AsyncEngine, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=b"assent signing keys").derive(secret))
        self._keys: tuple[SigningKey, ...] = ()
        self._reloading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the keys, and make the first ones. Raises ValueError when the secret doesn't open them."""
        async with self._engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ROTATION_LOCK})
            present = set((await connection.execute(select(tables.signing_key.c.alg))).scalars())
            for alg in ALGORITHMS:
                if alg not in present:
                    await self._add(connection, alg, self._clock())
        await self.reload()

    async def reload(self) -> None:
        """Read the keys again."""
        now = self._clock()
        k = tables.signing_key.c
        async with self._engine.connect() as connection:
            rows = (await connection.execute(select(tables.signing_key).order_by(k.active_from))).all()
        self._keys = tuple(self._open(row) for row in rows if row.retires_at is None or row.retires_at > now)

    def on_change(self, change: Change) -> None:
        """Read the keys again when somebody, here or in another process, rotated them."""
        if change.kind in ("keys", "all"):
            self._reloading = asyncio.get_running_loop().create_task(self.reload(), name="reload-signing-keys")

    async def rotate_when_older_than(self, age: timedelta) -> None:
        """Rotate if the newest key has signed for longer than this."""
        newest = max(key.active_from for key in self._keys)
        if self._clock() - newest > age:
            await self.rotate()

    async def rotate(self) -> list[str]:
        """Publish new keys that sign from `PUBLISH_AHEAD` on; the old ones retire after it. Returns their kids."""
        now = self._clock()
        begins = now + PUBLISH_AHEAD
        k = tables.signing_key
        async with self._engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ROTATION_LOCK})
            await connection.execute(delete(k).where(k.c.retires_at < now))
            await connection.execute(update(k).where(k.c.retires_at.is_(None)).values(retires_at=begins + KEEP_AFTER))
            kids = [await self._add(connection, alg, begins) for alg in ALGORITHMS]
            await announce(connection, "keys", "")
        await self.reload()
        return kids

    def signing(self, alg: Algorithm) -> SigningKey:
        """The newest key that signs now."""
        now = self._clock()
        return max((k for k in self._keys if k.alg == alg and k.active_from <= now), key=lambda k: k.active_from)

    def find(self, kid: str) -> SigningKey | None:
        """A published key by its id."""
        now = self._clock()
        return next((k for k in self._keys if k.kid == kid and (k.retires_at is None or k.retires_at > now)), None)

    def listed(self) -> tuple[SigningKey, ...]:
        """All published keys."""
        now = self._clock()
        return tuple(k for k in self._keys if k.retires_at is None or k.retires_at > now)

    def jwks(self) -> dict[str, Any]:
        """RFC 7517 key set with the public keys."""
        return {"keys": [k.public_jwk for k in self.listed()]}

    async def _add(self, connection: AsyncConnection, alg: Algorithm, active_from: datetime) -> str:
        kid = new_secret()[:16]
        parameters: KeyParameters = {"kid": kid, "use": "sig", "alg": alg}
        key = await asyncio.to_thread(_generate, alg, parameters)
        await connection.execute(
            insert(tables.signing_key).values(
                kid=kid,
                alg=alg,
                private_key=self._seal(key.as_pem(private=True), kid),
                public_jwk={**key.as_dict(private=False), **parameters},
                created_at=self._clock(),
                active_from=active_from,
            )
        )
        return kid

    def _seal(self, pem: bytes, kid: str) -> str:
        nonce = os.urandom(12)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, pem, kid.encode())).decode()

    def _open(self, row: Any) -> SigningKey:
        sealed = base64.b64decode(row.private_key)
        try:
            pem = self._cipher.decrypt(sealed[:12], sealed[12:], row.kid.encode())
        except Exception as broken:  # InvalidTag: cryptography's own type says nothing to an operator
            raise ValueError("the signing keys can't be opened with this secret; check ASSENT_SECRET") from broken
        key: ECKey | RSAKey = (ECKey if row.alg == "ES256" else RSAKey).import_key(pem)
        return SigningKey(row.kid, row.alg, key, dict(row.public_jwk), row.active_from, row.retires_at)


def _generate(alg: Algorithm, parameters: KeyParameters) -> ECKey | RSAKey:
    if alg == "ES256":
        return ECKey.generate_key("P-256", parameters, private=True)
    return RSAKey.generate_key(2048, parameters, private=True)
