"""Splits an NDJSON file into lines while it arrives, in memory that doesn't grow with the file (docs/leaks.md L75).

http://ndjson.org: one JSON value a line, UTF-8, `\\n` or `\\r\\n` between them. Nothing is decided here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Literal

PIECE: Final = 64 * 1024
"""Bytes that are decompressed at once: what a piece can grow to is bounded, however it was packed."""

Fault = Literal["line-too-long", "not-gzip", "cut-short", "not-json", "ended", "unsent"]


class BrokenExport(Exception):
    """A file can't go on. INVARIANT: nothing that was read after it leaves, and the answer never looks whole."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Final = fault


class LineSplitter:
    """Lines of one file; a line may have `max_line` bytes."""

    def __init__(self, max_line: int, *, gzip: bool) -> None:
        self._max = max_line
        self._inflate = zlib.decompressobj(wbits=31) if gzip else None
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[list[bytes]]:
        """The lines that end in the next piece of the file, by what is decompressed at once. Raises BrokenExport.

        A little that is packed may hold very much of nothing: others are to have their turn before more is asked for.
        """
        for plain in self._inflated(piece):
            *ended, begun = plain.split(b"\n")
            lines = [line for part in ended if (part or self._rest) and (line := self._taken(part))]
            self._add(begun)
            yield lines

    def end(self) -> Iterator[list[bytes]]:
        """The last line, when nothing ends it. Raises BrokenExport for compressed content that isn't whole."""
        if self._inflate is not None and not self._inflate.eof:
            raise BrokenExport("cut-short")
        if line := self._taken(b""):
            yield [line]

    def _taken(self, last: bytes) -> bytes:
        """The line that ends with this part, without white space around it."""
        self._check(last)
        line = bytes(self._rest) + last if self._rest else last
        self._rest.clear()
        return line.strip()

    def _add(self, part: bytes) -> None:
        self._check(part)
        self._rest += part

    def _check(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._max:
            raise BrokenExport("line-too-long")

    def _inflated(self, piece: bytes) -> Iterator[bytes]:
        inflate = self._inflate
        if inflate is None:
            yield piece
            return
        while piece:
            try:
                plain = inflate.decompress(piece, PIECE)
            except zlib.error:
                raise BrokenExport("not-gzip") from None
            if inflate.unused_data:
                raise BrokenExport("not-gzip")  # something follows the end
            yield plain
            piece = inflate.unconsumed_tail
            if inflate.eof:
                return
