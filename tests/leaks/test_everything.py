"""L41: `$everything` is the searches that the app could have made itself, one after the other, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from authz.consents.decisions import Choice, Decisions
from tests.leaks.service import service
from tests.leaks.twins import next_link
from tests.leaks.world import App, World

SHARED = ("demographics", "laboratory", "conditions", "documents")


async def _names(app: App, first: str) -> list[str]:
    """`Type/id` of everything on all pages."""
    found, link = [], first
    for _ in range(100):
        answer = await app.get(link)
        assert answer.status_code == 200, answer.text
        found += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.json().get("entry", ())]
        following = next_link(answer)
        if following is None:
            return found
        link = following
    raise AssertionError("the pages don't end")


@pytest.mark.leak("L41")
async def test_l41_everything_is_what_searches_of_each_type_show(leaky: World) -> None:
    app = await leaky.app(SHARED)
    kinds = ("Patient", "Condition", "DocumentReference", "Observation")
    searched = [name for kind in kinds for name in await app.ids(f"{kind}?_count=200")]
    found = await _names(app, "Patient/ana/$everything?_count=200")
    assert found == searched
    assert "Observation/lab0" in found
    assert not {"Observation/hiv-by-code", "Observation/bob1", "Condition/opioid", "Encounter/enc"} & set(found)


@pytest.mark.leak("L41", "L04")
@pytest.mark.parametrize("count", [1, 2, 5, 13])
async def test_l41_pages_hold_everything_once(leaky: World, count: int) -> None:
    app = await leaky.app(SHARED)
    whole = await _names(app, "Patient/ana/$everything?_count=200")
    assert await _names(app, f"Patient/ana/$everything?_count={count}") == whole
    first = await app.get(f"Patient/ana/$everything?_count={count}")
    assert len(first.json()["entry"]) == count
    assert "total" not in first.json()


@pytest.mark.leak("L41")
async def test_l41_types_that_nothing_opens_are_not_asked_for(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        found = await _names(app, "Patient/ana/$everything?_count=200")
    assert {name.partition("/")[0] for name in found} == {"Observation"}
    asked = [request.target for request in heard]
    assert {target.partition("?")[0] for target in asked} <= {"/Observation", "/DiagnosticReport", "/Specimen"}
    assert all("patient=" in target for target in asked)


@pytest.mark.leak("L41", "L06")
@pytest.mark.parametrize("wanted", ["bob", "nobody", "zoe"])
async def test_l41_l06_of_anybody_else_there_is_nothing(leaky: World, wanted: str) -> None:
    app = await leaky.app(SHARED)
    with leaky.upstream.listening() as heard:
        answer = await app.get(f"Patient/{wanted}/$everything")
    assert heard == []
    assert (answer.status_code, answer.content) == (404, (await app.get("Patient/nothing")).content)


@pytest.mark.leak("L41", "L53")
@pytest.mark.parametrize(
    ("scope", "query", "status"),
    [
        *(("patient/Observation.r", "", 403), ("patient/Observation.r", "?_type=Observation", 403)),
        *(("patient/Observation.s patient/Condition.r", "?_type=Condition", 403),),
        *(("patient/Observation.rs", "?_type=Observation,Condition", 403), ("patient/Observation.s", "", 200)),
    ],
)
async def test_l41_l53_each_type_takes_a_scope_to_search(leaky: World, scope: str, query: str, status: int) -> None:
    app = await leaky.app(SHARED, scope=f"launch/patient {scope}")
    with leaky.upstream.listening() as heard:
        answer = await app.get(f"Patient/ana/$everything{query}")
    assert answer.status_code == status
    assert {asked.target.partition("?")[0] for asked in heard} <= {"/Observation"}
    assert (heard == []) == (status == 403)


@pytest.mark.leak("L41")
async def test_type_and_since_narrow_it(leaky: World) -> None:
    app = await leaky.app(SHARED)
    path = "Patient/ana/$everything?_count=200"
    kinds = {name.partition("/")[0] for name in await _names(app, f"{path}&_type=Condition,Patient")}
    assert kinds == {"Condition", "Patient"}
    assert await _names(app, f"{path}&_type=Condition&_type=Patient") == ["Patient/ana", "Condition/flu"]
    assert len(await _names(app, f"{path}&_since=2026-01-01T00:00:00Z")) > 10
    assert await _names(app, f"{path}&_since=2026-01-01T00:00:01Z") == []
    assert "T00" in (await app.get(f"{path}&_since=2026-01-01T00:00:00%2B00:00")).text


@pytest.mark.leak("L41", "L03")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        *(("_type=Binary", 400), ("_type=AuditEvent", 400), ("_type=Nonsense", 400), ("_type=", 400)),
        *(("_type=Patient;x", 400), ("_since=2026", 400), ("_since=x", 400), ("_count=0", 400), ("start=2020", 400)),
        *(("_since=2026-01-01T00:00:00Z&_since=2026-01-01T00:00:00Z", 400), ("code=75622-1", 400), ("_id=lab0", 400)),
        *(("_include=*", 400), ("_elements=id", 400), ("_summary=count", 400), ("_total=accurate", 400)),
        *(("_sort=_id", 400), ("_type:not=Patient", 400), ("_format=xml", 406), ("_page=x", 410), ("end=2020", 400)),
    ],
)
async def test_l41_l03_what_it_does_not_take_is_refused(leaky: World, query: str, status: int) -> None:
    app = await leaky.app(SHARED)
    with leaky.upstream.listening() as heard:
        answer = await app.get(f"Patient/ana/$everything?{query}")
    assert heard == []
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.leak("L41", "L20")
async def test_l41_l20_a_link_is_good_for_its_app_and_place_alone(leaky: World) -> None:
    app, other = await leaky.app(SHARED), await leaky.app(SHARED)
    link = next_link(await app.get("Patient/ana/$everything?_count=2"))
    assert link is not None
    assert (await app.get(link)).status_code == 200
    assert (await other.get(link)).status_code == 410
    assert (await app.get(link.replace("/ana/$everything", ""))).status_code == 410
    assert (await app.get(f"{link}&_count=5")).status_code == 410


@pytest.mark.leak("L41", "L21")
async def test_l41_l21_narrowing_counts_on_the_next_page(leaky: World) -> None:
    app = await leaky.app(("laboratory", "vital-signs", "conditions"))
    link = next_link(await app.get("Patient/ana/$everything?_count=2"))
    assert link is not None
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs", "conditions"), None, leaky.text)
    await Decisions(leaky.assent.authz).change(await app.consent_id(), leaky.account, choice, "test")
    shown = await _names(app, link)
    assert shown
    assert all(name.startswith("Observation/vital") for name in shown)


@pytest.mark.leak("L41")
async def test_l41_masks_hold_in_everything(leaky: World) -> None:
    app = await leaky.app(SHARED, purpose="HRESCH")
    answer = await app.get("Patient/ana/$everything?_count=200")
    assert answer.status_code == 200
    assert "note 1" not in answer.text
    assert "Binary/letter-text" not in answer.text
    assert "NARRATIVE-SECRET" not in answer.text


@pytest.mark.leak("L41")
async def test_l41_a_service_gets_everything_of_each_who_shares(leaky: World) -> None:
    its = await service(leaky, {"ana": ["laboratory"], "bob": ["laboratory"]})
    ana, bob = await _names(its, "Patient/ana/$everything"), await _names(its, "Patient/bob/$everything")
    assert "Observation/lab0" in ana
    assert bob == ["Observation/bob1"]
    await its.revoked_by("bob")
    answer = await its.get("Patient/bob/$everything")
    assert (answer.status_code, answer.content) == (404, (await its.get("Patient/nobody/$everything")).content)


@pytest.mark.leak("L41", "L70")
async def test_l41_l70_it_is_on_record(leaky: World) -> None:
    app = await leaky.app(("laboratory", "sharing-record"))
    await app.get("Patient/ana/$everything?_type=Observation&_count=3")
    await app.get("Patient/bob/$everything")
    records = [entry["resource"] for entry in (await app.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]]
    own = [record for record in records if app.client_id in json.dumps(record)]
    shown = next(record for record in own if "Observation/lab" in json.dumps(record))
    assert shown["action"] == "E"
    refused = next(record for record in own if record["outcome"] == "4")
    assert refused["action"] == "E"
    assert "bob" not in json.dumps(refused)


@pytest.mark.leak("L41")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_l41_it_is_read_and_nothing_else(leaky: World, method: str) -> None:
    app = await leaky.app(SHARED)
    answer = await app.send(method, "Patient/ana/$everything", {"resourceType": "Parameters"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


def _parameters(*given: Mapping[str, object]) -> str:
    return json.dumps({"resourceType": "Parameters", "parameter": given})


@pytest.mark.leak("L41")
@pytest.mark.parametrize(
    ("posted", "got"),
    [
        ("", ""),
        (_parameters(), ""),
        (_parameters({"name": "_count", "valueInteger": 2}), "?_count=2"),
        (_parameters({"name": "_type", "valueCode": "Observation"}), "?_type=Observation"),
        (_parameters({"name": "_since", "valueInstant": "2026-01-01T00:00:00Z"}), "?_since=2026-01-01T00:00:00Z"),
    ],
)
async def test_l41_what_is_posted_says_the_same_as_a_query(leaky: World, posted: str, got: str) -> None:
    app = await leaky.app(SHARED)
    answer, read = (
        await app.post_bundle(posted, "/Patient/ana/$everything"),
        await app.get(f"Patient/ana/$everything{got}"),
    )
    assert (answer.status_code, answer.json()["entry"]) == (200, read.json()["entry"])
    following, other = next_link(answer), next_link(read)
    assert (following is None) == (other is None)
    if following is not None and other is not None:
        assert await _names(app, following) == await _names(app, other)


@pytest.mark.leak("L41")
@pytest.mark.parametrize(
    ("posted", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ('{"resourceType": "Patient"}', 400),
        ('{"resourceType": "Parameters", "parameter": {}}', 400),
        ('{"resourceType": "Parameters", "parameter": [7]}', 400),
        (_parameters({"name": "_count", "valueString": "2"}), 400),
        (_parameters({"name": "_count", "valueInteger": True}), 400),
        (_parameters({"name": "_type", "valueCode": "Patient", "part": []}), 400),
        (_parameters({"name": "start", "valueDate": "2026-01-01"}), 400),
        (_parameters({"name": "_type", "valueCode": "Encounter,Bundle"}), 400),
        (_parameters(*[{"name": "_type", "valueCode": "Patient"}] * 2_000), 413),
    ],
)
async def test_l41_what_is_posted_is_held_to_what_is_understood(leaky: World, posted: str, status: int) -> None:
    app = await leaky.app(SHARED)
    with leaky.upstream.listening() as heard:
        answer = await app.post_bundle(posted, "/Patient/ana/$everything")
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    assert heard == []


@pytest.mark.leak("L41", "L15")
async def test_l41_posting_opens_nobody_elses_record(leaky: World) -> None:
    app = await leaky.app(SHARED)
    for name in ("bob", "nobody"):
        assert (await app.post_bundle("", f"/Patient/{name}/$everything")).status_code == 404
    assert (await app.post_bundle("", "/Patient/%2e%2e/$everything")).status_code == 405
    wrong = await app.post_bundle("<x/>", "/Patient/ana/$everything", **{"Content-Type": "application/fhir+xml"})
    assert wrong.status_code == 415
