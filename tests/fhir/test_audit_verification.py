"""Whatever is done to the stored record is found, and named: what is wrong, at which entry."""

# ruff: noqa: S608 - every statement here is the test's own

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from authz.audit_signing import AuditSigner
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.chain import GENESIS, link_after
from fhir.audit.defect import Defect
from fhir.audit.signature import CHECKPOINT_TYPE, MANIFEST_TYPE
from fhir.audit.verification import AuditVerification
from tests.fhir.audit_place import AuditPlace, audit_place

VERSION = "assent.fhir_resource_version"
CURRENT = "assent.fhir_resource"
CHAIN = "assent.audit_chain"
CHECKPOINT = "assent.audit_checkpoint"
FOURTH = f"WHERE id = (SELECT event_id FROM {CHAIN} WHERE seq = 4)"
FORGED_BODY = "convert_to(replace(convert_from(body, 'UTF8'), 'p1', 'p2'), 'UTF8')"


@pytest.fixture
async def place(engine: AsyncEngine) -> AuditPlace:
    """Twelve entries; checkpoints at the sixth and the tenth."""
    place = await audit_place(engine)
    await place.add(6)
    await place.checkpoints.write()
    await place.add(4)
    await place.checkpoints.write()
    await place.add(2)
    return place


async def test_an_untouched_record_is_in_order(place: AuditPlace) -> None:
    found = await place.verify()
    assert found.defect is None
    assert (found.entries, found.adopted, found.checkpoints, found.since_checkpoint) == (12, 0, 2, 2)
    assert found.hash == (await place.links())[-1].hash


async def test_an_empty_record_is_in_order(engine: AsyncEngine) -> None:
    place = await audit_place(engine)
    assert await place.checkpoints.write() is None
    found = await place.verify()
    assert (found.defect, found.entries, found.hash) == (None, 0, GENESIS)


