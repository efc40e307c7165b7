"""NDJSON that arrives in pieces becomes the same lines whatever the pieces, in the memory of one line."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.export.lines import PIECE, BrokenExport, LineSplitter


def _split(pieces: list[bytes], *, packed: bool = False, most: int = 100) -> Iterator[bytes]:
    splitter = LineSplitter(most, gzip=packed)
    for piece in pieces:
        yield from chain.from_iterable(splitter.feed(piece))
    yield from chain.from_iterable(splitter.end())


def _cut(content: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    return [content[low:high] for low, high in pairwise(places)]


_LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"").strip()), max_size=20)


@given(
    _LINES, st.lists(st.integers(0, 10_000), max_size=10), st.booleans(), st.sampled_from([b"\n", b"\r\n", b" \n\n"])
)
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], cuts: list[int], packed: bool, end: bytes) -> None:
    content = end.join(lines)
    sent = gzip.compress(content) if packed else content
    assert list(_split(_cut(sent, cuts), packed=packed)) == [line for line in lines if line]


@pytest.mark.parametrize(
    ("pieces", "packed", "fault"),
    [
        ([b"x" * 101], False, "line-too-long"),
        ([b"x" * 60, b"x" * 41], False, "line-too-long"),
        ([b"x\n" + b"y" * 101 + b"\n"], False, "line-too-long"),
        ([gzip.compress(b"x" * 101)], True, "line-too-long"),
        ([gzip.compress(b"x\n")[:-1]], True, "cut-short"),
        ([b""], True, "cut-short"),
        ([b"plain\n"], True, "not-gzip"),
        ([gzip.compress(b"x\n") + b"y"], True, "not-gzip"),
        ([gzip.compress(b"x\n"), b"y"], True, "not-gzip"),
    ],
)
def test_what_is_damaged_is_found(pieces: list[bytes], packed: bool, fault: str) -> None:
    with pytest.raises(BrokenExport) as broken:
        list(_split(pieces, packed=packed))
    assert broken.value.fault == fault


def test_a_line_of_the_greatest_length_passes() -> None:
    assert list(_split([b"x" * 100 + b"\n", b"y" * 60, b"y" * 40])) == [b"x" * 100, b"y" * 100]


def test_little_that_grows_to_much_takes_little_memory() -> None:
    bomb = gzip.compress((b"x" * 90 + b"\n") * 200_000, 9)
    assert len(bomb) < 2 * PIECE
    tracemalloc.start()
    try:
        assert sum(1 for _ in _split([bomb], packed=True)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 10 * PIECE
    finally:
        tracemalloc.stop()


def test_little_that_grows_to_nothing_lets_others_have_their_turns() -> None:
    splitter = LineSplitter(100, gzip=True)
    turns = list(splitter.feed(gzip.compress(b"\n" * 100 * PIECE + b"x\n", 9)))
    assert len(turns) > 100
    assert list(chain.from_iterable(turns)) == [b"x"]
