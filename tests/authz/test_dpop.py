"""Tokens that are bound to a key (RFC 9449): what counts, what doesn't, and that a proof counts once."""

from __future__ import annotations

import asyncio
import base64
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
from jose import jwt as jose_jwt
from joserfc.jwk import OctKey
from sqlalchemy import func, insert, select

from authz import tables
from authz.clients.clients import DPOP
from authz.opaque_secret import hash_of
from authz.tokens.dpop import ALGORITHMS
from authz.tokens.gate import TokenGate
from fhir.proxy.presented_token import PresentedToken
from policies.model import Access
from tests.authz.proofs import Prover, base64url
from tests.authz.raw_jwt import raw_jwt, twice
from tests.authz.test_token_gate import SilentBus
from tests.conformance.launching import ASSERTION_TYPE, Launch, assertion, key_pair, launch, register
from tests.leaks.world import ISSUER, World, observation, patient, world

SCOPE = "openid launch/patient offline_access patient/*.rs"
LAB = f"{ISSUER}/fhir/Observation/lab0"
TOKEN = f"{ISSUER}/token"
ALGS = 'algs="ES256 ES384 PS256"'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("dpop")
    async with world(await make_database(), folder, [patient("ana"), observation("lab0")]) as running:
        yield running


async def rows(server: World, table: Any) -> int:
    async with server.assent.engine.connect() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def code_for(server: World, prover: Prover | None, *, asking: dict[str, str] | None = None, **client: Any) -> Any:
    """An app with a code: the launch, and where its browser was sent."""
    asked = await launch(server, SCOPE, **client)
    if prover is not None:
        asked.headers = lambda: {"DPoP": prover.proof("POST", TOKEN)}
    return asked, await asked.allow(await asked.authorize(**(asking or {})), ["laboratory"])


async def bound(server: World, prover: Prover, **client: Any) -> tuple[Launch, dict[str, Any]]:
    """An app with a token that is bound to the prover's key."""
    asked, returned = await code_for(server, prover, **client)
    answer = await asked.exchange(returned)
    assert answer.status_code == 200, answer.text
    return asked, answer.json()


async def read(server: World, token: str, proof: str | None, scheme: str = "DPoP", url: str = LAB) -> httpx.Response:
    headers = {"Authorization": f"{scheme} {token}"} | ({} if proof is None else {"DPoP": proof})
    return await server.http.get(url, headers=headers)


def refused(answer: httpx.Response, error: str = "invalid_dpop_proof") -> None:
    challenge = answer.headers["www-authenticate"]
    assert (answer.status_code, challenge) == (401, f'DPoP realm="fhir", error="{error}", {ALGS}')


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_token_is_bound_to_the_key_of_the_proof_and_counts_with_proofs_by_it(server: World, alg: str) -> None:
    prover = Prover.new(alg)
    _, token = await bound(server, prover)
    assert token["token_type"] == "DPoP"  # noqa: S105 - no password
    keys = (await server.http.get("/jwks")).json()
    claims = jose_jwt.decode(token["access_token"], keys, algorithms=["ES256"], audience=f"{ISSUER}/fhir")
    assert claims["cnf"] == {"jkt": prover.jkt}
    access = token["access_token"]
    for _ in range(2):
        answer = await read(server, access, prover.proof("GET", LAB, access))
        assert (answer.status_code, answer.json()["id"]) == (200, "lab0")
    who = await server.http.post(
        "/userinfo",
        headers={"Authorization": f"DPoP {access}", "DPoP": prover.proof("POST", f"{ISSUER}/userinfo", access)},
    )
    assert (who.status_code, who.json()["sub"]) == (200, server.account.id)


async def test_an_ordinary_token_stays_one(server: World) -> None:
    app = await server.app(["laboratory"])
    assert app.token["token_type"] == "Bearer"  # noqa: S105 - no password
    assert "cnf" not in jose_jwt.get_unverified_claims(app.token["access_token"])
    assert (await app.get("Observation/lab0")).status_code == 200


async def test_introspection_says_to_which_key_a_token_is_bound(server: World) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    gateway, secret = await register(server, kind="gateway", redirect_uris=())

    async def described(access: str) -> dict[str, Any]:
        answer = await server.http.post("/introspect", data={"token": access}, auth=(gateway, secret or ""))
        found: dict[str, Any] = answer.json()
        return found

    found = await described(token["access_token"])
    assert (found["active"], found["token_type"], found["cnf"]) == (True, "DPoP", {"jkt": prover.jkt})
    plain = await described((await server.app(["laboratory"])).token["access_token"])
    assert (plain["token_type"], "cnf" in plain) == ("Bearer", False)


