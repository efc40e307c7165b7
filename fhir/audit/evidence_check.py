"""Verifies an evidence pack with nothing but the pack: files against manifest, events against chain, chain against
checkpoints, and all signatures. Whose key signed the manifest, the pack can't prove; that is compared with a key set
that was learned elsewhere.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final
from zipfile import BadZipFile, ZipFile

import msgspec

from fhir.audit.chain import Link, link_hash
from fhir.audit.checkpoints import Claims, claims_in
from fhir.audit.defect import Defect, Kind
from fhir.audit.evidence_format import (
    CHAIN,
    CHECKPOINTS,
    EVENTS,
    FORMAT,
    JWKS,
    LISTED,
    MANIFEST,
    SIGNATURE,
    ChainLine,
    Manifest,
)
from fhir.audit.signature import MANIFEST_TYPE, kid_of, signed_payload, thumbprint

_MAX_SMALL: Final = 1_048_576
"""Manifest, its signature, keys."""
_MAX_LINE: Final = 4_194_304
_CHUNK: Final = 65_536
_read_manifest: Final = msgspec.json.Decoder(Manifest).decode
_read_line: Final = msgspec.json.Decoder(ChainLine).decode
_read_keys: Final = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode
_UNREADABLE: Final = (
    BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    msgspec.MsgspecError,
)
"""What zipfile and the decoders raise for bytes that somebody else chose."""
Keys = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a pack holds. `key`: RFC 7638 thumbprint of the key that signed the manifest; `trusted`: it was expected."""

    events: int = 0
    checkpoints: int = 0
    manifest: Manifest | None = None
    key: str = ""
    trusted: bool = False
    defect: Defect | None = None


class _Found(Exception):
    """Ends the check."""

    def __init__(self, kind: Kind, text: str, seq: int | None = None, event: str | None = None) -> None:
        super().__init__(text)
        self.defect = Defect(kind, text, seq, event)


def check_pack(file: IO[bytes], expected: bytes | None = None) -> Checked:
    """Verify a pack; `expected` is a JWK set (RFC 7517) that was learned elsewhere. Memory: one line at a time."""
    checked = Checked()
    try:
        with ZipFile(file) as archive:
            if sorted(archive.namelist()) != sorted((*LISTED, MANIFEST, SIGNATURE)):
                raise _Found("pack-damaged", "the pack has other files than an evidence pack")
            keys = _keys(_small(archive, JWKS), "pack-damaged", "the pack's key set can't be read")
            manifest, key = _signed_manifest(archive, keys)
            trusted = expected is not None
            if expected is not None and key not in _thumbprints(expected):
                raise _Found("unknown-key", f"the manifest was signed by key `{key}`, which isn't in the key set given")
            _check_files(archive, manifest)
            checked = Checked(manifest.events, 0, manifest, key, trusted)
            return Checked(manifest.events, _Walk(archive, keys).run(), manifest, key, trusted)
    except _Found as found:
        return Checked(checked.events, 0, checked.manifest, checked.key, checked.trusted, found.defect)
    except _UNREADABLE:
        damaged = Defect("pack-damaged", "the pack can't be read")
        return Checked(checked.events, 0, checked.manifest, checked.key, checked.trusted, damaged)


def _small(archive: ZipFile, name: str) -> bytes:
    with archive.open(name) as opened:
        data = opened.read(_MAX_SMALL + 1)
    if len(data) > _MAX_SMALL:
        raise _Found("pack-damaged", f"`{name}` is too long")
    return data


def _keys(data: bytes, kind: Kind, broken: str) -> Keys:
    try:
        return {str(key.get("kid")): key for key in _read_keys(data)["keys"]}
    except (msgspec.MsgspecError, KeyError):
        raise _Found(kind, broken) from None


def _thumbprints(expected: bytes) -> set[str]:
    found = set()
    for key in _keys(expected, "unknown-key", "the key set given can't be read").values():
        if key.get("kty") == "EC":
            found.add(thumbprint(key))
    return found


