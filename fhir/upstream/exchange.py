"""The answer to one GET, as it arrives: whole, within bounds, said to be FHIR JSON and JSON, or an UpstreamFailure.

HTTP/1.1 (RFC 9112) as httptools reads it, strictly: what could be read in two ways is no answer
(docs/decisions/0035-upstream-connections.md, docs/leaks.md).
"""

from __future__ import annotations

import asyncio
import zlib
from io import BytesIO
from typing import Final

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from fhir.upstream.failure import FailureKind, UpstreamFailure

MOST_HEAD: Final = 64 * 1024
"""Bytes of an answer's head, besides what arrives at once, and of those that only announce it (1xx); likewise of
what isn't content within or behind a body: extensions of chunks, trailers."""
_JSON: Final = frozenset({b"application/fhir+json", b"application/json", b"application/json+fhir"})
_DECISIVE: Final = frozenset({b"content-type", b"content-encoding", b"content-length", b"transfer-encoding"})
"""Headers by which an answer is read: which of two would count differs between readers."""
_ABSENT: Final = (404, 410)
_SWITCHED: Final = 101


class Exchange:
    """Told by its connection what arrives. `done` is set once the answer is there, whole."""

    __slots__ = (
        "_body",
        "_headers",
        "_in_head",
        "_inflate",
        "_measured",
        "_most",
        "_over",
        "_parser",
        "_stays",
        "_surplus",
        "_twice",
        "_without",
        "done",
        "status",
    )

    def __init__(self, done: asyncio.Future[None], most: int) -> None:
        """`most` bytes may a body have, decompressed."""
        self.done: Final = done
        self.status = 0
        self._most: Final = most
        self._parser: Final = HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}  # the decisive ones
        self._in_head = True
        self._without = 0
        self._measured = False
        self._body = BytesIO()  # gives away what it gathered without copying it: a Bundle may have 20 MB
        self._inflate: zlib._Decompress | None = None
        self._over = self._stays = self._surplus = self._twice = False

    @property
    def body(self) -> bytes:
        """What came, decompressed; nothing for what isn't there."""
        return self._body.getvalue() if self.status not in _ABSENT else b""

    @property
    def content_type(self) -> str:
        """The header as it came."""
        return self._headers.get(b"content-type", b"").decode("latin-1")

    @property
    def is_silent(self) -> bool:
        """Whether not a byte has come."""
        return self._in_head and self._without == 0

    @property
    def leaves_open(self) -> bool:
        """Whether the connection is where it was before: the next answer on it will be the next request's."""
        return self._stays and not self._surplus

    def feed(self, data: bytes) -> None:
        """More has come."""
        self._without += len(data)  # until a piece of the body is found in it
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._surplus = True
            self._fail("not-fhir" if self._in_head else "truncated")
        if self._without > MOST_HEAD:
            self._fail("not-fhir")

    def end(self, *, cleanly: bool) -> None:
        """The connection has ended; `cleanly`: closed by the server, rather than broken."""
        if self._in_head:
            self._fail("unreachable" if self._without == 0 else "truncated")
        elif self._measured or not cleanly:
            self._fail("truncated")
        else:  # RFC 9112 §6.3: it says its length by ending
            self._finish()

    def release(self) -> None:
        """Nothing more will come. It and its parser hold each other, and only collecting garbage would end that."""
        del self._parser

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins. A second one answers nothing that was asked."""
        if self._over:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after the body is none (RFC 9110 §6.5.1)."""
        name = name.lower()
        if self._in_head and name in _DECISIVE:
            self._twice = self._twice or name in self._headers
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is there: enough to know whether the rest is wanted."""
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != _SWITCHED:  # RFC 9110 §15.2: the answer is still to come
            self._headers.clear()
            self._twice = False
            return
        if self._surplus:
            return
        self._in_head = False
        self.status = status
        self._measured = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        encoding = self._headers.get(b"content-encoding", b"identity").strip().lower()
        transfer = self._headers.get(b"transfer-encoding", b"chunked").strip().lower()
        if self._twice or transfer != b"chunked":
            self._fail("not-fhir")
        elif 300 <= status < 400:
            self._fail("redirect")
        elif status in _ABSENT:
            self._settle()
        elif status != 200:
            self._fail("bad-status")
        elif self._headers.get(b"content-type", b"").partition(b";")[0].strip().lower() not in _JSON:
            self._fail("not-fhir")
        elif encoding == b"gzip":
            self._inflate = zlib.decompressobj(wbits=31)
        elif encoding != b"identity":
            self._fail("not-fhir")

    def on_body(self, data: bytes) -> None:
        """A piece of the body. What comes after a failure isn't kept."""
        self._without = 0
        if self.done.done() or self._over:
            return
        if self._inflate is not None:
            try:
                # One byte more than allowed tells that there is too much, without producing the rest.
                data = self._inflate.decompress(data, self._most + 1 - self._body.tell())
            except zlib.error:
                self._fail("not-fhir")
                return
            if self._inflate.unused_data:
                self._fail("not-fhir")
                return
        self._body.write(data)
        if self._body.tell() > self._most:
            self._fail("too-large")

    def on_message_complete(self) -> None:
        """The answer is whole; one that only announced another has nothing to it."""
        if not self._in_head and not self._over:
            self._stays = self._parser.should_keep_alive()  # which it knows here, and not any more afterwards
            self._finish()

    def _finish(self) -> None:
        self._over = True
        if self.status == 200 and not self.done.done() and (fault := self._fault()) is not None:
            # Its length may have been wrong: what comes next would be the rest of it.
            self._stays = False
            self._fail(fault)
        self._settle()

    def _fault(self) -> FailureKind | None:
        if self._inflate is not None and not self._inflate.eof:
            return "truncated"
        return _fault_in(self.body)

    def _settle(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _fail(self, kind: FailureKind) -> None:
        if not self.done.done():
            self.done.set_exception(UpstreamFailure(kind, status=self.status or None))


def _fault_in(body: bytes) -> FailureKind | None:
    """What is wrong with a body that isn't one JSON object. One without a length is known to be whole by nothing else.

    RFC 8259 §8.1: it is UTF-8, which the decoder checks only where it reads; readers differ over what is not.
    """
    text = body.strip()
    if not text.startswith(b"{"):
        return "not-fhir" if text else "truncated"
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        if not text.isascii():
            text.decode()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "not-fhir" if text.endswith(b"}") else "truncated"
    return None
