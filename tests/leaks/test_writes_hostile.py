"""L44-L47 where apps may write: what a writer tries to see, to set, to erase, to move. Nothing of it is stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from authz.consents.decisions import Decisions
from tests.leaks.world import ACT_CODE, CATEGORY, App, World, observation
from tests.leaks.writes import HIV_CODE, SECRET, new_observation, said, stored, writer

BOB = {"reference": "Patient/bob"}
ANA = {"reference": "Patient/ana"}
HIV_LABEL = {"system": ACT_CODE, "code": "HIV"}
HIDDEN = ("hiv-label", "hiv-code", "bobs", "nothing", "modified", "never-there")
"""Observations that the writer can't see; the last isn't there."""


def _category(code: str) -> list[dict[str, object]]:
    return [{"coding": [{"system": CATEGORY, "code": code}]}]


async def _unchanged(app: App, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
    """The answer to a write after which nothing has been written upstream."""
    with app.world.upstream.listening() as heard:
        answer = await app.send(method, path, body, **headers)
    assert [asked.method for asked in heard if asked.method != "GET"] == []
    assert SECRET not in answer.text
    assert "NARRATIVE-SECRET" not in answer.text
    return answer


def _observable(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    headers = {n: v for n, v in answer.headers.items() if n not in ("x-request-id", "date")}
    return answer.status_code, answer.content, headers


# L44: a condition of a write is a search ------------------------------------------------------------------------------


@pytest.mark.leak("L44")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("query", ["", "?code=75622-1", "?_id=plain", "?identifier=x%7Cy"])
async def test_l44_a_write_without_an_id_is_refused(writable: World, method: str, query: str) -> None:
    app = await writer(writable)
    with writable.upstream.listening() as heard:
        answer = await app.send(method, f"Observation{query}", new_observation())
    assert said(answer) == (405, "not-supported")
    assert heard == []


@pytest.mark.leak("L44")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        *(("If-None-Exist", "code=75622-1"), ("If-None-Exist", ""), ("If-None-Match", "*"), ("If-None-Match", 'W/"1"')),
        ("If-Unmodified-Since", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "Observation"), ("PUT", "Observation/plain")])
async def test_l44_a_condition_is_refused_by_name(
    writable: World, header: str, value: str, method: str, path: str
) -> None:
    app = await writer(writable)
    with writable.upstream.listening() as heard:
        answer = await app.send(method, path, new_observation(), **{header: value})
    assert said(answer) == (501, "not-supported")
    assert header in answer.text
    assert heard == []


@pytest.mark.leak("L44")
@pytest.mark.parametrize("query", ["code=75622-1", "_pretty=yes", "_format=xml", "_summary=true"])
async def test_l44_a_write_takes_no_parameters(writable: World, query: str) -> None:
    app = await writer(writable)
    answer = await _unchanged(app, "POST", f"Observation?{query}", new_observation())
    assert said(answer) == (400, "not-supported")


# L45: to write isn't to read ------------------------------------------------------------------------------------------


@pytest.mark.leak("L45")
@pytest.mark.parametrize("tag", [None, 'W/"1"', 'W/"9"', "*", "nonsense"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_l45_hidden_and_absent_are_one_answer(writable: World, method: str, tag: str | None) -> None:
    app = await writer(writable)
    headers = {} if tag is None else {"If-Match": tag}
    answers = set()
    for wanted in HIDDEN:
        body: object = [{"op": "test", "path": "/status", "value": "final"}]
        if method != "PATCH":
            body = new_observation(id=wanted)
        answer = await _unchanged(app, method, f"Observation/{wanted}", body, **headers)
        assert said(answer) == (404, "not-found")
        answers.add(str(_observable(answer)))
    assert len(answers) == 1


@pytest.mark.leak("L45")
@pytest.mark.parametrize("scope", ["patient/Observation.cud", "patient/*.c", "patient/Observation.write"])
@pytest.mark.parametrize("prefer", ["return=representation", "return=minimal", ""])
async def test_l45_who_may_only_write_reads_nothing_back(writable: World, scope: str, prefer: str) -> None:
    app = await writer(writable, scope=f"launch/patient {scope}")
    assert (await app.get("Observation/plain")).status_code == 403
    answer = await app.send("POST", "Observation", new_observation(), Prefer=prefer)
    assert (answer.status_code, answer.content) == (201, b"")
    assert "etag" not in answer.headers
    for wanted in ("plain", "hiv-label", "never-there"):
        body = new_observation(id=wanted)
        assert said(await _unchanged(app, "PUT", f"Observation/{wanted}", body)) == (403, "forbidden")
        assert said(await _unchanged(app, "DELETE", f"Observation/{wanted}")) == (403, "forbidden")


@pytest.mark.leak("L45")
@pytest.mark.parametrize(
    "reference",
    [
        *(
            "Observation/hiv-label",
            "Observation/bobs",
            "Observation/never-there",
            "Observation/modified",
            "Patient/bob",
        ),
        *("Practitioner/hivdoc", "Practitioner/never-there", "Medication/never-there", "Group/never-there"),
        *("Observation/hiv-label/_history/1", "Patient/never-there", "http://elsewhere.example/Observation/plain"),
        *("#contained", "Observation?code=75622-1", "urn:uuid:9c7a", "Binary/b", "Nonsense/1", "../Observation/plain"),
    ],
)
async def test_l45_a_reference_tells_nothing_of_what_is_there(writable: World, reference: str) -> None:
    app = await writer(writable)
    for added in ({"focus": [{"reference": reference}]}, {"derivedFrom": [{"reference": reference}]}):
        answer = await _unchanged(app, "POST", "Observation", new_observation(**added))
        assert answer.status_code == 422
        assert reference not in answer.text


@pytest.mark.leak("L45")
async def test_l45_a_reference_to_what_is_seen_is_let_through(writable: World) -> None:
    app = await writer(writable)
    pointing = {"encounter": {"reference": "Encounter/enc"}, "performer": [{"reference": "Practitioner/doc"}]}
    assert (await app.send("POST", "Observation", new_observation(**pointing))).status_code == 201


@pytest.mark.leak("L45")
async def test_l45_a_writer_that_reads_no_providers_names_none_of_them(writable: World) -> None:
    app = await writer(writable, scope="launch/patient patient/Observation.crus")
    answers = set()
    for wanted in ("doc", "hivdoc", "never-there"):
        body = new_observation(performer=[{"reference": f"Practitioner/{wanted}"}])
        answers.add(str(_observable(await _unchanged(app, "POST", "Observation", body))))
    assert len(answers) == 1
    assert "(422" in answers.pop()


@pytest.mark.leak("L45")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_l45_a_scope_to_read_writes_nothing(writable: World, method: str) -> None:
    app = await writer(writable, scope="launch/patient patient/*.rs")
    path = "Observation" if method == "POST" else "Observation/plain"
    assert said(await _unchanged(app, method, path, "{}" if method != "PATCH" else "[]")) == (403, "forbidden")


@pytest.mark.leak("L45")
@pytest.mark.parametrize(("letters", "allowed"), [("crs", "POST"), ("rus", "PUT"), ("rds", "DELETE"), ("rs", None)])
async def test_l45_each_letter_opens_its_own_write(writable: World, letters: str, allowed: str | None) -> None:
    app = await writer(writable, scope=f"launch/patient patient/Observation.{letters}")
    made = await (await writer(writable)).send("POST", "Observation", new_observation())
    name = f"Observation/{made.json()['id']}"
    for method, path, body in (
        ("POST", "Observation", new_observation()),
        ("PUT", name, made.json()),
        ("DELETE", name, None),
    ):
        done = (await app.send(method, path, body)).status_code < 300
        assert done == (method == allowed), method


# L46: what the mask hides ---------------------------------------------------------------------------------------------


@pytest.mark.leak("L46")
@pytest.mark.parametrize(
    ("op", "path"),
    [
        *(("test", "/text/status"), ("test", "/extension/0/url"), ("test", "/performer/0/identifier/value")),
        *(("test", "/subject/display"), ("copy", "/text/div"), ("move", "/text"), ("remove", "/extension")),
        *(("replace", "/text/status"), ("test", "/meta/tag/0/code"), ("test", "/meta/source"), ("test", "/photo")),
        *(("copy", "/meta/source"), ("test", "/never"), ("remove", "/never")),
    ],
)
async def test_l46_a_patch_finds_nothing_at_what_is_masked(writable: World, op: str, path: str) -> None:
    app = await writer(writable)
    operation: dict[str, object] = {"op": op, "path": path, "value": "generated"}
    if op in ("copy", "move"):
        operation |= {"from": path, "path": "/note"}
    answer = await _unchanged(app, "PATCH", "Observation/rich", [operation])
    # What stands there for this reader is the mark of the minimizer, which is no secret.
    assert said(answer)[0] == (412 if path == "/meta/tag/0/code" else 422)


_FORBIDDEN: list[dict[str, Any]] = [
    {"text": {"status": "generated", "div": "<div>x</div>"}},
    {"extension": [{"url": "http://x/hidden", "valueString": "x"}]},
    {"modifierExtension": [{"url": "http://x/not", "valueBoolean": True}]},
    {"implicitRules": "http://x/rules"},
    {"contained": [{"resourceType": "Practitioner", "id": "p"}]},
    {"performer": [{"reference": "Practitioner/doc", "identifier": {"value": "x"}}]},
    {"performer": [{"identifier": {"value": "x"}}]},
    {"performer": [{"display": "x"}]},
    {"performer": {"reference": "Practitioner/doc"}},
    {"performer": ["Practitioner/doc"]},
    {"encounter": [{"reference": "Encounter/enc"}]},
    {"subject": ANA | {"display": "Ana"}},
    {"subject": ANA | {"identifier": {"value": "x"}}},
    {"photo": [{"title": "x"}]},
    {"_nonsense": {"id": "x"}},
    {"meta": {"tag": [{"code": "x"}]}},
    {"meta": {"source": "http://x"}},
    {"meta": {"extension": [{"url": "http://x"}]}},
    {"meta": {"security": HIV_LABEL}},
    {"meta": "x"},
    {"meta": {"security": ["x"]}},
    {"meta": {"profile": [{"x": "y"}]}},
]


@pytest.mark.leak("L46")
@pytest.mark.parametrize("added", _FORBIDDEN, ids=lambda added: json.dumps(added)[:60])
async def test_l46_what_the_mask_hides_can_not_be_set(writable: World, added: dict[str, Any]) -> None:
    app = await writer(writable)
    answer = await _unchanged(app, "POST", "Observation", new_observation(**added))
    assert said(answer)[0] == 422
    for wanted in ("plain", "rich"):
        seen = (await app.get(f"Observation/{wanted}")).json()
        answer = await _unchanged(app, "PUT", f"Observation/{wanted}", seen | added)
        assert said(answer)[0] == 422


@pytest.mark.leak("L46")
@pytest.mark.parametrize("dropped", ["extension", "performer", "text", "meta", "effectiveDateTime", "category"])
async def test_l46_what_a_writer_leaves_out_takes_nothing_hidden_along(writable: World, dropped: str) -> None:
    app = await writer(writable)
    seen = (await app.get("Observation/rich")).json()
    before = await stored(writable, "Observation/rich")
    body = {name: value for name, value in seen.items() if name != dropped}
    answer = await app.send("PUT", "Observation/rich", body)
    after = await stored(writable, "Observation/rich")
    assert after["extension"] == before["extension"]
    assert after["meta"]["security"] == before["meta"]["security"]
    assert after["meta"]["tag"] == before["meta"]["tag"]
    assert after["subject"] == before["subject"]
    if answer.status_code == 200 and dropped in seen:
        await app.send("PUT", "Observation/rich", seen)


@pytest.mark.leak("L46")
async def test_l46_a_label_stays_that_the_writer_leaves_out(writable: World) -> None:
    app = await writer(writable)
    seen = (await app.get("Observation/rich")).json()
    before = (await stored(writable, "Observation/rich"))["meta"]["security"]
    bare = {name: value for name, value in seen.items() if name != "meta"}
    unknown = {"security": [{"system": "http://x", "code": "x"}]}
    cases: list[tuple[dict[str, Any], int]] = [({}, 200), ({"meta": {"versionId": "1"}}, 200), ({"meta": unknown}, 403)]
    for meta, wanted in cases:
        answer = await app.send("PUT", "Observation/rich", bare | meta)
        assert answer.status_code == wanted
        after = (await stored(writable, "Observation/rich"))["meta"]["security"]
        assert [label for label in before if label not in after] == []


@pytest.mark.leak("L46")
async def test_l46_what_is_shown_in_part_is_not_deleted(writable: World) -> None:
    app = await writer(writable)
    assert said(await _unchanged(app, "DELETE", "Observation/rich")) == (403, "forbidden")


# L47: out of and into what is open ------------------------------------------------------------------------------------

_ELSEWHERE: list[dict[str, Any]] = [
    {"subject": BOB},
    {"subject": None},
    {"subject": {"reference": "Group/g"}},
    {"subject": {"reference": "Patient/ana/_history/1"}},
    {"subject": {"reference": "http://elsewhere.example/Patient/ana"}},
    {"subject": {"reference": "Patient?identifier=x"}},
    {"performer": [BOB]},
    {"category": _category("social-history")},
    {"category": None},
    {"meta": {"security": [HIV_LABEL]}},
    {"meta": {"security": [{"system": "http://x/unknown", "code": "x"}]}},
    {"code": {"coding": [{"system": "http://loinc.org", "code": HIV_CODE}]}},
    {"code": {"coding": [{"code": HIV_CODE}]}},
    {"component": [{"code": {"coding": [{"system": "http://loinc.org", "code": HIV_CODE}]}}]},
    {"valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "86406008"}]}},
]


@pytest.mark.leak("L47")
@pytest.mark.parametrize("changed", _ELSEWHERE, ids=lambda changed: json.dumps(changed)[:60])
async def test_l47_nothing_is_written_into_what_is_closed(writable: World, changed: dict[str, Any]) -> None:
    app = await writer(writable)
    created = await _unchanged(app, "POST", "Observation", new_observation(**changed))
    assert created.status_code in (403, 422)
    seen = (await app.get("Observation/other")).json()
    moved = {name: value for name, value in (seen | changed).items() if value is not None}
    answer = await _unchanged(app, "PUT", "Observation/other", moved)
    assert answer.status_code in (403, 422)
    patch = [
        {"op": "remove", "path": f"/{name}"} if value is None else {"op": "add", "path": f"/{name}", "value": value}
        for name, value in changed.items()
    ]
    assert (await _unchanged(app, "PATCH", "Observation/other", patch)).status_code in (403, 422)


@pytest.mark.leak("L47")
@pytest.mark.parametrize("wanted", HIDDEN)
async def test_l47_nothing_is_brought_out_of_what_is_closed(writable: World, wanted: str) -> None:
    app = await writer(writable)
    answer = await _unchanged(app, "PUT", f"Observation/{wanted}", observation(wanted, subject=ANA))
    assert said(answer) == (404, "not-found")


@pytest.mark.leak("L47")
@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        *(("POST", "Patient", "Patient"), ("DELETE", "Patient/ana", "Patient"), ("POST", "Consent", "Consent")),
        *(("PUT", "Consent/x", "Consent"), ("POST", "AuditEvent", "AuditEvent"), ("POST", "Provenance", "Provenance")),
        *(("POST", "Binary", "Binary"), ("PUT", "Binary/b", "Binary"), ("DELETE", "AuditEvent/x", "AuditEvent")),
    ],
)
async def test_l47_what_no_app_writes_is_refused_by_name(writable: World, method: str, path: str, kind: str) -> None:
    app = await writer(writable)
    with writable.upstream.listening() as heard:
        answer = await app.send(method, path, {"resourceType": kind, "subject": ANA})
    assert said(answer) == (405, "not-supported")
    assert heard == []


@pytest.mark.leak("L47")
@pytest.mark.parametrize("kind", ["Practitioner", "Organization", "Location", "Medication"])
async def test_l47_what_is_about_nobody_is_not_written(writable: World, kind: str) -> None:
    app = await writer(writable)
    answer = await _unchanged(app, "POST", kind, {"resourceType": kind})
    assert said(answer) == (403, "forbidden")


@pytest.mark.leak("L47")
@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("", 400),
        ("[]", 400),
        ("null", 400),
        ("{", 400),
        ('{"resourceType":"Observation","resourceType":"Patient"}', 400),
        ('{"resourceType":"Observation","subject":{"reference":"Patient/ana","reference":"Patient/bob"}}', 400),
        ('{"resourceType":"Patient"}', 400),
        ('{"resourceType":"Observation","status":null}', 400),
        ('{"resourceType":"Observation","note":[]}', 400),
        ('{"resourceType":"Observation","code":{}}', 400),
        ('{"resourceType":"Observation","id":"chosen"}', 400),
        ('{"resourceType":"Observation","status":NaN}', 400),
        ('{"resourceType":"Observation","note":' + "[" * 5000 + "]" * 5000 + "}", 400),
        ('{"resourceType":"Observation","note":' + '{"x":' * 40 + "1" + "}" * 40 + "}", 400),
        (b'{"resourceType":"Observation","status":"\xff"}', 400),
        ('{"resourceType":"Observation","status":"' + "x" * 300_000 + '"}', 413),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_l47_what_is_no_resource_is_not_sent_on(writable: World, body: str | bytes, wanted: int) -> None:
    app = await writer(writable)
    assert said(await _unchanged(app, "POST", "Observation", body))[0] == wanted


@pytest.mark.leak("L47")
@pytest.mark.parametrize("given", [{"id": "other"}, {"id": None}, {"resourceType": "Patient"}, {"id": 1}])
async def test_l47_type_and_id_are_those_of_the_address(writable: World, given: dict[str, Any]) -> None:
    app = await writer(writable)
    body = {n: v for n, v in (observation("plain", subject=ANA) | given).items() if v is not None}
    assert said(await _unchanged(app, "PUT", "Observation/plain", body)) == (400, "invalid")


@pytest.mark.leak("L47")
@pytest.mark.parametrize(
    "kind", ["application/xml", "application/fhir+xml", "text/plain", "", "application/json-patch+json"]
)
async def test_l47_only_json_is_taken(writable: World, kind: str) -> None:
    app = await writer(writable)
    answer = await _unchanged(app, "POST", "Observation", new_observation(), **{"Content-Type": kind})
    assert said(answer) == (415, "not-supported")


@pytest.mark.leak("L46", "L47")
async def test_l46_a_fhirpath_patch_is_not_taken_from_apps(writable: World) -> None:
    app = await writer(writable)
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Observation.status"},
        {"name": "value", "valueCode": "amended"},
    ]
    body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    for kind in ("application/fhir+json", "application/json"):
        answer = await _unchanged(app, "PATCH", "Observation/plain", body, **{"Content-Type": kind})
        assert said(answer) == (415, "not-supported")
        assert "application/json-patch+json" in answer.text


@pytest.mark.leak("L43")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_l43_a_batch_does_not_write_even_where_apps_may(writable: World, method: str) -> None:
    app = await writer(writable)
    entry = {"request": {"method": method, "url": "Observation/plain"}, "resource": new_observation(id="plain")}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = await _unchanged(app, "POST", "", bundle)
    assert answer.json()["entry"][0]["response"]["status"].startswith("405")


@pytest.mark.leak("L35", "L45")
@pytest.mark.parametrize(
    "url",
    [
        *("Binary/secret", "/Binary/secret", "./Binary/secret", "{base}/Binary/secret", "{BASE}/Binary/secret"),
        *("Binary/secret/_history/1", "Binary", "", "//elsewhere.example/x", "{base}"),
    ],
)
async def test_l35_no_app_opens_content_by_writing_a_document_that_points_at_it(writable: World, url: str) -> None:
    app = await writer(writable, categories=["documents"])
    base = writable.upstream.url
    address = url.replace("{base}", base).replace("{BASE}", base.upper())
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": ANA,
        "content": [{"attachment": {"contentType": "text/plain", "url": address}}],
    }
    answer = await _unchanged(app, "POST", "DocumentReference", document)
    assert answer.status_code in (400, 422)
    elsewhere = [{"attachment": {"url": "https://elsewhere.example/letter"}}]
    made = await app.send("POST", "DocumentReference", document | {"content": elsewhere})
    assert made.status_code == 201, made.text
    name = f"DocumentReference/{made.json()['id']}"
    assert (await _unchanged(app, "PUT", name, made.json() | {"content": document["content"]})).status_code in (
        400,
        422,
    )
    patch = [{"op": "replace", "path": "/content/0/attachment/url", "value": address}]
    assert (await _unchanged(app, "PATCH", name, patch)).status_code in (400, 422)


@pytest.mark.leak("L45")
async def test_l45_what_is_seen_and_may_not_be_changed_is_forbidden(writable: World) -> None:
    scope = "launch/patient patient/*.rs patient/Condition.ud"
    app = await writer(writable, scope=scope, writes=["correct"])
    for method, body in (("PUT", new_observation(id="plain")), ("DELETE", None)):
        assert said(await _unchanged(app, method, "Observation/plain", body)) == (403, "forbidden")


# L62: what may be written is asked again when the upstream took long --------------------------------------------------


@pytest.mark.leak("L62")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_l62_a_write_that_waited_long_is_not_done_once_it_is_taken_back(writable: World, method: str) -> None:
    app = await writer(writable)
    path = "Observation" if method == "POST" else "Observation/other"
    body: Any = new_observation(encounter={"reference": "Encounter/enc"})
    if method == "PUT":
        body = new_observation(id="other")
    elif method == "PATCH":
        body = [{"op": "replace", "path": "/status", "value": "amended"}]
    consent = await app.consent_id()
    with writable.upstream.hanging(), writable.upstream.listening() as asked:
        before = len(writable.upstream.asked)
        writing = asyncio.create_task(app.send(method, path, body))
        assert await writable.upstream.was_asked(before)
        await Decisions(writable.assent.authz).revoke(consent, writable.account, "test")
        await asyncio.sleep(0.6)
        assert writable.upstream.held is not None
        writable.upstream.held.set()
        assert (await writing).status_code == 401
    assert {request.method for request in asked} == {"GET"}