TAMPERED = [
    ("a version's body", f"UPDATE {VERSION} SET body = {FORGED_BODY} {FOURTH}", "content-changed", 4),
    ("the body that is shown", f"UPDATE {CURRENT} SET body = {FORGED_BODY} {FOURTH}", "content-changed", 4),
    ("shown as deleted", f"UPDATE {CURRENT} SET deleted = true {FOURTH}", "content-changed", 4),
    ("another version shown", f"UPDATE {CURRENT} SET version = 2 {FOURTH}", "content-changed", 4),
    ("a version gone", f"DELETE FROM {VERSION} {FOURTH}", "event-missing", 4),
    ("not shown any more", f"DELETE FROM {CURRENT} {FOURTH}", "event-missing", 4),
    ("an entry's content", f"UPDATE {CHAIN} SET content = sha256('x') WHERE seq = 4", "entry-changed", 4),
    ("an entry's event", f"UPDATE {CHAIN} SET event_id = 'x' WHERE seq = 4", "entry-changed", 4),
    ("an entry's version", f"UPDATE {CHAIN} SET version = 2 WHERE seq = 4", "entry-changed", 4),
    ("an entry's origin", f"UPDATE {CHAIN} SET adopted = true WHERE seq = 4", "entry-changed", 4),
    ("an entry's hash", f"UPDATE {CHAIN} SET hash = sha256('x') WHERE seq = 4", "entry-changed", 4),
    ("an entry's predecessor", f"UPDATE {CHAIN} SET previous = sha256('x') WHERE seq = 4", "order", 4),
    ("an entry gone", f"DELETE FROM {CHAIN} WHERE seq = 4", "entry-missing", 4),
    ("the first entry gone", f"DELETE FROM {CHAIN} WHERE seq = 1", "entry-missing", 1),
    ("a gap at a batch's end", f"DELETE FROM {CHAIN} WHERE seq BETWEEN 5 AND 6", "entry-missing", 5),
    ("an entry before the first", f"UPDATE {CHAIN} SET seq = 0 WHERE seq = 12", "entry-missing", 1),
    ("the end gone", f"DELETE FROM {CHAIN} WHERE seq >= 10", "truncated", 10),
    ("everything gone", [f"DELETE FROM {CHAIN}", f"DELETE FROM {VERSION}", f"DELETE FROM {CURRENT}"], "truncated", 1),
    (
        "two entries change places",
        [
            f"UPDATE {CHAIN} SET seq = 100 WHERE seq = 4",
            f"UPDATE {CHAIN} SET seq = 4 WHERE seq = 5",
            f"UPDATE {CHAIN} SET seq = 5 WHERE seq = 100",
        ],
        "order",
        4,
    ),
    ("an entry without a checkpoint gone", f"DELETE FROM {CHAIN} WHERE seq = 12", "event-unchained", None),
    (
        "an event slipped in",
        f"INSERT INTO {VERSION} SELECT resource_type, 'forged', 1, last_updated, false, body FROM {VERSION} {FOURTH}",
        "event-unchained",
        None,
    ),
    (
        "an event that is only shown",
        f"INSERT INTO {CURRENT} (resource_type, id, version, last_updated, deleted, body)"
        f" SELECT resource_type, 'forged', 1, last_updated, false, body FROM {VERSION} {FOURTH}",
        "event-unchained",
        None,
    ),
    (
        "a version on top",
        f"INSERT INTO {VERSION} SELECT resource_type, id, 2, last_updated, false, body FROM {VERSION} {FOURTH}",
        "event-unchained",
        None,
    ),
    ("a checkpoint's signature", f"UPDATE {CHECKPOINT} SET jws = jws || 'A' WHERE seq = 6", "signature", 6),
    ("a checkpoint's text", f"UPDATE {CHECKPOINT} SET jws = 'nonsense' WHERE seq = 6", "signature", 6),
    (
        "a checkpoint's key",
        f"""UPDATE {CHECKPOINT} SET public_jwk = jsonb_set(public_jwk, '{{kid}}', '"x"') WHERE seq = 6""",
        "signature",
        6,
    ),
    ("no key at all", f"UPDATE {CHECKPOINT} SET public_jwk = '{{}}' WHERE seq = 6", "signature", 6),
    ("a checkpoint's voucher", f"UPDATE {CHECKPOINT} SET voucher = sha256('x') WHERE seq = 6", "signature", 6),
    (
        "another checkpoint's signature",
        f"UPDATE {CHECKPOINT} SET jws = (SELECT jws FROM {CHECKPOINT} WHERE seq = 10) WHERE seq = 6",
        "checkpoint-changed",
        6,
    ),
    ("a checkpoint's hash", f"UPDATE {CHECKPOINT} SET hash = sha256('x') WHERE seq = 6", "checkpoint-changed", 6),
    ("a checkpoint's number", f"UPDATE {CHECKPOINT} SET entries = 5 WHERE seq = 6", "checkpoint-changed", 6),
    ("a checkpoint's time", f"UPDATE {CHECKPOINT} SET time = now() WHERE seq = 6", "checkpoint-changed", 6),
    ("a checkpoint's key id", f"UPDATE {CHECKPOINT} SET kid = 'x' WHERE seq = 6", "checkpoint-changed", 6),
    ("a checkpoint moved", f"UPDATE {CHECKPOINT} SET seq = 5 WHERE seq = 6", "checkpoint-changed", 5),
    ("a checkpoint moved before the first", f"UPDATE {CHECKPOINT} SET seq = 0 WHERE seq = 6", "checkpoint-changed", 0),
    ("a checkpoint moved to the end", f"UPDATE {CHECKPOINT} SET seq = 99 WHERE seq = 6", "checkpoint-changed", 99),
]


@pytest.mark.parametrize(("statements", "kind", "seq"), [t[1:] for t in TAMPERED], ids=[t[0] for t in TAMPERED])
async def test_tampering_is_found_and_named(
    place: AuditPlace, statements: str | list[str], kind: str, seq: int | None
) -> None:
    links = await place.links()
    await place.execute(statements)
    for batch in (1, 5, 200):
        defect = (await place.verify(batch=batch)).defect
        assert defect is not None
        assert (defect.kind, defect.seq) == (kind, seq)
        if seq is not None and kind.startswith(("content", "event")):
            assert defect.event == links[seq - 1].event_id


async def _rewrite(place: AuditPlace, first: int) -> None:
    """Change entry `first` and make everything behind it consistent, as one who knows the format would."""
    links = await place.links()
    await place.execute(f"UPDATE {VERSION} SET body = {FORGED_BODY} {FOURTH}")
    await place.execute(f"UPDATE {CURRENT} SET body = {FORGED_BODY} {FOURTH}")
    head = (first - 1, links[first - 2].hash)
    for old in links[first - 1 :]:
        await place.execute(
            f"UPDATE {CHAIN} SET content = (SELECT sha256(body) FROM {VERSION} WHERE id = event_id) WHERE seq = :seq",
            seq=old.seq,
        )
        content = (await place.links())[old.seq - 1].content
        link = link_after(head, old.event_id, old.version, content, adopted=False)
        update = f"UPDATE {CHAIN} SET previous = :previous, hash = :hash WHERE seq = :seq"
        await place.execute(update, previous=link.previous, hash=link.hash, seq=link.seq)
        head = (link.seq, link.hash)


async def test_a_chain_rewritten_from_an_entry_on_contradicts_the_next_checkpoint(place: AuditPlace) -> None:
    await _rewrite(place, 4)
    defect = (await place.verify()).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == ("checkpoint-contradicted", 6)


