"""`/launch-contexts`: who may create a launch, what it may say, and that it counts once, for one app, for minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from authz import tables
from authz.authorize.launch_contexts import LIFETIME, take_launch
from authz.clients.clients import NewClient, add_client, disable_client
from authz.consents.decisions import AlreadyDecided
from authz.oauth_errors import OAuthError
from authz.opaque_secret import hash_of
from authz.sign_in.sessions import SignedInSession
from authz.tokens.access_tokens import TokenClaims
from portal.consent_book import PatientsConsentBook
from portal.pending_requests import PendingRequests
from portal.ports import ConsentChoice
from tests.leaks.world import ISSUER, REDIRECT, World, patient, world

CHALLENGE = "c" * 43
SCOPE = "assent/launch.c"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("launch")
    async with world(await make_database(), folder, [patient("ana")]) as running:
        yield running


async def _client(server: World, **more: Any) -> tuple[str, str | None]:
    new = NewClient(**{"name": "App", "kind": "public", "redirect_uris": (REDIRECT,), **more})
    async with server.assent.engine.begin() as connection:
        client, secret = await add_client(connection, new, server.assent.authz.clock())
    return client.client_id, secret


async def _service_token(server: World, kind: str = "ehr", scope: str = SCOPE) -> tuple[str, str]:
    """Client id and access token of a client that acts for itself."""
    client_id, secret = await _client(server, kind=kind, redirect_uris=(), scope=scope)
    form = {"grant_type": "client_credentials"}
    answer = await server.http.post("/token", data=form, auth=(client_id, secret or ""))
    assert answer.status_code == 200, answer.text
    return client_id, answer.json()["access_token"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ehr(server: World) -> str:
    return (await _service_token(server))[1]


async def _create(server: World, token: str, body: object) -> httpx.Response:
    return await server.http.post("/launch-contexts", json=body, headers={"Authorization": f"Bearer {token}"})


async def _launch(server: World, token: str, body: Mapping[str, Any]) -> str:
    answer = await _create(server, token, body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["launch"])


async def _stored(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(tables.launch_context))).scalar_one())


async def _authorize(server: World, client_id: str, launch: str | None, **change: str) -> httpx.URL:
    """Where the app's authorization request is redirected to."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT,
        "scope": "launch openid patient/*.rs",
        "state": "s",
        "aud": f"{ISSUER}/fhir",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **change,
    }
    answer = await server.http.get("/authorize", params=query | ({"launch": launch} if launch else {}))
    assert answer.status_code == 303
    return httpx.URL(answer.headers["location"])


def _error(url: httpx.URL) -> str | None:
    return dict(url.params).get("error")


WHOLE = {
    "patient": "ana",
    "encounter": "e1",
    "user": "Practitioner/p1",
    "fhirContext": [
        {"reference": "ImagingStudy/i1"},
        {
            "canonical": "https://ehr.example/Questionnaire/q|1",
            "type": "Questionnaire",
            "role": "https://ehr.example/r",
        },
        {"identifier": {"system": "urn:x", "value": "1"}, "type": "ServiceRequest", "role": "launch"},
        {"reference": "Patient/ben", "role": "https://ehr.example/donor"},
    ],
    "intent": "reconcile-medications",
    "need_patient_banner": False,
    "smart_style_url": "https://ehr.example/style.json",
    "tenant": "north-wing",
}


async def test_an_ehr_creates_a_launch_and_only_its_hash_is_kept(server: World, ehr: str) -> None:
    answer = await _create(server, ehr, WHOLE)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    body = answer.json()
    assert body == {"launch": body["launch"], "expires_in": 300}
    assert len(body["launch"]) >= 43
    table = tables.launch_context
    async with server.assent.engine.connect() as connection:
        row = (await connection.execute(select(table).where(table.c.launch_hash == hash_of(body["launch"])))).one()
    assert row.context == WHOLE
    assert body["launch"] not in str(row)


async def test_an_absolute_user_of_this_server_is_read_as_relative(server: World, ehr: str) -> None:
    launch = await _launch(server, ehr, {"user": f"{ISSUER}/fhir/Practitioner/p1"})
    async with server.assent.engine.begin() as connection:
        taken = await take_launch(connection, launch, "any", server.assent.authz.clock())
    assert taken == {"user": "Practitioner/p1"}


