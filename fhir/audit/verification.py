"""Walks the hash chain and says whether the stored AuditEvents are those that were recorded.

One read-only snapshot, in batches of bounded size. Every hash is computed again from the stored bytes, every
checkpoint's signature is verified, and the first thing that is wrong ends the walk. What a walk can't see stands in
docs/audit.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from fhir.audit.chain import GENESIS, Link
from fhir.audit.checkpoints import Checkpoint, claims_in
from fhir.audit.defect import Defect
from fhir.audit.signature import Signer, kid_of
from fhir.r4.resource_body import instant

BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Verified:
    """What was walked; with a defect, up to it. `since_checkpoint`: entries that no checkpoint covers yet."""

    entries: int = 0
    adopted: int = 0
    checkpoints: int = 0
    since_checkpoint: int = 0
    hash: bytes = GENESIS
    defect: Defect | None = None


class AuditVerification:
    """Verifies the chain of one schema."""

    def __init__(self, engine: AsyncEngine, *, schema: str, signer: Signer) -> None:
        self._engine = engine
        self._signer = signer
        chain, checkpoints = f'"{schema}".audit_chain', f'"{schema}".audit_checkpoint'
        current, versions = f'"{schema}".fhir_resource', f'"{schema}".fhir_resource_version'
        # The schema's name is ours in every statement here. Bodies are hashed here, not by the database, whose
        # functions somebody may have replaced.
        self._links = text(
            f"SELECT {', '.join('c.' + name for name in Link._fields)}, v.body AS stored, r.body AS shown, "  # noqa: S608
            "coalesce(v.deleted OR r.deleted OR r.version <> c.version, true) AS gone "
            f"FROM {chain} c "
            f"LEFT JOIN {versions} v ON (v.resource_type, v.id, v.version) = ('AuditEvent', c.event_id, c.version) "
            f"LEFT JOIN {current} r ON (r.resource_type, r.id) = ('AuditEvent', c.event_id) "
            "WHERE c.seq > :after ORDER BY c.seq LIMIT :most"
        )
        columns = ", ".join(Checkpoint._fields)
        self._checkpoints = text(
            f"SELECT {columns} FROM {checkpoints} WHERE seq > :after AND seq <= :last ORDER BY seq"  # noqa: S608
        )
        self._checkpoint_beyond = text(
            f"SELECT {columns} FROM {checkpoints} WHERE seq > :last OR seq < 1 ORDER BY seq LIMIT 1"  # noqa: S608
        )
        self._keys = text(
            f"SELECT DISTINCT public_jwk, voucher FROM {checkpoints} WHERE kid = :kid LIMIT 10"  # noqa: S608
        )
        self._unchained = text(
            f"SELECT id FROM {versions} v WHERE resource_type = 'AuditEvent' AND NOT EXISTS "  # noqa: S608
            f"(SELECT FROM {chain} c WHERE c.event_id = v.id AND c.version = v.version) "
            f"UNION ALL SELECT id FROM {current} r WHERE resource_type = 'AuditEvent' AND NOT EXISTS "
            f"(SELECT FROM {chain} c WHERE c.event_id = r.id) LIMIT 1"
        )

    async def run(self, *, kept: str | None = None, batch: int = BATCH) -> Verified:
        """Verify everything; `kept` is a checkpoint's JWS that was kept elsewhere and must fit as well."""
        async with self._engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            expected: dict[int, str] = {}
            if kept is not None:
                found = await self._kept(connection, kept)
                if isinstance(found, Defect):
                    return Verified(defect=found)
                expected = found
            walked = await self._walk(connection, batch, expected)
            if walked.defect is None:
                walked = replace(walked, defect=await self._left_over(connection, walked, expected))
            return walked

    async def _walk(self, connection: AsyncConnection, batch: int, expected: Mapping[int, str]) -> Verified:
        state = Verified()
        after = -(2**63)
        while rows := (await connection.execute(self._links, {"after": after, "most": batch})).all():
            last = rows[-1].seq
            found = (await connection.execute(self._checkpoints, {"after": state.entries, "last": last})).all()
            checkpoints = {row.seq: Checkpoint(*row) for row in found}
            for row in rows:
                link = Link(*row[: len(Link._fields)])
                defect = _link_defect(state, link) or _event_defect(link, row)
                defect = defect or self._checkpoint_defect(link, checkpoints.get(link.seq), expected.get(link.seq))
                if defect is not None:
                    return replace(state, defect=defect)
                state = _after(state, link, has_checkpoint=link.seq in checkpoints)
            after = last
        return state

    async def _left_over(
        self, connection: AsyncConnection, walked: Verified, expected: Mapping[int, str]
    ) -> Defect | None:
        """What the walk didn't meet: a chain that was longer, and events beside it."""
        row = (await connection.execute(self._checkpoint_beyond, {"last": walked.entries})).one_or_none()
        if row is not None and (defect := self._signature_defect(Checkpoint(*row))):
            return defect
        longest = max(filter(None, (row and row.seq, *expected)), default=0)
        if longest > walked.entries:
            return Defect(
                "truncated",
                f"the chain ends after entry {walked.entries}, and a checkpoint says that there were {longest}",
                walked.entries + 1,
            )
        event = await connection.scalar(self._unchained)
        if event is not None:
            return Defect("event-unchained", "an AuditEvent is stored that the chain doesn't know", None, event)
        return None

    def _checkpoint_defect(self, link: Link, checkpoint: Checkpoint | None, expected: str | None) -> Defect | None:
        if checkpoint is not None:
            if defect := self._signature_defect(checkpoint):
                return defect
            if checkpoint.hash != link.hash:
                return _contradicted(link, "a signed checkpoint")
        if expected is not None and expected != link.hash.hex():
            return _contradicted(link, "the checkpoint kept elsewhere")
        return None

    def _signature_defect(self, checkpoint: Checkpoint) -> Defect | None:
        """Of a checkpoint by itself: one of our keys signed what its row says."""
        if not self._signer.vouches(checkpoint.public_jwk, checkpoint.voucher):
            return Defect("signature", "a checkpoint's key was never this server's", checkpoint.seq)
        claims = claims_in(checkpoint.jws, checkpoint.public_jwk)
        if claims is None:
            return Defect("signature", "a checkpoint's signature is wrong", checkpoint.seq)
        says = (claims.seq, claims.hash, claims.entries, claims.time, kid_of(checkpoint.jws))
        row = (checkpoint.seq, checkpoint.hash.hex(), checkpoint.seq, instant(checkpoint.time), checkpoint.kid)
        if says != row or checkpoint.entries != checkpoint.seq:
            return Defect("checkpoint-changed", "a checkpoint's row differs from what was signed", checkpoint.seq)
        return None

    async def _kept(self, connection: AsyncConnection, token: str) -> dict[int, str] | Defect:
        """seq and hash of a checkpoint from elsewhere, signed by a key that is published or that a checkpoint names."""
        kid = kid_of(token) or ""
        rows = await connection.execute(self._keys, {"kid": kid})
        candidates = [row.public_jwk for row in rows if self._signer.vouches(*row)]
        for key in [*candidates, *filter(None, [self._signer.published(kid)])]:
            if claims := claims_in(token, key):
                return {claims.seq: claims.hash}
        return Defect("signature", "no key of this server that is still known signed the checkpoint kept elsewhere")


