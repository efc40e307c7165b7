"""L25: several upstreams. Each is asked for its own types only, and one that fails tells and holds up nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from assent.app import build
from assent.settings import Settings
from assent.upstream_metrics import described
from fhir.audit.event import UPSTREAM_DETAIL
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from tests.leaks.content import binary, document
from tests.leaks.exporting import exported, ids, kick_off
from tests.leaks.service import service
from tests.leaks.several import LAB_TYPES, Several, settings_of, several
from tests.leaks.twins import next_link
from tests.leaks.world import App, World, client_of, observation, patient

PAUSE = 0.3
"""Seconds for which the laboratory is left alone."""
HIDDEN = "UPSTREAM-HIDDEN"
TICKED = ("demographics", "laboratory", "conditions", "encounters", "documents")


def _condition(wanted: str) -> dict[str, object]:
    return {"resourceType": "Condition", "id": wanted, "subject": {"reference": "Patient/ana"}, "code": {"text": "x"}}


def _encounter(wanted: str) -> dict[str, object]:
    return {
        "resourceType": "Encounter",
        "id": wanted,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/ana"},
    }


EHR: list[dict[str, object]] = [
    patient("ana"),
    patient("bob"),
    *(_condition(f"c{n}") for n in range(5)),
    _encounter("visit"),
    document("letter", "Binary/letter-text"),
    binary("letter-text"),
    observation("of-the-ehr"),
]


def _lab(ehr: str) -> Sequence[Mapping[str, object]]:
    return [
        *(observation(f"o{n}", encounter={"reference": "Encounter/visit"}) for n in range(5)),
        observation("absolute", subject={"reference": f"{ehr}/Patient/ana"}),
        observation("bobs", subject={"reference": f"{ehr}/Patient/bob"}),
        observation("foreign", subject={"reference": "https://elsewhere.example/fhir/Patient/ana"}),
        observation("panel", hasMember=[{"reference": "Observation/o1"}]),
        patient("ana", gender="male"),
        _condition("of-the-lab"),
        _encounter("visit"),
        binary("letter-text", data="TEFC"),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Several]:
    """Both upstreams; the laboratory is given up after two failures, for a moment, and has four connections."""
    folder = tmp_path_factory.mktemp("several")
    given: dict[str, Any] = {"failures": 2, "pause_seconds": PAUSE, "connections": 4, "timeout_seconds": 5}
    async with several(make_database, folder, EHR, _lab, **given) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def app(place: Several) -> AsyncIterator[App]:
    yield await place.world.app(TICKED)
    await place.world.forget_consents()
    await _recovered(place)


async def _recovered(place: Several) -> None:
    """The laboratory's breaker is closed again, and has forgotten failures."""
    client = next(one.client for one in place.world.assent.upstreams if one.name == "lab")
    if client.breaker.state != "closed":
        await asyncio.sleep(PAUSE)
    await client.get("metadata", ())


def _names(answer: Any) -> set[str]:
    resources = [entry["resource"] for entry in answer.json().get("entry", ())]
    return {f"{resource['resourceType']}/{resource['id']}" for resource in resources}


@asynccontextmanager
async def _beside(place: Several, settings: Settings) -> AsyncIterator[World]:
    """Another server on the same database, with the same secret."""
    assent = await build(settings, place.world.database_url)
    try:
        async with client_of(assent) as http:
            yield replace(place.world, assent=assent, http=http)
    finally:
        await assent.aclose()


LABS = {f"Observation/{name}" for name in ("o0", "o1", "o2", "o3", "o4", "panel")}


@pytest.mark.leak("L25")
async def test_l25_each_type_is_asked_of_its_own_upstream_only(place: Several, app: App) -> None:
    with place.ehr.listening() as of_ehr, place.lab.listening() as of_lab:
        assert (await app.get("Patient/ana")).json()["gender"] == "female"
        assert (await app.get("Observation/o1")).status_code == 200
        assert (await app.get("Observation/of-the-ehr")).status_code == 404
        assert (await app.get("Condition/of-the-lab")).status_code == 404
        assert _names(await app.get("Observation")) == LABS
        assert _names(await app.get("Condition")) == {f"Condition/c{n}" for n in range(5)}
        assert (await app.get("Binary/letter-text")).text == "text of letter-text"
        assert (await app.get("Observation/o1/_history")).status_code == 200
    assert not any("Observation" in asked.target for asked in of_ehr)
    assert {asked.target.split("/")[1].partition("?")[0] for asked in of_lab} == {"Observation"}


