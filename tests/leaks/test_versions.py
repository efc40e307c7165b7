"""L40: an old version is no way around what is withheld now, and a new one none around what was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.leaks.world import ACT_CODE, World, observation

HIV: dict[str, Any] = {"meta": {"security": [{"system": ACT_CODE, "code": "HIV"}]}}


Write = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture(loop_scope="session")
async def write(leaky: World) -> AsyncIterator[Write]:
    """A function that gives an Observation its next versions (None deletes it); it is gone after the test."""
    repository, written = leaky.upstream.repository, set()

    async def versions(wanted: str, *contents: dict[str, object] | None) -> None:
        written.add(wanted)
        for content in contents:
            if content is None:
                await repository.delete("Observation", wanted)
            else:
                await repository.update(content, expected_version=None)

    yield versions
    for wanted in written:
        await repository.delete("Observation", wanted)


async def _nothing(leaky: World) -> bytes:
    return (await (await leaky.app(["laboratory"])).get("Observation/nothing/_history/1")).content


@pytest.mark.leak("L40")
@pytest.mark.parametrize(
    ("wanted", "now"),
    [
        ("relabelled", {**HIV}),
        ("recoded", {"code": {"coding": [{"system": "http://loinc.org", "code": "75622-1"}]}}),
        ("recategorized", {"category": []}),
        ("moved", {"subject": {"reference": "Patient/bob"}}),
        ("deleted", None),
    ],
)
async def test_l40_no_version_is_open_once_the_resource_is_withheld(
    leaky: World, write: Write, wanted: str, now: dict[str, Any] | None
) -> None:
    app = await leaky.app(["laboratory"])
    await write(wanted, observation(wanted))
    assert (await app.get(f"Observation/{wanted}/_history/1")).status_code == 200
    await write(wanted, None if now is None else observation(wanted, **now))
    for version in ("", "/_history/1", "/_history/2", "/_history/3"):
        answer = await app.get(f"Observation/{wanted}{version}")
        assert answer.status_code == 404
        assert answer.content == await _nothing(leaky)


@pytest.mark.leak("L40")
async def test_l40_a_version_that_was_sensitive_stays_withheld(leaky: World, write: Write) -> None:
    app = await leaky.app(["laboratory"])
    await write("cleared", observation("cleared", **HIV), observation("cleared"))
    assert (await app.get("Observation/cleared")).status_code == 200
    assert (await app.get("Observation/cleared/_history/2")).status_code == 200
    assert (await app.get("Observation/cleared/_history/1")).status_code == 404


@pytest.mark.leak("L06")
async def test_l06_deleted_and_never_there_answer_alike(leaky: World, write: Write) -> None:
    app = await leaky.app(["laboratory"])
    await write("gone", observation("gone"), None)
    gone, never = await app.get("Observation/gone"), await app.get("Observation/never")
    assert (gone.status_code, gone.content) == (never.status_code, never.content) == (404, never.content)
    assert await app.ids("Observation?_id=gone") == []
