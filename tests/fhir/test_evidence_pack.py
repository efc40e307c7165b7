"""An evidence pack holds by itself, gives away nothing about others, and shows whatever is done to it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import pytest_asyncio
from joserfc import jws
from joserfc.jwk import KeySet
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from authz.audit_signing import AuditSigner
from authz.tokens.signing_keys import SigningKeys
from fhir.audit.evidence_check import check_pack
from fhir.audit.evidence_pack import EvidencePack, NoEvidence
from fhir.audit.signature import MANIFEST_TYPE, thumbprint
from fhir.search.query import parse_search
from tests.conftest import MakeDatabase
from tests.fhir.audit_place import NOW, AuditPlace, audit_place

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack about `ana`, in a record with others."""

    place: AuditPlace
    data: bytes

    @property
    def files(self) -> Files:
        with ZipFile(io.BytesIO(self.data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def jwks(self) -> bytes:
        """What the server's `/jwks` answers."""
        return json.dumps(self.place.keys.jwks()).encode()

    def signed_anew(self, files: Mapping[str, bytes], signer: AuditSigner | None = None) -> bytes:
        """A pack of these files whose manifest fits them and is signed: what a server that was deceived would make."""
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])}
            for name in manifest["files"]
        }
        text = json.dumps(manifest).encode()
        signed = (signer or self.place.signer).sign(text, MANIFEST_TYPE)
        return zipped({**files, "manifest.json": text, "manifest.jws": signed.jws.encode()})


