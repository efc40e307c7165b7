"""Signing in at a real OpenID Provider (npm's `oidc-provider`, a process of its own): there, back, what isn't taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.clients.key_addresses import KeyAddresses
from authz.sign_in.accounts import Account, add_account
from authz.sign_in.challenges import Begun, Recognized, SignInChallenges
from authz.sign_in.federation import Federation
from authz.sign_in.identities import LinkRefused, link_identity, unlink_identity
from authz.sign_in.identity_provider import IdentityProvider, SignInRefused
from tests.clients.identity_provider import ACR, AMR, CLIENT_ID, SECRET, Browser, OidcProvider, new_key, oidc_provider

CALLBACK = "http://127.0.0.1:1/sign-in/provider/callback"
COOKIE = "b" * 43


@pytest.fixture(scope="module")
def real() -> Iterator[OidcProvider]:
    with oidc_provider() as found:
        yield found


@dataclass
class Place:
    """Assent's side, and a person with a browser at the provider."""

    real: OidcProvider
    engine: AsyncEngine
    federation: Federation
    ada: Account
    browser: Browser = field(default_factory=Browser)
    skew: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skew

    async def begin(self, *, hours: float = 1, cookie: str = COOKIE) -> str:
        return await self.federation.begin(cookie, Begun("/my", self.now() - timedelta(hours=hours)))

    async def answer(self, login: str | None = "ada", **how: Any) -> dict[str, str]:
        """What the provider's redirect says."""
        return await self.answer_to(await self.begin(**how), login)

    async def answer_to(self, url: str, login: str | None = "ada") -> dict[str, str]:
        back = await asyncio.to_thread(self.browser.go, url, login, CALLBACK)
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    async def finish(self, answer: dict[str, str], cookie: str = COOKIE) -> Recognized:
        return await self.federation.finish(cookie, answer)

    async def refused(self, answer: dict[str, str], cookie: str = COOKIE) -> tuple[str, str]:
        with pytest.raises(SignInRefused) as refused:
            await self.finish(answer, cookie)
        return refused.value.problem, refused.value.reason

    async def link(self, subject: str = "ada", username: str = "ada") -> None:
        async with self.engine.begin() as connection:
            await link_identity(connection, username, self.real.issuer, subject, self.now())


MakePlace = Callable[..., Place]


@pytest.fixture
async def make_place(real: OidcProvider, engine: AsyncEngine) -> AsyncIterator[MakePlace]:
    made: list[Place] = []
    now = datetime.now(UTC)
    async with engine.begin() as connection:
        ada = await add_account(connection, Account("", "ada", "Ada Ito", "Patient/ada", "patient", ()), "-", now)

    def make(**settings: Any) -> Place:
        secret = {} if "private_jwk" in settings else {"secret": SECRET}
        about = {"issuer": real.issuer, "client_id": CLIENT_ID, "loopback": True, **secret, **settings}
        provider = IdentityProvider(name="the hospital", redirect_uri=CALLBACK, **about)
        place: Place
        challenges = SignInChallenges(engine, lambda: place.now())
        addresses = KeyAddresses(loopback=True)
        federation = Federation(provider, addresses, engine, challenges, lambda: place.now())
        place = Place(real, engine, federation, ada)
        made.append(place)
        return place

    yield make
    for one in made:
        one.browser.close()
        await one.federation.close()


@pytest.fixture
def place(make_place: MakePlace, real: OidcProvider) -> Place:
    real.set_up([CALLBACK])
    return make_place()


def _private(key: ECKey | RSAKey) -> dict[str, Any]:
    return {name: value for name, value in key.as_dict(private=True).items() if name not in ("use", "alg")}


@pytest.mark.parametrize("kind", ["client_secret_basic", "client_secret_post", "RS256", "ES256"])
async def test_somebody_linked_is_recognized_with_every_way_to_authenticate_the_client(
    make_place: MakePlace, real: OidcProvider, kind: str
) -> None:
    if kind.startswith("client_secret"):
        real.set_up([CALLBACK], methods=[kind], token_endpoint_auth_method=kind)
        place = make_place()
    else:
        options: Any = {"kid": "c1", "use": "sig", "alg": kind}
        key = RSAKey.generate_key(2048, options) if kind == "RS256" else ECKey.generate_key("P-256", options)
        how: Any = {"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": kind}
        real.set_up([CALLBACK], **how, jwks={"keys": [key.as_dict(private=False)]})
        place = make_place(private_jwk=_private(key))
    await place.link()
    who = await place.finish(await place.answer())
    assert (who.account_id, who.next_page) == (place.ada.id, "/my")
    assert (who.methods.amr, who.methods.acr) == (AMR, ACR)
    assert abs(who.auth_time - place.now()) < timedelta(seconds=20)


