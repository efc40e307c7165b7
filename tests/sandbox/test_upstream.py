"""The built-in upstream over a real repository, spoken to in HTTP terms."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository
from sandbox.upstream import MAX_BODY, upstream_app
from tests.conftest import MakeDatabase
from tests.fhir.store_samples import SAMPLES, SteppingClock

BASE = "http://upstream.example/fhir"
TOKEN = "upstream-secret"  # noqa: S105  # a token of this test only
FORM = {"content-type": "application/x-www-form-urlencoded"}
SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}


@pytest.fixture(scope="module")
async def engine(make_database: MakeDatabase) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(await make_database())
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
async def client(engine: AsyncEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server with the samples, one of them updated and one deleted; read only."""
    repository = Repository(engine, load_definitions(), schema="assent", clock=SteppingClock())
    await repository.load(SAMPLES)
    await repository.update({"resourceType": "Practitioner", "id": "dr1", "active": True}, expected_version=1)
    await repository.delete("Group", "p1")
    app = upstream_app(repository, base_url=BASE + "/", bearer_token=TOKEN)
    transport = httpx.ASGITransport(app=app)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://upstream.example", headers=headers) as client:
        yield client


def _issue(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return answer.status_code, outcome["issue"][0]["code"]


def _ids(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


async def test_read_answers_the_stored_bytes_with_version_headers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/Observation/o1")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"] == "Sat, 01 Jun 2024 12:00:05 GMT"
    assert b'"valueQuantity":{"value":5.40,' in answer.content


async def test_vread_answers_each_version(client: httpx.AsyncClient) -> None:
    first = await client.get("/Practitioner/dr1/_history/1")
    assert first.json()["name"] == [{"family": "Weber"}]
    second = await client.get("/Practitioner/dr1/_history/2")
    assert second.json() == (await client.get("/Practitioner/dr1")).json()
    assert second.headers["etag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/Patient/none", 404, "not-found"),
        ("GET", "/Patient/p1/_history/9", 404, "not-found"),
        ("GET", "/Patient/p1/_history/x", 404, "not-found"),
        ("GET", "/Group/p1", 410, "deleted"),
        ("GET", "/Group/p1/_history/2", 410, "deleted"),
        ("GET", "/Pirate/p1", 404, "not-supported"),
        ("GET", "/", 404, "not-supported"),
        ("GET", "/HumanName", 404, "not-supported"),
        ("GET", "/Patient/absent/_history", 404, "not-found"),
        ("GET", "/Patient/$everything", 404, "not-supported"),
        ("GET", "/Patient/p1/Observation", 404, "not-supported"),
        ("GET", "/Patient/p1?name=x", 400, "not-supported"),
        ("GET", "/Patient/p1?_summary=count", 400, "value"),
        ("GET", "/Patient?nonsense=1", 400, "not-supported"),
        ("GET", "/Patient?birthdate=x", 400, "value"),
        ("GET", "/Patient?name=%ff", 400, "invalid"),
        ("GET", "/Patient?_cursor=x", 400, "value"),
        ("GET", "/Patient?" + "&".join(["_id=1"] * 201), 400, "invalid"),
        ("PUT", "/Patient", 405, "not-supported"),
        ("POST", "/Patient/p1", 405, "not-supported"),
        ("POST", "/Patient", 415, "not-supported"),
        ("PUT", "/Patient/p1", 415, "not-supported"),
        ("DELETE", "/Patient/p1", 412, "conflict"),
        ("DELETE", "/Patient/none", 404, "not-found"),
        ("DELETE", "/Group/p1", 410, "deleted"),
        ("PATCH", "/Patient/p1", 405, "not-supported"),
        ("GET", "/Patient/_search", 405, "not-supported"),
        ("POST", "/metadata", 405, "not-supported"),
        ("POST", "/Patient/_search", 415, "not-supported"),
    ],
)
async def test_what_is_not_there_or_not_done_is_told(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert _issue(answer) == (status, code)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN])
async def test_without_the_token_nothing_is_told(client: httpx.AsyncClient, header: str | None) -> None:
    for path in ("/Patient/p1", "/Patient/none", "/Patient", "/Pirate"):
        request = client.build_request("GET", path)
        del request.headers["authorization"]
        if header is not None:
            request.headers["authorization"] = header
        answer = await client.send(request)
        assert _issue(answer) == (401, "login")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_capabilities_need_no_token_and_name_what_is_supported(client: httpx.AsyncClient) -> None:
    request = client.build_request("GET", "/metadata")
    del request.headers["authorization"]
    statement = (await client.send(request)).json()
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["implementation"]["url"] == BASE
    observation = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Observation")
    assert [i["code"] for i in observation["interaction"]] == [
        *("read", "vread", "history-instance", "search-type"),
        *("create", "update", "delete"),
    ]
    assert "Observation:subject" in observation["searchInclude"]
    assert {"name": "code", "type": "token"}.items() <= next(
        p for p in observation["searchParam"] if p["name"] == "code"
    ).items()
    assert "code-value-quantity" not in [p["name"] for p in observation["searchParam"]]
    patient = next(r for r in statement["rest"][0]["resource"] if r["type"] == "Patient")
    assert "Observation:subject" in patient["searchRevInclude"]


