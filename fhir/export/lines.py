"""Splits an NDJSON file into lines while it arrives, in memory that doesn't grow with the file (docs/leaks.md L75).

http://ndjson.org: one JSON value a line, UTF-8, `\\n` or `\\r\\n` between them. Nothing is decided here. A line that is
too long is left out: it may be a withheld one, and a broken file would tell of it (L41). A file is damaged when it
isn't whole, or when no line of it begins as a resource does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, Literal

PIECE: Final = 64 * 1024
"""Bytes that are decompressed at once: what a piece can grow to is bounded, however it was packed."""

_END: Final = 64
"""Bytes at the end of a line in which it is seen whether that is whole; of one that is too long no more are kept."""

Fault = Literal["not-gzip", "cut-short", "not-json", "ended", "unsent"]


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
        self._too_long = False
        """Whether the line that is arriving is, of which only the end is kept then."""
        self._any = self._any_object = False
        self.left_out = 0
        """How many lines were too long."""

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
        """The last line, when nothing ends it. Raises BrokenExport for a file that isn't whole or has no resources."""
        if self._inflate is not None and not self._inflate.eof:
            raise BrokenExport("cut-short")
        end = self._rest[-_END:].strip()
        if end and not end.endswith(b"}"):
            raise BrokenExport("cut-short")
        if line := self._taken(b""):
            yield [line]
        if self._any and not self._any_object:
            raise BrokenExport("not-json")

    def _taken(self, last: bytes) -> bytes:
        """The line that ends with this part, without white space around it; nothing of one that is too long."""
        if not self._rest and len(last) <= self._max:
            line = last.strip()
        else:
            self._add(last)
            line = b"" if self._too_long else bytes(self._rest).strip()
            self.left_out += self._too_long
            self._rest.clear()
            self._too_long = False
        self._note(line)
        return line

    def _add(self, part: bytes) -> None:
        if self._too_long:
            self._rest[:] = (bytes(self._rest) + part)[-_END:]
            return
        self._rest += part
        if len(self._rest) > self._max:
            self._note(bytes(self._rest[:_END]).lstrip())
            self._too_long = True
            del self._rest[:-_END]

    def _note(self, line: bytes) -> None:
        self._any = self._any or bool(line)
        self._any_object = self._any_object or line.startswith(b"{")

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