@pytest.mark.leak("L25")
async def test_l25_everything_searches_of_the_system_and_batches_go_across_them_by_type(
    place: Several, app: App
) -> None:
    conditions = {f"Condition/c{n}" for n in range(5)}
    everything = _names(await app.get("Patient/ana/$everything?_count=50"))
    assert everything == LABS | conditions | {"Patient/ana", "Encounter/visit", "DocumentReference/letter"}
    assert _names(await app.get("?_type=Observation,Condition&_count=50")) == LABS | conditions
    urls = ("Patient/ana", "Observation/o1", "Observation/of-the-ehr")
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    batch = await app.post_bundle(json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}))
    assert [entry["response"]["status"][:3] for entry in batch.json()["entry"]] == ["200", "200", "404"]


@pytest.mark.leak("L25", "L32")
async def test_l25_l32_a_reference_below_any_upstream_is_one_within_assents_own_base(place: Several, app: App) -> None:
    answer = await app.get("Observation/absolute")
    assert answer.json()["subject"]["reference"] == "Patient/ana"
    assert (await app.get("Observation/bobs")).status_code == 404
    assert (await app.get("Observation/foreign")).status_code == 404


@pytest.mark.leak("L25")
@pytest.mark.parametrize(
    "search",
    [
        "Observation?_include=Observation:encounter",
        "Observation?_include=Observation:subject:Patient",
        "Patient?_revinclude=Observation:patient",
    ],
)
async def test_l25_an_include_that_another_server_would_have_to_bring_is_refused(
    place: Several, app: App, search: str
) -> None:
    with place.ehr.listening() as of_ehr, place.lab.listening() as of_lab:
        answer = await app.get(search)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "not-supported")
    assert (of_ehr, of_lab) == ([], [])


@pytest.mark.leak("L25", "L10")
async def test_l25_l10_an_upstreams_copy_of_what_is_another_ones_is_not_shown(place: Several, app: App) -> None:
    search = "Observation?_include=Observation:derived-from"
    match = observation("o1", derivedFrom=[{"reference": "Observation/o2"}, {"reference": "DocumentReference/letter"}])
    included = [observation("o2"), document("letter", "Binary/letter-text")]
    entries = [{"resource": match, "search": {"mode": "match"}}]
    entries += [{"resource": one, "search": {"mode": "include"}} for one in included]
    told = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    with place.lab.saying("/Observation", json.dumps(told).encode()):
        assert _names(await app.get(search)) == {"Observation/o1", "Observation/o2"}


@pytest.mark.leak("L25", "L13")
async def test_l25_l13_a_provenance_of_what_is_kept_elsewhere_is_not_shown(place: Several) -> None:
    targets = {"here": "Condition/c0", "copied": "Observation/of-the-ehr", "elsewhere": "Observation/o1"}
    said = {"resourceType": "Provenance", "recorded": "2026-01-01T00:00:00Z", "agent": [{}]}
    await place.ehr.write([{**said, "id": n, "target": [{"reference": t}]} for n, t in targets.items()])
    app = await place.world.app([*TICKED, "sharing-record"])
    statuses = {name: (await app.get(f"Provenance/{name}")).status_code for name in targets}
    assert statuses == {"here": 200, "copied": 404, "elsewhere": 404}
    assert _names(await app.get("Condition?_revinclude=Provenance:target")) >= {"Provenance/here"}
    await place.ehr.write([f"Provenance/{name}" for name in targets])


@pytest.mark.leak("L25", "L22")
@pytest.mark.parametrize("search", ["Observation?_count=1", "?_type=Observation&_count=1"])
async def test_l25_l22_a_page_link_of_one_upstream_is_not_opened_at_another(
    place: Several, app: App, search: str
) -> None:
    link = next_link(await app.get(search))
    assert link is not None
    moved = settings_of(place.world.folder, place.ehr, place.lab, types=["DiagnosticReport"])
    async with _beside(place, moved) as elsewhere:
        with place.ehr.listening() as of_ehr, place.lab.listening() as of_lab:
            answer = await App(elsewhere, app.client_id, app.token).get(link)
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (410, "expired")
        assert (of_ehr, of_lab) == ([], [])
        assert _names(await App(elsewhere, app.client_id, app.token).get("Observation")) == {"Observation/of-the-ehr"}
    assert (await app.get(link)).status_code == 200


