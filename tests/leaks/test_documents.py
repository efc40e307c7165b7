"""L35: a Binary is read through a document that may be seen, its attachment included, and through nothing else."""

from __future__ import annotations

import base64
import json

import pytest

from authz.consents.decisions import Choice, Decisions
from tests.leaks.content import binary, document
from tests.leaks.service import service
from tests.leaks.world import World

FHIR = "application/fhir+json"


@pytest.mark.leak("L35")
@pytest.mark.parametrize("accept", ["*/*", "text/plain", "text/plain, */*;q=0.1", "application/octet-stream"])
async def test_the_content_of_a_shared_document_comes_in_its_own_type(leaky: World, accept: str) -> None:
    app = await leaky.app(["documents"])
    answer = await app.get("Binary/letter-text", Accept=accept)
    assert (answer.status_code, answer.text) == (200, "text of letter-text")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.leak("L35", "L36")
@pytest.mark.parametrize(
    ("query", "accept"), [("", FHIR), ("", "application/json"), ("?_format=json", "*/*"), ("", f"text/plain, {FHIR}")]
)
async def test_l35_l36_as_a_resource_it_is_content_and_type(leaky: World, query: str, accept: str) -> None:
    app = await leaky.app(["documents"])
    answer = await app.get(f"Binary/page{query}", Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    told = answer.json()
    assert base64.b64decode(told["data"]) == b"text of page"
    assert set(told) == {"resourceType", "id", "meta", "contentType", "data"}
    assert "SECRET" not in answer.text


@pytest.mark.leak("L74")
async def test_l74_content_runs_nowhere_and_writes_no_headers(leaky: World) -> None:
    app = await leaky.app(["documents"])
    page = await app.get("Binary/web")
    assert page.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert page.headers["content-disposition"] == "attachment"
    assert page.headers["x-content-type-options"] == "nosniff"
    odd = await app.get("Binary/odd-type")
    assert odd.headers["content-type"] == "application/octet-stream"
    assert "set-cookie" not in odd.headers


@pytest.mark.leak("L35", "L06")
@pytest.mark.parametrize(
    "wanted",
    [
        *("hiv-text", "bob-text", "modified-text", "orphan", "labelled-text", "bob-context", "other-document"),
        *("ruled", "broken", "old", "elsewhere"),
    ],
)
async def test_l35_l06_any_other_binary_is_not_there(leaky: World, wanted: str) -> None:
    app = await leaky.app(["documents"])
    nothing = await app.get("Binary/nothing")
    answer = await app.get(f"Binary/{wanted}")
    assert (answer.status_code, answer.content) == (404, nothing.content)
    assert (await app.get("Observation/nothing")).status_code == 403


@pytest.mark.leak("L35")
@pytest.mark.parametrize("wanted", ["hiv-text", "bob-text", "orphan", "nothing"])
async def test_l35_the_upstream_is_not_asked_for_what_no_document_opens(leaky: World, wanted: str) -> None:
    """A failure there would tell what is there from what isn't."""
    app = await leaky.app(["documents"])
    with leaky.upstream.listening() as heard:
        assert (await app.get(f"Binary/{wanted}")).status_code == 404
    (asked,) = heard
    assert asked.target.startswith("/DocumentReference?")
    assert "patient=" in asked.target


@pytest.mark.leak("L35")
async def test_l35_sensitive_content_needs_its_category_too(leaky: World) -> None:
    app = await leaky.app(["documents", "hiv"])
    for wanted in ("hiv-text", "labelled-text"):
        assert (await app.get(f"Binary/{wanted}")).text == f"text of {wanted}"
    assert (await app.get("Binary/own-context")).status_code == 200


@pytest.mark.leak("L35", "L05")
@pytest.mark.parametrize("wanted", ["letter-text", "hiv-text", "nothing"])
async def test_l35_a_mask_without_attachments_has_no_binaries(leaky: World, wanted: str) -> None:
    app = await leaky.app(["documents"], purpose="HRESCH")
    assert (await app.get("DocumentReference/letter")).status_code == 200
    with leaky.upstream.listening() as heard:
        answer = await app.get(f"Binary/{wanted}")
    assert answer.status_code == 404
    assert heard == []


@pytest.mark.leak("L35", "L53")
@pytest.mark.parametrize(
    "scope", ["patient/Observation.rs", "patient/DocumentReference.s", "patient/Binary.rs patient/Condition.rs"]
)
async def test_l35_l53_it_takes_a_scope_to_read_documents(leaky: World, scope: str) -> None:
    app = await leaky.app(["documents", "laboratory", "conditions"], scope=f"launch/patient {scope}")
    answers = [await app.get(f"Binary/{wanted}") for wanted in ("letter-text", "nothing")]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].content == answers[1].content