async def test_the_request_holds_pkce_state_nonce_and_how_fresh_it_must_be(place: Place) -> None:
    first, second = [parse_qs(urlsplit(await place.begin()).query) for _ in range(2)]
    assert {name: first[name] for name in ("response_type", "client_id", "redirect_uri", "scope", "max_age")} == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [CALLBACK],
        "scope": ["openid"],
        "max_age": ["3600"],
    }
    assert first["code_challenge_method"] == ["S256"]
    assert "prompt" not in first
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) == 43
        assert first[name] != second[name]
    assert parse_qs(urlsplit(await place.begin(hours=0)).query)["prompt"] == ["login"]


async def test_an_answer_counts_once_and_in_the_browser_that_began(place: Place) -> None:
    await place.link()
    answer = await place.answer()
    assert await place.refused(answer, "c" * 43) == ("not-begun", "state")
    assert await place.refused(answer, "") == ("not-begun", "state")
    assert (await place.finish(answer)).account_id == place.ada.id
    assert await place.refused(answer) == ("not-begun", "state")


async def test_an_answer_after_ten_minutes_is_too_late(place: Place) -> None:
    await place.link()
    answer = await place.answer()
    place.skew = timedelta(minutes=10, seconds=1)
    assert await place.refused(answer) == ("not-begun", "state")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"iss": "https://attacker.example"}, ("untrusted", "mix-up")),
        ({"iss": None}, ("untrusted", "mix-up")),
        ({"state": "x"}, ("not-begun", "state")),
        ({"state": None}, ("not-begun", "state")),
        ({"state": "s" * 43}, ("not-begun", "state")),
        ({"code": None}, ("untrusted", "code")),
        ({"code": "c" * 5000}, ("untrusted", "code")),
        ({"code": "made-up"}, ("provider-error", "status")),
        ({"error": "server_error"}, ("provider-error", "error-answer")),
        ({"error": "access_denied"}, ("declined", "error-answer")),
        ({"error": "access_denied", "iss": "https://attacker.example"}, ("untrusted", "mix-up")),
    ],
)
async def test_a_changed_answer_signs_nobody_in(
    place: Place, change: dict[str, str | None], expected: tuple[str, str]
) -> None:
    await place.link()
    changed = (await place.answer()) | change
    assert await place.refused({name: value for name, value in changed.items() if value is not None}) == expected


async def test_a_code_of_another_browser_fails_at_the_provider_for_want_of_the_verifier(place: Place) -> None:
    await place.link()
    theirs = await place.answer("eve", cookie="e" * 43)
    mine = parse_qs(urlsplit(await place.begin()).query)["state"][0]
    assert await place.refused(theirs | {"state": mine}) == ("provider-error", "status")


async def test_cancelling_there_is_told_apart(place: Place) -> None:
    assert await place.refused(await place.answer(None)) == ("declined", "error-answer")


async def test_a_new_key_of_the_provider_is_found(place: Place) -> None:
    await place.link()
    await place.finish(await place.answer())
    place.real.set_up([CALLBACK], new_key("k2"))
    place.browser.forget()
    await asyncio.sleep(1)
    assert (await place.finish(await place.answer())).account_id == place.ada.id


async def test_a_sign_in_there_is_as_old_as_the_provider_says_and_asked_anew_when_too_old(place: Place) -> None:
    await place.link()
    first = await place.finish(await place.answer())
    assert place.browser.asked
    await asyncio.sleep(1.1)
    again = await place.finish(await place.answer())
    assert not place.browser.asked  # single sign-on
    assert again.auth_time == first.auth_time
    fresh = await place.finish(await place.answer(hours=0))
    assert place.browser.asked
    assert fresh.auth_time > first.auth_time


async def test_an_old_sign_in_there_isnt_passed_off_as_a_new_one(place: Place) -> None:
    await place.link()
    await place.answer()
    place.skew = timedelta(minutes=5)  # their clock stands five minutes behind: what they call now is too old
    url = (await place.begin(hours=0)).replace("prompt=login", "x=y").replace("max_age=0", "max_age=9000")
    assert await place.refused(await place.answer_to(url)) == ("stale", "auth-time")