@pytest.mark.parametrize(
    "htu",
    [
        f"{LAB}?_elements=status",
        f"{LAB}#part",
        LAB.replace("http:", "HTTP:"),
        LAB.replace("Observation", "%4Fbservation"),
    ],
)
async def test_the_url_of_a_proof_is_compared_without_query_and_by_its_meaning(server: World, htu: str) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    for url in (LAB, f"{LAB}?_summary=false"):
        assert (await read(server, access, prover.proof("GET", htu, access), url=url)).status_code == 200


_NOW = int(time.time())
WRONG_CLAIMS: list[dict[str, Any]] = [
    {"htm": "POST"},
    {"htm": "get"},
    {"htm": None},
    {"htu": None},
    {"htu": 7},
    {"htu": "http://[oops"},
    {"htu": ""},
    {"htu": LAB.replace("127.0.0.1", "localhost")},
    {"htu": LAB.replace(":8000", ":8001")},
    {"htu": LAB.replace(":8000", "")},
    {"htu": LAB.replace("http:", "https:")},
    {"htu": LAB.replace("lab0", "lab1")},
    {"htu": f"{LAB}/"},
    {"htu": LAB.replace("/lab0", "%2Flab0")},
    {"htu": LAB.replace("Observation", "./Observation")},
    {"htu": LAB.replace("//", "//user@")},
    {"htu": "/fhir/Observation/lab0"},
    {"iat": _NOW - 600},
    {"iat": _NOW + 600},
    {"iat": str(_NOW)},
    {"iat": True},
    {"iat": None},
    {"jti": None},
    {"jti": ""},
    {"jti": 1},
    {"jti": "x" * 501},
]
WRONG_HEADERS: list[dict[str, Any]] = [
    {"typ": "JWT"},
    {"typ": None},
    {"typ": "DPOP+JWT"},
    {"jwk": None},
    {"jwk": "key"},
    {"jwk": {}},
    {"jwk": Prover.new().jwk},
    {"jwk": Prover.new("ES384").jwk},
    {"jwk": Prover.new("PS256").jwk},
    {"crit": ["exp"], "exp": 1},
]


@pytest.mark.parametrize("change", [*WRONG_CLAIMS, {"ath": None}, {"ath": ""}, {"ath": base64url(b"x" * 32)}])
async def test_a_proof_with_wrong_claims_opens_nothing_and_leaves_no_trace(
    server: World, change: dict[str, Any]
) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    before = await rows(server, tables.used_proof)
    access = token["access_token"]
    refused(await read(server, access, prover.proof("GET", LAB, access, **change)))
    assert await rows(server, tables.used_proof) == before


@pytest.mark.parametrize("header", WRONG_HEADERS)
async def test_a_proof_with_a_wrong_header_opens_nothing(server: World, header: dict[str, Any]) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    refused(await read(server, access, prover.sign(prover.claims("GET", LAB, access), **header)))


@pytest.mark.parametrize(("name", "other"), [("htu", "https://evil.example/"), ("jti", "x"), ("htm", "POST")])
async def test_a_proof_in_which_something_stands_twice_opens_nothing(server: World, name: str, other: str) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    header = json.dumps({"typ": "dpop+jwt", "jwk": prover.jwk, "alg": "ES256"}).encode()
    claims, key = prover.claims("GET", LAB, access), prover.key.as_pem(private=True)
    for last in (False, True):
        refused(await read(server, access, raw_jwt(header, twice(claims, name, other, last=last), key, "ES256")))
    right = raw_jwt(header, json.dumps(claims).encode(), key, "ES256")
    assert (await read(server, access, right)).status_code == 200


@pytest.mark.parametrize("alg", ["none", "HS256", "RS256", "ES512"])
async def test_the_algorithm_is_not_the_proofs_choice(server: World, alg: str) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    claims = prover.claims("GET", LAB, access)
    header = {"typ": "dpop+jwt", "jwk": prover.jwk}
    if alg == "none":
        unsigned = prover.sign(claims).split(".")
        header_part = base64url(json.dumps({**header, "alg": "none"}).encode())
        forged = f"{header_part}.{unsigned[1]}."
    elif alg == "HS256":
        secret = OctKey.generate_key(256)
        jwk = secret.as_dict(private=True)
        forged = jose_jwt.encode(claims, base64.urlsafe_b64decode(f"{jwk['k']}=="), "HS256", {**header, "jwk": jwk})
    else:
        forged = Prover.new(alg).sign(claims)
    refused(await read(server, access, forged))


