"""L43: every entry of a batch gets what its own request would get, and takes all eight steps for itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from authz.consents.decisions import Choice, Decisions
from tests.leaks.service import service
from tests.leaks.world import App, World

SHARED = ("demographics", "laboratory", "conditions", "documents")


def _get(url: str, **more: object) -> dict[str, object]:
    return {"request": {"method": "GET", "url": url}, **more}


async def _send(app: App, bundle: object, path: str = "", **headers: str) -> httpx.Response:
    return await app.post_bundle(bundle if isinstance(bundle, str) else json.dumps(bundle), path, **headers)


async def _batch(app: App, entries: Sequence[object]) -> list[dict[str, Any]]:
    answer = await _send(app, {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["resourceType"], told["type"]) == ("Bundle", "batch-response")
    return list(told.get("entry", ()))


def _said(entry: dict[str, Any]) -> tuple[int, str]:
    """Status and issue code of a refused entry."""
    assert "resource" not in entry
    response = entry["response"]
    return int(response["status"].split()[0]), response["outcome"]["issue"][0]["code"]


ALONE = (
    *("Observation/lab0", "Observation/hiv-by-code", "Observation/bob1", "Observation/nothing", "Encounter/enc"),
    *("Observation/lab0/_history", "Observation/lab0/_history/1", "Observation/hiv-by-code/_history"),
    *("Observation?_count=2&_sort=_id", "Condition?code=F11.20", "Patient?telecom=555", "Patient/bob", "Nonsense/1"),
    *("Observation?unheard=1", "Observation?_id=bob1,lab1", "Binary/hiv-text", "Binary/orphan", "Condition/flu?x=y"),
    *("Observation/_history", "$export", "Patient/$everything", "_history", "Observation/$lastn", "observation/1"),
)


@pytest.mark.leak("L43")
@pytest.mark.parametrize("purpose", ["PATRQT", "HRESCH"])
async def test_l43_each_entry_is_answered_as_its_own_request_is(leaky: World, purpose: str) -> None:
    app = await leaky.app(SHARED, purpose=purpose)
    for url, entry in zip(ALONE, await _batch(app, [_get(url) for url in ALONE]), strict=True):
        alone = await app.get(url)
        status = int(entry["response"]["status"].split()[0])
        told = entry["resource"] if status == 200 else entry["response"]["outcome"]
        assert status == alone.status_code, url
        if "_count" not in url:  # page links are sealed anew each time
            assert told == alone.json(), url


@pytest.mark.leak("L43", "L35")
async def test_l43_content_comes_as_a_resource(leaky: World) -> None:
    (entry,) = await _batch(await leaky.app(SHARED), [_get("Binary/letter-text")])
    assert entry["resource"]["resourceType"] == "Binary"


@pytest.mark.leak("L43", "L44")
@pytest.mark.parametrize(
    ("method", "url"),
    [
        *(("POST", "Observation"), ("PUT", "Observation/lab0"), ("PATCH", "Observation/lab0"), ("HEAD", "Patient/ana")),
        *(("DELETE", "Observation/lab0"), ("DELETE", "Observation?code=75622-1"), ("PUT", "Observation?_id=lab0")),
        *(("POST", "Observation/_search"), ("POST", ""), ("POST", "Patient/ana/$everything"), ("POST", "$graphql")),
    ],
)
async def test_l43_l44_an_entry_that_writes_is_refused_by_name_and_the_others_are_answered(
    leaky: World, method: str, url: str
) -> None:
    app = await leaky.app(SHARED)
    writes = {
        "fullUrl": "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9",
        "request": {"method": method, "url": url, "ifNoneExist": "code=75622-1", "ifMatch": 'W/"1"'},
        "resource": {"resourceType": "Observation", "id": "lab0"},
    }
    with leaky.upstream.listening() as heard:
        refused, read = await _batch(app, [writes, _get("Observation/lab0")])
    assert _said(refused) == (405, "not-supported")
    assert f"`{method}`" in refused["response"]["outcome"]["issue"][0]["diagnostics"]
    assert read["resource"]["id"] == "lab0"
    assert [asked.method for asked in heard] == ["GET"]


@pytest.mark.leak("L43", "L73")
@pytest.mark.parametrize(
    ("url", "status"),
    [
        *(("/Observation/lab0", 400), ("http://127.0.0.1:8000/fhir/Observation/lab0", 400), ("//x/y", 400)),
        *(("../metadata", 404), ("Observation/../Observation/lab0", 404), ("Observation%2flab0", 400)),
        *(("Observation/lab0#x", 400), ("Observation/lab0\n", 400), ("Observation/lab é", 400), ("#x", 400)),
        *(("urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9", 400), ("", 400), ("Observation?code=%ff", 400)),
        *(("metadata", 405), ("?_type=Observation", 400), ("Patient/ana/$everything", 405)),
        *(("Observation?" + "x" * 9_000, 414), ("Observation?code=a\x00b", 400)),
    ],
)
async def test_l43_l73_urls_are_relative_and_plain(leaky: World, url: str, status: int) -> None:
    app = await leaky.app(SHARED)
    with leaky.upstream.listening() as heard:
        (entry,) = await _batch(app, [_get(url)])
    assert heard == []
    assert _said(entry)[0] == status


@pytest.mark.leak("L43")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        *(("", 400), ("[]", 400), ("{", 400), ("null", 400), ('{"resourceType":"Bundle"}', 400)),
        *(('{"resourceType":"Bundle","type":"transaction","entry":[]}', 405),),
        *(('{"resourceType":"Bundle","type":"searchset"}', 400), ('{"resourceType":"Patient","type":"batch"}', 400)),
        *(('{"resourceType":"Bundle","type":"batch","type":"transaction"}', 400),),
        *(('{"resourceType":"Bundle","type":"batch","entry":{}}', 400),),
        *(('{"resourceType":"Bundle","type":"batch","entry":[null]}', 400),),
        *(('{"resourceType":"Bundle","type":"batch","entry":[{}]}', 400),),
        *(('{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET"}}]}', 400),),
        *(('{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":5}}]}', 400),),
        *((json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [_get("Patient/ana")] * 51}), 400),),
        *(('{"resourceType":"Bundle","type":"batch","x":' + "[" * 5_000 + "]" * 5_000 + "}", 400),),
        *((" " * 262_145, 413),),
    ],
)
async def test_l43_a_bundle_that_is_none_is_refused_whole(leaky: World, body: str, status: int) -> None:
    app = await leaky.app(SHARED)
    with leaky.upstream.listening() as heard:
        answer = await _send(app, body)
    assert heard == []
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.leak("L43", "L74")
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        *(("?_type=Observation", {}, 400), ("?_format=xml", {}, 400), ("?_summary=true", {}, 400)),
        *(("", {"Content-Type": "application/fhir+xml"}, 415), ("", {"Content-Type": "text/plain"}, 415)),
        *(("", {"Accept": "application/fhir+xml"}, 406), ("", {"Authorization": "Bearer x"}, 401)),
        *(("/", {}, 200), ("?_format=json", {}, 200), ("", {"Content-Type": "application/json"}, 200)),
    ],
)
async def test_l43_l74_it_comes_as_json_and_without_parameters(
    leaky: World, path: str, headers: dict[str, str], status: int
) -> None:
    app = await leaky.app(SHARED)
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [_get("Observation/lab0")]}
    with leaky.upstream.listening() as heard:
        answer = await _send(app, bundle, path, **headers)
    assert answer.status_code == status
    assert len(heard) == (status == 200)


@pytest.mark.leak("L43")
@pytest.mark.parametrize("resource", [{}, {"resourceType": "Observation"}, None, "x"])
async def test_l43_an_entry_that_reads_brings_nothing(leaky: World, resource: object) -> None:
    (entry,) = await _batch(await leaky.app(SHARED), [_get("Observation/lab0", resource=resource)])
    assert _said(entry) == (400, "invalid")


@pytest.mark.leak("L43", "L23")
async def test_l43_l23_conditions_on_reads_count_for_nothing(leaky: World) -> None:
    request = {"method": "GET", "url": "Observation/lab0", "ifNoneMatch": 'W/"1"', "ifModifiedSince": "2030-01-01"}
    (entry,) = await _batch(await leaky.app(SHARED), [{"request": request}])
    assert entry["response"] == {"status": "200 OK"}


@pytest.mark.leak("L43", "L48")
async def test_l43_l48_what_fails_upstream_fails_for_its_entry_alone(leaky: World) -> None:
    app = await leaky.app(SHARED)
    with leaky.upstream.saying("/Observation/lab0", b"HIDDEN", 503):
        failed, read = await _batch(app, [_get("Observation/lab0"), _get("Observation/lab1")])
    assert _said(failed) == (502, "transient")
    assert "HIDDEN" not in json.dumps(failed)
    assert read["resource"]["id"] == "lab1"


@pytest.mark.leak("L43", "L62")
async def test_l43_l62_consent_is_asked_for_each_entry(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrowed between two entries: the second one is decided by what holds then."""
    app = await leaky.app(("laboratory", "vital-signs"))
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, leaky.text)
    consent = await app.consent_id()
    read = leaky.upstream.repository.read
    asked: list[str] = []

    async def narrowing(kind: str, wanted: str) -> Any:
        asked.append(wanted)
        if wanted == "lab0" and asked.count("lab0") == 1:
            await Decisions(leaky.assent.authz).change(consent, leaky.account, choice, "test")
        return await read(kind, wanted)

    monkeypatch.setattr(leaky.upstream.repository, "read", narrowing)
    entries = await _batch(app, [_get("Observation/lab0"), _get("Observation/lab0"), _get("Observation/vital0")])
    assert _said(entries[1]) == (404, "not-found")
    assert entries[2]["resource"]["id"] == "vital0"