async def test_search_is_a_searchset_with_absolute_addresses(client: httpx.AsyncClient) -> None:
    parameters = {"patient": "p1", "code": "http://loinc.org|4548-4", "_include": "Observation:subject"}
    bundle = (await client.get("/Observation", params=parameters)).json()
    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 1)
    assert bundle["link"] == [
        {
            "relation": "self",
            "url": f"{BASE}/Observation?patient=p1&code=http%3A%2F%2Floinc.org%7C4548-4&_include=Observation%3Asubject",
        }
    ]
    assert [(entry["fullUrl"], entry["search"]["mode"]) for entry in bundle["entry"]] == [
        (f"{BASE}/Observation/o1", "match"),
        (f"{BASE}/Patient/p1", "include"),
    ]


async def test_search_without_a_match_has_no_entry(client: httpx.AsyncClient) -> None:
    bundle = (await client.get("/Observation", params={"code": "none"})).json()
    assert bundle["total"] == 0
    assert "entry" not in bundle


async def test_next_links_lead_through_all_pages(client: httpx.AsyncClient) -> None:
    url: str | None = "/Observation?_count=3&_sort=-date"
    found: list[str] = []
    pages = 0
    while url is not None:
        bundle = (await client.get(url.removeprefix(BASE))).json()
        found += _ids(bundle)
        pages += 1
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        assert links["self"].startswith(f"{BASE}/Observation?")
        url = links.get("next")
    assert (found, pages) == (["o3", "o1", "o2", "o4"], 2)


async def test_search_by_post_takes_parameters_of_form_and_address(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Observation/_search?patient=p1", content=b"status=final", headers=FORM)
    assert _ids(answer.json()) == ["o1"]
    assert answer.json()["link"][0]["url"] == f"{BASE}/Observation?patient=p1&status=final"
    answer = await client.post("/Observation/_search", content=b"_id=" + b"a" * MAX_BODY, headers=FORM)
    assert _issue(answer) == (413, "too-long")


async def test_summary_and_elements_keep_mandatory_elements_and_mark_the_subset(client: httpx.AsyncClient) -> None:
    read = (await client.get("/Observation/o1?_elements=value")).json()
    assert set(read) == {"resourceType", "id", "meta", "status", "code", "valueQuantity"}
    assert read["meta"]["tag"] == [SUBSETTED]
    bundle = (await client.get("/Patient?_id=p2&_elements=gender")).json()
    resource = bundle["entry"][0]["resource"]
    assert set(resource) == {"resourceType", "id", "meta", "gender"}
    assert resource["meta"]["tag"] == [{"system": "urn:t", "code": "demo"}, SUBSETTED]
    text = (await client.get("/Observation/o1?_summary=text")).json()
    assert set(text) == {"resourceType", "id", "meta", "status", "code"}
    summary = await client.get("/Observation/o1?_summary=true")
    assert "category" not in summary.json()
    assert b'"value":5.40' in summary.content
    data = (await client.get("/Observation/o1?_summary=data")).json()
    assert "category" in data
    count = (await client.get("/Observation?_summary=count")).json()
    assert (count["total"], "entry" in count) == (4, False)


async def test_head_answers_the_headers_of_get_alone(client: httpx.AsyncClient) -> None:
    head = await client.head("/Patient/p1")
    get = await client.get("/Patient/p1")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers


async def test_failure_of_the_database_tells_nothing(client: httpx.AsyncClient, make_database: MakeDatabase) -> None:
    engine = create_async_engine(await make_database())
    repository = Repository(engine, load_definitions(), schema="nowhere", clock=SteppingClock())
    transport = httpx.ASGITransport(app=upstream_app(repository, base_url=BASE, bearer_token=TOKEN))
    async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=client.headers) as other:
        request = other.build_request("GET", "http://upstream.example/Patient?name=Secret")
        answer = await other.send(request)
    await engine.dispose()
    assert _issue(answer) == (500, "exception")
    assert "Secret" not in answer.text
    assert "nowhere" not in answer.text


async def test_an_export_is_begun_polled_fetched_and_forgotten(client: httpx.AsyncClient) -> None:
    asked = {"Prefer": "respond-async"}
    begun = await client.get("/$export?_type=Patient,Practitioner,Basic", headers=asked)
    assert (begun.status_code, begun.headers["content-location"][: len(BASE)]) == (202, BASE)
    job = begun.headers["content-location"].removeprefix(BASE)
    assert (await client.get(job)).status_code == 202
    manifest = (await client.get(job)).json()
    assert [file["type"] for file in manifest["output"]] == ["Patient", "Practitioner"]
    for file in manifest["output"]:
        url = file["url"].removeprefix(BASE)
        lines = (await client.get(url)).text.splitlines()
        plain = await client.get(url, headers={"accept-encoding": "identity"})
        assert lines == plain.text.splitlines()
        everything = await client.get(f"/{file['type']}?_count=500")
        assert sorted(json.loads(line)["id"] for line in lines) == sorted(_ids(everything.json()))
    assert (await client.delete(job)).status_code == 202
    assert (await client.get(job)).status_code == 404


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("$export", {}, 400),
        ("$export?_type=Nonsense", {"Prefer": "respond-async"}, 400),
        ("$export?_elements=id", {"Prefer": "respond-async"}, 400),
        ("Group/absent/$export", {"Prefer": "respond-async"}, 404),
        ("Observation/$export", {"Prefer": "respond-async"}, 404),
        ("$export-jobs/x", {}, 404),
        ("$export-jobs/x/Patient.ndjson", {}, 404),
        ("$export", {"Prefer": "respond-async", "Authorization": "Bearer wrong"}, 401),
    ],
)
async def test_an_export_that_cannot_be_is_refused(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    assert (await client.get(f"/{path}", headers=headers)).status_code == status