HOSTILE: list[object] = [
    {},
    [],
    "patient",
    {"unknown": "x"},
    {"patient": "ana", "iss": "https://evil.example"},
    {"patient": 7},
    {"patient": None},
    {"patient": ""},
    {"patient": "Patient/ana"},
    {"patient": "a" * 65},
    {"patient": "ana\u0000"},
    {"patient": "ana\n"},
    {"patient": "änä"},
    {"encounter": "e1"},
    {"patient": "ana", "encounter": ["e1"]},
    {"user": "p1"},
    {"user": "Device/d1"},
    {"user": "https://elsewhere.example/fhir/Practitioner/p1"},
    {"user": "Practitioner/p1/_history/1"},
    {"need_patient_banner": "false"},
    {"need_patient_banner": 0},
    {"intent": ""},
    {"intent": "x" * 257},
    {"intent": "two\nlines"},
    {"tenant": {"id": "t"}},
    {"tenant": "t" * 257},
    {"smart_style_url": "http://ehr.example/style.json"},
    {"smart_style_url": "javascript:alert(1)"},
    {"smart_style_url": "https://"},
    {"smart_style_url": "https://ehr.example/" + "s" * 2_000},
    {"smart_style_url": "https://[broken"},
    {"fhirContext": []},
    {"fhirContext": {}},
    {"fhirContext": ["Observation/1"]},
    {"fhirContext": [{}]},
    {"fhirContext": [{"type": "Observation"}]},
    {"fhirContext": [{"reference": "https://elsewhere.example/fhir/Observation/1"}]},
    {"fhirContext": [{"reference": "Observation/1", "display": "x"}]},
    {"fhirContext": [{"reference": "Observation/1", "role": ""}]},
    {"fhirContext": [{"reference": "Observation/1", "role": "donor"}]},
    {"fhirContext": [{"reference": "Observation/1", "role": []}]},
    {"fhirContext": [{"reference": "Patient/ben"}]},
    {"fhirContext": [{"reference": "Patient/ben", "type": "Observation"}]},
    {"fhirContext": [{"reference": "Encounter/e1", "role": "launch"}]},
    {"fhirContext": [{"identifier": {"value": "1"}, "type": "Patient"}]},
    {"fhirContext": [{"identifier": "1"}]},
    {"fhirContext": [{"identifier": {"system": "urn:x"}}]},
    {"fhirContext": [{"identifier": {"value": "1", "assigner": {"display": "x"}}}]},
    {"fhirContext": [{"canonical": "not a url"}]},
    {"fhirContext": [{"reference": "Observation/1"}] * 21},
    {"patient": "ana", "client_id": "nobody"},
    {"patient": "ana", "client_id": ["a"]},
    {"patient": "ana", "client_id": 1},
    {"client_id": "nobody"},
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_body_that_says_anything_else_is_refused_whole(server: World, ehr: str, body: object) -> None:
    before = await _stored(server)
    answer = await _create(server, ehr, body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "launch" not in answer.json()
    assert await _stored(server) == before


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"patient": "\xff"}', "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"patient": "ana"}', "text/plain", 415),
        (b"patient=ana", "application/x-www-form-urlencoded", 415),
        (b'{"intent": "' + b"x" * 70_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_is_no_small_json_object_is_refused(
    server: World, ehr: str, content: bytes, media_type: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {ehr}", "Content-Type": media_type}
    answer = await server.http.post("/launch-contexts", content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer, DPoP algs="ES256 ES384 PS256"'),
        ("Basic YTpi", 'Bearer, DPoP algs="ES256 ES384 PS256"'),
        ("Bearer", 'Bearer error="invalid_token"'),
        ("Bearer a.b.c", 'Bearer error="invalid_token"'),
    ],
)
async def test_without_a_good_token_nothing_is_created(
    server: World, authorization: str | None, challenge: str
) -> None:
    before = await _stored(server)
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await server.http.post("/launch-contexts", json={"patient": "ana"}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    assert await _stored(server) == before


async def test_a_token_without_the_scope_is_refused(server: World) -> None:
    tokens = [
        (await _service_token(server, kind="gateway", scope="assent/introspect"))[1],
        (await _service_token(server, kind="ehr", scope="assent/introspect"))[1],
        (await server.app(["laboratory"])).token["access_token"],
        (await server.app(["laboratory"], scope=f"launch/patient patient/*.rs {SCOPE}")).token["access_token"],
    ]
    for token in tokens:
        answer = await _create(server, token, {"patient": "ana"})
        assert answer.status_code == 403
        assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{SCOPE}"'


async def test_a_token_of_a_persons_grant_creates_no_launch_whatever_its_scope(server: World) -> None:
    app = await server.app(["laboratory"])
    tokens = server.assent.authz.tokens
    verified = tokens.verify(str(app.token["access_token"]))
    assert isinstance(verified, tuple)
    claims = TokenClaims(app.client_id, "ana", SCOPE, timedelta(minutes=1), grant_id=verified[0].grant_id)
    token, _ = tokens.mint(claims)
    assert (await _create(server, token, {"patient": "ana"})).status_code == 403


async def test_a_launch_counts_once(server: World, ehr: str) -> None:
    client_id, _ = await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana"})
    assert (await _authorize(server, client_id, launch)).path == "/authorize/continue"
    again = await _authorize(server, client_id, launch)
    assert (_error(again), again.params["state"]) == ("invalid_request", "s")


async def test_of_two_requests_with_one_launch_one_wins(server: World, ehr: str) -> None:
    client_id, _ = await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana"})
    went = await asyncio.gather(*(_authorize(server, client_id, launch) for _ in range(4)))
    assert sorted(str(_error(url)) for url in went) == ["None", *["invalid_request"] * 3]


async def test_a_launch_belongs_to_the_first_app_that_presents_it(server: World, ehr: str) -> None:
    (first, _), (second, _) = await _client(server), await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana"})
    assert _error(await _authorize(server, first, launch)) is None
    assert _error(await _authorize(server, second, launch)) == "invalid_request"


async def test_a_launch_for_one_app_is_no_other_apps_and_isnt_used_up_by_it(server: World, ehr: str) -> None:
    (mine, _), (other, _) = await _client(server), await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana", "client_id": mine})
    assert _error(await _authorize(server, other, launch)) == "invalid_request"
    assert _error(await _authorize(server, mine, launch)) is None


async def test_a_launch_lives_for_minutes(server: World, ehr: str) -> None:
    launch = await _launch(server, ehr, {"patient": "ana"})
    now: datetime = server.assent.authz.clock()
    async with server.assent.engine.begin() as connection:
        with pytest.raises(OAuthError) as refused:
            await take_launch(connection, launch, "any", now + LIFETIME)
        assert refused.value.error == "invalid_request"
        assert await take_launch(connection, launch, "any", now + LIFETIME - timedelta(seconds=5)) == {"patient": "ana"}


async def test_expired_launches_are_swept_away(server: World, ehr: str) -> None:
    launch = await _launch(server, ehr, {"patient": "ana"})
    table = tables.launch_context
    mine = table.c.launch_hash == hash_of(launch)
    async with server.assent.engine.begin() as connection:
        past = server.assent.authz.clock() - timedelta(seconds=1)
        await connection.execute(table.update().where(mine).values(expires_at=past))
    client_id, _ = await _client(server)
    assert _error(await _authorize(server, client_id, launch)) == "invalid_request"
    await _launch(server, ehr, {"patient": "ana"})
    async with server.assent.engine.connect() as connection:
        assert (await connection.execute(select(table).where(mine))).first() is None


async def test_the_launches_of_a_disabled_ehr_end_with_it(server: World) -> None:
    ehr_id, token = await _service_token(server)
    launch = await _launch(server, token, {"patient": "ana"})
    async with server.assent.engine.begin() as connection:
        await disable_client(connection, ehr_id, server.assent.authz.clock())
    client_id, _ = await _client(server)
    assert _error(await _authorize(server, client_id, launch)) == "invalid_request"


async def test_a_launch_and_its_scope_go_together(server: World, ehr: str) -> None:
    client_id, _ = await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana"})
    without = await _authorize(server, client_id, launch, scope="launch/patient patient/*.rs")
    assert _error(without) == "invalid_request"
    # The refused request hasn't taken it.
    assert _error(await _authorize(server, client_id, launch)) is None
    for forged in ("forged", "x" * 5_000, "' or 1=1"):
        assert _error(await _authorize(server, client_id, forged)) == "invalid_request"
    assert _error(await _authorize(server, client_id, None, scope="launch launch/encounter")) == "invalid_scope"


async def test_a_silent_request_doesnt_take_the_launch(server: World, ehr: str) -> None:
    client_id, _ = await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana"})
    assert _error(await _authorize(server, client_id, launch, prompt="none")) == "interaction_required"
    assert _error(await _authorize(server, client_id, launch)) is None


async def test_a_launch_scope_without_a_launch_is_not_granted(server: World) -> None:
    app = await server.app(["laboratory"], scope="launch launch/encounter launch/patient patient/*.rs")
    assert {"launch", "launch/encounter"}.isdisjoint(app.token["scope"].split(" "))
    assert "launch/patient" in app.token["scope"].split(" ")


async def test_the_address_after_a_launch_says_nothing_of_the_patient(server: World, ehr: str) -> None:
    client_id, _ = await _client(server)
    launch = await _launch(server, ehr, {"patient": "ana", "encounter": "e1"})
    went = await _authorize(server, client_id, launch)
    assert set(parse_qs(urlsplit(str(went)).query)) == {"request"}
    assert "ana" not in str(went)


@pytest.mark.parametrize("context", [{"patient": "ben"}, {"patient": "ana", "user": "Patient/ben"}])
async def test_who_may_not_decide_cant_whatever_page_asks(server: World, ehr: str, context: dict[str, str]) -> None:
    client_id, _ = await _client(server)
    went = await _authorize(server, client_id, await _launch(server, ehr, context))
    session = SignedInSession("s", server.account, server.assent.authz.clock(), "c")
    requests = PendingRequests(server.assent.authz)
    asked = await requests.find(went.params["request"], session)
    assert asked is not None
    await requests.choose_patient(asked.id, session, "ana")
    unchanged = await requests.find(asked.id, session)
    assert unchanged == asked
    assert (asked.patient_id, asked.patient_given, asked.user) == (context["patient"], True, context.get("user"))
    book = PatientsConsentBook(server.assent.authz, requests)
    with pytest.raises(AlreadyDecided):
        await book.grant(asked, session, ConsentChoice(("laboratory",), None, server.text))
    before = await book.sharing(context["patient"])
    assert "error=access_denied" in await book.refuse(asked, session, server.text)
    assert await book.sharing(context["patient"]) == before
