"""Registration with software statements (RFC 7591 §2.3): what trusted issuers say counts, and nothing else does."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jose import jwt
from sqlalchemy import func, select

from assent.app import Assent, build
from assent.statement_issuers import StatementIssuersError, load_statements
from authz import tables
from authz.sign_in.accounts import Account, add_account
from authz.sign_in.passwords import Passwords
from tests.assent.commands import CommandLine
from tests.authz.open_registration import GOOD
from tests.clients.key_server import KeyServer, key_server
from tests.conformance.launching import key_pair
from tests.leaks.test_people import PASSWORD, Visitor
from tests.leaks.world import ISSUER, World, client_of, patient, settings_for, world

COMMUNITY, REMOTE = "https://community.example", "https://remote.example"
PUBLIC, PRIVATE = key_pair("ES384")
_, STRANGERS = key_pair("ES384")
RSA_PUBLIC, RSA_PRIVATE = key_pair("RS384", "rsa")
CALLBACK = "https://diary.example/callback"
BY_KEY: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt"}


@dataclass(slots=True)
class Trusting:
    """A server that trusts two issuers, with registration open and (another process) closed."""

    world: World
    open: httpx.AsyncClient
    closed: httpx.AsyncClient
    keys: KeyServer

    async def clients(self) -> int:
        async with self.world.assent.engine.connect() as connection:
            return int(await connection.scalar(select(func.count()).select_from(tables.client)) or 0)

    async def register(self, statement: object, **plain: Any) -> httpx.Response:
        return await self.open.post("/register", json={**GOOD, **plain, "software_statement": statement})

    async def manage(self, method: str, registered: dict[str, Any], **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {registered['registration_access_token']}"}
        sent = {"client_id": registered["client_id"], **body} if method == "PUT" else None
        return await self.open.request(method, registered["registration_client_uri"], headers=headers, json=sent)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Trusting]:
    folder: Path = tmp_path_factory.mktemp("statements")
    processes: list[Assent] = []
    async with world(await make_database(), folder, [patient("ana")]) as running, key_server() as keys:
        keys.serve([PUBLIC], cache_control="max-age=60")
        listed = [
            {"issuer": COMMUNITY, "jwks": {"keys": [PUBLIC, RSA_PUBLIC]}},
            {"issuer": REMOTE, "jwks_uri": keys.url},
        ]
        file = folder / "issuers.json"
        file.write_text(json.dumps({"issuers": listed}), encoding="utf-8")
        settings = settings_for(folder, running.upstream).model_copy(update={"statement_issuers_file": file})
        for is_open in (True, False):
            one = settings.model_copy(update={"open_registration": is_open})
            processes.append(await build(one, running.database_url))
        try:
            async with client_of(processes[0]) as open_, client_of(processes[1]) as closed:
                yield Trusting(running, open_, closed, keys)
        finally:
            for process in processes:
                await process.aclose()


def statement(key: bytes = PRIVATE, alg: str = "ES384", headers: dict[str, Any] | None = None, **change: Any) -> str:
    """A statement that is right, but for what is changed; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        "iss": COMMUNITY,
        "sub": "diary",
        "iat": now - 10,
        "exp": now + 86_400,
        "client_name": "Vouched Diary",
        "redirect_uris": [CALLBACK],
        **change,
    }
    said = {name: value for name, value in claims.items() if value is not None}
    return str(jwt.encode(said, key.decode(), algorithm=alg, headers={"kid": "k1", **(headers or {})}))


async def test_what_the_statement_says_wins_over_what_the_app_says(server: Trusting) -> None:
    text = statement()
    answer = await server.register(text, client_name="Bank", redirect_uris=["https://evil.example/"])
    found = answer.json()
    assert (answer.status_code, found["client_name"], found["redirect_uris"]) == (201, "Vouched Diary", [CALLBACK])
    assert (found["software_statement"], found["scope"]) == (text, GOOD["scope"])
    assert (await server.manage("GET", found)).json()["software_statement"] == text


@pytest.mark.parametrize(("key", "alg", "kid"), [(PRIVATE, "ES384", "k1"), (RSA_PRIVATE, "RS384", "rsa")])
async def test_each_algorithm_of_the_issuers_keys_is_taken(server: Trusting, key: bytes, alg: str, kid: str) -> None:
    assert (await server.register(statement(key, alg, {"kid": kid}))).status_code == 201