def _signed_manifest(archive: ZipFile, keys: Keys) -> tuple[Manifest, str]:
    data, token = _small(archive, MANIFEST), _small(archive, SIGNATURE).decode("ascii", "replace")
    key = keys.get(kid_of(token) or "")
    if key is None or signed_payload(token, key, MANIFEST_TYPE) != data:
        raise _Found("signature", "the manifest's signature is wrong")
    manifest = _read_manifest(data)
    if manifest.format != FORMAT or sorted(manifest.files) != sorted(LISTED):
        raise _Found("pack-damaged", "the manifest isn't one of this format")
    return manifest, thumbprint(key)


def _check_files(archive: ZipFile, manifest: Manifest) -> None:
    for name, listed in manifest.files.items():
        digest, length = hashlib.sha256(), 0
        with archive.open(name) as opened:
            # Never further than one chunk behind the length that was signed.
            while length <= listed.bytes and (chunk := opened.read(_CHUNK)):
                digest.update(chunk)
                length += len(chunk)
        if (digest.hexdigest(), length) != (listed.sha256, listed.bytes):
            raise _Found("pack-damaged", f"`{name}` isn't the file that the manifest names")


class _Walk:
    """Follows each run of entries to its checkpoint, and takes the events along."""

    def __init__(self, archive: ZipFile, keys: Keys) -> None:
        self._archive = archive
        self._keys = keys

    def run(self) -> int:
        """The number of checkpoints. Raises _Found."""
        checkpoints, events = self._checkpoints(), self._lines(EVENTS)
        covering: Claims | None = None
        running, seq, count = b"", 0, 0
        for data in self._lines(CHAIN):
            line = _read_line(data)
            if covering is None:
                covering = next(checkpoints, None)
                if covering is None or line.previous is None:
                    raise _Found("truncated", "entries follow that no checkpoint covers", line.seq)
                running, seq, count = bytes.fromhex(line.previous), line.seq - 1, count + 1
            elif line.previous is not None:
                raise _Found("order", "a run of entries ends before its checkpoint", line.seq)
            if line.seq != seq + 1:
                raise _Found("entry-missing", f"entry {seq + 1} is missing; the next one there is {line.seq}", seq + 1)
            seq, running = line.seq, link_hash(running, _digest(line, running, events))
            if seq >= covering.seq:
                if (covering.seq, covering.hash) != (seq, running.hex()):
                    raise _Found("checkpoint-contradicted", "a signed checkpoint has another hash for the entry", seq)
                covering = None
        if covering is not None:
            raise _Found("truncated", f"entries are missing up to the checkpoint at {covering.seq}", seq + 1)
        if next(events, None) is not None or next(checkpoints, None) is not None:
            raise _Found("event-unchained", "an AuditEvent or a checkpoint follows that no entry leads to")
        return count

    def _checkpoints(self) -> Iterator[Claims]:
        for data in self._lines(CHECKPOINTS):
            token = data.decode("ascii", "replace")
            key = self._keys.get(kid_of(token) or "")
            claims = None if key is None else claims_in(token, key)
            if claims is None:
                raise _Found("signature", "a checkpoint's signature is wrong")
            yield claims

    def _lines(self, name: str) -> Iterator[bytes]:
        with self._archive.open(name) as opened:
            while line := opened.readline(_MAX_LINE):
                if not line.endswith(b"\n"):
                    raise _Found("pack-damaged", f"a line of `{name}` is too long or has no end")
                yield line[:-1]


def _digest(line: ChainLine, previous: bytes, events: Iterator[bytes]) -> bytes:
    """The entry's digest: as given, or of the next event."""
    if line.entry is not None:
        return bytes.fromhex(line.entry)
    if line.id is None or line.version is None or line.content is None:
        raise _Found("pack-damaged", "an entry has neither a digest nor an event", line.seq)
    event = next(events, None)
    if event is None:
        raise _Found("event-missing", "the AuditEvent is not in the pack", line.seq, line.id)
    content = hashlib.sha256(event).digest()
    if content.hex() != line.content:
        raise _Found("content-changed", "the AuditEvent is not what was recorded", line.seq, line.id)
    return Link(line.seq, line.id, line.version, content, line.adopted, previous, b"").digest
