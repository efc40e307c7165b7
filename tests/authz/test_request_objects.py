"""Request objects (RFC 9101): signed by the client's key, for this server, for now; nothing beside them counts."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from jose import jws as jose_jws
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import func, select

from authz import tables
from authz.clients.clients import PUSHED, SIGNED
from authz.clients.key_addresses import KeyAddresses
from tests.authz.raw_jwt import raw_jwt, twice
from tests.clients.key_server import key_server
from tests.conformance.launching import ASSERTION_TYPE, FHIR_BASE, STATE, Launch, assertion, key_pair, launch
from tests.leaks.world import ISSUER, REDIRECT, World, observation, patient, world

SCOPE = "openid launch/patient offline_access patient/*.rs"
PUBLIC, PRIVATE = key_pair("ES384")
OTHER_PUBLIC, OTHER_PRIVATE = key_pair("ES384")
RSA_PUBLIC, RSA_PRIVATE = key_pair("RS384", "rsa")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("objects")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


@dataclass(slots=True)
class Signer:
    """A client that signs its requests, with python-jose."""

    asked: Launch

    def claims(self, **change: Any) -> dict[str, Any]:
        """Those of an object that is right; one that is None goes."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 300}
        named = {"iss": self.asked.client_id, "aud": [ISSUER, FHIR_BASE]}
        claims = {**self.asked.request, **named, **times, "jti": "j", **change}
        return {name: value for name, value in claims.items() if value is not None}

    def object(
        self, *, header: Mapping[str, Any] | None = None, key: bytes = PRIVATE, alg: str = "ES384", **change: Any
    ) -> str:
        """A request object; a member of the header that is None goes."""
        members = {"typ": "oauth-authz-req+jwt", "kid": "k1", **(header or {})}
        kept = {name: value for name, value in members.items() if value is not None}
        signed: str = jose_jws.sign(self.claims(**change), key.decode(), headers=kept, algorithm=alg)
        return signed

    async def send(self, text: str, **beside: str) -> httpx.Response:
        """The browser's request; an empty parameter goes."""
        query = {"client_id": self.asked.client_id, "request": text, "redirect_uri": REDIRECT, **beside}
        kept = {name: value for name, value in query.items() if value}
        return await self.asked.world.http.get("/authorize", params=kept)

    async def push(self, text: str, **beside: str) -> httpx.Response:
        """The client's own request, authenticated."""
        self.authenticate()
        return await self.asked.post("/par", **{"client_id": self.asked.client_id, "request": text, **beside})

    def authenticate(self) -> None:
        """A fresh assertion for the next request."""
        signed = assertion(self.asked.client_id, PRIVATE, "ES384", jti=str(time.time_ns()))
        self.asked.authentication = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}


async def signer(server: World, **client: Any) -> Signer:
    given = {"jwks": {"keys": [PUBLIC]}, **client}
    return Signer(await launch(server, SCOPE, kind="confidential-asymmetric", **given))


async def stored(server: World) -> list[int]:
    async with server.assent.engine.connect() as connection:
        counts = (
            select(func.count()).select_from(table) for table in (tables.pushed_request, tables.authorization_request)
        )
        return [int((await connection.execute(count)).scalar_one()) for count in counts]


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(REDIRECT + "?")
    return parse_qs(urlsplit(answer.headers["location"]).query)["error"][0]


def on_its_way(answer: httpx.Response) -> None:
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{ISSUER}/authorize/continue?request=")


async def test_a_signed_request_goes_all_the_way(server: World) -> None:
    client = await signer(server)
    answer = await client.send(client.object())
    on_its_way(answer)
    returned = await client.asked.allow(answer, ["laboratory"])
    assert parse_qs(urlsplit(returned).query)["state"] == [STATE]
    client.authenticate()
    assert (await client.asked.exchange(returned)).status_code == 200


async def test_a_signed_request_can_be_pushed(server: World) -> None:
    client = await signer(server, requires=frozenset({SIGNED, PUSHED}))
    answer = await client.push(client.object())
    assert answer.status_code == 201, answer.text
    on_its_way(await client.asked.follow(answer.json()["request_uri"]))


@pytest.mark.parametrize("alg", ["RS384", "RS256", "PS256"])
async def test_an_rsa_key_signs_with_any_of_its_algorithms(server: World, alg: str) -> None:
    public = {name: value for name, value in RSA_PUBLIC.items() if name != "alg"}
    client = await signer(server, jwks={"keys": [public]})
    header = {"alg": alg, "typ": "oauth-authz-req+jwt", "kid": "rsa"}
    text = jwt.encode(header, client.claims(), RSAKey.import_key(RSA_PRIVATE), [alg])
    on_its_way(await client.send(text))