async def test_a_private_key_in_the_proof_is_refused(server: World) -> None:
    for alg in ALGORITHMS:
        prover = Prover.new(alg)
        _, token = await bound(server, prover)
        access = token["access_token"]
        proof = prover.sign(prover.claims("GET", LAB, access), jwk=prover.key.as_dict(private=True))
        refused(await read(server, access, proof))


@pytest.mark.parametrize("proof", [None, "", "x", "a.b.c", "x" * 9_000, "....", "e30.e30.e30"])
async def test_what_is_no_proof_opens_nothing(server: World, proof: str | None) -> None:
    _, token = await bound(server, Prover.new())
    refused(await read(server, token["access_token"], proof))


async def test_another_key_opens_nothing(server: World) -> None:
    prover, thief = Prover.new(), Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    refused(await read(server, access, thief.proof("GET", LAB, access)))
    refused(await read(server, access, thief.sign(thief.claims("GET", LAB, access), jwk=prover.jwk)))
    good = prover.proof("GET", LAB, access)
    refused(await read(server, access, f"{good[:-8]}AAAAAAAA"))
    assert (await read(server, access, good)).status_code == 200


async def test_two_proofs_are_none(server: World) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    headers = [("Authorization", f"DPoP {access}"), *(("DPoP", prover.proof("GET", LAB, access)) for _ in range(2))]
    assert (await server.http.get(LAB, headers=headers)).status_code == 400
    url = f"{ISSUER}/userinfo"
    headers = [("Authorization", f"DPoP {access}"), *(("DPoP", prover.proof("GET", url, access)) for _ in range(2))]
    answer = await server.http.get(url, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, f'DPoP error="invalid_dpop_proof", {ALGS}')


async def test_a_bound_token_is_no_bearer_token_and_the_other_way_round(server: World) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    proof = prover.proof("GET", LAB, access)
    for given in (None, proof):
        refused(await read(server, access, given, scheme="Bearer"), "invalid_token")
    assert (await read(server, access, proof)).status_code == 200  # it wasn't used up by the refusals
    plain = (await server.app(["laboratory"])).token["access_token"]
    answer = await read(server, plain, prover.proof("GET", LAB, plain))
    challenge = 'Bearer realm="fhir", error="invalid_token"'
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    refused(await read(server, f"{access}x", prover.proof("GET", LAB, f"{access}x")), "invalid_token")


async def test_who_sends_no_token_is_told_both_schemes(server: World) -> None:
    answer = await server.http.get(LAB)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, f'Bearer realm="fhir", DPoP {ALGS}')


async def test_a_proof_counts_once_in_all_processes(server: World) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access = token["access_token"]
    proof = prover.proof("GET", LAB, access)
    together = await asyncio.gather(*(read(server, access, proof) for _ in range(5)))
    assert sorted(answer.status_code for answer in together) == [200, 401, 401, 401, 401]
    context = server.assent.authz
    elsewhere = TokenGate(context.tokens, context.engine, SilentBus("postgresql://nobody@localhost/no"), context.clock)

    def sent(proof: str) -> PresentedToken:
        return PresentedToken(f"DPoP {access}", "GET", "/fhir/Observation/lab0", proof)

    assert not isinstance(await elsewhere.access(sent(proof)), Access)
    fresh = prover.proof("GET", LAB, access)
    assert isinstance(await elsewhere.access(sent(fresh)), Access)
    refused(await read(server, access, fresh))


async def test_one_proof_is_for_a_batch_with_all_its_entries_and_for_no_second_one(server: World) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access, entry = token["access_token"], {"request": {"method": "GET", "url": "Observation/lab0"}}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry, entry]}
    headers = {"Authorization": f"DPoP {access}", "DPoP": prover.proof("POST", f"{ISSUER}/fhir", access)}
    headers["Content-Type"] = "application/fhir+json"
    answer = await server.http.post("/fhir", content=json.dumps(batch), headers=headers)
    assert [told["response"]["status"] for told in answer.json()["entry"]] == ["200 OK", "200 OK"]
    refused(await server.http.post("/fhir", content=json.dumps(batch), headers=headers))


