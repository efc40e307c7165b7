"""L40: the history of a resource holds the versions that may be seen today, and no trace of the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.leaks.service import service
from tests.leaks.twins import Twins, next_link
from tests.leaks.world import ACT_CODE, App, World, observation

HIV: dict[str, Any] = {"meta": {"security": [{"system": ACT_CODE, "code": "HIV"}]}}
Write = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture(loop_scope="session")
async def write(leaky: World) -> AsyncIterator[Write]:
    """A function that gives Observation/story its next versions (None deletes it); it is gone after the test."""
    repository = leaky.upstream.repository

    async def versions(*contents: dict[str, Any] | None) -> None:
        for content in contents:
            if content is None:
                await repository.delete("Observation", "story")
            else:
                await repository.update(observation("story", **content), expected_version=None)

    yield versions
    if await repository.read("Observation", "story") is not None:
        await repository.delete("Observation", "story")


def _versions(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry["resource"]["meta"]["versionId"] for entry in answer.json().get("entry", ())]


async def _latest(app: App) -> int:
    return int((await app.get("Observation/story")).json()["meta"]["versionId"])


@pytest.mark.leak("L40")
async def test_l40_each_version_is_decided_on_its_own_content(leaky: World, write: Write) -> None:
    app = await leaky.app(["laboratory"])
    withheld: list[dict[str, object] | None] = [
        HIV,
        {"code": {"coding": [{"code": "75622-1"}]}},
        {"subject": {"reference": "Patient/bob"}},
        {"category": []},
        {"modifierExtension": [{"url": "http://x/not", "valueBoolean": True}]},
        None,
    ]
    await write({"status": "preliminary"}, *withheld, {"status": "final"}, {"status": "amended"})
    latest = await _latest(app)
    answer = await app.get("Observation/story/_history")
    assert _versions(answer) == [str(latest), str(latest - 1), str(latest - 8)]
    assert [e["resource"]["status"] for e in answer.json()["entry"]] == ["amended", "final", "preliminary"]
    assert answer.json()["total"] == 3
    assert "75622-1" not in answer.text
    assert "bob" not in answer.text


@pytest.mark.leak("L40")
async def test_l40_versions_wear_todays_masks(leaky: World, write: Write) -> None:
    await write({"note": [{"text": "first NOTE"}]}, {"note": [{"text": "second NOTE"}]})
    answer = await (await leaky.app(["laboratory"], purpose="HRESCH")).get("Observation/story/_history?_count=2")
    assert len(_versions(answer)) == 2
    assert "NOTE" not in answer.text


@pytest.mark.leak("L40", "L06")
@pytest.mark.parametrize("now", [HIV, {"subject": {"reference": "Patient/bob"}}, {"category": []}, None])
async def test_l40_no_history_of_what_is_withheld_or_deleted_by_now(
    leaky: World, write: Write, now: dict[str, Any] | None
) -> None:
    app = await leaky.app(["laboratory"])
    await write({})
    link = "Observation/story/_history"
    assert (await app.get(link)).status_code == 200
    await write({}, now)
    nothing = await app.get("Observation/nothing/_history")
    with leaky.upstream.listening() as heard:
        answer = await app.get(link)
    assert (answer.status_code, answer.content) == (404, nothing.content)
    assert answer.content == (await app.get("Observation/nothing")).content
    # Were it asked for, a failure of it would tell that there is one.
    assert [asked.target for asked in heard] == ["/Observation/story"]


@pytest.mark.leak("L40", "L21")
async def test_l40_l21_pages_go_on_while_the_current_version_may_be_seen(leaky: World, write: Write) -> None:
    app, other = await leaky.app(["laboratory"]), await leaky.app(["laboratory"])
    await write({"status": "preliminary"}, HIV, {"status": "final"}, HIV, {"status": "amended"})
    latest = await _latest(app)
    found, link = [], next_link(first := await app.get("Observation/story/_history?_count=1"))
    assert "total" not in first.json()
    found += _versions(first)
    while link is not None:
        page = await app.get(link)
        found += _versions(page)
        link = next_link(page)
    assert found[:3] == [str(latest), str(latest - 2), str(latest - 4)]
    link = next_link(first)
    assert link is not None
    assert (await other.get(link)).status_code == 410
    assert (await app.get(link.replace("/story/", "/lab0/"))).status_code == 410
    await write(HIV)
    assert (await app.get(link)).status_code == 404


async def test_since_leaves_out_what_is_older(leaky: World, write: Write) -> None:
    app = await leaky.app(["laboratory"])
    await write({}, {})
    assert len(_versions(await app.get("Observation/story/_history?_since=2026-01-01T00:00:00Z"))) >= 2
    assert _versions(await app.get("Observation/story/_history?_since=2026-01-01T00:00:01%2B00:00")) == []


@pytest.mark.leak("L40")
@pytest.mark.parametrize(
    "query",
    [
        *("_at=2026-01-01", "_list=x", "_sort=_lastUpdated", "status=final", "_total=accurate", "_since=2026"),
        *("_since=2026-01-01T00:00:00Z&_since=2026-01-01T00:00:00Z", "_count=0", "_summary=count", "_include=*"),
        *("_since=", "_elements=secret", "_before=2"),
    ],
)
async def test_l40_what_a_history_does_not_take_is_refused(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        answers = [await app.get(f"Observation/{wanted}/_history?{query}") for wanted in ("lab0", "bob1", "nothing")]
    assert heard == []
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.leak("L40")
async def test_l40_entries_are_written_anew(leaky: World) -> None:
    """How a version came about (`201 Created`) could tell that the one before it was a deletion."""
    app = await leaky.app(["laboratory"])
    entry = {
        "fullUrl": "http://HIDDEN/Observation/lab0",
        "resource": observation("lab0"),
        "request": {"method": "POST", "url": "HIDDEN"},
        "response": {"status": "201 HIDDEN", "etag": "HIDDEN", "location": "HIDDEN", "outcome": {"id": "HIDDEN"}},
    }
    other = {"resource": observation("lab1")}
    told = {"resourceType": "Bundle", "type": "history", "id": "HIDDEN", "total": 9, "entry": [entry, other, {}]}
    with leaky.upstream.saying("/Observation/lab0/_history", json.dumps(told).encode()):
        answer = await app.get("Observation/lab0/_history")
    assert "HIDDEN" not in answer.text
    (shown,) = answer.json()["entry"]
    assert shown["fullUrl"].endswith("/fhir/Observation/lab0")
    assert shown["request"] == {"method": "PUT", "url": "Observation/lab0"}
    assert shown["response"] == {"status": "200"}
    assert answer.json()["total"] == 1


@pytest.mark.leak("L39", "L48")
@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": observation("lab0")}]}, 200),
        ({"resourceType": "OperationOutcome", "issue": [{"diagnostics": "HIDDEN"}]}, 200),
        ({"resourceType": "OperationOutcome", "issue": [{"diagnostics": "HIDDEN"}]}, 501),
        ({}, 404),
    ],
)
async def test_l39_l48_a_history_that_is_none_is_no_answer(leaky: World, told: dict[str, Any], status: int) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.saying("/Observation/lab0/_history", json.dumps(told).encode(), status):
        answer = await app.get("Observation/lab0/_history")
    assert answer.status_code == 502
    assert "HIDDEN" not in answer.text
    assert (await app.get("Observation/lab0/_history")).status_code == 200


@pytest.mark.leak("L53")
async def test_l53_a_history_takes_a_scope_to_read(leaky: World) -> None:
    app = await leaky.app(["laboratory"], scope="launch/patient patient/Observation.s")
    assert (await app.get("Observation/lab0/_history")).status_code == 403


@pytest.mark.leak("L40")
async def test_l40_a_service_gets_the_versions_about_the_patient_of_the_current_one(leaky: World, write: Write) -> None:
    await write({"subject": {"reference": "Patient/bob"}}, {"status": "preliminary"}, {})
    known = await service(leaky, {"ana": ["laboratory"], "bob": ["laboratory"]})
    found = await known.get("Observation/story/_history?_count=2")
    assert len(_versions(found)) == 2
    assert "total" not in found.json()
    assert "bob" not in (await known.get("Observation/story/_history")).text
    unknown = await service(leaky, {"bob": ["laboratory"]})
    assert (await unknown.get("Observation/story/_history")).status_code == 404


async def test_what_a_history_shows_is_on_record(leaky: World) -> None:
    app = await leaky.app(["laboratory", "sharing-record"])
    answer = await app.get("Observation/lab0/_history")
    wanted = answer.headers["x-request-id"]
    events = (await app.get("AuditEvent?_count=50&_sort=-_lastUpdated")).json()["entry"]
    (event,) = [e["resource"] for e in events if wanted in json.dumps(e)]
    assert [e["what"]["reference"] for e in event["entity"] if "reference" in e["what"]][:2] == [
        "Patient/ana",
        "Observation/lab0",
    ]


async def test_a_consent_has_its_history(leaky: World) -> None:
    app = await leaky.app(["laboratory", "sharing-record"])
    wanted = f"Consent/{await app.consent_id()}"
    answer = await app.get(f"{wanted}/_history")
    assert _versions(answer) == [(await app.get(wanted)).json()["meta"]["versionId"]]


@pytest.mark.leak("L40")
@pytest.mark.parametrize("count", ["", "?_count=1", "?_count=2"])
async def test_l40_histories_tell_nothing(pair: Twins, count: str) -> None:
    names = ("lab05", "lab06", "relabelled", "gone", "hiv00", "another00", "uncategorized", "never", "lab01")
    await pair.same_seen([f"Observation/{name}/_history{count}" for name in names], pages=6)
    found = await pair.other.get("Observation/lab05/_history")
    assert len(_versions(found)) == 3