async def test_a_client_with_a_key_address_signs_its_requests(server: World) -> None:
    async with key_server() as keys:
        keys.serve([PUBLIC])
        client = await signer(server, jwks=None, jwks_uri=keys.url, addresses=KeyAddresses(loopback=True))
        on_its_way(await client.send(client.object()))
        keys.status = "503 Service Unavailable"
        other = await signer(server, jwks=None, jwks_uri=keys.url + "/gone", addresses=KeyAddresses(loopback=True))
        assert error_of(await other.send(other.object())) == "invalid_request_object"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": None},
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"typ": 5},
        {"kid": None},
        {"kid": "k2"},
        {"kid": 5},
        {"jku": "https://evil.example/keys"},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
    ],
)
async def test_an_object_with_a_wrong_header_is_refused(server: World, header: dict[str, Any]) -> None:
    client = await signer(server)
    before = await stored(server)
    assert error_of(await client.send(client.object(header=header))) == "invalid_request_object"
    assert await stored(server) == before


@pytest.mark.parametrize(
    "change",
    [
        {"iss": None},
        {"iss": "somebody"},
        {"client_id": None},
        {"client_id": "somebody"},
        {"client_id": ["somebody"]},
        {"aud": None},
        {"aud": []},
        {"aud": FHIR_BASE},
        {"aud": f"{ISSUER}/token"},
        {"aud": ISSUER + "/"},
        {"aud": {"": ISSUER}},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 9e9},
        {"exp": int(time.time()) - 31},
        {"exp": int(time.time()) + 40_000},
        {"exp": 10**30},
        {"nbf": None},
        {"nbf": "now"},
        {"nbf": int(time.time()) + 86_400},
        {"nbf": int(time.time()) - 4_000},
        {"request": "e30."},
        {"request_uri": "urn:ietf:params:oauth:request_uri:x"},
        {"scope": ["patient/*.rs"]},
        {"scope": 5},
        {"state": {"a": 1}},
        {"state": "\x00"},
        {"state": "\ud800"},
        {"nonce": True},
        {"max_age": 1.5},
        {"max_age": True},
        {"code_challenge": None, "nonce": ["x"]},
        {"redirect_uri": [REDIRECT]},
        {"dpop_jkt": 5},
    ],
)
async def test_an_object_with_wrong_claims_is_refused_and_not_kept(server: World, change: dict[str, Any]) -> None:
    client = await signer(server)
    before = await stored(server)
    text = client.object(**change)
    assert error_of(await client.send(text, state="outer")) == "invalid_request_object"
    pushed = await client.push(text)
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request_object")
    assert await stored(server) == before


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("part", "name", "other"),
    [
        ("claims", "scope", "launch/patient patient/*.cruds"),
        ("claims", "redirect_uri", "https://evil.example/callback"),
        ("claims", "client_id", "another"),
        ("claims", "exp", 1),
        ("header", "kid", "k2"),
        ("header", "typ", "JWT"),
    ],
)
async def test_an_object_in_which_something_stands_twice_is_refused(
    server: World, part: str, name: str, other: object, last: bool
) -> None:
    client = await signer(server)
    header, claims = {"typ": "oauth-authz-req+jwt", "kid": "k1", "alg": "ES384"}, client.claims()
    on_its_way(await client.send(raw_jwt(json.dumps(header).encode(), json.dumps(claims).encode(), PRIVATE)))
    parts = {"header": json.dumps(header).encode(), "claims": json.dumps(claims).encode()}
    parts[part] = twice(header if part == "header" else claims, name, other, last=last)
    text = raw_jwt(parts["header"], parts["claims"], PRIVATE)
    assert error_of(await client.send(text)) == "invalid_request_object"
    pushed = await client.push(text)
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request_object")


async def test_members_that_stand_twice_deep_inside_an_object_are_found_too(server: World) -> None:
    client = await signer(server)
    header = json.dumps({"typ": "oauth-authz-req+jwt", "kid": "k1", "alg": "ES384"}).encode()
    detail = b'[{"type": "urn:assent:consent", "purpose": "PATRQT", "purpose": "TREAT"}]'
    claims = json.dumps(client.claims(authorization_details="DETAIL")).encode().replace(b'"DETAIL"', detail)
    assert error_of(await client.send(raw_jwt(header, claims, PRIVATE))) == "invalid_request_object"


async def test_an_object_that_reads_as_an_assertion_is_refused_and_is_none(server: World) -> None:
    client = await signer(server)
    text = client.object(sub=client.asked.client_id)
    assert error_of(await client.send(text)) == "invalid_request_object"
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client.object()}
    answer = await server.http.post("/par", data={**client.asked.request, **form})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert error_of(await client.send(assertion(client.asked.client_id, PRIVATE, "ES384", jti="1"))) == (
        "invalid_request_object"
    )


def unsigned(claims: Mapping[str, Any], alg: str) -> str:
    header = {"alg": alg, "typ": "oauth-authz-req+jwt", "kid": "k1"}
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join(parts) + "."