async def test_nobody_unknown_is_let_in_and_nothing_is_kept_of_them_but_the_way_to_link(place: Place) -> None:
    answer = await place.answer("ada")  # the same name as the account's: it doesn't count
    with pytest.raises(SignInRefused) as refused:
        await place.finish(answer)
    assert (refused.value.problem, refused.value.subject, refused.value.next_page) == ("no-account", "ada", "/my")
    async with place.engine.connect() as connection:
        assert (await connection.execute(select(tables.identity))).all() == []
        assert (await connection.execute(select(tables.session))).all() == []


async def test_linking_with_the_password_works_once_and_in_the_same_browser(place: Place) -> None:
    with pytest.raises(SignInRefused) as refused:
        await place.finish(await place.answer("somebody"))
    link = refused.value.link
    assert link is not None
    begun = await place.federation.linking(COOKIE, link)
    assert begun is not None
    assert begun.subject == "somebody"
    assert await place.federation.linking("c" * 43, link) is None
    assert not await place.federation.link("c" * 43, link, place.ada.id)
    assert await place.federation.link(COOKIE, link, place.ada.id)
    assert not await place.federation.link(COOKIE, link, place.ada.id)
    assert (await place.finish(await place.answer("somebody"))).account_id == place.ada.id


async def test_an_account_has_one_identity_and_an_identity_one_account(place: Place) -> None:
    async with place.engine.begin() as connection:
        await add_account(connection, Account("", "ben", "Ben", "Patient/ben", "patient", ()), "-", place.now())
    await place.link("ada")
    for subject, username in (("other", "ada"), ("ada", "ben")):
        with pytest.raises(LinkRefused):
            await place.link(subject, username)
    with pytest.raises(SignInRefused) as refused:
        await place.finish(await place.answer("other"))
    assert refused.value.link is not None
    assert not await place.federation.link(COOKIE, refused.value.link, place.ada.id)


async def test_unlinking_ends_sessions_and_further_sign_ins(place: Place) -> None:
    await place.link()
    async with place.engine.begin() as connection:
        await connection.execute(
            tables.session.insert().values(
                id_hash="h",
                user_id=place.ada.id,
                csrf_secret="c",  # noqa: S106 - of a test
                auth_time=place.now(),
                last_seen=place.now(),
                expires_at=place.now(),
            )
        )
        await unlink_identity(connection, "ada", place.real.issuer, datetime.now(UTC))
        assert (await connection.execute(select(tables.session))).all() == []
    assert await place.refused(await place.answer()) == ("no-account", "no-account")


async def test_another_claim_can_be_what_accounts_are_linked_to(make_place: MakePlace, real: OidcProvider) -> None:
    real.set_up([CALLBACK])
    place = make_place(subject_claim="employee")
    await place.link("employee-ada")
    assert (await place.finish(await place.answer())).account_id == place.ada.id
    other = make_place(subject_claim="not-there")
    assert await other.refused(await other.answer()) == ("untrusted", "subject")


async def test_a_wrong_client_secret_is_the_providers_fault_to_tell(make_place: MakePlace, real: OidcProvider) -> None:
    real.set_up([CALLBACK])
    place = make_place(secret="another")  # noqa: S106 - of a test
    assert await place.refused(await place.answer()) == ("provider-error", "status")


async def test_a_provider_that_is_down_is_said_to_be_unreachable(make_place: MakePlace) -> None:
    place = make_place(issuer="http://127.0.0.1:9")
    for reason in ("connection", "too-often"):
        with pytest.raises(SignInRefused) as refused:
            await place.begin()
        assert (refused.value.problem, refused.value.reason) == ("unreachable", reason)


async def test_the_way_out_leads_to_the_providers_page(place: Place) -> None:
    assert await place.federation.sign_out_address() == f"{place.real.issuer}/session/end?" + urlencode(
        {"client_id": CLIENT_ID}
    )


async def test_neither_state_nor_nonce_nor_verifier_is_in_the_database(place: Place) -> None:
    query = parse_qs(urlsplit(await place.begin()).query)
    async with place.engine.connect() as connection:
        rows = str((await connection.execute(text("SELECT * FROM assent.sign_in_challenge"))).all())
    for name in ("state", "nonce", "code_challenge"):
        assert query[name][0] not in rows
    assert COOKIE not in rows
