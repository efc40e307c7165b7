"""L01-L08: what is withheld can't be found out by asking for it."""

from __future__ import annotations

import json
from time import perf_counter
from urllib.parse import quote

import pytest

from fhir.proxy import ticks
from tests.leaks.world import World

TICK = ticks.TICK
"""As servers have it: read before `no_ticks` takes it away from those in this process."""


def _everything_but_id(body: dict[str, object], wanted: str) -> str:
    return str(body).replace(wanted, "ID")


@pytest.mark.leak("L01")
@pytest.mark.parametrize(
    "query",
    [
        *("name=Ana", "family=Ana", "telecom=555", "phone=555", "birthdate=1980-05-17", "birthdate=gt1900"),
        *("address=x", "identifier=1", "birthdate:missing=true", "name:contains=n", "name:exact=Ana"),
    ],
)
async def test_l01_searching_on_a_masked_element_is_refused(leaky: World, query: str) -> None:
    app = await leaky.app(["demographics"], purpose="HRESCH")
    answer = await app.get(f"Patient?{query}")
    assert answer.status_code == 403
    assert answer.json()["issue"][0]["code"] == "suppressed"


@pytest.mark.leak("L01")
async def test_l01_the_same_search_is_open_where_the_element_is_shown(leaky: World) -> None:
    app = await leaky.app(["demographics"])
    assert await app.ids("Patient?birthdate=1980-05-17") == ["Patient/ana"]
    assert await app.ids("Patient?birthdate=1980-05-18") == []


@pytest.mark.leak("L02")
@pytest.mark.parametrize("sort", ["name", "-birthdate", "_lastUpdated,family"])
async def test_l02_sorting_by_a_masked_element_is_refused(leaky: World, sort: str) -> None:
    app = await leaky.app(["demographics"], purpose="HRESCH")
    assert (await app.get(f"Patient?_sort={sort}")).status_code == 403


@pytest.mark.leak("L32", "L34", "L02")
@pytest.mark.parametrize(
    "query",
    [
        *("performer=http://elsewhere.example/fhir/Practitioner/hidden", "performer=doc,urn:uuid:hidden", "focus=%23x"),
        *("performer=http://elsewhere.example/fhir/Practitioner/other", "subject=Patient/ana/_history/1"),
        *("performer=http://127.0.0.1:8000/fhir/doc", "performer=http://127.0.0.1:8000/fhirs/Practitioner/doc"),
        *("_sort=performer", "_sort=-focus", "focus=a%5C,b"),
        "performer=http://127.0.0.1:8000/fhir/http://127.0.0.1:8000/fhir/Practitioner/doc",
    ],
)
async def test_l32_l34_l02_references_that_are_masked_are_not_searched(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        answer = await app.get(f"Observation?{query}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "not-supported")
    assert heard == []


@pytest.mark.leak("L32", "L34")
@pytest.mark.parametrize("written", ["Patient/ana", "http://127.0.0.1:8000/fhir/Patient/ana"])
async def test_l32_l34_an_address_below_our_base_is_asked_as_the_relative_one(leaky: World, written: str) -> None:
    app = await leaky.app(["laboratory"])
    everything = await app.ids("Observation")
    with leaky.upstream.listening() as heard:
        assert await app.ids(f"Observation?subject={written}") == everything != []
        assert await app.ids(f"Observation?patient={written},{written.replace('ana', 'bob')}") == everything
    assert heard
    assert not any("8000" in request for request in map(str, heard))


@pytest.mark.leak("L03")
@pytest.mark.parametrize(
    "query",
    [
        *("_filter=code eq x", "_text=secret", "_content=secret", "_list=1", "_query=q", "_type=Patient"),
        *("_has:Condition:subject:code=F11.20", "subject:Patient.name=Ana", "patient.birthdate=1980"),
        *("_tag=vip", "_security=HIV", "_source=x", "unheard=1", "code:in=http://x", "code:text=hiv", "code:above=1"),
        *("_count=0", "_count=-1", "_count=x", "_summary=count", "_summary=text", "_summary=data", "_contained=both"),
    ],
)
async def test_l03_whatever_searches_beyond_the_resource_is_refused(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get(f"Observation?{query}")
    assert answer.status_code in (400, 403)
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("Observation?date=2026-13", "value"),
        ("Observation?date=zz2026", "not-supported"),
        ("Observation?_lastUpdated=2026-02-30", "value"),
        ("Observation?code=a|b|c", "value"),
        ("Observation?code=|", "value"),
        ("Observation?code=", "invalid"),
        ("Observation?status=final,", "value"),
        ("Observation?code:missing=perhaps", "value"),
        ("Observation?_id=%20", "value"),
        ("Observation?_id:missing=true", "not-supported"),
        ("Observation?_lastUpdated:missing=false", "not-supported"),
    ],
)
async def test_a_value_that_cannot_be_read_is_refused_without_asking_the_upstream(
    leaky: World, query: str, code: str
) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get(query)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, code)


@pytest.mark.leak("L04")
async def test_l04_totals_count_only_what_is_shown(leaky: World) -> None:
    app = await leaky.app(["vital-signs"])
    bundle = (await app.get("Observation?_total=accurate")).json()
    assert bundle["total"] == len(bundle["entry"]) == 4