async def test_who_signed_is_decided_by_the_registration_alone(server: World) -> None:
    client, rsa = await signer(server), await signer(server, jwks={"keys": [{**RSA_PUBLIC, "kid": "k1"}]})
    before = await stored(server)
    by_secret = jwt.encode(
        {"alg": "HS256", "typ": "oauth-authz-req+jwt", "kid": "k1"},
        client.claims(),
        OctKey.import_key(json.dumps(PUBLIC)),
        ["HS256"],
    )
    right = client.object()
    head, body, signature = right.split(".")
    other_body = (
        base64.urlsafe_b64encode(json.dumps(client.claims(scope="patient/*.cruds")).encode()).decode().rstrip("=")
    )
    hostile = [
        client.object(key=OTHER_PRIVATE),
        client.object(key=OTHER_PRIVATE, header={"jwk": OTHER_PUBLIC}),
        *(unsigned(client.claims(), alg) for alg in ("none", "None", "", "ES384", "HS256")),
        by_secret,
        f"{head}.{other_body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{right}.e30",
        f"{head}.{body}.{signature}.a.b",
        right + "x" * 9_000,
        "x",
        "..",
        "e30.e30.",
        "W10.e30.",
        base64.urlsafe_b64encode(b"[" * 5_000).decode() + ".e30.",
    ]
    for text in hostile:
        assert error_of(await client.send(text)) == "invalid_request_object", text[:200]
    assert error_of(await rsa.send(rsa.object())) == "invalid_request_object"
    assert await stored(server) == before


@pytest.mark.parametrize("client", [{"kind": "public"}, {"kind": "confidential-symmetric"}])
async def test_a_client_without_keys_signs_nothing(server: World, client: dict[str, Any]) -> None:
    keyless = Signer(await launch(server, SCOPE, **client))
    assert error_of(await keyless.send(keyless.object())) == "invalid_request_object"


async def test_an_object_of_one_client_is_nobody_elses(server: World) -> None:
    mine, other = await signer(server), await signer(server)
    text = mine.object()
    assert error_of(await other.send(text)) == "invalid_request_object"
    answer = await mine.send(text, client_id="")
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    pushed = await other.push(text)
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request_object")


async def test_what_stands_beside_an_object_doesnt_count(server: World) -> None:
    client = await signer(server)
    beside = {"state": "other", "redirect_uri": "https://evil.example/", "scope": "patient/*.cruds", "prompt": "none"}
    answer = await client.send(client.object(), **beside)
    on_its_way(answer)
    returned = await client.asked.refuse(answer)
    assert returned.startswith(REDIRECT)
    assert parse_qs(urlsplit(returned).query)["state"] == [STATE]
    missing = await client.send(
        client.object(code_challenge=None), code_challenge=client.asked.request["code_challenge"]
    )
    assert error_of(missing) == "invalid_request"
    pushed = await client.push(client.object(code_challenge=None), **client.asked.request)
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request")


async def test_a_redirect_uri_that_isnt_registered_is_not_gone_to_however_it_is_signed(server: World) -> None:
    client = await signer(server)
    for text, beside in (
        (client.object(redirect_uri="https://evil.example/"), {}),
        ("broken", {"redirect_uri": "https://evil.example/"}),
    ):
        answer = await client.send(text, **beside)
        assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"aud": ISSUER}, "invalid_request"),
        ({"aud": ISSUER, "resource": "https://elsewhere.example"}, "invalid_target"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "bogus"}, "invalid_scope"),
        ({"prompt": "none"}, "interaction_required"),
        ({"authorization_details": [{"type": "consent"}]}, "invalid_authorization_details"),
        ({"authorization_details": []}, "invalid_authorization_details"),
    ],
)
async def test_a_signed_request_is_checked_like_any_other(server: World, change: dict[str, Any], error: str) -> None:
    client = await signer(server)
    before = await stored(server)
    assert error_of(await client.send(client.object(**change))) == error
    assert await stored(server) == before


@pytest.mark.parametrize(
    "change", [{"aud": ISSUER, "resource": FHIR_BASE}, {"max_age": 60}, {"max_age": "60"}, {"x": 5}]
)
async def test_other_ways_to_say_the_same_are_taken(server: World, change: dict[str, Any]) -> None:
    client = await signer(server)
    on_its_way(await client.send(client.object(**change)))


async def test_a_client_that_must_sign_can_do_nothing_else(server: World) -> None:
    client = await signer(server, requires=frozenset({SIGNED}))
    before = await stored(server)
    assert error_of(await client.asked.authorize()) == "invalid_request"
    client.authenticate()
    pushed = await client.asked.push()
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_request")
    assert await stored(server) == before
    on_its_way(await client.send(client.object()))


async def test_a_client_that_must_push_pushes_what_it_signs(server: World) -> None:
    client = await signer(server, requires=frozenset({PUSHED}))
    assert error_of(await client.send(client.object())) == "invalid_request"


async def test_discovery_names_the_algorithms_of_request_objects(server: World) -> None:
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/oauth-authorization-server"):
        document = (await server.http.get(path)).json()
        assert document["request_parameter_supported"] is True
        assert document["request_object_signing_alg_values_supported"] == ["RS384", "ES384", "RS256", "ES256", "PS256"]