async def test_an_issuers_keys_are_fetched_from_their_address(server: Trusting) -> None:
    assert (await server.register(statement(iss=REMOTE))).status_code == 201
    assert server.keys.asked


@pytest.mark.parametrize("aud", [ISSUER, f"{ISSUER}/register", ["https://other.example", ISSUER]])
async def test_a_statement_for_this_server_is_taken(server: Trusting, aud: object) -> None:
    assert (await server.register(statement(aud=aud))).status_code == 201


async def test_an_app_adds_no_keys_to_those_of_the_statement(server: Trusting) -> None:
    own, _ = key_pair("ES384", "own")
    vouched = statement(jwks={"keys": [PUBLIC]}, **BY_KEY)
    answer = await server.register(vouched, jwks_uri="https://evil.example/jwks")
    assert (answer.status_code, answer.json()["jwks"]) == (201, {"keys": [PUBLIC]})
    assert "jwks_uri" not in answer.json()
    answer = await server.register(vouched, jwks={"keys": [own]})
    assert (answer.status_code, answer.json()["jwks"]) == (201, {"keys": [PUBLIC]})


def _swapped(text: str, **change: Any) -> str:
    """The same signature under other claims."""
    head, _, signature = text.split(".")
    return f"{head}.{statement(STRANGERS, **change).split('.')[1]}.{signature}"