@pytest.mark.leak("L35", "L62")
async def test_l35_l62_it_is_gone_with_the_category(leaky: World) -> None:
    app = await leaky.app(["laboratory", "documents"])
    assert (await app.get("Binary/letter-text")).status_code == 200
    choice = Choice(("laboratory",), ("laboratory", "documents"), None, leaky.text)
    await Decisions(leaky.assent.authz).change(await app.consent_id(), leaky.account, choice, "test")
    assert (await app.get("Binary/letter-text")).content == (await app.get("Binary/nothing")).content


@pytest.mark.leak("L35")
@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        *(("?_elements=data", "*/*", 400), ("?_summary=data", "*/*", 400), ("?location=x", "*/*", 400)),
        *(("", "application/fhir+xml", 406), ("?_format=xml", "*/*", 406)),
    ],
)
async def test_l35_what_a_read_of_it_does_not_take_is_refused_alike(
    leaky: World, query: str, accept: str, status: int
) -> None:
    app = await leaky.app(["documents"])
    with leaky.upstream.listening() as heard:
        answers = [await app.get(f"Binary/{w}{query}", Accept=accept) for w in ("letter-text", "hiv-text", "nothing")]
    assert heard == []
    assert {answer.status_code for answer in answers} == {status}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.leak("L35")
async def test_l35_a_service_reads_what_each_patient_opens_to_it(leaky: World) -> None:
    its = await service(leaky, {"ana": ["documents"], "bob": ["laboratory"]})
    assert (await its.get("Binary/letter-text")).status_code == 200
    assert (await its.get("Binary/bob-text")).content == (await its.get("Binary/nothing")).content
    await its.revoked_by("ana")
    assert (await its.get("Binary/letter-text")).status_code == 404


@pytest.mark.leak("L35", "L39")
@pytest.mark.parametrize(
    "told",
    [
        binary("another"),
        document("letter-text", "Binary/letter-text"),
        {"resourceType": "Binary", "id": "letter-text", "contentType": 5, "data": []},
        {"resourceType": "Binary", "id": "letter-text", "securityContext": {"display": "bob"}},
    ],
)
async def test_l35_l39_an_upstream_that_gives_something_else_gives_nothing(
    leaky: World, told: dict[str, object]
) -> None:
    app = await leaky.app(["documents"])
    with leaky.upstream.saying("/Binary/letter-text", json.dumps(told).encode()):
        answer = await app.get("Binary/letter-text")
    assert (answer.status_code, answer.content) == (404, (await app.get("Binary/nothing")).content)


@pytest.mark.leak("L35", "L39")
async def test_l35_l39_documents_that_the_upstream_finds_too_many_of_are_decided_again(leaky: World) -> None:
    app = await leaky.app(["documents"])
    found = [document("x", "Binary/orphan", patient="bob"), document("y", "Binary/letter-text")]
    told = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource} for resource in found]}
    with leaky.upstream.saying("/DocumentReference", json.dumps(told).encode()):
        assert (await app.get("Binary/orphan")).status_code == 404


@pytest.mark.leak("L70")
async def test_l70_reading_content_is_on_record_with_its_kind(leaky: World) -> None:
    app = await leaky.app(["documents", "sharing-record"])
    assert (await app.get("Binary/letter-text")).status_code == 200
    assert (await app.get("Binary/hiv-text")).status_code == 404
    records = [entry["resource"] for entry in (await app.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]]
    own = [record for record in records if app.client_id in json.dumps(record)]
    whats = [found["what"].get("reference") for record in own for found in record["entity"] if "what" in found]
    assert "Binary/letter-text" in whats
    assert "Binary/hiv-text" not in whats
    assert {record["outcome"] for record in own} >= {"0", "4"}
