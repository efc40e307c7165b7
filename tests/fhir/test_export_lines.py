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


_LINES = st.lists(st.binary(max_size=40).map(lambda line: b"{" + line.replace(b"\n", b"").strip() + b"}"), max_size=20)


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
        ([b"{x"], False, "cut-short"),
        ([b"{}\n{x" + b"y" * 200], False, "cut-short"),
        ([gzip.compress(b"{}\n")[:-1]], True, "cut-short"),
        ([b""], True, "cut-short"),
        ([b"plain\n"], True, "not-gzip"),
        ([gzip.compress(b"{}\n") + b"y"], True, "not-gzip"),
        ([gzip.compress(b"{}\n"), b"y"], True, "not-gzip"),
        ([b"<html>\n</html>\n"], False, "not-json"),
        ([b"[{}]\n", b"x" * 300, b"\n"], False, "not-json"),
    ],
)
def test_what_is_damaged_is_found(pieces: list[bytes], packed: bool, fault: str) -> None:
    with pytest.raises(BrokenExport) as broken:
        list(_split(pieces, packed=packed))
    assert broken.value.fault == fault


_LONG = b'{"a":"' + b"x" * 300 + b'"}'


@pytest.mark.parametrize("cut", [1, 50, 100, 101, 150, 1_000])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "left"),
    [
        (_LONG, []),
        (_LONG + b"\r\n", []),
        (b"\n".join([b"{1}", _LONG, b"{2}"]), [b"{1}", b"{2}"]),
        (b"\n".join([_LONG, b"{" + b"x" * 200, b"", b"{2}"]), [b"{2}"]),
        (b"{1}\n" + b" " * 300, [b"{1}"]),
    ],
)
def test_a_line_that_is_too_long_is_left_out(content: bytes, left: list[bytes], packed: bool, cut: int) -> None:
    sent = gzip.compress(content) if packed else content
    assert list(_split([sent[n : n + cut] for n in range(0, len(sent), cut)], packed=packed)) == left


def test_an_endless_line_takes_little_memory() -> None:
    splitter = LineSplitter(PIECE, gzip=False)
    tracemalloc.start()
    try:
        for _ in range(2_000):
            assert list(splitter.feed(b"{" * PIECE)) == [[]]
        assert tracemalloc.get_traced_memory()[1] < 10 * PIECE
    finally:
        tracemalloc.stop()
    assert list(splitter.feed(b"\n{}\n")) == [[b"{}"]]
    assert splitter.left_out == 1


def test_a_line_of_the_greatest_length_passes() -> None:
    one, other = b"{" + b"x" * 98 + b"}", b"{" + b"y" * 98 + b"}"
    assert list(_split([one + b"\n", other[:60], other[60:]])) == [one, other]


def test_little_that_grows_to_much_takes_little_memory() -> None:
    bomb = gzip.compress((b"{" + b"x" * 89 + b"\n") * 200_000, 9)
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