async def test_a_recorders_token_keeps_no_consents_without_a_proof_of_its_key(server: World) -> None:
    prover, scope = Prover.new(), "assent/consents.cruds"
    key, private = key_pair("ES384")
    client, _ = await register(server, kind="backend", scope=scope, redirect_uris=(), jwks={"keys": [key]})
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(client, private, "ES384", jti="recorder"),
    }
    asked = await server.http.post("/token", data=form, headers={"DPoP": prover.proof("POST", TOKEN)})
    access, url = asked.json()["access_token"], f"{ISSUER}/fhir/Consent"
    unproven = await server.http.get(f"{url}?patient=ana", headers={"Authorization": f"Bearer {access}"})
    refused(unproven, "invalid_token")
    refused(await read(server, access, prover.proof("POST", url, access), url=f"{url}?patient=ana"))
    proof = prover.proof("GET", url, access)
    assert (await read(server, access, proof, url=f"{url}?patient=ana")).status_code == 200
    refused(await read(server, access, proof, url=f"{url}?patient=ana"))


async def test_a_jti_belongs_to_the_key_that_signed_it(server: World) -> None:
    one, two = Prover.new(), Prover.new()
    (_, first), (_, second) = await bound(server, one), await bound(server, two)
    for prover, token in ((one, first["access_token"]), (two, second["access_token"])):
        answer = await read(server, token, prover.proof("GET", LAB, token, jti="the-same"))
        assert answer.status_code == 200


async def test_expired_proofs_are_forgotten_in_time(server: World) -> None:
    prover = Prover.new()
    _, token = await bound(server, prover)
    access, now = token["access_token"], server.assent.authz.clock()
    async with server.assent.engine.begin() as connection:
        for name, ends in (("old", now - timedelta(seconds=1)), ("young", now + timedelta(seconds=60))):
            await connection.execute(insert(tables.used_proof).values(proof_hash=name, expires_at=ends))
    jti = next(n for n in map(str, range(100_000)) if hash_of(f"{prover.jkt} {n}").startswith("00"))
    assert (await read(server, access, prover.proof("GET", LAB, access, jti=jti))).status_code == 200
    async with server.assent.engine.connect() as connection:
        kept = set((await connection.execute(select(tables.used_proof.c.proof_hash))).scalars())
    assert "young" in kept
    assert "old" not in kept


@pytest.mark.parametrize("change", [c for c in WRONG_CLAIMS if c.get("htm") != "POST"])
async def test_a_wrong_proof_at_the_token_endpoint_gives_nothing_and_uses_nothing_up(
    server: World, change: dict[str, Any]
) -> None:
    prover = Prover.new()
    asked, returned = await code_for(server, None)
    before = [await rows(server, table) for table in (tables.used_proof, tables.refresh_token)]
    right = {"htu": TOKEN} if "htu" not in change else {}
    wrong = prover.proof("POST", LAB if "htu" in change else TOKEN, **{**right, **change})
    asked.headers = lambda: {"DPoP": wrong}
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    assert [await rows(server, table) for table in (tables.used_proof, tables.refresh_token)] == before
    asked.headers = lambda: {"DPoP": prover.proof("POST", TOKEN)}
    assert (await asked.exchange(returned)).status_code == 200


@pytest.mark.parametrize("header", WRONG_HEADERS)
async def test_a_wrong_header_of_a_proof_at_the_token_endpoint_is_refused(
    server: World, header: dict[str, Any]
) -> None:
    prover = Prover.new()
    asked, returned = await code_for(server, None)
    asked.headers = lambda: {"DPoP": prover.sign(prover.claims("POST", TOKEN), **header)}
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_proof_for_a_token_counts_once_even_if_nothing_came_of_it(server: World) -> None:
    prover = Prover.new()
    asked, returned = await code_for(server, None)
    proof = prover.proof("POST", TOKEN)
    asked.headers = lambda: {"DPoP": proof}
    assert (await asked.exchange(returned, code_verifier="w" * 50)).json()["error"] == "invalid_grant"
    assert (await asked.exchange(returned)).json()["error"] == "invalid_dpop_proof"


async def test_a_code_for_one_key_is_redeemed_by_that_key(server: World) -> None:
    prover, thief = Prover.new(), Prover.new()
    asked, returned = await code_for(server, prover, asking={"dpop_jkt": prover.jkt})
    asked.headers = dict
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    asked.headers = lambda: {"DPoP": thief.proof("POST", TOKEN)}
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    asked.headers = lambda: {"DPoP": prover.proof("POST", TOKEN)}
    assert (await asked.exchange(returned)).status_code == 200


