"""The chain grows with the record, in one unbroken line, whoever moves, dies, rotates keys or comes from before."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from authz.audit_signing import AuditSigner
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.chain import GENESIS, AuditChain, ChainUnavailable, Link, link_after
from fhir.audit.checkpoints import INTERVAL, AuditCheckpoints, claims_in
from fhir.audit.event import audit_event
from fhir.audit.indexing import BATCH, AuditIndexing
from fhir.audit.journal import entry_of
from fhir.audit.signature import signed_payload
from fhir.r4.resource_body import Resource
from fhir.store.repository import Repository
from tests.fhir.audit_place import NOW, RECORD, SECRET, AuditPlace, audit_place


@pytest.fixture
async def place(engine: AsyncEngine) -> AuditPlace:
    return await audit_place(engine)


def test_the_encoding_is_the_documented_one() -> None:
    """docs/audit.md; worked out by hand, so that a change of the format can't go unnoticed."""
    assert hashlib.sha256(b"assent-audit-genesis-1\n").digest() == GENESIS
    assert GENESIS.hex() in (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    content = hashlib.sha256(b"{}").digest()
    entry = hashlib.sha256(f"assent-audit-entry-1\n1\nabc\n1\n{content.hex()}\nmoved\n".encode())
    hash = hashlib.sha256(f"assent-audit-link-1\n{GENESIS.hex()}\n{entry.hexdigest()}\n".encode())
    link = link_after((0, GENESIS), "abc", 1, content, adopted=False)
    assert link == Link(1, "abc", 1, content, False, GENESIS, hash.digest())
    assert link_after((0, GENESIS), "abc", 1, content, adopted=True).hash != link.hash


async def test_moved_records_are_chained_in_the_order_in_which_they_were_written(place: AuditPlace) -> None:
    await place.add(BATCH + 5)
    links = await place.links()
    assert [link.seq for link in links] == list(range(1, BATCH + 6))
    assert [link.event_id for link in links] == sorted(link.event_id for link in links)
    stored = await place.repository.read("AuditEvent", links[0].event_id)
    assert stored is not None
    assert links[0].content == hashlib.sha256(stored.body).digest()
    assert links[0].previous == GENESIS
    assert all(after.previous == before.hash for before, after in itertools.pairwise(links))


async def test_processes_that_move_at_once_make_one_unbroken_chain(place: AuditPlace) -> None:
    for _ in range(3):
        await place.journal.append([entry_of(RECORD) for _ in range(BATCH + 30)])
        await asyncio.gather(*(AuditIndexing(place.journal, place.repository).settle() for _ in range(4)))
    found = await place.verify()
    assert (found.defect, found.entries) == (None, 3 * (BATCH + 30))


async def test_a_patients_records_moved_first_and_the_rest_make_one_chain(place: AuditPlace) -> None:
    patients = ("p1", "p2", "p3")
    await place.journal.append([entry_of(replace(RECORD, patient=patients[n % 3])) for n in range(60)])
    movers = [AuditIndexing(place.journal, place.repository) for _ in patients]
    await asyncio.gather(
        *(mover.settle(name) for mover, name in zip(movers, patients, strict=True)), movers[0].settle()
    )
    found = await place.verify()
    assert (found.defect, found.entries) == (None, 60)


async def test_a_record_written_again_after_it_was_chained_is_chained_once(place: AuditPlace) -> None:
    entry = entry_of(RECORD)
    for _ in range(2):
        await place.journal.append([entry])
        await AuditIndexing(place.journal, place.repository).settle()
    assert len(await place.links()) == 1


async def test_an_event_and_its_entry_stand_and_fall_together(place: AuditPlace) -> None:
    await place.journal.append([entry_of(RECORD)])
    async with place.engine.connect() as connection:
        (entry,) = await place.journal.take(connection, 1)
        await place.repository.load([{**audit_event(entry.read()), "id": str(entry.id)}], connection=connection)
        await AuditChain(schema="assent").append(connection, [str(entry.id)])
        await connection.rollback()
    assert (await place.count("audit_chain"), await place.count("fhir_resource")) == (0, 0)
    await AuditIndexing(place.journal, place.repository).settle()
    assert (await place.verify()).entries == 1


async def test_a_chain_that_cannot_be_written_leaves_records_in_the_journal_unblamed(place: AuditPlace) -> None:
    await place.journal.append([entry_of(RECORD) for _ in range(3)])
    await place.execute("ALTER TABLE assent.audit_chain RENAME TO gone")
    with pytest.raises(ChainUnavailable):
        await AuditIndexing(place.journal, place.repository).settle()
    assert await place.journal.counts() == (3, 0)
    await place.execute("ALTER TABLE assent.gone RENAME TO audit_chain")
    await AuditIndexing(place.journal, place.repository).settle()
    assert (await place.verify()).entries == 3


class PoisonedRepository(Repository):
    """Refuses one record, as none that is known is refused."""

    async def load(self, resources: Iterable[Resource], *, connection: AsyncConnection | None = None) -> int:
        resources = list(resources)
        if "poison" in str(resources):
            raise ValueError("poison")
        return await super().load(resources, connection=connection)


async def test_beside_a_record_at_fault_a_broken_chain_blames_no_other(place: AuditPlace) -> None:
    # Later, so that its turn comes after the other's: entries of one moment stand in no order.
    poison = replace(RECORD, request_id="poison", recorded=NOW + timedelta(seconds=1))
    await place.journal.append([entry_of(RECORD), entry_of(poison)])
    repository = PoisonedRepository(place.engine, place.repository.definitions, schema="assent", clock=lambda: NOW)
    await place.execute("ALTER TABLE assent.audit_chain RENAME TO gone")
    with pytest.raises(ChainUnavailable):
        await AuditIndexing(place.journal, repository).settle()
    assert await place.journal.counts() == (2, 0)
    await place.execute("ALTER TABLE assent.gone RENAME TO audit_chain")
    await AuditIndexing(place.journal, repository).settle()
    assert await place.journal.counts() == (1, 1)
    assert (await place.verify()).entries == 1


async def _store_as_the_release_before(place: AuditPlace, count: int) -> list[str]:
    """Make AuditEvents of records without chaining them."""
    entries = [entry_of(replace(RECORD, recorded=NOW + timedelta(seconds=n))) for n in range(count)]
    await place.repository.load([{**audit_event(e.read()), "id": str(e.id)} for e in entries])
    return [str(entry.id) for entry in entries]


async def test_events_of_the_release_before_are_chained_by_id_and_marked(place: AuditPlace) -> None:
    ids = await _store_as_the_release_before(place, 1_203)
    await place.add(2)
    defect = (await place.verify()).defect
    assert defect is not None
    assert (defect.kind, defect.event) == ("event-unchained", ids[0])
    assert await place.adopt() == 1_203
    found = await place.verify()
    assert (found.defect, found.entries, found.adopted) == (None, 1_205, 1_203)
    assert [link.event_id for link in (await place.links())[2:]] == ids
    assert await place.adopt() == 0


async def test_processes_that_adopt_and_move_at_once_chain_each_event_once(place: AuditPlace) -> None:
    await _store_as_the_release_before(place, 600)
    await place.journal.append([entry_of(RECORD) for _ in range(150)])
    moving = (AuditIndexing(place.journal, place.repository).settle() for _ in range(2))
    await asyncio.gather(*(place.adopt() for _ in range(3)), *moving)
    found = await place.verify()
    assert (found.defect, found.entries, found.adopted) == (None, 750, 600)


async def test_a_checkpoint_says_where_the_chain_is_and_is_written_once(place: AuditPlace) -> None:
    await place.add(3)
    written = await place.checkpoints.write()
    assert written is not None
    claims = claims_in(written.jws, written.public_jwk)
    head = (await place.links())[-1]
    assert claims is not None
    assert (claims.iss, claims.seq, claims.hash, claims.entries) == ("https://a.example", 3, head.hash.hex(), 3)
    assert claims.time == "2024-06-01T12:00:00.030Z"
    assert await place.checkpoints.write() == written
    assert await place.count("audit_checkpoint") == 1


async def test_a_checkpoint_is_no_token_of_another_kind(place: AuditPlace) -> None:
    await place.add(1)
    written = await place.checkpoints.write()
    assert written is not None
    assert signed_payload(written.jws, written.public_jwk, "at+jwt") is None


async def test_a_young_checkpoint_makes_the_next_one_wait(place: AuditPlace) -> None:
    await place.add(1)
    first = await place.checkpoints.write(least_age=INTERVAL)
    await place.add(1)
    assert await place.checkpoints.write(least_age=INTERVAL) == first
    place.now += INTERVAL
    second = await place.checkpoints.write(least_age=INTERVAL)
    assert second is not None
    assert second.seq == 2


async def test_processes_that_write_checkpoints_at_once_write_one(place: AuditPlace) -> None:
    for count in range(1, 9):
        await place.add(1)
        written = await asyncio.gather(*(place.checkpoints.write() for _ in range(4)))
        assert len({checkpoint and checkpoint.jws for checkpoint in written}) == 1
        assert await place.count("audit_checkpoint") == count


async def _until_a_checkpoint_is_there(place: AuditPlace, count: int) -> None:
    async with asyncio.timeout(20):
        while await place.count("audit_checkpoint") < count:  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.02)