_NOW = int(time.time())
INVALID, UNAPPROVED, METADATA = "invalid_software_statement", "unapproved_software_statement", "invalid_client_metadata"
HOSTILE: dict[str, tuple[object, str]] = {
    "no text": (7, INVALID),
    "an object": ({"iss": COMMUNITY}, INVALID),
    "an empty text": ("", INVALID),
    "no JWT": ("a.b.c", INVALID),
    "no signature": (statement().rpartition(".")[0] + ".", INVALID),
    "too long": (statement(client_uri="x" * 20_000), INVALID),
    "another's key": (statement(STRANGERS), INVALID),
    "other claims": (_swapped(statement(), client_name="Bank"), INVALID),
    "a secret as the key": (
        jwt.encode({"iss": COMMUNITY}, "secret", algorithm="HS256", headers={"kid": "k1"}),
        INVALID,
    ),
    "the public key as a secret": (
        jwt.encode({"iss": COMMUNITY}, json.dumps(PUBLIC), algorithm="HS384", headers={"kid": "k1"}),
        INVALID,
    ),
    "no algorithm": ("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ." + statement().split(".")[1] + ".", INVALID),
    "an unknown kid": (statement(headers={"kid": "k2"}), INVALID),
    "a kid that is no text": (statement(headers={"kid": 1}), INVALID),
    "a key in the header": (statement(STRANGERS, headers={"kid": "k2", "jwk": PUBLIC}), INVALID),
    "a critical extension": (statement(headers={"crit": ["x"], "x": 1}), INVALID),
    "expired": (statement(exp=_NOW - 60), INVALID),
    "no exp": (statement(exp=None), INVALID),
    "an exp that is a text": (statement(exp=str(_NOW + 600)), INVALID),
    "an exp with a fraction": (statement(exp=_NOW + 600.5), INVALID),
    "issued tomorrow": (statement(iat=_NOW + 86_400), INVALID),
    "no iat": (statement(iat=None), INVALID),
    "not yet": (statement(nbf=_NOW + 86_400), INVALID),
    "an nbf that is a truth": (statement(nbf=True), INVALID),
    "no iss": (statement(iss=None), INVALID),
    "an iss that is a list": (statement(iss=[COMMUNITY]), INVALID),
    "no sub": (statement(sub=None), INVALID),
    "an empty sub": (statement(sub=""), INVALID),
    "a sub that is a number": (statement(sub=7), INVALID),
    "for another server": (statement(aud="https://other.example"), INVALID),
    "for nobody": (statement(aud=[]), INVALID),
    "a statement in the statement": (statement(software_statement="x"), INVALID),
    "a client id": (statement(client_id="mine"), INVALID),
    "a client secret": (statement(client_secret="s" * 40), INVALID),
    "an unknown issuer": (statement(iss="https://stranger.example"), UNAPPROVED),
    "the issuer with a slash": (statement(iss=f"{COMMUNITY}/"), UNAPPROVED),
    "this server itself": (statement(iss=ISSUER), UNAPPROVED),
    "a power over the server": (statement(scope="assent/introspect"), METADATA),
    "a malformed name": (statement(client_name=7), METADATA),
    "no place to go": (statement(redirect_uris=[]), "invalid_redirect_uri"),
    "an unsafe place to go": (statement(redirect_uris=["http://app.example/"]), "invalid_redirect_uri"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_bad_statement_is_refused_by_its_error_and_nothing_is_stored(server: Trusting, name: str) -> None:
    text, error = HOSTILE[name]
    before = await server.clients()
    answer = await server.register(text)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert await server.clients() == before
    closed = await server.closed.post("/register", json={**GOOD, "software_statement": text})
    assert (closed.status_code, closed.json()["error"]) == (400, error)
    assert await server.clients() == before


async def test_keys_of_one_issuer_sign_nothing_for_another(server: Trusting) -> None:
    only = statement(RSA_PRIVATE, "RS384", {"kid": "rsa"}, iss=REMOTE)
    answer = await server.register(only)
    assert (answer.status_code, answer.json()["error"]) == (400, INVALID)


async def test_where_nobody_is_trusted_no_statement_is_taken(server: Trusting) -> None:
    settings = settings_for(server.world.folder, server.world.upstream).model_copy(update={"open_registration": True})
    untrusting = await build(settings, server.world.database_url)
    try:
        async with client_of(untrusting) as http:
            answer = await http.post("/register", json={**GOOD, "software_statement": statement()})
            assert (answer.status_code, answer.json()["error"]) == (400, UNAPPROVED)
    finally:
        await untrusting.aclose()


SERVICE = {"grant_types": ["client_credentials"], **BY_KEY}


@pytest.mark.parametrize(
    ("said", "plain", "status"),
    [
        ({}, {}, 201),
        ({"redirect_uris": None}, {}, 403),
        ({}, {"post_logout_redirect_uris": ["https://evil.example/"]}, 403),
        ({"post_logout_redirect_uris": [CALLBACK]}, {"post_logout_redirect_uris": ["https://evil.example/"]}, 201),
        ({"redirect_uris": None, "jwks": {"keys": [PUBLIC]}}, {"token_endpoint_auth_method": "none"}, 403),
        ({"redirect_uris": None, "jwks": {"keys": [PUBLIC]}}, {**SERVICE, "redirect_uris": []}, 201),
        ({"redirect_uris": None}, {**SERVICE, "redirect_uris": [], "jwks": {"keys": [PUBLIC]}}, 403),
    ],
)
async def test_while_registration_is_closed_a_statement_opens_it_for_what_it_vouches_for(
    server: Trusting, said: dict[str, Any], plain: dict[str, Any], status: int
) -> None:
    before = await server.clients()
    body = {**GOOD, **plain, "software_statement": statement(**said)}
    answer = await server.closed.post("/register", json=body)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"] == "access_denied"
    assert await server.clients() == before + (status == 201)
    without = await server.closed.post("/register", json=GOOD)
    assert (without.status_code, without.json()["error"]) == (403, "access_denied")
    assert "registration_endpoint" in (await server.closed.get("/.well-known/openid-configuration")).json()


async def test_what_a_statement_settled_stays_settled(server: Trusting) -> None:
    text = statement()
    registered = (await server.register(text)).json()
    for body in (GOOD, {**GOOD, "software_statement": text}):
        changed = {**body, "client_name": "Bank", "redirect_uris": ["https://evil.example/"]}
        answer = await server.manage("PUT", registered, **changed)
        found = answer.json()
        assert (answer.status_code, found["client_name"], found["redirect_uris"]) == (200, "Vouched Diary", [CALLBACK])
        assert found["software_statement"] == text
    vouched = (await server.register(statement(purpose_of_use=["HRESCH"]), purpose_of_use=["TREAT"])).json()
    assert vouched["purpose_of_use"] == ["HRESCH"]
    newer = statement(client_name="Diary 2", redirect_uris=[f"{CALLBACK}/2"])
    found = (await server.manage("PUT", registered, **GOOD, software_statement=newer)).json()
    assert (found["client_name"], found["software_statement"]) == ("Diary 2", newer)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (None, INVALID),
        (statement(sub="bank"), UNAPPROVED),
        (statement(iss=REMOTE), UNAPPROVED),
        (statement(iss="https://stranger.example"), UNAPPROVED),
        (statement(STRANGERS), INVALID),
        (statement(exp=_NOW - 60), INVALID),
    ],
)
async def test_a_statement_is_followed_by_a_good_one_about_the_same_software_only(
    server: Trusting, other: str | None, error: str
) -> None:
    registered = (await server.register(statement())).json()
    answer = await server.manage("PUT", registered, **GOOD, software_statement=other)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert (await server.manage("GET", registered)).json()["software_statement"] == registered["software_statement"]


