"""Everything that Assent keeps about one patient's sharing, as a ZIP file made while it is sent.

Consents with all their versions, the Provenance of these and the access record are FHIR R4 resources, one on each line
(NDJSON), as they are stored; beside them stand the texts that were agreed to, named by their SHA-256, and a few words
for whoever opens the file. What is in memory is one page of a search and what was compressed since the last piece,
however long the record is.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from datetime import datetime
from typing import IO, Final

import msgspec
from sqlalchemy import select

from authz import tables
from authz.context import AuthzContext
from fhir.consents.summary import shown_text
from fhir.store.repository import StoredResource
from portal.languages import Language
from portal.patient_search import PatientSearch

CONSENTS: Final = "consents.ndjson"
PROVENANCE: Final = "provenance.ndjson"
ACCESS: Final = "access-record.ndjson"
_PAGE: Final = 50
"""Resources of one search page; an AuditEvent can name 2,000 others."""
_PIECE: Final = 64 * 1024
"""Compressed bytes that are gathered before they are sent."""


def what_is_inside(language: Language) -> str:
    """Each file in a sentence, in the language of who downloads."""
    say = language.gettext
    lines = (
        (CONSENTS, say("every decision about who may see your health information, with each of its versions")),
        (PROVENANCE, say("where these decisions came from")),
        (ACCESS, say("who looked at your health information, and when")),
        ("texts/", say("the texts that were agreed to; each file's name is the fingerprint that the decisions give")),
    )
    told = say("Each line of a file is one FHIR R4 resource, which other health software can read.")
    return "\r\n".join([*(f"{name}: {words}" for name, words in lines), "", told, ""])


class _Sink:
    """What ZipFile writes to; without `seek` and `tell` it writes a stream."""

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, data: bytes) -> int:
        self._content += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def taken(self, at_least: int = 0) -> bytes:
        """What was written since the last time; nothing while it is less."""
        if len(self._content) < at_least:
            return b""
        found = bytes(self._content)
        self._content.clear()
        return found


class Archive:
    """One patient's, as of one moment."""

    def __init__(self, context: AuthzContext, patient_id: str, now: datetime, words: str) -> None:
        """`words` tell the person what the files are."""
        self._words = words
        self._context = context
        self._patient_id = patient_id
        self._now = now
        self._search = PatientSearch(context.repository)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The ZIP file."""
        sink = _Sink()
        texts: set[str] = set()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]  # writes only
            archive.writestr(self._entry("read-me.txt"), self._words.encode())
            files = ((CONSENTS, self._versions()), (PROVENANCE, self._provenance()), (ACCESS, self._events()))
            for name, resources in files:
                with archive.open(self._entry(name), "w", force_zip64=True) as file:
                    async for stored in resources:
                        if name == CONSENTS and (shown := shown_text(msgspec.json.decode(stored.body))) is not None:
                            texts.add(shown)
                        _line(file, stored)
                        if piece := sink.taken(_PIECE):
                            yield piece
            for sha256 in sorted(texts):
                if (text := await self._text(sha256)) is not None:
                    archive.writestr(self._entry(f"texts/{sha256}.md"), text.encode())
                    yield sink.taken()
        yield sink.taken()

    async def _versions(self) -> AsyncIterator[StoredResource]:
        async for current in self._search.every("Consent", self._patient_id, (), _PAGE):
            for version in reversed(await self._context.repository.history("Consent", current.id)):
                if not version.deleted:
                    yield version

    async def _provenance(self) -> AsyncIterator[StoredResource]:
        async for current in self._search.every("Consent", self._patient_id, (), _PAGE):
            async for stored in self._search.provenance(current.id):
                yield stored

    async def _events(self) -> AsyncIterator[StoredResource]:
        # Held to what was recorded before: the record grows while it is sent.
        before = (("date", f"le{self._now.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}"),)
        async for event in self._search.every("AuditEvent", self._patient_id, before, _PAGE):
            yield event

    async def _text(self, sha256: str) -> str | None:
        t = tables.policy_text.c
        async with self._context.engine.connect() as connection:
            return (await connection.execute(select(t.text).where(t.sha256 == sha256))).scalar_one_or_none()

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, self._now.timetuple()[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o600 << 16
        return entry


def _line(file: IO[bytes], stored: StoredResource) -> None:
    # NDJSON: a resource's text holds no line end of its own.
    file.write(stored.body.replace(b"\n", b" ") + b"\n")