async def test_who_is_killed_between_move_and_checkpoint_loses_nothing(place: AuditPlace) -> None:
    """The chain is committed with the move; the next process signs it when it starts."""
    await _store_as_the_release_before(place, 2)
    await place.add(7)
    place.checkpoints.start()
    await _until_a_checkpoint_is_there(place, 1)
    await place.checkpoints.close()
    found = await place.verify()
    assert (found.defect, found.entries, found.adopted, found.since_checkpoint) == (None, 9, 2, 0)


async def test_a_clean_shutdown_signs_what_the_last_checkpoint_does_not_cover(place: AuditPlace) -> None:
    await place.add(2)
    place.checkpoints.start()
    await _until_a_checkpoint_is_there(place, 1)
    await place.add(2)
    await place.checkpoints.close()
    found = await place.verify()
    assert (found.checkpoints, found.since_checkpoint) == (2, 0)


async def test_a_shutdown_without_a_database_ends_all_the_same(place: AuditPlace) -> None:
    await place.add(1)
    place.checkpoints.start()
    await place.execute("ALTER TABLE assent.audit_checkpoint RENAME TO gone")
    await place.checkpoints.close()


async def test_checkpoints_stay_verifiable_when_their_keys_are_long_gone(place: AuditPlace) -> None:
    kept = []
    for _ in range(4):
        await place.add(2)
        kept.append(await place.checkpoints.write())
        await place.keys.rotate()
        place.now += timedelta(days=90)
    async with place.engine.connect() as connection:
        kids = set((await connection.execute(text("SELECT kid FROM assent.signing_key"))).scalars())
    assert kept[0] is not None
    assert kept[0].kid not in kids
    assert len({checkpoint and checkpoint.kid for checkpoint in kept}) == 4
    found = await place.verify(kept=kept[0].jws)
    assert (found.defect, found.checkpoints) == (None, 4)


async def test_a_server_with_another_secret_vouches_for_no_key(place: AuditPlace) -> None:
    await place.add(1)
    written = await place.checkpoints.write()
    assert written is not None
    assert place.signer.vouches(written.public_jwk, written.voucher)
    assert not AuditSigner(place.keys, b"t" * 40).vouches(written.public_jwk, written.voucher)
    for changed in ({**written.public_jwk, "kid": "x"}, {}, {"kty": "RSA"}, {**written.public_jwk, "x": "AA"}):
        assert not place.signer.vouches(changed, written.voucher)


async def test_two_servers_with_the_same_secret_know_each_others_keys(place: AuditPlace, engine: AsyncEngine) -> None:
    await place.add(1)
    written = await place.checkpoints.write()
    assert written is not None
    other = SigningKeys(engine, SECRET, lambda: place.now)
    await other.start()
    signer = AuditSigner(other, SECRET)
    assert signer.vouches(json.loads(json.dumps(written.public_jwk)), written.voucher)
    again = AuditCheckpoints(
        engine, schema="assent", signer=signer, issuer="https://a.example", clock=lambda: place.now
    )
    assert await again.write() == written
