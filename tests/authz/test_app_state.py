"""App State (SMART App Launch 2.2): what an app keeps here it finds again, and nobody else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from authz import tables
from authz.app_state.body import MAX_STATE
from authz.app_state.rows import MOST_STATES
from authz.consents.decisions import Decisions
from authz.sign_in.accounts import Account, add_account
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from tests.authz.state_app import ANA, BASE, SYSTEM, StateApp, state, state_app
from tests.conformance.launching import FHIR_BASE, launch
from tests.leaks.service import service
from tests.leaks.world import World, observation, patient, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(await make_database(), tmp_path_factory.mktemp("state"), [patient("ana"), observation("l")]) as up:
        yield up


async def test_state_is_created_found_replaced_and_deleted(server: World) -> None:
    app = await state_app(server)
    answer = await app.send("POST", "Basic", state(value="one"))
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}/Basic/{made['id']}"
    assert answer.headers["etag"] == 'W/"1"'
    assert made["meta"]["versionId"] == "1"
    assert {name: made[name] for name in state()} == state(value="one")

    found = (await app.search()).json()
    assert (found["type"], found["total"]) == ("searchset", 1)
    assert found["entry"][0]["resource"] == made
    assert (await app.send("GET", f"Basic/{made['id']}")).json() == made

    changed = await app.send("PUT", f"Basic/{made['id']}", {**made, **state(value="two")}, If_Match='W/"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    assert changed.json()["extension"][0]["valueString"] == "two"
    assert changed.json()["meta"]["versionId"] == "2"

    gone = await app.send("DELETE", f"Basic/{made['id']}", If_Match='W/"2"')
    assert (gone.status_code, gone.content) == (204, b"")
    assert await app.found() == []
    assert (await app.send("GET", f"Basic/{made['id']}")).status_code == 404
    async with server.assent.engine.connect() as connection:
        left = select(func.count()).where(tables.app_state.c.id == made["id"])
        assert (await connection.execute(left)).scalar_one() == 0


async def test_code_and_subject_of_a_query_match_exactly(server: World) -> None:
    app = await state_app(server)
    first, second = await app.kept(state("settings")), await app.kept(state("settings-2"))
    assert await app.found("settings") == [first["id"]]
    assert await app.found("settings-2") == [second["id"]]
    assert await app.found("setting") == []
    assert await app.found("settings", None) == []
    form = {"code": f"{SYSTEM}|settings", "subject": ANA}
    headers = {"Authorization": f"Bearer {app.token['access_token']}"}
    posted = await server.http.post(f"{BASE}/Basic/_search", data=form, headers=headers)
    assert [entry["resource"]["id"] for entry in posted.json()["entry"]] == [first["id"]]


async def test_what_another_app_keeps_is_not_there(server: World) -> None:
    mine, other = await state_app(server), await state_app(server)
    kept = await mine.kept(state())
    assert await other.found() == []
    never = await other.send("GET", "Basic/never-was")
    seen = await other.send("GET", f"Basic/{kept['id']}")
    assert (seen.status_code, seen.json()) == (404, never.json())
    body = {**kept, "extension": []}
    for method, sent in (("PUT", body), ("DELETE", None)):
        unknown = {**body, "id": "never-was"} if sent else None
        theirs = await other.send(method, f"Basic/{kept['id']}", sent, If_Match='W/"1"')
        nobodys = await other.send(method, "Basic/never-was", unknown, If_Match='W/"1"')
        assert (theirs.status_code, theirs.json()) == (412, nobodys.json())
    assert (await mine.send("GET", f"Basic/{kept['id']}")).json() == kept


@pytest.mark.parametrize(
    ("if_match", "status"),
    [(None, 400), ("*", 400), ('W/"2"', 412), ('"0"', 412), ("1", 412), ("", 412), ('W/"1", *', 400)],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_change_needs_the_version_that_stands(
    server: World, method: str, if_match: str | None, status: int
) -> None:
    app = await state_app(server)
    kept = await app.kept(state())
    headers = {} if if_match is None else {"If_Match": if_match}
    answer = await app.send(method, f"Basic/{kept['id']}", kept if method == "PUT" else None, **headers)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert (await app.send("GET", f"Basic/{kept['id']}")).json() == kept


async def test_of_two_changes_at_once_one_counts(server: World) -> None:
    app = await state_app(server)
    kept = await app.kept(state())
    sent = [{**kept, **state(value=value)} for value in ("a", "b")]
    answers = await asyncio.gather(*(app.send("PUT", f"Basic/{kept['id']}", s, If_Match='W/"1"') for s in sent))
    assert sorted(answer.status_code for answer in answers) == [200, 412]


@pytest.mark.parametrize(
    "change",
    [
        {"code": {"coding": [{"system": SYSTEM, "code": "other"}]}},
        {"code": {"coding": [{"system": SYSTEM, "code": "settings", "display": "Settings"}]}},
        {"subject": {"reference": f"{FHIR_BASE}/Patient/bob"}},
        {"subject": None},
    ],
)
async def test_code_and_subject_never_change(server: World, change: dict[str, Any]) -> None:
    app = await state_app(server)
    kept = await app.kept(state())
    sent = {name: value for name, value in {**kept, **change}.items() if value is not None}
    assert (await app.send("PUT", f"Basic/{kept['id']}", sent, If_Match='W/"1"')).status_code == 412
    assert (await app.send("GET", f"Basic/{kept['id']}")).json() == kept


async def test_a_deleted_state_is_a_failed_precondition_for_ever(server: World) -> None:
    app = await state_app(server)
    kept = await app.kept(state())
    assert (await app.send("DELETE", f"Basic/{kept['id']}", If_Match='W/"1"')).status_code == 204
    for method, body in (("DELETE", None), ("PUT", kept)):
        assert (await app.send(method, f"Basic/{kept['id']}", body, If_Match='W/"1"')).status_code == 412


def _coded(**coding: object) -> dict[str, object]:
    return {"code": {"coding": [{"system": SYSTEM, "code": "settings", **coding}]}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"resourceType": "Basic", "resourceType": "Basic"}', 400),
        (state(resourceType="Observation"), 422),
        (state(id="mine"), 422),
        (state(id=1), 422),
        (state(meta={"versionId": "1"}), 422),
        (state(meta={"tag": [{"code": "x"}]}), 422),
        (state(meta={"profile": "x"}), 422),
        (state(meta=[]), 422),
        (state(text={"status": "generated"}), 422),
        (state(author={"reference": ANA}), 422),
        (state(identifier=[{"value": "x"}]), 422),
        (state(contained=[]), 422),
        (state(modifierExtension=[]), 422),
        ({**state(), "code": {}}, 422),
        ({**state(), "code": {"text": "settings"}}, 422),
        ({**state(), "code": {"coding": []}}, 422),
        ({**state(), "code": {"coding": ["x"]}}, 422),
        ({**state(), "code": {"coding": [{"system": SYSTEM, "code": "a"}, {"system": SYSTEM, "code": "b"}]}}, 422),
        ({**state(), "code": {"coding": [{"code": "a"}]}}, 422),
        ({**state(), "code": {"coding": [{"system": SYSTEM}]}}, 422),
        ({**state(), **_coded(code="a|b")}, 422),
        ({**state(), **_coded(code="a,b")}, 422),
        ({**state(), **_coded(code="a" * 600)}, 422),
        ({**state(), **_coded(code=7)}, 422),
        ({**state(), **_coded(code="a\x00b")}, 422),
        ({**state(), **_coded(code="a\x1b")}, 422),
        ({**state(), **_coded(system=f"{SYSTEM}/\x00")}, 422),
        ({**state(), **_coded(userSelected=True)}, 422),
        ({**state(), **_coded(system="no uri")}, 422),
        (state(subject="Patient/ana"), 422),
        (state(subject=f"{FHIR_BASE}/Observation/l"), 422),
        (state(subject="https://elsewhere.example/fhir/Patient/ana"), 422),
        (state(subject=f"{ANA}/_history/1"), 422),
        (state(subject=f"{ANA}\n"), 422),
        ({**state(), "subject": {"identifier": {"value": "x"}}}, 422),
        ({**state(), "subject": {"reference": ANA, "display": "Ana"}}, 422),
        ({**state(), "subject": []}, 422),
        (state(extension={}), 422),
        (state(extension=[{"url": SYSTEM}]), 422),
        (state(extension=[{"url": SYSTEM, "valueString": 7}]), 422),
        (state(extension=[{"url": SYSTEM, "valueString": ""}]), 422),
        (state(extension=[{"url": SYSTEM, "valueInteger": 7}]), 422),
        (state(extension=[{"url": SYSTEM, "valueString": "x", "extension": []}]), 422),
        (state(extension=[{"url": "no uri", "valueString": "x"}]), 422),
        (state(value="x" * MAX_STATE), 413),
    ],
)
async def test_what_could_not_be_kept_whole_is_refused(server: World, body: object, status: int) -> None:
    app = await _shared_app(server)
    answer = await app.send("POST", "Basic", body)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    async with server.assent.engine.connect() as connection:
        kept = select(func.count()).where(tables.app_state.c.client_id == app.client_id)
        assert (await connection.execute(kept)).scalar_one() == 0


_APPS: dict[int, StateApp] = {}


async def _shared_app(server: World) -> StateApp:
    """One app for a table in which nothing is kept."""
    if id(server) not in _APPS:
        _APPS[id(server)] = await state_app(server)
    return _APPS[id(server)]


async def test_a_state_of_256_kilobytes_is_kept_as_it_was_sent(server: World) -> None:
    app = await state_app(server)
    frame = len(json.dumps(state(value="")).encode())
    value = 'é"' + "x" * (MAX_STATE - frame - 8)
    body = json.dumps(state(value=value)).encode()
    assert len(body) == MAX_STATE
    kept = await app.kept(body)
    assert (await app.send("GET", f"Basic/{kept['id']}")).json()["extension"][0]["valueString"] == value


async def test_an_app_keeps_a_bounded_number_of_states_about_one_subject(server: World) -> None:
    app = await state_app(server)
    bodies = [state(f"c{n}") for n in range(MOST_STATES + 2)]
    answers = await asyncio.gather(*(app.send("POST", "Basic", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] * MOST_STATES + [422] * 2


@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        ("patient/Basic.cuds", "create-one search-one"),
        ("patient/Basic.s", "search-one"),
        ("patient/Basic.c", "create-one"),
        ("patient/Basic.cuds?code=https://diary.example|settings", "create-one search-one"),
        ("patient/Basic.cuds?code=https://diary.example|settin", ""),
        ("patient/Basic.cuds?code=https://diary.example|other", ""),
        ("patient/Basic.cuds?code=settings", ""),
        ("patient/Basic.cuds?_id=x", ""),
        ("user/Basic.cuds", "create-one search-one search-all"),
        ("user/Basic.s?code=https://diary.example|settings", "search-one search-all"),
        ("patient/*.cruds", ""),
        ("user/*.cruds", ""),
        ("patient/Observation.cruds", ""),
    ],
)
async def test_scopes_open_what_they_name_and_no_more(server: World, scope: str, opened: str) -> None:
    app = await state_app(server, f"launch/patient openid fhirUser patient/Observation.rs {scope}")
    found = {
        "create-one": await app.send("POST", "Basic", state()),
        "create-all": await app.send("POST", "Basic", state(subject=None)),
        "create-other": await app.send("POST", "Basic", state(subject=f"{FHIR_BASE}/Patient/bob")),
        "search-one": await app.search(),
        "search-all": await app.search(subject=None),
        "search-other": await app.search(subject=f"{FHIR_BASE}/Patient/bob"),
    }
    codes = {name: answer.status_code for name, answer in found.items()}
    expected = {name: (201 if name.startswith("create") else 200) if name in opened.split() else 403 for name in found}
    assert codes == expected
    for name, answer in found.items():
        if codes[name] == 403:
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_letters_open_changes_one_by_one(server: World) -> None:
    app = await state_app(server, "launch/patient openid fhirUser patient/Observation.rs patient/Basic.cs")
    kept = await app.kept(state())
    for method, path, body in (("PUT", f"Basic/{kept['id']}", kept), ("DELETE", f"Basic/{kept['id']}", None)):
        assert (await app.send(method, path, body, If_Match='W/"1"')).status_code == 403
    assert (await app.send("GET", f"Basic/{kept['id']}")).status_code == 403
    assert await app.found() == [kept["id"]]


async def test_settings_for_all_users_are_changed_by_operators_and_read_by_everybody(server: World) -> None:
    operator = Account("", "olga", "Olga", "Practitioner/olga", "operator")
    async with server.assent.engine.begin() as connection:
        operator = await add_account(connection, operator, "-", datetime.now(UTC))
    asked = await launch(server, "openid fhirUser user/Basic.cuds")
    asked.account = operator
    admin = StateApp(server, asked.client_id, dict((await asked.app(())).token))
    kept = await admin.kept(state(subject=None))
    own = await admin.kept(state(subject=f"{FHIR_BASE}/Practitioner/olga"))
    assert await admin.found(subject=f"{FHIR_BASE}/Practitioner/olga") == [own["id"]]

    asked.account, asked.scope = None, "launch/patient openid fhirUser patient/*.rs user/Basic.cuds"
    user = StateApp(server, asked.client_id, dict((await asked.app(("laboratory",))).token))
    assert await user.found(subject=None) == [kept["id"]]
    for method, body in (("PUT", kept), ("DELETE", None)):
        answer = await user.send(method, f"Basic/{kept['id']}", body, If_Match='W/"1"')
        assert answer.status_code == 412
    assert (await user.search(subject=f"{FHIR_BASE}/Practitioner/olga")).status_code == 403
    assert await admin.found(subject=None) == [kept["id"]]


async def test_state_about_a_patient_ends_with_their_consent_and_is_there_again_with_a_new_one(server: World) -> None:
    asked = await launch(server, "launch/patient openid fhirUser offline_access patient/*.rs patient/Basic.cruds")
    app = StateApp(server, asked.client_id, dict((await asked.app(("laboratory",))).token))
    kept = await app.kept(state())
    rows = await server.assent.authz.repository.search(_of_ana("Consent"))
    consent_id = next(r.id for r in rows.matches if asked.client_id in r.body.decode())
    await Decisions(server.assent.authz).revoke(consent_id, server.account, "test")
    assert (await app.search()).status_code == 401
    assert (await app.send("POST", "Basic", state())).status_code == 401
    refresh = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"]}
    assert (await asked.token(**refresh)).json()["error"] == "invalid_grant"
    again = StateApp(server, asked.client_id, dict((await asked.app(("laboratory",))).token))
    assert await again.found() == [kept["id"]]


async def test_a_scope_for_state_about_a_patient_needs_something_that_they_share(server: World) -> None:
    alone = await launch(server, "launch/patient openid patient/Basic.cuds")
    answer = await alone.exchange(await alone.allow(await alone.authorize(), ()))
    assert answer.json()["scope"] == "launch/patient openid"
    only = await launch(server, "patient/Basic.cuds")
    sent = await only.authorize()
    assert "error=invalid_scope" in sent.headers["location"]


async def test_a_token_that_opens_no_state_is_refused(server: World) -> None:
    own = await service(server, {}, registered="system/*.cruds")
    app = StateApp(server, own.client_id, dict(own.token))
    assert (await app.search()).status_code == 403
    assert (await app.send("POST", "Basic", state())).status_code == 403
    app.token["access_token"] += "x"
    answer = await app.search()
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (401, "login")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    nobody = await server.http.get("/app-state/Basic")
    assert nobody.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Basic", 400),
        ("GET", "Basic?code=https://diary.example|settings", 400),
        ("GET", f"Basic?subject={ANA}", 400),
        ("GET", f"Basic?code=settings&subject={ANA}", 400),
        ("GET", f"Basic?code=https://diary.example|a,https://diary.example|b&subject={ANA}", 400),
        ("GET", f"Basic?code=https://diary.example|a%00&subject={ANA}", 400),
        ("GET", "Basic?code=https://diary.example|settings&subject=Patient/ana", 400),
        ("GET", "Basic?code=https://diary.example|settings&subject=", 400),
        ("GET", f"Basic?code=https://diary.example|settings&subject={ANA}&subject={ANA}", 400),
        ("GET", f"Basic?code=https://diary.example|settings&subject={ANA}&_count=1", 400),
        ("GET", "Basic?code=https://diary.example|settings&subject:missing=false", 400),
        ("GET", f"Basic?code=https://diary.example|settings&subject={ANA}&_format=xml", 406),
        ("GET", "Basic/x?_elements=code", 400),
        ("PATCH", "Basic/x", 405),
        ("PUT", "Basic", 405),
        ("DELETE", "Basic", 405),
        ("POST", "metadata", 405),
        ("GET", "Basic/_search", 405),
        ("GET", "Basic/x/_history", 404),
        ("GET", "Patient", 404),
        ("GET", "", 404),
    ],
)
async def test_what_is_not_a_request_of_app_state_is_refused(
    server: World, method: str, path: str, status: int
) -> None:
    answer = await (await _shared_app(server)).send(method, path)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    assert ("allow" in answer.headers) == (status == 405)


async def test_what_is_done_with_state_is_recorded(server: World) -> None:
    app = await state_app(server)
    kept = await app.kept(state())
    await app.found()
    await app.send("PUT", f"Basic/{kept['id']}", kept, If_Match='W/"1"')
    await app.send("GET", f"Basic/{kept['id']}")
    await app.send("DELETE", f"Basic/{kept['id']}", If_Match='W/"2"')
    await server.assent.audit.settle("ana")
    context = server.assent.authz
    events = [json.loads(found.body) for found in (await context.repository.search(_of_ana("AuditEvent"))).matches]
    mine = [event for event in events if kept["id"] in json.dumps(event)]
    assert sorted((event["action"], event["subtype"][0]["code"]) for event in mine) == [
        *(("C", "create"), ("D", "delete"), ("E", "search"), ("R", "read"), ("U", "update"))
    ]
    assert all(app.client_id in json.dumps(event) for event in mine)


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "Basic/absent", 403, ("R", "read", "Basic/absent")),
        ("GET", f"Basic?code={SYSTEM}|other&subject={FHIR_BASE}/Patient/bob", 403, ("E", "search", "Basic")),
        ("POST", "Basic", 403, ("C", "create", "Basic")),
        ("PUT", "Basic/absent", 403, ("U", "update", "Basic/absent")),
        ("DELETE", "Basic/absent", 412, ("D", "delete", "Basic/absent")),
        ("DELETE", "Basic/absent?x=1", 400, None),
        ("PATCH", "Basic/absent", 405, None),
    ],
)
async def test_what_is_refused_is_recorded(
    server: World, method: str, path: str, status: int, told: tuple[str, str, str] | None
) -> None:
    app = await state_app(server, "launch/patient openid fhirUser patient/Observation.rs patient/Basic.ds")
    body = None if method in ("GET", "DELETE") else state() | ({} if method == "POST" else {"id": "absent"})
    answer = await app.send(method, path, body, If_Match='W/"1"')
    assert answer.status_code == status, answer.text
    await server.assent.audit.settle("ana")
    found = await server.assent.authz.repository.search(_of_ana("AuditEvent"))
    events = [json.loads(stored.body) for stored in found.matches]
    refused = [event for event in events if event["outcome"] == "4" and app.client_id in json.dumps(event)]
    whats = [entity["what"] for event in refused for entity in event["entity"]]
    assert [(event["action"], event["subtype"][0]["code"]) for event in refused] == ([] if told is None else [told[:2]])
    assert told is None or told[2] in [what.get("reference", what.get("display")) for what in whats]


async def test_a_state_of_another_app_is_recorded_like_one_that_is_not_there(server: World) -> None:
    kept = await (await state_app(server)).kept(state())
    app = await state_app(server)
    await app.send("GET", f"Basic/{kept['id']}")
    await app.send("GET", "Basic/absent")
    await server.assent.audit.settle("ana")
    found = await server.assent.authz.repository.search(_of_ana("AuditEvent"))
    texts = [stored.body.decode().replace(kept["id"], "absent") for stored in found.matches]
    mine = [json.loads(text) for text in texts if app.client_id in text and '"outcome":"4"' in text.replace(" ", "")]
    assert len(mine) == 2
    one, other = ({**e, "id": "", "meta": "", "recorded": "", "entity": e["entity"][:2]} for e in mine)
    assert one == other


async def test_a_script_of_a_registered_origin_may_keep_state(server: World) -> None:
    app = await state_app(server)
    origin = {"Origin": "http://localhost:9090"}
    before = await server.http.options(f"{BASE}/Basic/x", headers={**origin, "Access-Control-Request-Method": "PUT"})
    assert before.status_code == 204
    assert {"PUT", "DELETE"} <= set(before.headers["access-control-allow-methods"].split(", "))
    assert "if-match" in before.headers["access-control-allow-headers"].split(", ")
    answer = await app.send("POST", "Basic", state(), **origin)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:9090"
    assert {"etag", "location"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    other = await app.send("POST", "Basic", state(), Origin="https://elsewhere.example")
    assert "access-control-allow-origin" not in other.headers


async def test_the_endpoint_says_what_it_does(server: World) -> None:
    answer = await server.http.get(f"{BASE}/metadata")
    found = answer.json()
    assert (answer.status_code, found["resourceType"]) == (200, "CapabilityStatement")
    basic = found["rest"][0]["resource"][0]
    interactions = {interaction["code"] for interaction in basic["interaction"]}
    assert (basic["type"], interactions) == ("Basic", {"create", "read", "update", "delete", "search-type"})


def _of_ana(kind: str) -> Any:
    pairs = [("patient", "Patient/ana"), ("_count", "500"), ("_sort", "-_lastUpdated")]
    return parse_search(kind, pairs, load_definitions(), max_count=500)
