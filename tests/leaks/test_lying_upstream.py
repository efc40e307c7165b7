"""L36, L39, L48, L71, L75: an upstream that answers wrongly makes the proxy say less, and never more."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack
from typing import Any

import pytest

from fhir.proxy.responses import Receive, Scope, Send
from tests.leaks.twins import next_link, seen
from tests.leaks.world import World, observation, patient

HIDDEN = "UPSTREAM-HIDDEN"
_HIV = {"coding": [{"system": "http://loinc.org", "code": "75622-1"}]}


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _bundle(*resources: object, **more: Any) -> bytes:
    entries = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    return _json({"resourceType": "Bundle", "type": "searchset", "entry": entries, **more})


@pytest.mark.leak("L39")
@pytest.mark.parametrize(
    "told",
    [
        observation("lab1"),
        observation("lab0", "bob"),
        observation("lab0", category="vital-signs"),
        observation("lab0", code="75622-1"),
        observation("lab0", subject={"reference": "Patient/ana"}, focus={"no": "list"}, contained="no list"),
        patient("ana"),
        {**patient("lab0"), "resourceType": "Observation"},
        {**observation("lab0"), "resourceType": "observation"},
        {**observation("lab0"), "resourceType": ["Observation"]},
        {**observation("lab0"), "id": 7},
        observation("lab0", valueCodeableConcept={"coding": [{"system": "http://loinc.org", "code": 75622}]}),
        observation("lab0", valueCodeableConcept={"coding": [{"system": "http://loinc.org", "code": ["75622-1"]}]}),
        observation("lab0", note=[{"text": "x", "authorString": "y", "fhir_comments": [HIDDEN]}]),
        {**observation("lab0"), "subject": [{"reference": "Patient/ana"}, {"reference": "Patient/bob"}]},
        {"resourceType": "OperationOutcome", "issue": [{"diagnostics": HIDDEN}]},
        {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": observation("lab0")}]},
        {"resourceType": "Parameters", "parameter": [{"resource": observation("lab0")}]},
        {},
    ],
    ids=lambda told: str(told)[:60],
)
async def test_l39_a_read_that_is_answered_with_something_else_is_withheld(leaky: World, told: dict[str, Any]) -> None:
    app = await leaky.app(["laboratory"])
    nothing = (await app.get("Observation/nothing")).content
    with leaky.upstream.saying("/Observation/lab0", _json(told)):
        answer = await app.get("Observation/lab0")
    assert answer.status_code == 404
    assert answer.content == nothing


@pytest.mark.leak("L39")
@pytest.mark.parametrize(
    "odd", [{"id": 7}, {"id": "a/../../Patient/bob"}, {"id": ""}, {"id": ["lab0"]}, {"id": "x" * 65}]
)
async def test_l39_what_has_no_name_is_not_in_a_search(leaky: World, odd: dict[str, Any]) -> None:
    app = await leaky.app(["laboratory"])
    nameless = observation("lab0")
    del nameless["id"]
    with leaky.upstream.saying("/Observation", _bundle(nameless, {**nameless, **odd}, observation("lab1"))):
        assert await app.ids("Observation") == ["Observation/lab1"]


@pytest.mark.leak("L36", "L39")
async def test_l36_l39_a_search_shows_only_entries_that_may_be_seen_by_themselves(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    inner = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [{"resource": patient("bob")}]}
    parameters = {"resourceType": "Parameters", "id": "p", "parameter": [{"name": "x", "resource": patient("bob")}]}
    told = _bundle(
        inner, parameters, patient("bob"), observation("b", "bob"), observation("hiv", code="75622-1"), None, "x", 1,
        observation("good"),
    )  # fmt: skip
    with leaky.upstream.saying("/Observation", told):
        answer = await app.get("Observation")
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["good"]
    assert answer.json()["total"] == 1
    assert "bob" not in answer.text


@pytest.mark.leak("L48")
@pytest.mark.parametrize("path", ["Observation/lab0", "Observation?code=718-7", "Observation?_count=1"])
@pytest.mark.parametrize("status", [400, 401, 403, 409, 412, 422, 429, 500, 502, 503])
async def test_l48_nothing_of_an_upstream_error_is_passed_on(leaky: World, path: str, status: int) -> None:
    app = await leaky.app(["laboratory"])
    told = _json({"resourceType": "OperationOutcome", "issue": [{"diagnostics": HIDDEN}], "text": {"div": HIDDEN}})
    headers = dict.fromkeys(("x-powered-by", "location", "content-location", "server", "etag"), HIDDEN)
    with leaky.upstream.saying("/" + path.partition("?")[0], told, status, headers):
        answer = await app.get(path)
    of_one = "?" not in path and status not in (429, 503)
    expected = (404, "not-found") if of_one else (502, "transient")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == expected
    assert HIDDEN not in answer.text
    assert HIDDEN not in str(answer.headers)


@pytest.mark.leak("L06")
@pytest.mark.parametrize("path", ["Observation/lab0", "Observation/lab0/_history/1", "Observation/lab0/_history"])
async def test_l06_what_the_upstream_keeps_from_us_is_not_there(leaky: World, path: str) -> None:
    app = await leaky.app(["laboratory"])
    absent = await app.get(path.replace("lab0", "absent"))
    with ExitStack() as keeping:
        for kept in {"Observation/lab0", path}:
            keeping.enter_context(leaky.upstream.saying(f"/{kept}", b"{}", 403))
        answer = await app.get(path)
    assert seen(answer) == seen(absent)


@pytest.mark.leak("L48", "L23")
async def test_l48_l23_headers_of_a_good_answer_stay_behind(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    names = ("x-powered-by", "location", "content-location", "link", "etag", "last-modified", "set-cookie", "age")
    headers = dict.fromkeys(names, HIDDEN)
    with leaky.upstream.saying("/Observation/lab0", _json(observation("lab0")), headers=headers):
        answer = await app.get("Observation/lab0")
    assert answer.status_code == 200
    assert HIDDEN not in str(answer.headers)
    assert set(answer.headers).isdisjoint(names)


@pytest.mark.leak("L48")
async def test_l48_an_outcome_in_a_searchset_stays_behind(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "diagnostics": HIDDEN}]}
    entries = [{"resource": outcome, "search": {"mode": "outcome"}}, {"resource": observation("lab0")}]
    told = {"resourceType": "Bundle", "type": "searchset", "id": HIDDEN, "entry": entries, "total": 99}
    with leaky.upstream.saying("/Observation", _json(told)):
        answer = await app.get("Observation")
    assert HIDDEN not in answer.text
    assert answer.json()["total"] == 1


@pytest.mark.leak("L71")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_l71_a_redirect_of_the_upstream_is_not_followed(leaky: World, status: int) -> None:
    app = await leaky.app(["laboratory"])
    elsewhere = f"{leaky.upstream.url}/Observation/bob1"
    with (
        leaky.upstream.saying("/Observation/lab0", b"{}", status, {"location": elsewhere}),
        leaky.upstream.listening() as heard,
    ):
        answer = await app.get("Observation/lab0")
    assert answer.status_code == 404
    assert heard[0].target == "/Observation/lab0"
    assert "/Observation/bob1" not in [asked.target for asked in heard]


@pytest.mark.leak("L71", "L22")
@pytest.mark.parametrize(
    "link", ["http://169.254.169.254/latest/meta-data", "http://localhost:1/x", "file:///etc/passwd", "//x.example/"]
)
async def test_l71_l22_a_next_link_that_leads_elsewhere_is_not_followed(leaky: World, link: str) -> None:
    app = await leaky.app(["laboratory"])
    told = _bundle(observation("lab0"), link=[{"relation": "next", "url": link}])
    with leaky.upstream.saying("/Observation", told):
        answer = await app.get("Observation")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) in ((502, "transient"), (502, "exception"))
    assert link not in answer.text


@pytest.mark.leak("L22")
async def test_l22_an_upstream_paging_id_is_neither_shown_nor_taken(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    link = f"{leaky.upstream.url}/?_getpages={HIDDEN}&_getpagesoffset=50"
    told = _bundle(*(observation(f"p{n}") for n in range(3)), link=[{"relation": "next", "url": link}])
    with leaky.upstream.saying("/Observation", told):
        answer = await app.get("Observation?_count=2")
    assert next_link(answer) is not None
    assert HIDDEN not in answer.text
    assert (await app.get(f"Observation?_getpages={HIDDEN}")).status_code == 400
    for named in ("", "_type=Observation&"):
        assert (await app.get(f"?{named}_getpages={HIDDEN}")).status_code == 400


@pytest.mark.leak("L75")
@pytest.mark.parametrize("opening", ['{"a":', "["])
@pytest.mark.parametrize("depth", [70, 900, 100_000])
async def test_l75_content_that_is_too_deep_is_withheld(leaky: World, opening: str, depth: int) -> None:
    app = await leaky.app(["laboratory"])
    closing = "}" if opening.startswith("{") else "]"
    deep = (opening * depth + '"x"' + closing * depth).encode()
    told = _json({**observation("lab0"), "valueString": 0}).replace(b'"valueString": 0', b'"valueString": ' + deep)
    with leaky.upstream.saying("/Observation/lab0", told):
        answer = await app.get("Observation/lab0")
    assert answer.status_code == 404
    with leaky.upstream.saying("/Observation", _bundle(observation("lab1")).replace(b'"final"', deep)):
        found = await app.get("Observation")
    assert found.status_code == 502 or "entry" not in found.json()


@pytest.mark.leak("L75")
async def test_l75_a_compressed_body_that_grows_without_bound_is_refused(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    whole = _json(observation("lab0", note=[{"text": " " * 40_000_000}]))
    with leaky.upstream.saying("/Observation/lab0", gzip.compress(whole), 200, {"content-encoding": "gzip"}):
        answer = await app.get("Observation/lab0")
    assert answer.status_code == 404
    assert len(answer.content) < 1_000


@pytest.mark.leak("L07")
@pytest.mark.parametrize(
    ("harmless", "secret"),
    [
        ('"code": {"text": "x"}', '"code": ' + json.dumps(_HIV)),
        ('"code": {"coding": []}', '"code": {"coding": [{"code": "75622-1"}], "coding": []}'),
        ('"meta": {}', '"meta": {"security": [{"code": "HIV"}]}'),
        ('"subject": {"reference": "Patient/ana"}', '"subject": {"reference": "Patient/bob"}'),
        ('"valueQuantity": {"value": 1}', '"valueQuantity": {"code": "75622-1", "code": "g"}'),
        ('"note": [{"text": "x"}]', '"note": [{"text": "HIDDEN", "text": "x"}]'),
    ],
)
@pytest.mark.parametrize("first", [True, False])
async def test_l07_a_member_that_stands_twice_withholds_the_resource(
    leaky: World, harmless: str, secret: str, first: bool
) -> None:
    app = await leaky.app(["laboratory"])
    members = f"{secret}, {harmless}" if first else f"{harmless}, {secret}"
    plain = json.dumps({k: v for k, v in observation("lab0").items() if f'"{k}"' not in members})
    with leaky.upstream.saying("/Observation/lab0", f"{plain[:-1]}, {members}}}".encode()):
        assert (await app.get("Observation/lab0")).status_code == 404


@pytest.mark.leak("L04")
async def test_l04_what_an_upstream_repeats_is_shown_and_counted_once(leaky: World) -> None:
    """Else what is counted twice would tell that something between changed its place."""
    app = await leaky.app(["laboratory"])
    link = f"{leaky.upstream.url}/Observation?_page=2"
    first = _bundle(*(observation(f"p{n}") for n in (0, 1, 1)), link=[{"relation": "next", "url": link}])
    turns = iter((first, _bundle(observation("p1"), observation("p2"))) * 2)

    async def both_pages(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/fhir+json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": next(turns)})

    leaky.upstream.acts["/Observation"] = both_pages
    try:
        answer = await app.get("Observation")
    finally:
        del leaky.upstream.acts["/Observation"]
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["p0", "p1", "p2"]
    assert answer.json()["total"] == 3


@pytest.mark.leak("L04", "L48")
@pytest.mark.parametrize("status", [200, 500, 502])
@pytest.mark.parametrize("path", ["Observation", "Observation?_count=2", "Observation?_id=lab0,hiv"])
async def test_l04_a_result_that_the_upstream_fails_at_is_had_one_by_one(leaky: World, path: str, status: int) -> None:
    """As servers do that can't read one of the resources they hold."""
    app = await leaky.app(["laboratory"])
    usual = await app.get(path)
    with leaky.upstream.saying("/Observation", b"<html>HIDDEN", status, unless="_elements=id"):
        answer = await app.get(path)
    assert seen(answer) == seen(usual)
    assert answer.json()["entry"]


@pytest.mark.leak("L48")
@pytest.mark.parametrize("status", [400, 422, 501, 503])
async def test_a_search_that_the_upstream_refuses_is_asked_once(leaky: World, status: int) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.saying("/Observation", b"{}", status), leaky.upstream.listening() as heard:
        assert (await app.get("Observation")).status_code == 502
    assert len(heard) == 1


@pytest.mark.leak("L04", "L38")
async def test_l04_an_entry_in_which_nothing_stands_breaks_no_search(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    nothing = [None, {}, {"resource": None}, {"resource": observation("x"), "search": {"mode": None}}]
    entries = [*nothing, {"resource": observation("lab0"), "search": None}]
    with leaky.upstream.saying(
        "/Observation", _json({"resourceType": "Bundle", "type": "searchset", "entry": entries})
    ):
        answer = await app.get("Observation")
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["lab0"]