async def test_checkpoints_signed_with_a_key_that_was_never_the_servers_are_refused(place: AuditPlace) -> None:
    """The chain rewritten, the checkpoints deleted, and signed again by somebody who hasn't the server's secret."""
    await _rewrite(place, 4)
    await place.execute("DELETE FROM assent.signing_key")
    strange_keys = SigningKeys(place.engine, b"t" * 40, lambda: place.now)
    await strange_keys.start()
    stranger = AuditSigner(strange_keys, b"t" * 40)
    head = (await place.links())[-1]
    claims = {"iss": "https://a.example", "seq": 12, "hash": head.hash.hex(), "entries": 12}
    signed = stranger.sign(json.dumps(claims | {"time": "2024-06-01T12:00:00.000Z"}).encode(), CHECKPOINT_TYPE)
    await place.execute(f"DELETE FROM {CHECKPOINT}")
    await place.execute(
        f"INSERT INTO {CHECKPOINT} VALUES (12, :hash, 12, '2024-06-01T12:00:00Z', :kid, :jws, CAST(:key AS jsonb), :v)",
        hash=head.hash,
        kid=signed.kid,
        jws=signed.jws,
        key=json.dumps(signed.public_jwk),
        v=signed.voucher,
    )
    defect = (await place.verify()).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == ("signature", 12)
    defect = (await place.verify(kept=signed.jws)).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == ("signature", None)


async def test_only_a_checkpoint_kept_elsewhere_shows_what_its_keeper_erased(place: AuditPlace) -> None:
    """Somebody who holds database and keys takes entries and checkpoints away together."""
    kept = await place.checkpoints.write()
    assert kept is not None
    await place.execute(f"DELETE FROM {CHECKPOINT} WHERE seq > 10")
    for table in (VERSION, CURRENT):
        await place.execute(f"DELETE FROM {table} WHERE id IN (SELECT event_id FROM {CHAIN} WHERE seq > 10)")
    await place.execute(f"DELETE FROM {CHAIN} WHERE seq > 10")
    assert (await place.verify()).defect is None
    defect = (await place.verify(kept=kept.jws)).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == ("truncated", 11)
    await place.add(3)
    defect = (await place.verify(kept=kept.jws)).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == ("checkpoint-contradicted", 12)


async def test_a_checkpoint_kept_elsewhere_fits_for_ever(place: AuditPlace) -> None:
    kept = await place.checkpoints.write()
    assert kept is not None
    await place.add(3)
    found = await place.verify(kept=kept.jws)
    assert (found.defect, found.entries) == (None, 15)


@pytest.mark.parametrize("broken", ["", "a.b.c", "é", "x" * 100_000, "signed-for-something-else", "cut", "nul"])
async def test_what_is_no_checkpoint_of_this_server_is_a_no(place: AuditPlace, broken: str) -> None:
    kept = await place.checkpoints.write()
    assert kept is not None
    if broken == "signed-for-something-else":
        broken = place.signer.sign(b'{"iss":"","seq":6,"hash":"","entries":6,"time":""}', MANIFEST_TYPE).jws
    if broken == "nul":
        header = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"a\\u0000b"}').rstrip(b"=").decode()
        broken = f"{header}.{kept.jws.split('.', 1)[1]}"
    if broken == "cut":
        broken = kept.jws[:-4]
    defect = (await place.verify(kept=broken)).defect
    assert defect is not None
    assert defect.kind == "signature"


async def test_a_record_that_grows_meanwhile_is_verified_as_it_was(place: AuditPlace) -> None:
    class Overtaken(AuditVerification):
        """More is recorded and signed after the walk, before what is left over is looked for."""

        async def _left_over(self, *arguments: Any) -> Defect | None:
            await place.add(3)
            await place.checkpoints.write()
            return await super()._left_over(*arguments)

    found = await Overtaken(place.engine, schema="assent", signer=place.signer).run()
    assert (found.defect, found.entries) == (None, 12)
    assert (await place.verify()).entries == 15


@pytest.mark.slow
async def test_thousands_of_entries_are_verified_in_batches(engine: AsyncEngine) -> None:
    place = await audit_place(engine)
    await place.add(4_003)
    await place.checkpoints.write()
    found = await place.verify(batch=200)
    assert (found.defect, found.entries, found.since_checkpoint) == (None, 4_003, 0)
    await place.execute(f"UPDATE {CURRENT} SET body = 'x' WHERE id = (SELECT event_id FROM {CHAIN} WHERE seq = 4001)")
    defect = (await place.verify(batch=200)).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == ("content-changed", 4_001)