@pytest.mark.leak("L25")
async def test_l25_a_type_without_an_upstream_is_refused(place: Several, app: App) -> None:
    held = ["Patient", "Condition", "Encounter", "DocumentReference"]
    few = settings_of(place.world.folder, place.ehr, place.lab, types=["DiagnosticReport"], of_ehr={"types": held})
    async with _beside(place, few) as world:
        there = App(world, app.client_id, app.token)
        with place.ehr.listening() as of_ehr, place.lab.listening() as of_lab:
            for path in ("Observation/o1", "Observation/o1/_history", "Observation", "?_type=Condition,Observation"):
                answer = await there.get(path)
                assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-supported")
            assert (await there.get("Patient/ana/$everything?_type=Observation")).status_code == 400
        assert (of_ehr, of_lab) == ([], [])
        assert "Patient/ana" in _names(await there.get("Patient/ana/$everything"))
        statement = (await world.http.get("/fhir/metadata")).json()
        named = {resource["type"] for resource in statement["rest"][0]["resource"]}
        assert named == {*held, "Binary", "DiagnosticReport", "Consent", "AuditEvent"}


@pytest.mark.leak("L25", "L48")
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
@pytest.mark.parametrize("path", ["Observation/o1", "Observation", "Patient/ana/$everything", "?_type=Observation"])
async def test_l25_l48_neither_address_nor_name_nor_words_of_a_failing_upstream_are_told(
    place: Several, app: App, path: str, status: int
) -> None:
    told = json.dumps({"resourceType": "OperationOutcome", "issue": [{"diagnostics": HIDDEN}]}).encode()
    headers = {"retry-after": "77", "x-powered-by": HIDDEN, "location": place.lab.url}
    with place.lab.saying_always(told, status, headers):
        answer = await app.get(path)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (502, "transient")
    _tells_nothing(place, answer)


def _tells_nothing(place: Several, answer: Any) -> None:
    said = answer.text + str({n: v for n, v in answer.headers.items() if n not in ("x-request-id", "content-length")})
    for secret in (HIDDEN, place.lab.url.partition("//")[2], "127.0.0.1", '"lab"', " lab", "77"):
        assert secret not in said


@pytest.mark.leak("L25", "L48")
async def test_l25_l48_an_upstream_that_is_down_is_left_alone_for_a_while_and_then_asked_again(
    place: Several, app: App
) -> None:
    with place.lab.saying("/Observation/o1", b"", 503):
        for _ in range(2):
            assert (await app.get("Observation/o1")).status_code == 502
        with place.lab.listening() as of_lab:
            answer = await app.get("Observation/o2")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["issue"][0]["code"] == "transient"
            assert (await app.get("Patient/ana/$everything")).status_code == 503
            assert (await app.get("Patient/ana")).status_code == 200
        assert of_lab == []
        _tells_nothing(place, answer)
    await asyncio.sleep(PAUSE)
    assert (await app.get("Observation/o1")).status_code == 200
    assert (await app.get("Observation/o2")).status_code == 200


@pytest.mark.leak("L25")
async def test_l25_one_that_hangs_holds_up_nothing_of_the_other(place: Several, app: App) -> None:
    # More than the laboratory's four connections, and more than the database's ten.
    with place.lab.hanging():
        stuck = [asyncio.create_task(app.get(f"Observation/o{n % 5}")) for n in range(40)]
        await asyncio.sleep(0.2)
        answers = await asyncio.gather(*(app.get(f"Condition/c{n % 5}") for n in range(40)))
        assert [answer.status_code for answer in answers] == [200] * 40
        assert not any(task.done() for task in stuck)
    assert {(await task).status_code for task in stuck} == {200}


