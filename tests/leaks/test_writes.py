"""Writes that are allowed, end to end: what is stored, what is answered, what is on record (docs/decisions/0022)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.consents.decisions import Choice, Decisions
from fhir.audit.trail import AuditUnavailable
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from tests.leaks.world import World
from tests.leaks.writes import SECRET, new_observation, said, stored, writer

VALUE = {"value": 7, "unit": "g/dL"}


async def _seen(app: Any, name: str) -> dict[str, Any]:
    answer = await app.get(name)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _events(world: World) -> list[dict[str, Any]]:
    """AuditEvents of writes, oldest first."""
    await world.assent.audit.settle("ana")
    pairs = [("patient", "Patient/ana"), ("_count", "500"), ("_sort", "-date")]
    query = parse_search("AuditEvent", pairs, load_definitions(), max_count=500)
    found = await world.assent.authz.repository.search(query)
    # Of the same millisecond those recorded first have the smaller id.
    events = sorted((json.loads(row.body) for row in found.matches), key=lambda event: str(event["id"]))
    return [e for e in events if e["subtype"][0]["code"] in ("create", "update", "delete")]


async def test_a_create_is_stored_under_the_upstreams_id_and_answered_as_it_is_read(writable: World) -> None:
    app = await writer(writable)
    answer = await app.send("POST", "Observation", new_observation(valueQuantity=VALUE))
    assert answer.status_code == 201, answer.text
    wanted = answer.json()["id"]
    assert answer.headers["location"] == f"http://127.0.0.1:8000/fhir/Observation/{wanted}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.json() == await _seen(app, f"Observation/{wanted}")
    assert (await stored(writable, f"Observation/{wanted}"))["valueQuantity"] == VALUE


async def test_an_update_keeps_what_the_writer_cannot_see(writable: World) -> None:
    app = await writer(writable)
    before = await stored(writable, "Observation/rich")
    seen = await _seen(app, "Observation/rich")
    assert SECRET not in json.dumps(seen)
    answer = await app.send("PUT", "Observation/rich", seen | {"valueQuantity": VALUE})
    assert answer.status_code == 200, answer.text
    after = await stored(writable, "Observation/rich")
    assert after["valueQuantity"] == VALUE
    for name in ("extension", "performer", "subject"):
        assert after[name] == before[name]
    assert after["meta"]["tag"] == before["meta"]["tag"]
    assert after["meta"]["source"] == before["meta"]["source"]
    assert after["meta"]["security"] == before["meta"]["security"]
    assert after["text"]["status"] == "empty"
    assert answer.json() == await _seen(app, "Observation/rich")


async def test_a_patch_is_an_update_of_what_is_seen(writable: World) -> None:
    app = await writer(writable)
    before = await stored(writable, "Patient/ana")
    patch = [
        {"op": "test", "path": "/gender", "value": "female"},
        {"op": "replace", "path": "/birthDate", "value": "1980-05-18"},
    ]
    answer = await app.send("PATCH", "Patient/ana", patch)
    assert answer.status_code == 200, answer.text
    after = await stored(writable, "Patient/ana")
    assert after["birthDate"] == "1980-05-18"
    assert after["photo"] == before["photo"]


async def test_a_delete_leaves_nothing_to_read(writable: World) -> None:
    app = await writer(writable)
    made = await app.send("POST", "Observation", new_observation())
    wanted = f"Observation/{made.json()['id']}"
    answer = await app.send("DELETE", wanted)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await stored(writable, wanted)) == {"deleted": True}
    assert (await app.get(wanted)).status_code == 404
    assert said(await app.send("DELETE", wanted)) == (404, "not-found")


async def test_the_digits_of_what_is_left_alone_stay(writable: World) -> None:
    app = await writer(writable)
    body = json.dumps(new_observation(valueQuantity={"value": 0})).replace('"value": 0', '"value": 1.50')
    made = await app.send("POST", "Observation", body)
    assert '"value":1.50' in made.text.replace(" ", "")
    changed = made.text.replace('"final"', '"amended"')
    answer = await app.send("PUT", f"Observation/{made.json()['id']}", changed)
    assert answer.status_code == 200, answer.text
    assert '"value":1.50' in answer.text.replace(" ", "")


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [("return=minimal", ""), ("return=representation", "Observation"), ("return=OperationOutcome", "OperationOutcome")],
)
async def test_a_writer_chooses_what_comes_back(writable: World, prefer: str, kind: str) -> None:
    app = await writer(writable)
    answer = await app.send("POST", "Observation", new_observation(), Prefer=prefer)
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else "") == kind


@pytest.mark.parametrize("tag", ['W/"1"', '"1"', 'W/"7", W/"1"', "*"])
async def test_a_version_that_is_current_lets_the_change_through(writable: World, tag: str) -> None:
    app = await writer(writable)
    made = (await app.send("POST", "Observation", new_observation())).json()
    answer = await app.send("PUT", f"Observation/{made['id']}", made | {"status": "amended"}, **{"If-Match": tag})
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == 'W/"2"'


@pytest.mark.parametrize("tag", ['W/"2"', "1", 'W/"x y"', ""])
async def test_a_version_that_is_not_current_changes_nothing(writable: World, tag: str) -> None:
    app = await writer(writable)
    made = (await app.send("POST", "Observation", new_observation())).json()
    name = f"Observation/{made['id']}"
    for method, body in (("PUT", made), ("DELETE", None)):
        assert said(await app.send(method, name, body, **{"If-Match": tag})) == (412, "conflict")
    assert (await stored(writable, name))["meta"]["versionId"] == "1"


@pytest.mark.parametrize("status", [404, 405, 409, 410, 412])
async def test_a_race_that_is_lost_upstream_has_one_answer(writable: World, status: int) -> None:
    app = await writer(writable)
    made = (await app.send("POST", "Observation", new_observation())).json()
    name = f"Observation/{made['id']}"
    with writable.upstream.failing_writes(status):
        assert said(await app.send("PUT", name, made)) == (412, "conflict")
        assert said(await app.send("DELETE", name)) == (412, "conflict")


@pytest.mark.parametrize(("status", "wanted"), [(400, 422), (422, 422), (403, 502), (500, 502), (302, 502)])
async def test_what_the_upstream_says_of_a_write_goes_no_further(writable: World, status: int, wanted: int) -> None:
    app = await writer(writable)
    with writable.upstream.failing_writes(status, SECRET.encode()):
        answer = await app.send("POST", "Observation", new_observation())
    assert said(answer)[0] == wanted


async def test_the_upstream_is_told_the_version_that_the_change_starts_from(writable: World) -> None:
    app = await writer(writable)
    made = (await app.send("POST", "Observation", new_observation())).json()
    with writable.upstream.listening() as heard:
        await app.send("PUT", f"Observation/{made['id']}", made | {"status": "amended"})
        await app.send("DELETE", f"Observation/{made['id']}")
    sent = {asked.method: asked.headers for asked in heard if asked.method != "GET"}
    assert (sent["PUT"]["if-match"], sent["DELETE"]["if-match"]) == ('W/"1"', 'W/"2"')
    assert app.token["access_token"] not in str(sent)


async def test_what_is_intended_is_on_record_before_and_what_came_of_it_after(writable: World) -> None:
    app = await writer(writable)
    made = (await app.send("POST", "Observation", new_observation())).json()
    with writable.upstream.failing_writes(412):
        await app.send("PUT", f"Observation/{made['id']}", made)
    events = [(e["action"], e["outcome"], e["outcomeDesc"][:8]) for e in (await _events(writable))[-4:]]
    assert events == [("C", "0", "intended"), ("C", "0", "done"), ("U", "0", "intended"), ("U", "4", "not done")]


async def test_a_write_that_cannot_be_recorded_does_not_happen(
    writable: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await writer(writable)

    async def broken(*_: object) -> None:
        raise AuditUnavailable("the record could not be written")

    monkeypatch.setattr(writable.assent.audit, "record", broken)
    with writable.upstream.listening() as heard:
        answer = await app.send("POST", "Observation", new_observation())
    assert said(answer) == (503, "transient")
    assert [asked.method for asked in heard if asked.method != "GET"] == []


async def test_access_alone_permits_no_write(writable: World) -> None:
    app = await writer(writable, writes=())
    assert "c" not in str(app.token["scope"]).replace("category", "").split("patient/Observation.")[1].split("?")[0]
    for method, path in (("POST", "Observation"), ("PUT", "Observation/plain"), ("DELETE", "Observation/plain")):
        assert said(await app.send(method, path, new_observation())) in ((403, "forbidden"), (400, "invalid"))


@pytest.mark.parametrize(
    ("actions", "letters"), [(("collect",), "crs"), (("correct",), "ruds"), (("collect", "correct"), "cruds")]
)
async def test_the_token_has_the_letters_that_the_person_allowed(
    writable: World, actions: tuple[str, ...], letters: str
) -> None:
    app = await writer(writable, writes=actions)
    granted = [part for part in str(app.token["scope"]).split() if part.startswith("patient/Condition.")]
    assert {part.split(".")[1].split("?")[0] for part in granted} == {letters}
    assert not any(part.startswith(("patient/Consent.c", "patient/Practitioner.c")) for part in granted)


async def test_taking_it_back_counts_from_the_next_request_on(writable: World) -> None:
    app = await writer(writable)
    assert (await app.send("POST", "Observation", new_observation())).status_code == 201
    choice = Choice(("laboratory",), ("laboratory",), None, writable.text)
    await Decisions(writable.assent.authz).change(await app.consent_id(), writable.account, choice, "test")
    assert said(await app.send("POST", "Observation", new_observation())) == (403, "forbidden")