@pytest.mark.parametrize("jkt", ["x", "x" * 42, "x" * 44, "x" * 42 + "=", "x" * 42 + "+"])
async def test_a_thumbprint_that_can_be_none_is_refused_at_authorize(server: World, jkt: str) -> None:
    asked = await launch(server, SCOPE)
    before = await rows(server, tables.authorization_request)
    answer = await asked.authorize(dpop_jkt=jkt)
    assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == ["invalid_request"]
    assert await rows(server, tables.authorization_request) == before


async def test_the_refresh_token_of_a_public_client_is_bound(server: World) -> None:
    prover, thief = Prover.new(), Prover.new()
    asked, token = await bound(server, prover)
    form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    asked.headers = dict
    answer = await asked.token(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    asked.headers = lambda: {"DPoP": thief.proof("POST", TOKEN)}
    answer = await asked.token(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    asked.headers = lambda: {"DPoP": prover.proof("POST", TOKEN)}
    renewed = await asked.token(**form)  # the thief neither used it up nor ended its grant
    assert (renewed.status_code, renewed.json()["token_type"]) == (200, "DPoP")
    asked.headers = lambda: {"DPoP": thief.proof("POST", TOKEN)}
    answer = await asked.token(grant_type="refresh_token", refresh_token=renewed.json()["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_the_refresh_token_of_a_confidential_client_goes_with_any_key_of_the_client(server: World) -> None:
    asked, token = await bound(server, Prover.new(), kind="confidential-symmetric")
    other = Prover.new()
    asked.headers = lambda: {"DPoP": other.proof("POST", TOKEN)}
    renewed = await asked.token(grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert (renewed.status_code, renewed.json()["token_type"]) == (200, "DPoP")
    access = renewed.json()["access_token"]
    assert (await read(server, access, other.proof("GET", LAB, access))).status_code == 200


async def test_a_client_that_must_prove_gets_no_bearer_token(server: World) -> None:
    asked, returned = await code_for(server, None, requires=frozenset({DPOP}))
    answer = await asked.exchange(returned)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    prover = Prover.new()
    asked.headers = lambda: {"DPoP": prover.proof("POST", TOKEN)}
    token = (await asked.exchange(returned)).json()
    assert token["token_type"] == "DPoP"  # noqa: S105 - no password
    asked.headers = dict
    answer = await asked.token(grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_clients_own_token_is_bound_where_it_proves_a_key(server: World) -> None:
    client_id, secret = await register(server, kind="ehr", redirect_uris=(), scope="assent/launch.c")
    prover, url = Prover.new(), f"{ISSUER}/launch-contexts"
    answer = await server.http.post(
        "/token",
        data={"grant_type": "client_credentials"},
        auth=(client_id, secret or ""),
        headers={"DPoP": prover.proof("POST", TOKEN)},
    )
    assert answer.json()["token_type"] == "DPoP"  # noqa: S105 - no password
    access = answer.json()["access_token"]

    async def create(scheme: str, proof: str) -> httpx.Response:
        headers = {"Authorization": f"{scheme} {access}", "DPoP": proof}
        return await server.http.post(url, json={"patient": "ana"}, headers=headers)

    before = await rows(server, tables.launch_context)
    assert (await create("Bearer", prover.proof("POST", url, access))).status_code == 401
    assert (await create("DPoP", prover.proof("POST", LAB, access))).status_code == 401
    assert await rows(server, tables.launch_context) == before
    assert (await create("DPoP", prover.proof("POST", url, access))).status_code == 201


async def test_a_bound_token_introspects_with_a_proof_only(server: World) -> None:
    client_id, secret = await register(server, kind="gateway", redirect_uris=(), scope="assent/introspect")
    prover, url = Prover.new(), f"{ISSUER}/introspect"
    headers = {"DPoP": prover.proof("POST", TOKEN)}
    form = {"grant_type": "client_credentials"}
    answer = await server.http.post("/token", data=form, auth=(client_id, secret or ""), headers=headers)
    access = answer.json()["access_token"]
    for scheme, proof, status in (
        ("Bearer", prover.proof("POST", url, access), 401),
        ("DPoP", prover.proof("GET", url, access), 401),
        ("DPoP", prover.proof("POST", url, access), 200),
    ):
        headers = {"Authorization": f"{scheme} {access}", "DPoP": proof}
        assert (await server.http.post(url, data={"token": "x"}, headers=headers)).status_code == status


async def test_discovery_names_the_algorithms_of_proofs(server: World) -> None:
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/oauth-authorization-server"):
        assert (await server.http.get(path)).json()["dpop_signing_alg_values_supported"] == list(ALGORITHMS)