def _after(state: Verified, link: Link, *, has_checkpoint: bool) -> Verified:
    return replace(
        state,
        entries=link.seq,
        adopted=state.adopted + link.adopted,
        checkpoints=state.checkpoints + has_checkpoint,
        since_checkpoint=0 if has_checkpoint else state.since_checkpoint + 1,
        hash=link.hash,
    )


def _link_defect(state: Verified, link: Link) -> Defect | None:
    """Of an entry by itself and behind the one before."""
    wanted = state.entries + 1
    if link.seq != wanted:
        return Defect("entry-missing", f"entry {wanted} is missing; the next one there is {link.seq}", wanted)
    if link.previous != state.hash:
        return Defect("order", "the entry doesn't follow the one before it", link.seq, link.event_id)
    if link.hash != link.right_hash:
        return Defect("entry-changed", "the entry doesn't have the hash of its content", link.seq, link.event_id)
    return None


def _event_defect(link: Link, row: Any) -> Defect | None:
    """Of the AuditEvent that an entry names: kept as a version, and the same is shown."""
    if row.stored is None or row.shown is None:
        return Defect("event-missing", "the AuditEvent is not in the repository", link.seq, link.event_id)
    if row.gone or any(digest != link.content for digest in _digests((row.stored, row.shown))):
        return Defect("content-changed", "the AuditEvent is not what was recorded", link.seq, link.event_id)
    return None


def _digests(bodies: Iterable[bytes]) -> Iterable[bytes]:
    return (hashlib.sha256(body).digest() for body in bodies)


def _contradicted(link: Link, by: str) -> Defect:
    return Defect("checkpoint-contradicted", f"{by} has another hash for the entry", link.seq, link.event_id)