@pytest.mark.leak("L43", "L70")
async def test_l43_l70_each_entry_is_on_record(leaky: World) -> None:
    app = await leaky.app(("laboratory", "sharing-record"))
    urls = ("Observation/lab0", "Observation/lab1", "Observation/hiv-by-code", "Encounter/enc", "Observation?_count=1")
    await _batch(app, [_get(url) for url in urls])
    records = [entry["resource"] for entry in (await app.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]]
    own = [record for record in records if app.client_id in json.dumps(record) and record["type"]["code"] == "rest"]
    assert sorted((r["action"], r["outcome"]) for r in own) == [
        *(("E", "0"), ("R", "0"), ("R", "0"), ("R", "4"), ("R", "4")),
    ]


@pytest.mark.leak("L43")
async def test_l43_a_service_is_answered_entry_by_entry(leaky: World) -> None:
    its = await service(leaky, {"ana": ["laboratory"]})
    entries = await _batch(its, [_get("Observation/lab0"), _get("Observation/bob1"), _get("Observation/nothing")])
    assert entries[0]["resource"]["id"] == "lab0"
    assert entries[1] == entries[2]


async def test_an_empty_batch_has_an_empty_answer(leaky: World) -> None:
    assert await _batch(await leaky.app(SHARED), []) == []


@pytest.mark.leak("L43", "L75")
async def test_l43_l75_an_answer_is_bounded(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir.proxy.batch.MAX_ANSWER", 1_000)
    entries = await _batch(await leaky.app(SHARED), [_get("Observation/lab0")] * 5)
    statuses = [entry["response"]["status"][:3] for entry in entries]
    assert statuses[0] == "200"
    assert statuses[-1] == "413"