async def test_a_wrong_registration_token_is_told_nothing_about_a_statement(server: Trusting) -> None:
    registered = (await server.register(statement())).json()
    stolen = {**registered, "registration_access_token": "guess"}
    for text in (statement(), statement(STRANGERS)):
        answer = await server.manage("PUT", stolen, **GOOD, software_statement=text)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


async def test_a_script_of_a_registered_origin_manages_its_registration(server: Trusting) -> None:
    registered = (await server.register(statement())).json()
    for origin, told in (("https://diary.example", "https://diary.example"), ("https://evil.example", None)):
        headers = {"Origin": origin, "Authorization": f"Bearer {registered['registration_access_token']}"}
        read = await server.open.get(registered["registration_client_uri"], headers=headers)
        assert read.headers.get("access-control-allow-origin") == told
        asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        before = await server.open.options(registered["registration_client_uri"], headers=asked)
        assert before.headers.get("access-control-allow-origin") == told
        again = await server.open.post("/register", json=GOOD, headers={"Origin": origin})
        assert again.headers.get("access-control-allow-origin") == told


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"issuers": [{"issuer": "x", "jwks_uri": "https://x.example/jwks", "more": 1}]}', "not a JSON object"),
        ('{"issuers": [{"issuer": "x"}]}', "`jwks` or `jwks_uri`"),
        ('{"issuers": [{"issuer": "", "jwks_uri": "https://x.example/jwks"}]}', "needs `issuer`"),
        ('{"issuers": [{"issuer": "x", "jwks_uri": "http://x.example/jwks"}]}', "issuer `x`"),
        ('{"issuers": [{"issuer": "x", "jwks": {"keys": []}}]}', "issuer `x`"),
        (
            '{"issuers": [{"issuer": "x", "jwks_uri": "https://x.example/1"}, {"issuer": "x", "jwks_uri": "https://x.example/2"}]}',
            "stands twice",
        ),
    ],
)
async def test_a_file_of_issuers_that_means_nothing_stops_the_start(
    server: Trusting, tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "issuers.json"
    file.write_text(content, encoding="utf-8")
    settings = settings_for(tmp_path, server.world.upstream).model_copy(update={"statement_issuers_file": file})
    with pytest.raises(StatementIssuersError, match=problem):
        load_statements(settings)
    with pytest.raises(StatementIssuersError, match="can't be read"):
        load_statements(settings.model_copy(update={"statement_issuers_file": tmp_path / "none"}))


async def test_who_vouched_for_an_app_stands_on_the_operators_page_and_in_the_commands(server: Trusting) -> None:
    vouched = (await server.register(statement(sub="diary <2>"))).json()["client_id"]
    plain = (await server.open.post("/register", json=GOOD)).json()["client_id"]
    async with server.world.assent.engine.begin() as connection:
        operator = Account("", "kim", "Kim", None, "operator")
        await add_account(connection, operator, await Passwords().hash(PASSWORD), server.world.assent.authz.clock())
    visitor = Visitor(server.world.http)
    await visitor.open("/sign-in")
    await visitor.send("Sign in", username="kim", password=PASSWORD)
    page = (await server.world.http.get("/operator")).text
    cards = {id: page.split(f'id="id-{id}"')[1].split("</section>")[0] for id in (vouched, plain)}
    assert f"<code>{COMMUNITY}</code>" in cards[vouched].split("Vouched for by")[1]
    assert "<code>diary &lt;2&gt;</code>" in cards[vouched]
    assert "Vouched for by" not in cards[plain]

    assent = CommandLine(server.world.database_url, server.world.folder)
    for client_id, issuer, subject in ((vouched, COMMUNITY, "diary <2>"), (plain, None, None)):
        shown = json.loads((await assent.run("client", "show", client_id, "--json")).stdout)
        assert (shown["client_id"], shown["statement_issuer"], shown["statement_subject"]) == (
            client_id,
            issuer,
            subject,
        )
        listed = json.loads((await assent.run("client", "list", "--json")).stdout)
        assert next(row for row in listed if row["client_id"] == client_id) == shown
    assert COMMUNITY in (await assent.run("client", "list")).stdout
    absent = await assent.run("client", "show", "nobody")
    assert (absent.exit_code, "see `assent client list`" in " ".join(absent.stderr.split())) == (1, True)
