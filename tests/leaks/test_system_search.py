"""A search of all types (FHIR R4 §3.1.1.2): the types are named, each is searched as if alone."""

from __future__ import annotations

import pytest

from tests.leaks.service import service
from tests.leaks.twins import next_link
from tests.leaks.world import World


@pytest.mark.leak("L03")
async def test_l03_types_come_one_after_the_other(leaky: World) -> None:
    app = await leaky.app(["laboratory", "conditions", "demographics"])
    found = await app.ids("?_type=Condition,Patient&_count=200")
    assert found == ["Condition/flu", "Patient/ana"]


@pytest.mark.leak("L03", "L08")
async def test_l03_l08_ids_of_withheld_resources_find_nothing(leaky: World) -> None:
    app = await leaky.app(["laboratory", "conditions"])
    ids = "_id=opioid,flu,bob1,hiv-by-code,lab1,ana"
    assert await app.ids(f"?_type=Observation,Condition&{ids}") == ["Observation/lab1", "Condition/flu"]
    answer = await app.get("?_type=Observation,Condition&_id=opioid,bob1")
    nothing = await app.get("?_type=Observation,Condition&_id=nothing,never1")
    assert answer.json()["total"] == nothing.json()["total"] == 0


@pytest.mark.leak("L03", "L04")
@pytest.mark.parametrize("count", [1, 3, 12])
async def test_l03_l04_pages_go_across_types(leaky: World, count: int) -> None:
    app = await leaky.app(["laboratory", "conditions"])
    found, link = [], f"?_type=Observation,Condition&_count={count}"
    while link:
        found += await app.ids(link)
        link = next_link(await app.get(link)) or ""
    assert found == await app.ids("?_type=Observation,Condition&_count=200")


@pytest.mark.leak("L03", "L53")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        *(("", 400), ("?_id=lab0", 400), ("?_type=", 400), ("?_type=Nonsense", 400), ("?_type=Encounter", 403)),
        *(("?_type=Observation,Encounter", 403), ("?_type=Observation&code=75622-1", 400), ("?_type=*", 400)),
        *(("?_type=Observation&_sort=_id", 400), ("?_type=Observation&_include=*", 400), ("?_type=Bundle", 403)),
        *(("?_type=Observation&_lastUpdated=x", 400), ("?_type:not=Observation", 400), ("?_page=x", 410)),
        *(("?_type=Observation&_summary=count", 400), ("?_type=Observation&_total=accurate", 400)),
    ],
)
async def test_l03_l53_what_it_does_not_take_is_refused(leaky: World, query: str, status: int) -> None:
    app = await leaky.app(["laboratory", "conditions", "encounters"], scope="launch/patient patient/Observation.rs")
    with leaky.upstream.listening() as heard:
        answer = await app.get(query)
    assert heard == []
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.leak("L03", "L07")
async def test_l03_l07_a_form_says_the_same(leaky: World) -> None:
    app = await leaky.app(["laboratory", "conditions"])
    headers = {
        "Authorization": f"Bearer {app.token['access_token']}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = await leaky.http.post("/fhir/_search?_type=Condition", content="_count=5", headers=headers)
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["flu"]


@pytest.mark.leak("L03", "L20")
async def test_l03_l20_a_link_is_good_for_its_app_and_place_alone(leaky: World) -> None:
    app, other = await leaky.app(["laboratory"]), await leaky.app(["laboratory"])
    link = next_link(await app.get("?_type=Observation&_count=2"))
    assert link is not None
    assert (await app.get(link)).status_code == 200
    assert (await other.get(link)).status_code == 410
    assert (await app.get(link.replace("/fhir/?", "/fhir/Observation?"))).status_code == 410


@pytest.mark.leak("L03")
async def test_l03_a_service_searches_across_those_who_share(leaky: World) -> None:
    its = await service(leaky, {"ana": ["conditions"], "bob": ["laboratory"]})
    assert await its.ids("?_type=Condition,Observation&_count=200") == ["Condition/flu", "Observation/bob1"]
    answer = await its.get("?_type=Condition,Observation")
    assert "total" not in answer.json()
