"""How much may be kept at `/fhir/Consent`, and what hostile content runs into."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from authz.consents.transitions import MAX_TOGETHER
from fhir.consents.check import MAX_CONSENT
from fhir.consents.register import MAX_CONSENTS
from fhir.search.query import parse_search
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, issues, recorder
from tests.conftest import MakeDatabase
from tests.effort import at_most
from tests.leaks.world import World, observation, patient, world

UNSEEN = "NEVER-IN-AN-ANSWER"
MODIFIER = [{"url": "urn:x", "valueString": UNSEEN}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana"), observation("lab0")]
    async with world(await make_database(), tmp_path_factory.mktemp("bounds"), people) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


async def test_provisions_are_bounded_in_number_depth_and_bytes(clerk: RecorderClient) -> None:
    many = consent({"type": "permit", "provision": [{"type": "deny"}] * 10_000})
    answer = await _sent(clerk, many)
    assert (answer.status_code, issues(answer)) == (422, [("too-costly", ("Consent.provision",))])
    deep: dict[str, Any] = {"type": "permit"}
    for _ in range(30):
        deep = {"type": "permit", "provision": [deep]}
    answer = await _sent(clerk, consent(deep))
    assert answer.status_code == 422
    answer = await _sent(clerk, consent(extension=[{"url": "urn:x", "valueString": "x" * MAX_CONSENT}]))
    assert answer.status_code == 413


@pytest.mark.parametrize("depth", [20, 100, 200, 300, 400, 490, 600, 1_000])
@pytest.mark.parametrize("place", ["extension", "provision", "meta"])
async def test_no_depth_breaks_the_server(clerk: RecorderClient, place: str, depth: int) -> None:
    open, close = (
        (b'{"url":"urn:x","extension":[', b"]}") if place != "provision" else (b'{"type":"deny","provision":[', b"]}")
    )
    nested = open * depth + b'{"url":"urn:x","valueString":"x"}' + close * depth
    value = {
        "extension": b'"extension":[' + nested + b"]",
        "provision": b'"provision":' + nested,
        "meta": b'"meta":{"extension":[' + nested + b"]}",
    }
    body = json.dumps({k: v for k, v in consent().items() if k != "provision" or place != k}).encode()
    answer = await clerk.send("POST", "Consent", body[:-1] + b"," + value[place] + b"}")
    assert answer.status_code in (201, 400, 422), answer.text
    if answer.status_code == 201:
        assert (await clerk.get(f"Consent/{answer.json()['id']}")).status_code == 200
    assert (await clerk.get("Consent?_count=5&_sort=-_lastUpdated")).status_code == 200


async def test_the_most_provisions_that_are_kept_decide_with_little_work(here: World, clerk: RecorderClient) -> None:
    app = await here.app(["laboratory"])
    nested = [{"type": "deny", "class": category("conditions"), "actor": grantee(f"a{n}")} for n in range(500)]
    answer = await _sent(clerk, consent({"type": "permit", "provision": nested}))
    assert answer.status_code == 201, answer.text
    with at_most(300_000):
        assert (await app.get("Observation/lab0")).status_code == 200
    await clerk.send("DELETE", f"Consent/{answer.json()['id']}")


async def _sent(clerk: RecorderClient, body: dict[str, Any]) -> httpx.Response:
    with at_most(2_000_000):
        return await clerk.send("POST", "Consent", body)


async def test_a_patient_has_so_many_active_consents_and_no_more(
    clerk: RecorderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_CONSENTS == 1_000
    monkeypatch.setattr("authz.consents.transitions.MAX_CONSENTS", 2)
    first, _ = [await clerk.created(consent(patient={"reference": "Patient/crowded"})) for _ in range(2)]
    answer = await clerk.send("POST", "Consent", consent(patient={"reference": "Patient/crowded"}))
    assert (answer.status_code, issues(answer)) == (422, [("too-costly", ("Consent.patient",))])
    draft = await clerk.created(consent(patient={"reference": "Patient/crowded"}, status="draft"))
    path, activate = f"Consent/{draft['id']}", [{"op": "replace", "path": "/status", "value": "active"}]
    assert (await clerk.send("PATCH", path, activate)).status_code == 422
    await clerk.send("DELETE", f"Consent/{first['id']}")
    assert (await clerk.send("PATCH", path, activate)).status_code == 200


async def test_the_active_consents_of_a_patient_are_bounded_together(clerk: RecorderClient) -> None:
    """All of them are read at a decision: a thousand of the largest would hold up everybody for half a minute."""

    def large(size: int = 250_000, **more: Any) -> dict[str, Any]:
        padding = [{"url": "urn:x", "valueString": "x" * size}]
        return consent(patient={"reference": "Patient/heavy"}, extension=padding, **more)

    assert MAX_TOGETHER == 1_048_576
    *_, last = [await clerk.created(large()) for _ in range(4)]
    answer = await clerk.send("POST", "Consent", large())
    assert (answer.status_code, issues(answer)) == (422, [("too-costly", ("Consent.patient",))])
    draft = await clerk.created(large(status="draft"))
    small = await clerk.created(large(30_000))
    path, activate = f"Consent/{draft['id']}", [{"op": "replace", "path": "/status", "value": "active"}]
    assert (await clerk.send("PATCH", path, activate)).status_code == 422
    grown = {**small, "extension": large(60_000)["extension"]}
    assert (await clerk.send("PUT", f"Consent/{small['id']}", grown)).status_code == 422
    narrowed = {**last, "extension": large(249_000)["extension"]}
    assert (await clerk.send("PUT", f"Consent/{last['id']}", narrowed)).status_code == 200
    await clerk.send("DELETE", f"Consent/{last['id']}")
    assert (await clerk.send("PATCH", path, activate)).status_code == 200


async def test_narrowing_is_possible_however_much_there_is(
    clerk: RecorderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await clerk.created(consent(patient={"reference": "Patient/full"}))
    monkeypatch.setattr("authz.consents.transitions.MAX_TOGETHER", 1)
    monkeypatch.setattr("authz.consents.transitions.MAX_CONSENTS", 0)
    path, bare = f"Consent/{made['id']}", {name: value for name, value in made.items() if name != "meta"}
    assert (await clerk.send("PUT", path, bare | {"dateTime": "2026-01-02T00:00:00Z"})).status_code == 422
    for narrower in (made | {"dateTime": "2026-01-03"}, bare | {"dateTime": "2026-01"}, bare | {"status": "inactive"}):
        assert (await clerk.send("PUT", path, narrower)).status_code == 200
    assert (await clerk.send("PUT", path, bare)).status_code == 422


@pytest.mark.parametrize(
    ("change", "expression"),
    [
        ({"modifierExtension": MODIFIER}, "Consent.modifierExtension"),
        ({"policy": [{"uri": "urn:x", "modifierExtension": MODIFIER}]}, "Consent.policy.modifierExtension"),
        (
            {"verification": [{"verified": True, "modifierExtension": MODIFIER}]},
            "Consent.verification.modifierExtension",
        ),
        ({"provision": {"type": "permit", "modifierExtension": MODIFIER}}, "Consent.provision.modifierExtension"),
        (
            {"provision": {"type": "permit", "actor": [{**grantee("x")[0], "modifierExtension": MODIFIER}]}},
            "Consent.provision.actor[0].modifierExtension",
        ),
        (
            {"provision": {"type": "permit", "provision": [{"type": "deny", "modifierExtension": MODIFIER}]}},
            "Consent.provision.provision[0].modifierExtension",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_modifier_that_nobody_knows_is_refused_wherever_it_stands(
    clerk: RecorderClient, change: dict[str, Any], expression: str
) -> None:
    answer = await clerk.send("POST", "Consent", consent(**change))
    assert (answer.status_code, issues(answer)) == (422, [("not-supported", (expression,))])
    assert UNSEEN not in answer.text


XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.mark.parametrize(
    ("div", "status"),
    [
        (f"<div {XHTML}>a <b>b</b> <a href='https://desk.example'>c</a><br/></div>", 201),
        *(
            (div, 422)
            for div in (
                f"<div {XHTML}><script>x()</script></div>",
                f"<div {XHTML} onclick='x()'>a</div>",
                f"<div {XHTML}><a href='javascript:x()'>a</a></div>",
                f"<div {XHTML}><p style='background:url(//x.example)'>a</p></div>",
                f"<div {XHTML}><!--><img src='#' onerror='x()'/>--></div>",
                f"<div {XHTML}><![CDATA[><script>x()</script>]]></div>",
                f"<!DOCTYPE a [<!ENTITY b 'c'>]><div {XHTML}>&b;</div>",
                f"<div {XHTML}><svg xmlns='http://www.w3.org/2000/svg'/></div>",
                *(f"<div {XHTML}>&nbsp;</div>", "<div>a</div>", f"<p {XHTML}>a</p>", f"<div {XHTML}>", "a"),
                f"<?x y?><div {XHTML}/>",
            )
        ),
    ],
)
async def test_a_narrative_formats_and_does_nothing(clerk: RecorderClient, div: str, status: int) -> None:
    text = {"status": "generated", "div": div}
    answer = await clerk.send("POST", "Consent", consent(text=text))
    assert answer.status_code == status, answer.text
    inner = {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "text": text}
    assert (await clerk.send("POST", "Consent", consent(contained=[inner]))).status_code == status
    if status == 422:
        assert issues(answer) == [("invariant", ("Consent.text.div",))]


@pytest.mark.parametrize("raw", [b"1e400", b"9" * 5_000, b"9" * 400, b"-0", b"1E+2", b"0." + b"1" * 5_000])
async def test_no_number_breaks_the_server_or_loses_a_digit(clerk: RecorderClient, raw: bytes) -> None:
    body = json.dumps(consent(extension=[{"url": "urn:x", "valueDecimal": "N"}]), separators=(",", ":")).encode()
    answer = await clerk.send("POST", "Consent", body.replace(b'"N"', raw))
    assert answer.status_code in (201, 400)
    if answer.status_code == 201:
        path, add = f"Consent/{answer.json()['id']}", {"op": "add", "path": "/language", "value": "en"}
        assert (await clerk.send("PATCH", path, [add])).status_code == 200
        assert raw in (await clerk.get(path)).content


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
@pytest.mark.parametrize("value", ["*", 'W/"1"', ""])
async def test_a_create_has_no_version_that_a_precondition_could_be_about(
    clerk: RecorderClient, name: str, value: str
) -> None:
    before = (await clerk.get("Consent?_summary=count")).json()["total"]
    answer = await clerk.send("POST", "Consent", consent(), headers={name: value})
    assert (answer.status_code, issues(answer)) == (412, [("conflict", ())])
    assert (await clerk.get("Consent?_summary=count")).json()["total"] == before


@pytest.mark.parametrize(("method", "path"), [("DELETE", "Consent?nonsense=1"), ("PATCH", "Consent?patient=x&_sort=y")])
async def test_a_change_that_its_own_criteria_refuse_leaves_a_record_too(
    here: World, clerk: RecorderClient, method: str, path: str
) -> None:
    context = here.assent.authz

    async def refused() -> int:
        await context.audit.settle()
        pairs = (("outcome", "4"), ("_summary", "count"))
        query = parse_search("AuditEvent", pairs, context.repository.definitions, max_count=1)
        return (await context.repository.search(query)).total or 0

    before = await refused()
    body = [{"op": "remove", "path": "/dateTime"}] if method == "PATCH" else None
    assert (await clerk.send(method, path, body)).status_code == 400
    assert await refused() == before + 1
