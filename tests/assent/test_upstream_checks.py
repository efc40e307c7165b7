"""What `assent doctor` finds out about upstreams by asking them, and says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from assent.asgi import Receive, Scope, Send
from assent.server import listen, serving
from assent.settings import Settings
from assent.upstream_checks import upstream_checks
from fhir.upstream.probe import Answer
from tests.leaks.several import settings_of, upstream_of
from tests.leaks.world import observation, patient

Answering = Callable[[str, Mapping[str, list[str]]], object]


async def _found(settings: Settings) -> dict[str, tuple[str, str]]:
    return {name: await look() for name, look in upstream_checks(settings)}


@asynccontextmanager
async def _server(answering: Answering, version: str = "4.0.1") -> AsyncIterator[Settings]:
    """One upstream that answers searches as it is told; an int is a status without a body."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["path"].strip("/")
        told = answering(kind, parse_qs(scope["query_string"].decode()))
        if kind == "metadata":
            told = {"resourceType": "CapabilityStatement", "fhirVersion": version}
        status = told if isinstance(told, int) else 200
        headers = [(b"content-type", b"application/fhir+json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}" if status != 200 else json.dumps(told).encode()})

    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with serving(answer, listener):
        yield Settings.model_validate({"upstream_url": url})


def _bundle(*resources: object) -> dict[str, object]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


def _all_of(kind: str) -> list[dict[str, object]]:
    """What the server holds of each type: two resources."""
    made = patient if kind == "Patient" else observation
    return [{**made(f"x{n}"), "resourceType": kind} for n in range(2)]


def _careless(kind: str, query: Mapping[str, list[str]]) -> object:
    """Heeds no parameter at all."""
    return _bundle(*_all_of(kind))


def _plain(kind: str, query: Mapping[str, list[str]]) -> object:
    """Narrows and bounds; ignores what it doesn't know, `_elements` too."""
    return _bundle() if {"patient", "_id"} & set(query) else _bundle(_all_of(kind)[0])


def _strict(kind: str, query: Mapping[str, list[str]]) -> object:
    """Refuses what it doesn't know; heeds `_elements`."""
    if not set(query) <= {"_count", "_elements", "patient", "_id"}:
        return 400
    if "_elements" in query:
        return _bundle({"resourceType": kind, "id": "x0", "status": "final", "code": {}})
    return _plain(kind, query)


async def test_what_a_server_does_is_told() -> None:
    async with _server(_plain) as settings:
        state, text = (await _found(settings))["upstream"]
    assert state == "ok"
    behaves = "bounds pages by `_count`, doesn't heed `_elements`, ignores unknown parameters"
    assert text.endswith(f"; it {behaves}, narrows searches by patient")
    async with _server(_strict) as settings:
        state, text = (await _found(settings))["upstream"]
    assert state == "ok"
    assert text.endswith("heeds `_elements`, refuses unknown parameters, narrows searches by patient")


async def test_a_server_that_ignores_the_patient_fails() -> None:
    async with _server(_careless) as settings:
        state, text = (await _found(settings))["upstream"]
    assert (state, "it ignores the `patient` parameter" in text) == ("failed", True)


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("{base}/Patient?_count=1&page=2", "ok"),
        ("{base}?_getpages=1", "ok"),
        ("Patient?_count=1&page=2", "ok"),
        ("http://fhir.internal:8080/fhir?_getpages=1", "failed"),
        ("http://127.0.0.1:1/Patient?page=2", "failed"),
    ],
)
async def test_a_server_whose_links_lead_elsewhere_fails(url: str, state: str) -> None:
    """As servers behind a proxy do that aren't told how they are reached."""
    base = ""

    def answering(kind: str, query: Mapping[str, list[str]]) -> object:
        told = _plain(kind, query)
        link = {"relation": "next", "url": url.format(base=base)}
        return {**told, "link": [link]} if isinstance(told, dict) else told

    async with _server(answering) as settings:
        base = str(settings.upstream_url).rstrip("/")
        found, text = (await _found(settings))["upstream"]
    assert (found, "links to further pages" in text) == (state, state == "failed")
    assert "internal" not in text


@pytest.mark.parametrize(
    "told", [404, 403, 500, {"resourceType": "Bundle", "entry": 1}, {}, _bundle(), {"entry": [{}]}]
)
async def test_what_is_not_answered_is_not_told(told: object) -> None:
    async with _server(lambda kind, query: told) as settings:
        state, text = (await _found(settings))["upstream"]
    assert state == "ok"
    assert "narrows" not in text
    assert "heeds" not in text


async def test_questions_that_are_not_answered_in_time_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir.upstream.probe.SECONDS", 0.3)

    async def slow(*_: object) -> Answer:
        await asyncio.sleep(60)
        return "no"

    monkeypatch.setattr("fhir.upstream.probe._Asking.narrows", slow)
    async with _server(_strict) as settings:
        state, text = (await _found(settings))["upstream"]
    assert (state, "refuses unknown parameters" in text, "patient" in text) == ("ok", True, False)


@pytest.mark.parametrize("version", ["5.0.0", "4.3.0", "<script>" + "x" * 100, ""])
async def test_another_version_fails_and_its_words_are_bounded(version: str) -> None:
    async with _server(_plain, version) as settings:
        state, text = (await _found(settings))["upstream"]
    assert (state, "needs R4" in text) == ("failed", True)
    assert len(text) < 120


@pytest.mark.parametrize(
    ("theirs", "state", "said"),
    [
        ([patient("ana")], "ok", "1 patients compared"),
        ([patient("ana", birthDate="1999-01-01")], "failed", "1 are not the same person"),
        ([observation("o1")], "ok", "make sure that ids mean the same people"),
    ],
)
async def test_patients_of_two_upstreams_are_compared(
    make_database: Callable[[], Awaitable[str]], tmp_path: Path, theirs: list[dict[str, Any]], state: str, said: str
) -> None:
    async with (
        upstream_of(await make_database(), [patient("ana"), patient("bob")]) as ehr,
        upstream_of(await make_database(), theirs) as lab,
    ):
        found = await _found(settings_of(tmp_path, ehr, lab))
    assert set(found) == {"upstream ehr", "upstream lab", "upstreams"}
    assert [found[name][0] for name in ("upstream ehr", "upstream lab")] == ["ok", "ok"]
    assert (found["upstreams"][0], said in found["upstreams"][1]) == (state, True)
    assert "1999" not in str(found)


async def test_one_that_is_down_is_named_with_its_key_and_the_other_is_looked_at(tmp_path: Path) -> None:
    async with _server(_plain) as settings:
        tables = {
            "ehr": {"url": settings.upstream_url},
            "lab": {"url": "http://127.0.0.1:9", "types": ("Observation",)},
        }
        found = await _found(Settings.model_validate({"upstreams": tables}))
    assert found["upstream ehr"][0] == "ok"
    assert (found["upstream lab"][0], "`url` of `[upstreams.lab]`" in found["upstream lab"][1]) == ("failed", True)
