"""Token exchange (RFC 8693): a gateway's token opens less than the app's, lives no longer, and ends with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jose import jwt as jose_jwt

from authz.authorize.asked_categories import asked_categories
from authz.clients.clients import DPOP, EXCHANGE_SCOPE, TOKEN_EXCHANGE, disable_client
from authz.consents.decisions import Choice, Decisions
from authz.tokens.access_tokens import TokenClaims
from authz.tokens.exchange import ACCESS_TOKEN
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from fhir.store.change_bus import Change
from tests.authz.proofs import Prover
from tests.authz.state_app import StateApp
from tests.conformance.launching import FHIR_BASE, Launch, launch, register
from tests.leaks.world import ISSUER, App, World, observation, patient, world

SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs"
LAB = "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
TOKEN = f"{ISSUER}/token"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    content = [patient("ana"), patient("bob"), observation("lab0"), observation("vital0", category="vital-signs")]
    folder: Path = tmp_path_factory.mktemp("exchange")
    async with world(await make_database(), folder, [*content, observation("bobs", "bob")]) as running:
        yield running


@dataclass(slots=True)
class Gateway:
    """A client that may exchange tokens."""

    server: World
    client_id: str
    secret: str

    async def ask(self, token: str, *, proof: str | None = None, **form: str) -> httpx.Response:
        """Ask for an exchange; an empty parameter is one left out."""
        asked = {"grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN, **form}
        auth, headers = (self.client_id, self.secret), {} if proof is None else {"DPoP": proof}
        return await self.server.http.post("/token", data=asked, auth=auth, headers=headers)

    async def exchanged(self, token: str, scope: str = "") -> dict[str, Any]:
        """What came of it."""
        answer = await self.ask(token, scope=scope)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body: dict[str, Any] = answer.json()
        assert set(body) == {"access_token", "token_type", "expires_in", "scope", "issued_token_type"}
        assert body["issued_token_type"] == ACCESS_TOKEN
        return body

    async def describe(self, token: str) -> dict[str, Any]:
        """Introspection's answer."""
        answer = await self.server.http.post("/introspect", data={"token": token}, auth=(self.client_id, self.secret))
        found: dict[str, Any] = answer.json()
        return found

    async def revoke(self, token: str) -> None:
        """By this client."""
        auth = (self.client_id, self.secret)
        assert (await self.server.http.post("/revoke", data={"token": token}, auth=auth)).status_code == 200


async def gateway(server: World, **client: Any) -> Gateway:
    given = {"kind": "gateway", "redirect_uris": (), "scope": EXCHANGE_SCOPE, **client}
    client_id, secret = await register(server, **given)
    assert secret is not None
    return Gateway(server, client_id, secret)


async def app(server: World, scope: str = SCOPE, categories: tuple[str, ...] = ("laboratory", "vital-signs")) -> App:
    return await server.app(list(categories), scope=scope)