@pytest.mark.leak("L25")
async def test_l25_where_an_answer_came_from_follows_from_its_type_alone(place: Several, app: App) -> None:
    named = {
        "Patient/ana": "ehr",
        "Condition?code=nothing": "ehr",
        "Observation": "lab",
        "Observation?_id=bobs": "lab",
        "Observation/o1": "lab",
        "Observation/o1/_history": "lab",
        "Binary/letter-text": "ehr",
        "Patient/ana/$everything": None,
        "?_type=Observation": None,
        "metadata": None,
    }
    for path, name in named.items():
        answer = await app.get(path)
        assert (answer.status_code, answer.headers.get("x-assent-source")) == (200, name)
    for path in ("Observation/bobs", "Observation/nothing", "Condition/nothing", "Observation?x=1", "Procedure"):
        answer = await app.get(path)
        assert answer.status_code >= 400
        assert "x-assent-source" not in answer.headers


@pytest.mark.leak("L25", "L70")
async def test_l25_l70_where_it_came_from_is_on_record_and_not_told_to_apps(place: Several) -> None:
    app = await place.world.app((*TICKED, "sharing-record"))
    for path in ("Observation/o1", "Patient/ana/$everything?_type=Observation,Condition", "Observation/bobs"):
        await app.get(path)
    told = (await app.get("AuditEvent?_count=100&_sort=-date")).text
    assert app.client_id in told
    assert UPSTREAM_DETAIL not in told
    repository = place.world.assent.authz.repository
    query = parse_search("AuditEvent", [("_sort", "-date"), ("_count", "500")], load_definitions(), max_count=500)
    events = [stored.body.decode() for stored in (await repository.search(query)).matches]
    mine = [json.loads(event) for event in reversed(events) if app.client_id in event]
    reads = [event for event in mine if event["type"]["code"] == "rest" and event["action"] in ("R", "E")]
    assert [_upstreams(event) for event in reads] == [["lab"], ["ehr", "lab"], []]
    await place.world.forget_consents()


def _upstreams(event: Mapping[str, Any]) -> list[str]:
    details = [detail for entity in event["entity"] for detail in entity.get("detail", ())]
    return [detail["valueString"] for detail in details if detail["type"] == UPSTREAM_DETAIL]


async def test_operators_see_how_each_upstream_does_and_apps_and_scrapes_no_value(place: Several, app: App) -> None:
    told = json.dumps(observation("o1", **{HIDDEN: HIDDEN})).encode()
    client = next(one.client for one in place.world.assent.upstreams if one.name == "lab")
    assert client.drift is not None
    sampled = client.drift.sampled
    with place.lab.saying("/Observation/o1", told):
        async with asyncio.timeout(10):
            while client.drift.counts["Observation", "unknown-element"] == 0:
                assert (await app.get("Observation/o1")).status_code == 200
                await asyncio.sleep(0.1)
    assert client.drift.sampled > sampled
    with place.lab.saying("/Observation/o1", b"", 503):
        for _ in range(2):
            await app.get("Observation/o1")
    metrics = (await place.world.http.get("/metrics")).text
    assert 'assent_upstream_drift_total{kind="unknown-element",type="Observation",upstream="lab"} ' in metrics
    assert 'assent_upstream_requests_total{outcome="bad-status",upstream="lab"} ' in metrics
    assert 'assent_upstream_paused{upstream="lab"} 1.0' in metrics
    assert 'assent_upstream_paused{upstream="ehr"} 0.0' in metrics
    found = {name: (state, text) for name, state, text in described(place.world.assent.upstreams)}
    assert found["upstream ehr, as used"][0] == "ok"
    assert found["upstream lab, as used"][0] == "failed"
    assert "`Observation` (`unknown-element`)" in found["upstream lab, as used"][1]
    assert HIDDEN not in metrics + str(found)


@pytest.mark.leak("L25")
async def test_l25_an_export_is_the_business_of_the_upstream_that_has_the_patients(place: Several) -> None:
    app = await service(place.world, {"ana": ["demographics", "laboratory", "conditions"]})
    refused = await kick_off(app, "$export?_type=Observation")
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "not-supported")
    with place.lab.listening() as of_lab:
        found = await exported(app)
    assert of_lab == []
    assert ids(found["Condition"]) == [f"c{n}" for n in range(5)]
    assert "Observation" not in found
    await place.world.forget_consents()


def test_the_types_of_the_laboratory_are_those_of_the_settings(place: Several) -> None:
    lab = next(one for one in place.world.assent.upstreams if one.name == "lab")
    assert lab.types == frozenset(LAB_TYPES)