def zipped(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


async def pack_of(place: AuditPlace, patient: str) -> bytes:
    """What `assent audit export --evidence` makes."""

    async def ids() -> AsyncIterator[list[str]]:
        asked = (("patient", f"Patient/{patient}"), ("_count", "100"))
        query = parse_search("AuditEvent", asked, place.repository.definitions, max_count=100)
        yield [event.id for event in (await place.repository.search(query)).matches]

    evidence = EvidencePack(place.engine, schema="assent", signer=place.signer)
    seqs = await evidence.entries_of(ids())
    await place.checkpoints.write()
    target = io.BytesIO()
    await evidence.write(target, seqs, iss="https://a.example", at=NOW, patient=patient)
    return target.getvalue()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def packed(make_database: MakeDatabase) -> AsyncIterator[Packed]:
    """One pack for all tests that only look."""
    engine = create_async_engine(await make_database())
    yield await _packed(engine)
    await engine.dispose()


@pytest.fixture
async def own(engine: AsyncEngine) -> Packed:
    """A record of the test's own, to be changed."""
    return await _packed(engine)


async def _packed(engine: AsyncEngine) -> Packed:
    """ana at 1-2, 6 and 9-10; checkpoints at 4, 8 and the end (11); keys rotated in between."""
    place = await audit_place(engine)
    for patient, count, checkpoint in (("ana", 2, False), ("bob", 2, True), ("bob", 1, False), ("ana", 1, False)):
        await place.add(count, patient)
        if checkpoint:
            await place.checkpoints.write()
            await place.keys.rotate()
    await place.add(2, "bob")
    await place.checkpoints.write()
    await place.add(2, "ana")
    await place.add(1, "bob")
    return Packed(place, await pack_of(place, "ana"))


async def test_a_pack_holds_by_itself(packed: Packed) -> None:
    found = check_pack(io.BytesIO(packed.data), packed.jwks())
    assert found.defect is None
    assert (found.events, found.checkpoints, found.trusted) == (5, 3, True)
    assert found.manifest is not None
    assert (found.manifest.iss, found.manifest.patient) == ("https://a.example", "ana")
    events = packed.files["events.ndjson"].splitlines()
    for line, seq in zip(events, (1, 2, 6, 9, 10), strict=True):
        link = (await packed.place.links())[seq - 1]
        stored = await packed.place.repository.read("AuditEvent", link.event_id)
        assert stored is not None
        assert line == stored.body


async def test_a_pack_names_nothing_about_anybody_else(packed: Packed) -> None:
    mine = {1, 2, 6, 9, 10}
    whole = b"".join(packed.files.values()).decode()
    for link in await packed.place.links():
        assert (link.event_id in whole) == (link.seq in mine)
        assert (link.content.hex() in whole) == (link.seq in mine)
    assert "bob" not in whole
    lines = [json.loads(line) for line in packed.files["chain.ndjson"].splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [line["seq"] for line in lines if "previous" in line] == [1, 6, 9]


async def test_a_pack_about_nobody_is_empty_and_holds(packed: Packed) -> None:
    found = check_pack(io.BytesIO(await pack_of(packed.place, "nobody")), packed.jwks())
    assert (found.defect, found.events, found.checkpoints) == (None, 0, 0)


async def test_the_readme_in_the_pack_suffices(packed: Packed) -> None:
    """The steps of the README, without any code of ours."""
    files = packed.files
    events = iter(files["events.ndjson"].splitlines())
    hashes, running = {}, ""
    for line in map(json.loads, files["chain.ndjson"].splitlines()):
        running = line.get("previous", running)
        entry = line.get("entry")
        if entry is None:
            content = hashlib.sha256(next(events)).hexdigest()
            assert content == line["content"]
            text = f"assent-audit-entry-1\n{line['seq']}\n{line['id']}\n{line['version']}\n{content}\nmoved\n"
            entry = hashlib.sha256(text.encode()).hexdigest()
        running = hashlib.sha256(f"assent-audit-link-1\n{running}\n{entry}\n".encode()).hexdigest()
        hashes[line["seq"]] = running
    keys = KeySet.import_key_set(json.loads(files["jwks.json"]))
    for token in files["checkpoints.txt"].splitlines():
        found = jws.deserialize_compact(token, keys, ["ES256"])
        claims = json.loads(found.payload)
        assert hashes[claims["seq"]] == claims["hash"]
        assert found.headers()["typ"] == "assent-audit-checkpoint+jwt"
    assert jws.deserialize_compact(files["manifest.jws"], keys, ["ES256"]).payload == files["manifest.json"]


LISTED = ["README.txt", "events.ndjson", "chain.ndjson", "checkpoints.txt", "jwks.json"]


@pytest.mark.parametrize("name", [*LISTED, "manifest.json", "manifest.jws"])
async def test_any_byte_changed_in_any_file_is_found(packed: Packed, name: str) -> None:
    for position in (0, len(packed.files[name]) // 2, -2):
        changed = bytearray(packed.files[name])
        changed[position] ^= 1
        found = check_pack(io.BytesIO(zipped({**packed.files, name: bytes(changed)})))
        assert found.defect is not None
        assert found.defect.kind in ("pack-damaged", "signature")


@pytest.mark.parametrize("name", [*LISTED, "manifest.json", "manifest.jws"])
async def test_a_file_missing_too_long_or_cut_is_found(packed: Packed, name: str) -> None:
    files = packed.files
    without = {other: data for other, data in files.items() if other != name}
    for broken in (without, {**files, name: files[name] + b"\n"}, {**files, name: b""}, {**files, "more": b""}):
        found = check_pack(io.BytesIO(zipped(broken)))
        assert found.defect is not None
        assert found.defect.kind in ("pack-damaged", "signature")


@pytest.mark.parametrize("cut", [0, 10, 500, -1])
async def test_what_is_no_zip_is_damaged(packed: Packed, cut: int) -> None:
    found = check_pack(io.BytesIO(packed.data[:cut]))
    assert found.defect is not None
    assert found.defect.kind == "pack-damaged"


async def test_bytes_of_the_archive_changed_never_pass_and_never_crash(packed: Packed) -> None:
    for position in range(0, len(packed.data), 97):
        changed = bytearray(packed.data)
        changed[position] ^= 0xFF
        found = check_pack(io.BytesIO(bytes(changed)))
        # Some bytes of a zip (times, versions) mean nothing; what is read from it must then be the same.
        assert found.defect is not None or found.events == 5


def _lines(files: Files, name: str, change: Callable[[list[bytes]], list[bytes]]) -> Files:
    return {**files, name: b"".join(line + b"\n" for line in change(files[name].splitlines()))}


def _chain(change: Callable[[list[dict[str, object]]], object]) -> Callable[[Files], Files]:
    def changed(files: Files) -> Files:
        lines = [json.loads(line) for line in files["chain.ndjson"].splitlines()]
        change(lines)
        return {**files, "chain.ndjson": b"".join(json.dumps(line).encode() + b"\n" for line in lines)}

    return changed


def _without_event(files: Files) -> Files:
    """The second event and everything about it, as one who leaves something out would."""
    files = _lines(files, "events.ndjson", lambda lines: [lines[0], *lines[2:]])
    return _chain(lambda lines: lines.pop(1))(files)


def _events(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Files], Files]:
    return lambda files: _lines(files, "events.ndjson", change)


def _checkpoints(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Files], Files]:
    return lambda files: _lines(files, "checkpoints.txt", change)


DECEIVED: list[tuple[str, Callable[[Files], Files], str, int | None]] = [
    (
        "an event changed",
        _events(lambda x: [x[0].replace(b"ana", b"bob"), *x[1:]]),
        "content-changed",
        1,
    ),
    (
        "events in another order",
        lambda f: _lines(f, "events.ndjson", lambda x: [x[1], x[0], *x[2:]]),
        "content-changed",
        1,
    ),
    ("an event left out", _events(lambda x: x[:-1]), "event-missing", 10),
    ("an event too many", _events(lambda x: [*x, b"{}"]), "event-unchained", None),
    ("an event left out with its entry", _without_event, "entry-missing", 2),
    ("an entry's digest", _chain(lambda x: x[2].update(entry="00" * 32)), "checkpoint-contradicted", 4),
    ("an entry's id", _chain(lambda x: x[0].update(id="x")), "checkpoint-contradicted", 4),
    ("an entry's version", _chain(lambda x: x[0].update(version=2)), "checkpoint-contradicted", 4),
    ("an entry's origin", _chain(lambda x: x[0].update(adopted=True)), "checkpoint-contradicted", 4),
    ("what came before", _chain(lambda x: x[0].update(previous="00" * 32)), "checkpoint-contradicted", 4),
    ("a run begun anew", _chain(lambda x: x[1].update(previous="00" * 32)), "order", 2),
    ("no beginning", _chain(lambda x: x[0].pop("previous")), "truncated", 1),
    ("the end cut", _chain(lambda x: x.pop()), "truncated", 11),
    ("neither digest nor event", _chain(lambda x: x[2].pop("entry")), "pack-damaged", 3),
    ("no hexadecimal", _chain(lambda x: x[2].update(entry="zz")), "pack-damaged", None),
    ("no number", _chain(lambda x: x[2].update(seq="3")), "pack-damaged", None),
    ("a checkpoint left out", _checkpoints(lambda x: x[1:]), "order", 6),
    ("no checkpoints", lambda f: {**f, "checkpoints.txt": b""}, "truncated", 1),
    ("a checkpoint too many", _checkpoints(lambda x: [*x, x[0]]), "event-unchained", None),
    (
        "a checkpoint's signature",
        lambda f: _lines(f, "checkpoints.txt", lambda x: [x[0][:-4], *x[1:]]),
        "signature",
        None,
    ),
    ("a line without end", lambda f: {**f, "chain.ndjson": f["chain.ndjson"][:-1]}, "pack-damaged", None),
]


@pytest.mark.parametrize(("change", "kind", "seq"), [d[1:] for d in DECEIVED], ids=[d[0] for d in DECEIVED])
async def test_even_signed_anew_a_changed_pack_contradicts_its_checkpoints(
    packed: Packed, change: Callable[[Files], Files], kind: str, seq: int | None
) -> None:
    assert check_pack(io.BytesIO(packed.signed_anew(packed.files))).defect is None
    defect = check_pack(io.BytesIO(packed.signed_anew(change(packed.files)))).defect
    assert defect is not None
    assert (defect.kind, defect.seq) == (kind, seq)


async def test_a_pack_made_with_other_keys_is_found_by_the_servers_key_set_alone(
    own: Packed, engine: AsyncEngine
) -> None:
    """Whoever makes a pack can make keys: only the key set that was learned from the server tells."""
    await own.place.execute("DELETE FROM assent.signing_key")
    strangers = SigningKeys(engine, b"t" * 40, lambda: NOW)
    await strangers.start()
    signer = AuditSigner(strangers, b"t" * 40)
    key = signer.signing_key()
    files = {**own.files}
    keys = json.loads(files["jwks.json"])["keys"]
    forged = own.signed_anew({**files, "jwks.json": json.dumps({"keys": [*keys, key]}).encode()}, signer)
    alone = check_pack(io.BytesIO(forged))
    assert (alone.defect, alone.trusted, alone.key) == (None, False, thumbprint(key))
    compared = check_pack(io.BytesIO(forged), own.jwks())
    assert compared.defect is not None
    assert compared.defect.kind == "unknown-key"


@pytest.mark.parametrize("expected", [b"", b"{}", b"[]", b'{"keys": [{"kty": "EC"}]}', b'{"keys": [1]}'])
async def test_a_key_set_that_is_none_trusts_nobody(packed: Packed, expected: bytes) -> None:
    found = check_pack(io.BytesIO(packed.data), expected)
    assert found.defect is not None
    assert not found.trusted


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM assent.audit_chain WHERE seq = 6",
        "DELETE FROM assent.fhir_resource_version WHERE id = (SELECT event_id FROM assent.audit_chain WHERE seq = 6)",
        "UPDATE assent.audit_checkpoint SET voucher = sha256('x') WHERE seq = 8",
    ],
)
async def test_no_pack_is_made_of_a_record_in_which_something_is_missing(own: Packed, statement: str) -> None:
    await own.place.execute(statement)
    with pytest.raises(NoEvidence):
        await pack_of(own.place, "ana")