async def read(server: World, token: str, path: str = "Observation/lab0") -> int:
    answer = await server.http.get(f"/fhir/{path}", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code


def refused(answer: httpx.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_gateway_gets_a_narrower_token_for_the_same_patient_and_consent(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    token = theirs.token["access_token"]
    assert [await read(server, token, f"Observation/{id}") for id in ("lab0", "vital0", "bobs")] == [200, 200, 404]
    found = await mine.exchanged(token, scope=LAB)
    assert (found["scope"], found["token_type"]) == (LAB, "Bearer")
    opened = [await read(server, found["access_token"], f"Observation/{id}") for id in ("lab0", "vital0", "bobs")]
    assert opened == [200, 404, 404]
    keys = (await server.http.get("/jwks")).json()
    old = jose_jwt.decode(token, keys, algorithms=["ES256"], audience=FHIR_BASE)
    new = jose_jwt.decode(found["access_token"], keys, algorithms=["ES256"], audience=FHIR_BASE)
    for name in ("iss", "sub", "aud", "client_id", "grant", "patient", "fhirUser", "purpose_of_use", "consent"):
        assert new[name] == old[name]
    assert new["exp"] <= old["exp"]
    assert (new["act"], new["ancestors"]) == ({"sub": mine.client_id}, [old["jti"]])
    assert new["jti"] != old["jti"]


async def test_without_a_scope_the_patients_data_is_open_as_before_and_nothing_else(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    found = await mine.exchanged(theirs.token["access_token"])
    assert not {"openid", "fhirUser", "offline_access", "launch/patient"} & set(found["scope"].split(" "))
    assert await read(server, found["access_token"]) == 200
    who = await server.http.get("/userinfo", headers={"Authorization": f"Bearer {found['access_token']}"})
    assert who.status_code == 403


@pytest.mark.parametrize(
    "scope",
    [
        "openid",
        "offline_access",
        "system/*.rs",
        "user/*.rs",
        "patient/Observation.cud",
        "assent/introspect",
        "bogus",
        "openid x",
    ],
)
async def test_a_scope_that_the_token_doesnt_have_is_not_given(server: World, scope: str) -> None:
    theirs, mine = await app(server), await gateway(server)
    refused(await mine.ask(theirs.token["access_token"], scope=scope), "invalid_scope")


async def test_more_than_the_token_has_is_cut_to_what_it_has(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    narrow = await mine.exchanged(theirs.token["access_token"], scope=LAB)
    wide = await mine.exchanged(narrow["access_token"], scope="patient/*.cruds openid")
    assert wide["scope"] == LAB
    assert await read(server, wide["access_token"], "Observation/vital0") == 404


@pytest.mark.parametrize("seconds", [15, 40])
async def test_the_token_lives_no_longer_than_the_one_it_came_from(server: World, seconds: int) -> None:
    theirs, mine = await app(server), await gateway(server)
    claims = jose_jwt.get_unverified_claims(theirs.token["access_token"])
    lifetime = timedelta(seconds=seconds)
    about = {"grant_id": claims["grant"], "patient": "ana"}
    subject = TokenClaims(theirs.client_id, claims["sub"], claims["scope"], lifetime, **about)
    token, _ = server.assent.authz.tokens.mint(subject)
    ends = jose_jwt.get_unverified_claims(token)["exp"]
    found = await mine.exchanged(token)
    assert jose_jwt.get_unverified_claims(found["access_token"])["exp"] == ends
    assert 0 < found["expires_in"] <= seconds


async def test_a_chain_names_every_actor_and_has_an_end(server: World) -> None:
    theirs, gateways = await app(server), [await gateway(server) for _ in range(5)]
    token: str = theirs.token["access_token"]
    actors: list[str] = []
    for mine in gateways[:4]:
        token = (await mine.exchanged(token))["access_token"]
        actors.insert(0, mine.client_id)
    act = jose_jwt.get_unverified_claims(token)["act"]
    named = []
    while act is not None:
        named.append(act["sub"])
        act = act.get("act")
    assert named == actors
    refused(await gateways[4].ask(token), "invalid_request")


async def test_introspection_says_who_acts(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    found = await mine.describe((await mine.exchanged(theirs.token["access_token"], scope=LAB))["access_token"])
    assert (found["active"], found["client_id"], found["scope"]) == (True, theirs.client_id, LAB)
    assert (found["act"], found["patient"]) == ({"sub": mine.client_id}, "ana")
    assert "act" not in await mine.describe(theirs.token["access_token"])


async def dead(mine: Gateway, token: str) -> None:
    assert await read(mine.server, token) == 401
    assert await mine.describe(token) == {"active": False}
    refused(await mine.ask(token), "invalid_request")


async def test_it_ends_with_the_token_it_came_from_and_not_the_other_way_round(server: World) -> None:
    theirs, mine, next_one = await app(server), await gateway(server), await gateway(server)
    first = (await mine.exchanged(theirs.token["access_token"]))["access_token"]
    second = (await next_one.exchanged(first))["access_token"]
    beside = (await mine.exchanged(theirs.token["access_token"]))["access_token"]
    assert [await read(server, token) for token in (first, second, beside)] == [200] * 3
    await next_one.revoke(first)  # it isn't theirs
    assert await read(server, first) == 200
    await mine.revoke(first)
    for token in (first, second):
        await dead(mine, token)
    assert [await read(server, token) for token in (beside, theirs.token["access_token"])] == [200, 200]
    await server.http.post("/revoke", data={"token": theirs.token["access_token"], "client_id": theirs.client_id})
    await dead(mine, beside)


async def test_it_ends_with_the_refresh_token_of_the_app(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    token = (await mine.exchanged(theirs.token["access_token"]))["access_token"]
    assert await read(server, token) == 200
    await server.http.post("/revoke", data={"token": theirs.token["refresh_token"], "client_id": theirs.client_id})
    await dead(mine, token)


@pytest.mark.parametrize("whose", ["app", "gateway"])
async def test_it_ends_with_either_client(server: World, whose: str) -> None:
    theirs, mine, other = await app(server), await gateway(server), await gateway(server)
    token = (await mine.exchanged(theirs.token["access_token"]))["access_token"]
    assert await read(server, token) == 200
    client_id = theirs.client_id if whose == "app" else mine.client_id
    async with server.assent.engine.begin() as connection:
        await disable_client(connection, client_id, server.assent.authz.clock())
    server.assent.authz.tell(Change("client", client_id))
    await dead(other, token)


async def test_consent_is_live(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    context = server.assent.authz
    token = (await mine.exchanged(theirs.token["access_token"]))["access_token"]
    assert await read(server, token) == 200
    consent = jose_jwt.get_unverified_claims(token)["consent"][0].split("/")[1]
    ends = context.clock() + timedelta(days=1)
    choice = Choice(("vital-signs",), asked_categories(SCOPE, context.catalogue), ends, server.text)
    await Decisions(context).change(consent, server.account, choice, "test")
    assert [await read(server, token, f"Observation/{id}") for id in ("lab0", "vital0")] == [404, 200]
    again = await mine.exchanged(theirs.token["access_token"])
    assert "laboratory" not in again["scope"]
    refused(await mine.ask(theirs.token["access_token"], scope=LAB), "invalid_scope")
    await Decisions(context).revoke(consent, server.account, "test")
    await dead(mine, token)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token": "x"}, "invalid_request"),
        ({"subject_token": "a.b.c"}, "invalid_request"),
        ({"subject_token": "x" * 9_000}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"audience": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": "https://elsewhere.example/fhir"}, "invalid_target"),
        ({"authorization_details": "[]"}, "invalid_authorization_details"),
    ],
)
async def test_what_isnt_a_request_for_this_is_refused(server: World, form: dict[str, str], error: str) -> None:
    theirs, mine = await app(server), await gateway(server)
    refused(await mine.ask(theirs.token["access_token"], **form), error)


async def test_tokens_of_other_kinds_are_not_exchanged(server: World) -> None:
    theirs, mine = await app(server), await gateway(server, scope=f"{EXCHANGE_SCOPE} assent/introspect")
    own = await server.http.post(
        "/token", data={"grant_type": "client_credentials"}, auth=(mine.client_id, mine.secret)
    )
    assert own.status_code == 200
    for token in (theirs.token["refresh_token"], theirs.token["id_token"], own.json()["access_token"]):
        refused(await mine.ask(token), "invalid_request")
    forged = theirs.token["access_token"][:-6] + "AAAAAA"
    refused(await mine.ask(forged), "invalid_request")


async def test_a_token_that_opens_no_data_is_not_exchanged(server: World) -> None:
    mine = await gateway(server)
    signed_in = await launch(server, "openid fhirUser")
    answer = await signed_in.exchange(await signed_in.allow(await signed_in.authorize(), []))
    refused(await mine.ask(answer.json()["access_token"]), "invalid_request")


@pytest.mark.parametrize(
    "client",
    [
        {"kind": "gateway", "scope": ""},
        {"kind": "gateway", "scope": "assent/introspect"},
        {"kind": "confidential-symmetric", "scope": EXCHANGE_SCOPE, "redirect_uris": ("https://app.example/cb",)},
        {"kind": "ehr", "scope": EXCHANGE_SCOPE},
    ],
)
async def test_who_was_not_given_the_right_exchanges_nothing(server: World, client: dict[str, Any]) -> None:
    theirs, other = await app(server), await gateway(server, **client)
    refused(await other.ask(theirs.token["access_token"]), "unauthorized_client")
    refused(await other.ask("x"), "unauthorized_client")


async def test_who_isnt_known_is_told_nothing_of_a_token(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    for secret in ("wrong", ""):
        for token in (theirs.token["access_token"], "x"):
            refused(await Gateway(server, mine.client_id, secret).ask(token), "invalid_client", 401)
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": theirs.token["access_token"]}
    public = await server.http.post("/token", data={**form, "client_id": theirs.client_id})
    refused(public, "unauthorized_client")


async def test_nobody_registers_themselves_for_it(server: World) -> None:
    """A scope that begins with `assent/` is given by the operator alone."""
    metadata = {"client_name": "G", "redirect_uris": ["https://app.example/cb"], "scope": EXCHANGE_SCOPE}
    answer = await server.http.post("/register", json=metadata)
    assert answer.status_code in (400, 401, 403)


async def test_a_bound_token_is_exchanged_for_one_that_is_bound_to_the_gateways_key(server: World) -> None:
    theirs, its_own = Prover.new(), Prover.new()
    asked: Launch = await launch(server, SCOPE)
    asked.headers = lambda: {"DPoP": theirs.proof("POST", TOKEN)}
    bound = (await asked.exchange(await asked.allow(await asked.authorize(), ["laboratory"]))).json()["access_token"]
    mine, must = await gateway(server), await gateway(server, requires=frozenset({DPOP}))
    refused(await mine.ask(bound), "invalid_dpop_proof")
    plain = await app(server)
    refused(await must.ask(plain.token["access_token"]), "invalid_dpop_proof")
    for each in (mine, must):
        answer = await each.ask(bound, proof=its_own.proof("POST", TOKEN))
        found = answer.json()
        assert (answer.status_code, found["token_type"]) == (200, "DPoP")
        token = found["access_token"]
        assert jose_jwt.get_unverified_claims(token)["cnf"] == {"jkt": its_own.jkt}
        url = f"{ISSUER}/fhir/Observation/lab0"
        for prover, status in ((theirs, 401), (its_own, 200)):
            headers = {"Authorization": f"DPoP {token}", "DPoP": prover.proof("GET", url, token)}
            assert (await server.http.get(url, headers=headers)).status_code == status
        assert await read(server, token) == 401


async def test_what_a_gateway_reads_is_on_record_under_the_app_and_the_gateway(server: World) -> None:
    theirs, mine = await app(server), await gateway(server)
    token = (await mine.exchanged(theirs.token["access_token"]))["access_token"]
    assert await read(server, token) == 200
    pairs = [("patient", "Patient/ana"), ("_count", "500")]
    query = parse_search("AuditEvent", pairs, load_definitions(), max_count=500)
    await server.assent.authz.audit.settle("ana")
    stored = (await server.assent.authz.repository.search(query)).matches
    told = [event for event in (json.loads(one.body) for one in stored) if mine.client_id in str(event["agent"])]
    by_subtype = {event["subtype"][0]["code"]: event for event in told}
    assert set(by_subtype) == {"token", "read"}
    agents = [agent["who"].get("identifier", {}).get("value") for agent in by_subtype["read"]["agent"]]
    assert agents[:2] == [theirs.client_id, mine.client_id]
    assert jose_jwt.get_unverified_claims(token)["jti"] in by_subtype["token"]["outcomeDesc"]


async def test_discovery_names_the_grant_type(server: World) -> None:
    for path in ("/fhir/.well-known/smart-configuration", "/.well-known/oauth-authorization-server"):
        assert TOKEN_EXCHANGE in (await server.http.get(path)).json()["grant_types_supported"]


async def test_a_gateway_does_not_reach_what_the_app_keeps_for_itself(server: World) -> None:
    theirs, mine = await app(server, f"{SCOPE} patient/Basic.cruds"), await gateway(server)
    assert (await StateApp(server, theirs.client_id, dict(theirs.token)).search()).status_code == 200
    found = await mine.exchanged(theirs.token["access_token"])
    assert (await StateApp(server, mine.client_id, found).search()).status_code == 403
