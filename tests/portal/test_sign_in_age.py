"""Who decides about an app has signed in lately: by `prompt`, by `max_age`, and by the server's own bound."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, text, update

from authz import tables
from authz.clients.clients import NewClient, add_client
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from tests.leaks.world import ISSUER, REDIRECT, World, client_of, patient, world
from tests.portal.fakes import page_of

PASSWORD = "a coast of slate"  # noqa: S105 - of accounts that live as long as the test


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with world(await make_database(), tmp_path_factory.mktemp("age"), [patient("ana")]) as running:
        async with running.assent.engine.begin() as connection:
            for name in ("anna", "bert"):
                account = Account("", name, name.title(), None, "patient", (ActsFor("ana", "Ana", own=True),))
                await add_account(connection, account, await Passwords().hash(PASSWORD), datetime.now(UTC))
            new = NewClient("Heart Diary", "public", (REDIRECT,), client_id="heart")
            await add_client(connection, new, datetime.now(UTC))
        yield running


async def sign_in(browser: httpx.AsyncClient, name: str = "anna", address: str = "/sign-in") -> str:
    """Sign in by the form at an address; where it leads."""
    fields = page_of(await browser.get(address)).hidden
    answer = await browser.post("/sign-in", data={**fields, "username": name, "password": PASSWORD})
    assert answer.status_code == 303
    return answer.headers["location"]


async def ask(browser: httpx.AsyncClient, **parameters: str) -> httpx.Response:
    """Follow an app's link to the page that it leads to."""
    query = {
        "response_type": "code",
        "client_id": "heart",
        "redirect_uri": REDIRECT,
        "scope": "openid launch/patient patient/Observation.rs",
        "aud": f"{ISSUER}/fhir",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        **parameters,
    }
    answer = await browser.get("/authorize", params=query)
    return await browser.get(answer.headers["location"])


async def grow_older(server: World, age: timedelta) -> None:
    """Everybody signed in so long ago."""
    async with server.assent.engine.begin() as connection:
        await connection.execute(update(tables.session).values(auth_time=tables.session.c.auth_time - age))


@pytest.mark.parametrize("parameters", [{}, {"prompt": "consent"}, {"max_age": "600"}, {"max_age": "999999999"}])
async def test_a_fresh_sign_in_counts(server: World, parameters: dict[str, str]) -> None:
    async with client_of(server.assent) as browser:
        await sign_in(browser)
        page = await ask(browser, **parameters)
        assert page.status_code == 200
        assert "Allow" in page_of(page).buttons


@pytest.mark.parametrize(
    "parameters", [{"prompt": "login"}, {"prompt": "select_account"}, {"prompt": "login consent"}, {"max_age": "0"}]
)
async def test_an_app_can_ask_for_a_new_sign_in(server: World, parameters: dict[str, str]) -> None:
    async with client_of(server.assent) as browser:
        await sign_in(browser)
        asked = await ask(browser, **parameters)
        assert (asked.status_code, asked.headers["location"].startswith("/sign-in?next=")) == (303, True)
        back = await sign_in(browser, address=asked.headers["location"])
        page = await browser.get(back)
        assert page.status_code == 200
        assert "Allow" in page_of(page).buttons


async def test_who_signs_in_anew_may_be_somebody_else(server: World) -> None:
    async with client_of(server.assent) as browser:
        await sign_in(browser)
        asked = await ask(browser, prompt="select_account")
        back = await sign_in(browser, "bert", asked.headers["location"])
        page = await browser.get(back)
        assert (page.status_code, "Signed in as Bert" in page.text) == (200, True)


@pytest.mark.parametrize(
    ("age", "parameters", "status"),
    [
        (timedelta(minutes=50), {}, 200),
        (timedelta(minutes=70), {}, 303),
        (timedelta(minutes=20), {"max_age": "1260"}, 200),
        (timedelta(minutes=20), {"max_age": "1140"}, 303),
        (timedelta(minutes=70), {"max_age": "86400"}, 303),
    ],
)
async def test_an_old_sign_in_does_not_decide(
    server: World, age: timedelta, parameters: dict[str, str], status: int
) -> None:
    async with client_of(server.assent) as browser:
        await sign_in(browser)
        await grow_older(server, age)
        assert (await ask(browser, **parameters)).status_code == status
        assert (await browser.get("/my")).status_code == 200


@pytest.mark.parametrize("action", ["/authorize/decision", "/authorize/patient"])
async def test_a_form_sent_with_an_old_sign_in_decides_nothing(server: World, action: str) -> None:
    async with client_of(server.assent) as browser:
        await sign_in(browser)
        asked = await ask(browser, prompt="login")
        handle = asked.headers["location"].rpartition("request%3D")[2]
        token = page_of(await browser.get("/my/sign-out")).hidden["csrf"]
        sent = {"request": handle, "csrf": token, "decision": "allow", "patient": "ana", "category": "laboratory"}
        answer = await browser.post(action, data=sent)
        assert (answer.status_code, page_of(answer).headings[0]) == (400, "This request is no longer open")
        r = tables.authorization_request.c
        async with server.assent.engine.connect() as connection:
            rows = select(r.completed_at, r.user_id).order_by(r.created_at.desc()).limit(1)
            assert (await connection.execute(rows)).one() == (None, None)
            assert (await connection.execute(text('SELECT count(*) FROM assent."grant"'))).scalar_one() == 0
