"""L07, L72-L74: nothing in how a request is written, or in what it carries besides, changes who decides."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.leaks.upstream import TOKEN
from tests.leaks.world import App, World

SPOOFED = {
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/other",
    "X-Real-IP": "127.0.0.1",
    "Forwarded": "for=127.0.0.1;host=evil.example",
    "X-HTTP-Method-Override": "DELETE",
    "X-Original-URL": "/fhir/Observation/bob1",
    "X-Rewrite-URL": "/fhir/Observation/bob1",
    "X-Tenant-Id": "other",
    "X-Request-Tenant-Partition-ID": "ALL_PARTITIONS",
    "X-Patient": "bob",
    "X-Purpose-Of-Use": "BTG",
    "X-Security-Context": "break-the-glass",
    "X-Upsert-Extistence-Check": "disabled",
    "X-Provenance": '{"resourceType":"Provenance"}',
    "Prefer": "handling=lenient, respond-async",
    "Cookie": "session=x",
    "If-None-Match": "*",
    "If-Modified-Since": "Wed, 21 Oct 2065 07:28:00 GMT",
    "Range": "bytes=0-10",
    "Cache-Control": "only-if-cached",
}


async def _whole(app: App, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    answer = await app.get(path, **headers)
    kept = {n: v for n, v in answer.headers.items() if n not in ("x-request-id", "date")}
    return answer.status_code, answer.content, kept


@pytest.mark.leak("L72", "L23")
@pytest.mark.parametrize("header", list(SPOOFED))
@pytest.mark.parametrize("path", ["Observation/lab0", "Observation/bob1", "Observation?_id=lab0,bob1", "metadata"])
async def test_l72_l23_no_header_of_a_caller_changes_an_answer(leaky: World, path: str, header: str) -> None:
    app = await leaky.app(["laboratory"])
    assert await _whole(app, path, **{header: SPOOFED[header]}) == await _whole(app, path)


@pytest.mark.leak("L72")
async def test_l72_the_upstream_hears_nothing_of_a_callers_headers_and_token(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        await app.get("Observation/lab0", **SPOOFED)
        await app.get("Observation?_count=1", **SPOOFED)
        await app.post_search("Observation", "code=718-7")
    assert [asked.method for asked in heard] == ["GET"] * 3
    for asked in heard:
        assert set(asked.headers) == {"host", "accept", "accept-encoding", "user-agent", "authorization"}
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.leak("L72")
@pytest.mark.parametrize("name", ["authorization", "content-type", "content-length"])
async def test_l72_a_header_that_decides_may_stand_once(leaky: World, name: str) -> None:
    app = await leaky.app(["laboratory"])
    given = {
        "authorization": f"Bearer {app.token['access_token']}",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": "8",
    }
    headers = [*given.items(), (name, given[name])]
    with leaky.upstream.listening() as heard:
        answer = await leaky.http.post("/fhir/Observation/_search", content=b"_id=lab0", headers=headers)
    assert answer.status_code == 400
    assert heard == []


async def _status_of_raw(app: App, path: str) -> int:
    """Send a path as it stands, which no HTTP client does with dots."""
    raw = b"/fhir/" + path.encode()
    token = str(app.token["access_token"]).encode()
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": unquote(raw.decode()),
        "raw_path": raw,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer " + token)],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await app.world.assent.asgi(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.leak("L07", "L73")
@pytest.mark.parametrize(
    "path",
    [
        *("Observation/../Patient/bob", "Observation/..", "Observation/.", "../Observation", "./Observation/lab0"),
        *("Observation/%2e%2e/Patient/bob", "Observation%2flab0", "Observation/lab0%2f..", "Observation/lab0%00"),
        *("Observation/lab0%23", "Observation/lab0%3fx=1", "Observation/lab0;x=1", "Observation;x/lab0"),
        *("Observation//lab0", "Observation/lab0/", "Observation/lab0//", "Observation/lab0%0d%0aX:1", "//Observation"),
        *("Observation\\lab0", "Observation/lab0\\..", "Observation/%c0%ae%c0%ae", "Observation/\uff4cab0"),
        *("http://elsewhere.example/Observation/lab0", "@elsewhere.example/", "Observation/lab0/_history/.."),
        *("metadata/..", "metadata/../Observation/lab0", "Observation/_history/lab0", "Observation/lab0/_history/1/x"),
        *("%4fbservation", "OBSERVATION/lab0", "Obs\u00e9rvation/1", "Observation/" + "a" * 65),
    ],
)
async def test_l07_l73_only_plain_paths_lead_anywhere(leaky: World, path: str) -> None:
    app = await leaky.app(["laboratory", "demographics"])
    with leaky.upstream.listening() as heard:
        status = await _status_of_raw(app, path)
    assert status in (403, 404, 501)
    assert heard == []


@pytest.mark.leak("L73")
@pytest.mark.parametrize("wanted", ["..", ".", "a/../b", "a%2f..", "$x", "_history", "x" * 65, "a b", "a?b=c"])
async def test_l73_ids_in_a_query_stay_in_the_query(leaky: World, wanted: str) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        await app.get("Observation")
        await app.post_search("Observation", str(httpx.QueryParams({"_id": wanted})))
    assert {asked.target.partition("?")[0] for asked in heard} <= {"/Observation"}


@pytest.mark.leak("L07")
@pytest.mark.parametrize(
    "query",
    [
        *("_count=1&_count=2", "_elements=id&_elements=code", "_summary=true&_summary=false", "_sort=date&_sort=code"),
        *("_total=none&_total=accurate", "_format=json&_format=json", "_count=%31&_count=1", "code", "&&", "code=%ff"),
        *("code=%00", "=x", "code=a&%00=b", "_COUNT=1", "Code=1", "code%20=1", "co%64e%3anot=x%00"),
    ],
)
async def test_l07_contradicting_or_malformed_parameters_are_refused(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        got, posted = await app.get(f"Observation?{query}"), await app.post_search("Observation", query)
    assert (got.status_code, posted.status_code) == (400, 400)
    assert heard == []


@pytest.mark.leak("L07", "L08")
@pytest.mark.parametrize(
    "query", ["patient=bob&patient=ana", "subject=bob", "_id=bob1&_id=lab0", "patient=ana,bob&subject=Patient/bob"]
)
async def test_l07_l08_what_is_asked_is_joined_to_the_patient_never_instead(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        assert await app.ids(f"Observation?{query}") == []
    assert all("&patient=ana&" in asked.target for asked in heard)


@pytest.mark.leak("L74")
@pytest.mark.parametrize("given", ["xml", "application/fhir+xml", "text/html", "ttl", "html/json", "json;x", "JSON"])
async def test_l74_no_other_format_can_be_had(leaky: World, given: str) -> None:
    app = await leaky.app(["laboratory"])
    for path in ("Observation/lab0", "Observation"):
        answer = await app.get(f"{path}?_format={given}")
        assert answer.status_code == 406
        assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"


@pytest.mark.leak("L74")
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a\r\nX-Injected: 1", "\u2028", "`", "é" * 200])
async def test_l74_what_a_caller_writes_stays_text(leaky: World, text: str) -> None:
    app = await leaky.app(["laboratory"])
    query = str(httpx.QueryParams({text: "x"}))
    for answer in (
        await app.get(f"Observation?{query}"),
        await app.get("Observation", **{"X-Request-Id": "a<b>c" * 3}),
    ):
        assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "x-injected" not in answer.headers
        assert "<" not in answer.headers["x-request-id"]
        assert "\r" not in answer.text


@pytest.mark.leak("L74")
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", "", "x" * 300])
async def test_l74_a_search_form_of_another_type_is_refused(leaky: World, kind: str) -> None:
    app = await leaky.app(["laboratory"])
    headers = {"Authorization": f"Bearer {app.token['access_token']}", "Content-Type": kind}
    answer = await leaky.http.post("/fhir/Observation/_search", content=b"_id=lab0", headers=headers)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (415, "not-supported")


@pytest.mark.leak("L24")
@pytest.mark.parametrize("path", ["Observation/lab0", "Observation/bob1", "Observation", "Condition", "metadata", "x"])
async def test_l24_no_answer_is_kept_by_a_shared_cache(leaky: World, path: str) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get(path)
    assert answer.headers["cache-control"] == "no-store"
    assert "authorization" in answer.headers["vary"]
