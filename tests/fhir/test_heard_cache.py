"""What is kept of the database hangs on hearing of changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from fhir.store.heard_cache import HeardCache


class Bus:
    """A bus whose health is set by hand."""

    well = True

    def healthy(self) -> bool:
        return self.well


class Database:
    """Values that change; counts how often it is asked."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {"a": "1"}
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def load(self, key: str) -> Callable[[], Awaitable[str | None]]:
        async def load() -> str | None:
            self.asked += 1
            found = self.values.get(key)
            self.meanwhile()
            return found

        return load


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def database() -> Database:
    return Database()


async def test_what_is_kept_is_not_asked_for_again(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)
    assert [await cache.get("a", database.load("a")) for _ in range(3)] == ["1", "1", "1"]
    assert database.asked == 1


async def test_without_news_the_database_is_asked_and_nothing_is_kept(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)
    await cache.get("a", database.load("a"))
    bus.well, database.values["a"] = False, "2"
    assert [await cache.get("a", database.load("a")) for _ in range(2)] == ["2", "2"]
    bus.well, database.values["a"] = True, "3"
    assert await cache.get("a", database.load("a")) == "3"


@pytest.mark.parametrize(
    "news",
    [
        lambda cache: cache.forget("a"),
        lambda cache: cache.forget_where(lambda value: value == "1"),
        lambda cache: cache.forget_all(),
    ],
)
async def test_what_changed_is_asked_for_again(
    news: Callable[[HeardCache[str, str]], None], bus: Bus, database: Database
) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)
    await cache.get("a", database.load("a"))
    database.values["a"] = "2"
    assert await cache.get("a", database.load("a")) == "1"
    news(cache)
    assert await cache.get("a", database.load("a")) == "2"


async def test_news_of_one_value_leaves_the_others(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)
    await cache.get("a", database.load("a"))
    cache.forget("b")
    cache.forget_where(lambda value: value == "2")
    await cache.get("a", database.load("a"))
    assert database.asked == 1


async def test_what_was_read_while_news_came_is_not_kept(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)

    def change() -> None:
        database.values["a"] = "2"
        cache.forget("a")

    database.meanwhile = change
    assert await cache.get("a", database.load("a")) == "1"
    database.meanwhile = lambda: None
    assert await cache.get("a", database.load("a")) == "2"


async def test_what_was_read_while_the_bus_was_lost_is_not_kept(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)

    def lose() -> None:
        bus.well = False

    database.meanwhile = lose
    await cache.get("a", database.load("a"))
    bus.well, database.values["a"] = True, "2"
    assert await cache.get("a", database.load("a")) == "2"


async def test_that_there_is_nothing_is_not_kept(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 10)
    assert await cache.get("b", database.load("b")) is None
    database.values["b"] = "1"
    assert await cache.get("b", database.load("b")) == "1"


async def test_what_was_longest_unused_goes_first(bus: Bus, database: Database) -> None:
    cache: HeardCache[str, str] = HeardCache(bus, 2)
    database.values = dict.fromkeys("abc", "1")
    for key in "abac":  # `b` is the one that goes
        await cache.get(key, database.load(key))
    asked = database.asked
    for key in "ac":
        await cache.get(key, database.load(key))
    assert database.asked == asked
    await cache.get("b", database.load("b"))
    assert database.asked == asked + 1
