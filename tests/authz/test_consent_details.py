"""`authorization_details` (RFC 9396): they never ask for more than the scopes, and nothing beyond them is opened."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from jose import jws as jose_jws
from jose import jwt as jose_jwt
from sqlalchemy import func, select, update

from authz import tables
from authz.clients.clients import EXCHANGE_SCOPE, TOKEN_EXCHANGE
from authz.consents.decisions import Choice, Decisions
from authz.tokens.exchange import ACCESS_TOKEN
from fhir.store.change_bus import Change
from smart.consent_details import TYPE
from tests.conformance.launching import ASSERTION_TYPE, FHIR_BASE, STATE, Launch, assertion, key_pair, launch, register
from tests.leaks.world import CATEGORY, ISSUER, App, World, observation, patient, world

SCOPE = "openid launch/patient offline_access patient/*.rs"
CATEGORIES = ["laboratory", "vital-signs", "hiv"]
HIV = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]
BOTH = [{"coding": [{"system": CATEGORY, "code": code}]} for code in ("laboratory", "vital-signs")]
PUBLIC, PRIVATE = key_pair("ES384")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("details")
    data = [
        patient("ana"),
        observation("lab0"),
        observation("vital0", category="vital-signs"),
        observation("hiv0", meta={"security": HIV}),
        observation("both0", category=None) | {"category": BOTH},
    ]
    async with world(await make_database(), folder, data) as running:
        yield running


def details(**more: Any) -> str:
    return json.dumps([{"type": TYPE, **more}])


async def waiting(server: World) -> int:
    async with server.assent.engine.connect() as connection:
        count = select(func.count()).select_from(tables.authorization_request)
        return int((await connection.execute(count)).scalar_one())


async def shared(asked: Launch, answer: httpx.Response, categories: list[str]) -> App:
    token = await asked.exchange(await asked.allow(answer, categories))
    assert token.status_code == 200, token.text
    return App(asked.world, asked.client_id, token.json())


async def app(server: World, shares: list[str], **more: Any) -> App:
    """An app that asked with these details; `shares` are the categories that the patient shares with it."""
    asked = await launch(server, SCOPE)
    return await shared(asked, await asked.authorize(authorization_details=details(**more)), shares)


async def described(server: World, token: str) -> dict[str, Any]:
    client_id, secret = await register(server, kind="gateway", redirect_uris=())
    answer = await server.http.post("/introspect", data={"token": token}, auth=(client_id, secret or ""))
    found: dict[str, Any] = answer.json()
    return found


async def read(app: App) -> dict[str, int]:
    return {name: (await app.get(f"Observation/{name}")).status_code for name in ("lab0", "vital0", "hiv0")}


def codes(answer: Any) -> list[str]:
    (element,) = answer["authorization_details"]
    found: list[str] = element["categories"]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "x",
        '[{"type": "payment_initiation"}]',
        details(actions=["read"]),
        details(categories=["bogus"]),
        details(categories=["directory"]),
        details(duration="forever"),
        details(locations=["https://elsewhere.example/fhir"]),
        details(purpose="HRESCH"),
        details(purpose="BTG"),
        details(purpose="bogus"),
        details(categories=["immunizations"]),
        details(categories=["hiv"]),
        json.dumps([{"type": TYPE}] * 2),
        details() + " " * 4_096,
    ],
)
@pytest.mark.parametrize("way", ["GET", "POST", "par"])
async def test_what_cant_be_taken_is_told_by_its_own_error_and_not_kept(server: World, text: str, way: str) -> None:
    asked = await launch(server, "launch/patient patient/Observation.rs")
    before = await waiting(server)
    if way == "par":
        answer = await asked.push(authorization_details=text)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_authorization_details")
    else:
        answer = await asked.authorize(way, authorization_details=text)
        assert answer.status_code == 303
        given = parse_qs(urlsplit(answer.headers["location"]).query)
        assert (given["error"], given["state"], given["iss"]) == (["invalid_authorization_details"], [STATE], [ISSUER])
    assert await waiting(server) == before


async def test_they_are_told_by_redirect_only_to_an_address_that_is_the_apps(server: World) -> None:
    asked = await launch(server, SCOPE)
    answer = await asked.authorize(authorization_details="[]", redirect_uri="https://evil.example/")
    assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_without_a_scope_for_data_there_is_nothing_that_they_could_say(server: World) -> None:
    asked = await launch(server, "openid fhirUser")
    answer = await asked.authorize(authorization_details=details())
    given = parse_qs(urlsplit(answer.headers["location"]).query)
    assert given["error"] == ["invalid_authorization_details"]


@pytest.mark.parametrize(
    ("inside", "beside", "error"),
    [
        ("HRESCH", None, None),
        ("HRESCH", "HRESCH", None),
        ("HRESCH", "PATRQT", "invalid_authorization_details"),
        ("TREAT", "TREAT", "invalid_authorization_details"),
        (None, "TREAT", "invalid_request"),
    ],
)
async def test_the_purpose_is_one_that_is_registered_and_the_same_wherever_it_stands(
    server: World, inside: str | None, beside: str | None, error: str | None
) -> None:
    asked = await launch(server, SCOPE, purposes=("PATRQT", "HRESCH"))
    named = {} if inside is None else {"purpose": inside}
    more = {} if beside is None else {"purpose_of_use": beside}
    answer = await asked.authorize(authorization_details=details(**named), **more)
    if error is not None:
        assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == [error]
        return
    granted = await shared(asked, answer, ["laboratory"])
    assert granted.token["authorization_details"][0]["purpose"] == "HRESCH"
    assert jose_jwt.get_unverified_claims(granted.token["access_token"])["purpose_of_use"] == "HRESCH"


async def test_the_answer_says_what_was_granted_of_them(server: World) -> None:
    found = await app(server, ["laboratory"], categories=CATEGORIES, duration="month", locations=[FHIR_BASE])
    (element,) = found.token["authorization_details"]
    until = element.pop("until")
    assert element == {"type": TYPE, "locations": [FHIR_BASE], "categories": ["laboratory"], "purpose": "PATRQT"}
    assert until.endswith("Z")
    claims = jose_jwt.get_unverified_claims(found.token["access_token"])
    assert claims["authorization_details"] == [{**element, "until": until}]
    assert (await described(server, found.token["access_token"]))["authorization_details"] == [
        {**element, "until": until}
    ]


async def test_who_doesnt_ask_by_them_isnt_answered_by_them(server: World) -> None:
    asked = await launch(server, SCOPE)
    found = await shared(asked, await asked.authorize(), CATEGORIES)
    assert "authorization_details" not in found.token
    assert "authorization_details" not in jose_jwt.get_unverified_claims(found.token["access_token"])
    assert "authorization_details" not in await described(server, found.token["access_token"])
    assert await read(found) == {"lab0": 200, "vital0": 200, "hiv0": 200}


@pytest.mark.parametrize(
    ("categories", "seen"),
    [
        (["laboratory", "hiv"], {"lab0": 200, "vital0": 404, "hiv0": 200}),
        (["laboratory"], {"lab0": 200, "vital0": 404, "hiv0": 404}),
        (["vital-signs", "hiv"], {"lab0": 404, "vital0": 200, "hiv0": 404}),
    ],
)
async def test_nothing_beyond_them_is_opened_though_the_patient_shares_it(
    server: World, categories: list[str], seen: dict[str, int]
) -> None:
    found = await app(server, CATEGORIES, categories=categories)
    assert sorted(codes(found.token)) == sorted(categories)
    assert await read(found) == seen
    listed = await found.ids("Observation?_count=50")
    open_to_it = ["Observation/both0", *(f"Observation/{name}" for name, status in seen.items() if status == 200)]
    assert sorted(listed) == sorted(open_to_it)
    assert sorted(await found.ids("Observation?code=718-7")) == sorted(listed)


async def test_a_refresh_keeps_them(server: World) -> None:
    found = await app(server, CATEGORIES, categories=["laboratory"])
    before = found.token["authorization_details"]
    await found.renew()
    assert found.token["authorization_details"] == before
    assert await read(found) == {"lab0": 200, "vital0": 404, "hiv0": 404}


async def test_fewer_scopes_hold_them_to_what_these_touch(server: World) -> None:
    found = await app(server, CATEGORIES, categories=["laboratory", "vital-signs"])
    vital = "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"
    form = {"grant_type": "refresh_token", "refresh_token": found.token["refresh_token"], "client_id": found.client_id}
    answer = await server.http.post("/token", data={**form, "scope": vital})
    assert codes(answer.json()) == ["vital-signs"]
    assert codes(await described(server, answer.json()["access_token"])) == ["vital-signs"]


async def change(found: App, *categories: str) -> None:
    """What the patient does on `/my`."""
    context = found.world.assent.authz
    ends = context.clock() + timedelta(days=2)
    choice = Choice(categories, tuple(CATEGORIES), ends, found.world.text)
    await Decisions(context).change(await found.consent_id(), found.world.account, choice, "test")


async def test_what_the_patient_takes_back_goes_from_introspection_at_once(server: World) -> None:
    found = await app(server, CATEGORIES, categories=CATEGORIES)
    before = await described(server, found.token["access_token"])
    assert sorted(codes(before)) == sorted(CATEGORIES)
    await change(found, "laboratory")
    after = await described(server, found.token["access_token"])
    assert codes(after) == ["laboratory"]
    assert after["authorization_details"][0]["until"] > before["authorization_details"][0]["until"]
    assert await read(found) == {"lab0": 200, "vital0": 404, "hiv0": 404}


async def test_what_the_patient_adds_comes_with_the_next_token_and_never_beyond_them(server: World) -> None:
    found = await app(server, ["laboratory"], categories=["laboratory", "vital-signs"])
    await change(found, *CATEGORIES)
    assert codes(await described(server, found.token["access_token"])) == ["laboratory"]
    assert await read(found) == {"lab0": 200, "vital0": 404, "hiv0": 404}
    await found.renew()
    assert codes(found.token) == ["laboratory", "vital-signs"]
    assert await read(found) == {"lab0": 200, "vital0": 200, "hiv0": 404}


async def test_a_decision_that_leaves_nothing_of_them_ends_the_token(server: World) -> None:
    found = await app(server, CATEGORIES, categories=["laboratory"])
    await change(found, "vital-signs")
    assert await described(server, found.token["access_token"]) == {"active": False}
    assert await read(found) == {"lab0": 404, "vital0": 404, "hiv0": 404}


async def test_data_in_two_categories_isnt_opened_by_one_beyond_them(server: World) -> None:
    found = await app(server, CATEGORIES, categories=["laboratory"])
    assert (await found.get("Observation/both0")).status_code == 200
    await change(found, "vital-signs")
    assert (await found.get("Observation/both0")).status_code == 404


async def test_the_duration_ends_the_grant_whatever_the_consent_says(server: World) -> None:
    found = await app(server, ["laboratory"], categories=["laboratory"], duration="once")
    assert (await described(server, found.token["access_token"]))["active"] is True
    grant = jose_jwt.get_unverified_claims(found.token["access_token"])["grant"]
    async with server.assent.engine.begin() as connection:
        ends = await connection.scalar(select(tables.grant.c.expires_at).where(tables.grant.c.id == grant))
        assert ends is not None
        assert timedelta(minutes=58) < ends - server.assent.authz.clock() <= timedelta(hours=1)
        past = server.assent.authz.clock() - timedelta(seconds=1)
        await connection.execute(update(tables.grant).where(tables.grant.c.id == grant).values(expires_at=past))
    server.assent.authz.tell(Change("grant", grant))
    form = {"grant_type": "refresh_token", "refresh_token": found.token["refresh_token"], "client_id": found.client_id}
    refused = await server.http.post("/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def test_an_exchanged_token_is_held_to_them_too(server: World) -> None:
    found = await app(server, CATEGORIES, categories=["laboratory"])
    client_id, secret = await register(server, kind="gateway", redirect_uris=(), scope=EXCHANGE_SCOPE)
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": found.token["access_token"]}
    auth = (client_id, secret or "")
    answer = await server.http.post("/token", data={**form, "subject_token_type": ACCESS_TOKEN}, auth=auth)
    assert answer.status_code == 200, answer.text
    assert codes(answer.json()) == ["laboratory"]
    assert codes(await described(server, answer.json()["access_token"])) == ["laboratory"]
    assert await read(App(server, found.client_id, answer.json())) == {"lab0": 200, "vital0": 404, "hiv0": 404}


async def test_the_token_endpoint_takes_none(server: World) -> None:
    found = await app(server, ["laboratory"], categories=["laboratory"])
    form = {"grant_type": "refresh_token", "refresh_token": found.token["refresh_token"], "client_id": found.client_id}
    refused = await server.http.post("/token", data={**form, "authorization_details": details()})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")
    await found.renew()  # nothing was used up


async def test_they_can_be_pushed(server: World) -> None:
    asked = await launch(server, SCOPE)
    pushed = await asked.push(authorization_details=details(categories=["laboratory"]))
    assert pushed.status_code == 201, pushed.text
    answer = await asked.follow(pushed.json()["request_uri"], authorization_details=details(categories=["vital-signs"]))
    assert codes((await shared(asked, answer, CATEGORIES)).token) == ["laboratory"]


@pytest.mark.parametrize(
    ("claim", "error"),
    [
        ([{"type": TYPE, "categories": ["laboratory"]}], None),
        (details(categories=["laboratory"]), "invalid_authorization_details"),
        ({"type": TYPE}, "invalid_authorization_details"),
        (None, "invalid_authorization_details"),
        ("", "invalid_authorization_details"),
        ([{"type": TYPE, "categories": ["bogus"]}], "invalid_authorization_details"),
    ],
)
async def test_in_a_request_object_they_are_an_array(server: World, claim: Any, error: str | None) -> None:
    asked = await launch(server, SCOPE, kind="confidential-asymmetric", jwks={"keys": [PUBLIC]})
    now = int(time.time())
    named = {"iss": asked.client_id, "aud": [ISSUER, FHIR_BASE], "nbf": now, "exp": now + 300}
    claims = {**asked.request, **named, "authorization_details": claim}
    header = {"typ": "oauth-authz-req+jwt", "kid": "k1"}
    text = jose_jws.sign(claims, PRIVATE.decode(), headers=header, algorithm="ES384")
    query = {"client_id": asked.client_id, "redirect_uri": asked.request["redirect_uri"], "request": text}
    answer = await server.http.get("/authorize", params=query)
    if error is not None:
        assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == [error]
        return
    returned = await asked.allow(answer, CATEGORIES)
    signed = assertion(asked.client_id, PRIVATE, "ES384", jti=str(time.time_ns()))
    asked.authentication = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    assert codes((await asked.exchange(returned)).json()) == ["laboratory"]


@pytest.mark.parametrize("path", ["/fhir/.well-known/smart-configuration", "/.well-known/openid-configuration"])
async def test_discovery_names_the_one_type(server: World, path: str) -> None:
    assert (await server.http.get(path)).json()["authorization_details_types_supported"] == [TYPE]
