"""L40-L47, L60: what isn't offered is refused by name, and the upstream never hears of it."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.leaks.world import App, World

CATEGORIES = ("demographics", "laboratory", "conditions", "documents", "sharing-record")
OBSERVATION = json.dumps({"resourceType": "Observation", "id": "lab0", "status": "final", "code": {"text": "x"}})
BUNDLE = json.dumps(
    {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": "Observation/lab0"}}],
    }
)


async def _refused(leaky: World, method: str, path: str, body: str = "", **headers: str) -> httpx.Response:
    """The answer to a request of which the upstream heard nothing."""
    app = await leaky.app(CATEGORIES)
    with leaky.upstream.listening() as heard:
        answer = await _send(app, method, path, body, **headers)
    assert heard == []
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert "lab0" not in answer.text
    return answer


async def _send(app: App, method: str, path: str, body: str = "", **headers: str) -> httpx.Response:
    sent = {"Authorization": f"Bearer {app.token['access_token']}", "Content-Type": "application/fhir+json", **headers}
    return await app.world.http.request(method, f"/fhir/{path}", content=body, headers=sent)


def _said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["issue"][0]["code"]


@pytest.mark.leak("L40")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, path) for method in ("GET", "HEAD", "POST") for path in ("_history", "Observation/_history")),
        *(("POST", "Patient/_history?x=y"), ("GET", "Patient/_history?_since=2020"), ("GET", "_history?_count=1")),
    ],
)
async def test_l40_the_history_of_a_type_or_of_the_system_is_refused(leaky: World, method: str, path: str) -> None:
    app = await leaky.app(CATEGORIES)
    with leaky.upstream.listening() as heard:
        answer = await _send(app, method, path)
    assert heard == []
    assert answer.status_code == 501
    if method != "HEAD":
        assert _said(answer) == (501, "not-supported")


@pytest.mark.leak("L41")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        *("Patient/$everything", "Encounter/enc/$everything", "$everything"),
        *("Composition/c/$document", "DocumentReference/$docref", "Observation/$lastn", "Patient/$match"),
        *("Patient/ana/$export", "Observation/$export", "$export-poll-status?_jobId=1", "Observation/$stats"),
        *("$meta", "Observation/lab0/$meta", "ValueSet/$expand", "$process-message", "$convert", "$reindex"),
    ],
)
async def test_l41_no_operation_is_forwarded(leaky: World, method: str, path: str) -> None:
    assert _said(await _refused(leaky, method, path)) == (501, "not-supported")


@pytest.mark.leak("L42")
@pytest.mark.parametrize(
    ("method", "body"), [("GET", ""), ("POST", '{"query":"{Patient(id:\\"ana\\"){name{family}}}"}')]
)
@pytest.mark.parametrize("path", ["$graphql", "Patient/ana/$graphql", "$graphql?query={ObservationList{id}}"])
async def test_l42_graphql_is_refused(leaky: World, method: str, body: str, path: str) -> None:
    answer = await _refused(leaky, method, path, body)
    assert _said(answer) == (501, "not-supported")
    assert "GraphQL" in answer.text


@pytest.mark.leak("L43")
@pytest.mark.parametrize(("path", "kind"), [("", "transaction"), ("Bundle", "batch"), ("Bundle", "transaction")])
async def test_l43_a_transaction_is_refused_whole(leaky: World, path: str, kind: str) -> None:
    answer = await _refused(leaky, "POST", path, BUNDLE.replace("batch", kind))
    assert _said(answer) == (405, "not-supported")


@pytest.mark.leak("L44")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("PUT", "Observation?code=75622-1"), ("PATCH", "Observation?code=75622-1")),
        *(("DELETE", "Observation?code=75622-1"), ("DELETE", "Observation/hiv-by-code")),
        *(("POST", "Observation"), ("POST", "Condition?code=F11.20")),
    ],
)
async def test_l44_conditional_writes_are_no_search(leaky: World, method: str, path: str) -> None:
    headers = {"If-None-Exist": "code=75622-1", "If-Match": 'W/"1"'}
    assert _said(await _refused(leaky, method, path, OBSERVATION, **headers)) == (405, "not-supported")


@pytest.mark.leak("L45")
@pytest.mark.parametrize("scope", ["patient/*.cud", "patient/*.cruds"])
@pytest.mark.parametrize("prefer", ["return=representation", "return=OperationOutcome", "return=minimal"])
async def test_l45_a_scope_to_write_reads_nothing_back(leaky: World, scope: str, prefer: str) -> None:
    app = await leaky.app(CATEGORIES, scope=f"launch/patient patient/Observation.rs {scope}")
    with leaky.upstream.listening() as heard:
        for method, path in (("POST", "Observation"), ("PUT", "Observation/lab0"), ("PATCH", "Observation/lab0")):
            answer = await _send(app, method, path, OBSERVATION, Prefer=prefer)
            assert _said(answer) == (405, "not-supported")
            assert "lab0" not in answer.text
    assert heard == []


@pytest.mark.leak("L46", "L47")
@pytest.mark.parametrize(
    ("method", "kind", "body"),
    [
        ("PATCH", "application/json-patch+json", '[{"op":"test","path":"/birthDate","value":"1980-05-17"}]'),
        ("PATCH", "application/fhir+json", '{"resourceType":"Parameters"}'),
        ("PUT", "application/fhir+json", '{"resourceType":"Patient","id":"ana"}'),
    ],
)
async def test_l46_l47_no_write_tests_or_moves_what_is_masked(leaky: World, method: str, kind: str, body: str) -> None:
    answer = await _refused(leaky, method, "Patient/ana", body, **{"Content-Type": kind, "If-Match": 'W/"1"'})
    assert _said(answer) == (405, "not-supported")


@pytest.mark.leak("L60")
@pytest.mark.parametrize("kind", ["Consent", "AuditEvent", "Provenance"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_l60_an_app_writes_no_consent_and_no_record(leaky: World, kind: str, method: str) -> None:
    app = await leaky.app(["laboratory", "sharing-record"])
    wanted = await app.consent_id()
    before = (await app.get(f"Consent/{wanted}")).content
    path = kind if method == "POST" else f"{kind}/{wanted}"
    forged = {"resourceType": kind, "id": wanted, "status": "active", "dateTime": "2001-01-01"}
    assert _said(await _send(app, method, path, json.dumps(forged))) == (405, "not-supported")
    assert (await app.get(f"Consent/{wanted}")).content == before


@pytest.mark.leak("L35")
@pytest.mark.parametrize(
    "path",
    [
        *("Binary/b1/_history/1", "Binary/b1/_history", "Binary?_id=b1", "Binary", "Flag/m1", "Bundle/b", "Basic/b"),
        *("Parameters/p", "?_type=Binary", "?_type=Condition,Binary"),
    ],
)
async def test_l35_types_without_a_category_are_closed(leaky: World, path: str) -> None:
    assert _said(await _refused(leaky, "GET", path)) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        *(("GET", "", (400, "not-supported")), ("TRACE", "Observation/lab0", (405, "not-supported"))),
        *(("OPTIONS", "Observation/lab0", (405, "not-supported")), ("GET", "Nonsense/1", (403, "forbidden"))),
        *(("GET", "observation/1", (404, "not-found")), ("GET", "Observation/a_b", (404, "not-found"))),
        *(("GET", "Observation/_search", (405, "not-supported")), ("POST", "_search", (415, "not-supported"))),
        *(("GET", "Patient/ana/$everything/x", (404, "not-found")), ("GET", "x/$export", (404, "not-found"))),
        *(("GET", "Patient/ana/Observation", (404, "not-found")), ("GET", "Patient/ana/*", (404, "not-found"))),
    ],
)
async def test_what_is_no_interaction_of_fhir_is_refused(
    leaky: World, method: str, path: str, said: tuple[int, str]
) -> None:
    assert _said(await _refused(leaky, method, path)) == said
