"""L04: an answer of the upstream that is too large because of what is withheld says no more than one that isn't."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.leaks.content import document
from tests.leaks.twins import Twins, twins
from tests.leaks.world import ACT_CODE, observation, patient, world

_MOST = 100_000
"""Bytes that the upstream's answers may have here."""
_TICKED = ("demographics", "laboratory", "documents")
_SHOWN = [
    patient("ana"),
    *(document(f"letter{n}", f"Binary/{n}") for n in range(12)),
    *(observation(f"lab{n}") for n in range(3)),
]


def _withheld(number: int, length: int = 10_000) -> dict[str, object]:
    labels = {"security": [{"system": ACT_CODE, "code": "PSY"}]}
    return document(f"large{number}", "Binary/x", meta=labels, description="x" * length)


@asynccontextmanager
async def _pair(
    make_database: Callable[[], Awaitable[str]], folder: Path, mixed: Sequence[Mapping[str, object]]
) -> AsyncIterator[Twins]:
    """An app in a world of what is shown, and in one of `mixed`; it finds the letters in both."""
    async with (
        world(await make_database(), folder / "bare", _SHOWN, upstream_max_body_bytes=_MOST) as bare,
        world(await make_database(), folder / "full", mixed, upstream_max_body_bytes=_MOST) as full,
    ):
        pair = await twins(bare, full, _TICKED)
        assert len(await pair.other.ids("DocumentReference?_count=20")) == 12
        yield pair


@pytest.mark.leak("L04", "L75")
async def test_l04_large_resources_that_are_withheld_break_no_answer(
    make_database: Callable[[], Awaitable[str]], tmp_path: Path
) -> None:
    mixed = [resource for n, shown in enumerate(_SHOWN) for resource in (shown, _withheld(n))]
    async with _pair(make_database, tmp_path, mixed) as pair:
        await pair.same_seen(
            [
                "DocumentReference",
                "DocumentReference?_count=5",
                "DocumentReference?_count=5&_sort=-_id",
                "DocumentReference?_include=DocumentReference:subject",
                "Patient?_revinclude=DocumentReference:subject",
                "Patient?_revinclude=DocumentReference:subject&_revinclude=Observation:subject",
                "Patient/ana/$everything?_count=4",
                "?_type=Observation,DocumentReference&_count=4",
            ],
            pages=4,
        )


@pytest.mark.leak("L04", "L06", "L75")
async def test_l04_one_resource_that_is_too_large_alone_is_missing_and_breaks_no_answer(
    make_database: Callable[[], Awaitable[str]], tmp_path: Path
) -> None:
    """Nobody sees it, so that no failure tells of it to those who may not."""
    huge = [_withheld(100, 4 * _MOST), _withheld(101, 4 * _MOST)]
    mixed = [resource for n, shown in enumerate(_SHOWN) for resource in (shown, *(huge if n == 5 else ()))]
    async with _pair(make_database, tmp_path, mixed) as pair:
        await pair.same_seen(
            [
                "DocumentReference/large100",
                "DocumentReference/large100/_history",
                "DocumentReference?_id=large100",
                "DocumentReference?_id=large100,letter3",
                "DocumentReference",
                "DocumentReference?_count=5",
                "DocumentReference?_count=3&_sort=-_id",
                "DocumentReference?_include=DocumentReference:subject",
                "Patient?_revinclude=DocumentReference:subject",
                "Patient?_revinclude=DocumentReference:subject&_revinclude=Observation:subject",
                "Patient/ana/$everything?_count=4",
                "?_type=Observation,DocumentReference&_count=4",
            ],
            pages=4,
        )