@pytest.mark.leak("L04")
async def test_l04_the_last_page_is_not_followed_by_an_empty_one(leaky: World) -> None:
    app = await leaky.app(["vital-signs"])
    bundle = (await app.get("Observation?_count=4")).json()
    assert len(bundle["entry"]) == 4
    assert [link["relation"] for link in bundle["link"]] == ["self"]


@pytest.mark.leak("L05")
@pytest.mark.parametrize("query", ["_elements=name,telecom", "_elements=Patient.birthDate", "_summary=true"])
async def test_l05_elements_and_summary_never_widen_a_mask(leaky: World, query: str) -> None:
    app = await leaky.app(["demographics"], purpose="HRESCH")
    for path in (f"Patient/ana?{query}", f"Patient?{query}"):
        answer = await app.get(path)
        assert answer.status_code == 200
        assert "1980" not in answer.text
        assert "555" not in answer.text


@pytest.mark.leak("L06")
@pytest.mark.parametrize("wanted", ["bob1", "hiv-by-code", "hiv-by-label", "odd-label", "vital0", "uncategorized"])
async def test_l06_withheld_and_not_there_answer_alike(leaky: World, wanted: str) -> None:
    app = await leaky.app(["laboratory"])
    nothing = await app.get("Observation/nothing-at-all")
    withheld = await app.get(f"Observation/{wanted}")
    assert withheld.status_code == nothing.status_code == 404
    assert withheld.content == nothing.content
    assert {n for n in withheld.headers if n != "x-request-id"} == {n for n in nothing.headers if n != "x-request-id"}


@pytest.mark.leak("L06")
@pytest.mark.parametrize(
    "asked",
    [
        "Observation/nothing",
        "Observation/hiv-by-code",
        "Observation/bob1/_history",
        "Observation?_id=bob1",
        "Patient/bob",
    ],
)
async def test_l06_what_shows_nothing_leaves_on_the_tick(
    leaky: World, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its time doesn't tell whether something was read and withheld."""
    assert TICK >= 0.02
    monkeypatch.setattr(ticks, "TICK", TICK)
    app = await leaky.app(["laboratory", "demographics"])
    took = []
    for _ in range(5):
        begun = perf_counter()
        await app.get(asked)
        took.append(perf_counter() - begun)
    assert min(took) >= TICK - 0.001  # the clock of the event loop counts whole milliseconds


@pytest.mark.leak("L07")
@pytest.mark.parametrize(
    "value", ["urn:x|lab0", "|lab0", "lab0|", "Observation/lab0", "lab0,a b", "x" * 65, "lab0,,lab1"]
)
async def test_l07_an_id_that_no_server_can_read_is_refused_whatever_the_upstream_does(
    leaky: World, value: str
) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get(f"Observation?_id={quote(value)}")
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["code"] in ("value", "invalid")


@pytest.mark.leak("L06", "L43")
async def test_l06_l43_nor_does_a_batch_of_reads_add_up_what_they_take(
    leaky: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks, "TICK", TICK)
    app = await leaky.app(["laboratory"])
    entries = [{"request": {"method": "GET", "url": "Observation/hiv-by-code"}}] * 5
    begun = perf_counter()
    answer = await app.post_bundle(json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}))
    assert [entry["response"]["status"] for entry in answer.json()["entry"]] == ["404 Not Found"] * 5
    assert perf_counter() - begun >= 5 * (TICK - 0.001)


@pytest.mark.leak("L06")
async def test_l06_version_reads_answer_alike_too(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    for path in ("Observation/bob1/_history/1", "Observation/lab0/_history/99", "Observation/lab0/_history/x"):
        assert (await app.get(path)).status_code == 404
    assert (await app.get("Observation/lab0/_history/1")).status_code == 200


@pytest.mark.leak("L07")
async def test_l07_url_and_body_parameters_both_count(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.post_search("Observation", "patient=ana", "?patient=bob")
    assert answer.status_code == 200
    assert "entry" not in answer.json()


@pytest.mark.leak("L07")
@pytest.mark.parametrize(
    "path",
    ["Observation%2flab0", "Observation/%6cab0", "Observation//lab0", "Observation/..%2f", "Observation/lab0/"],
)
async def test_l07_paths_are_taken_as_they_are(leaky: World, path: str) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get(path)
    assert answer.status_code in (400, 401, 404, 405)


@pytest.mark.leak("L08")
@pytest.mark.parametrize(
    "query", ["patient=bob", "subject=Patient/bob", "patient=ana,bob&patient=bob", "_id=bob1,lab0&patient=bob"]
)
@pytest.mark.smart(136)
async def test_l08_naming_another_patient_finds_nothing(leaky: World, query: str) -> None:
    app = await leaky.app(["laboratory"])
    assert await app.ids(f"Observation?{query}") == []


@pytest.mark.leak("L08")
async def test_l08_ids_of_others_in_a_list_are_not_there(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    assert await app.ids("Observation?_id=bob1,lab0,hiv-by-code,nothing") == ["Observation/lab0"]
