"""Signing in and out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authz.sign_in.sessions import TooManyAttempts
from portal.safe_next import safe_next
from portal.settings import DemoUser, PortalSettings
from tests.portal.fakes import ADA, NOW, Place, page_of, place


async def attempt(here: Place, username: str, password: str, address: str = "/sign-in") -> dict[str, str]:
    return {**await here.fields(address), "username": username, "password": password}


async def test_the_fields_and_the_button_have_their_names() -> None:
    page = page_of(await place().client.get("/sign-in"))
    assert page.labels == {"username": "Username", "password": "Password"}
    assert page.buttons == ["Sign in"]


async def test_the_right_password_leads_on_with_a_cookie_that_scripts_cannot_read() -> None:
    here = place()
    sent = await attempt(here, "ada", "right", "/sign-in?next=/my/activity")
    response = await here.client.post("/sign-in", data=sent)
    assert (response.status_code, response.headers["location"]) == (303, "/my/activity")
    (cookie,) = [c for c in response.headers.get_list("set-cookie") if c.startswith("assent_session=")]
    assert cookie == "assent_session=new; HttpOnly; Max-Age=28800; Path=/; SameSite=lax"


async def test_under_https_the_cookie_is_bound_to_host_and_https() -> None:
    here = place(PortalSettings(https=True))
    response = await here.client.post("/sign-in", data=await attempt(here, "ada", "right"))
    (cookie,) = [c for c in response.headers.get_list("set-cookie") if c.startswith("__Host-assent_session=")]
    assert cookie == "__Host-assent_session=new; HttpOnly; Max-Age=28800; Path=/; SameSite=lax; Secure"


async def test_the_session_before_is_ended_by_signing_in_anew() -> None:
    here = place()
    here.sign_in(ADA)
    await here.client.post("/sign-in", data=await attempt(here, "ada", "right"))
    assert here.sessions.signed_out == ["s1"]


async def test_wrong_name_and_wrong_password_look_the_same() -> None:
    here = place()
    first = await here.client.post("/sign-in", data=await attempt(here, "ada", "wrong"))
    second = await here.client.post("/sign-in", data=await attempt(here, "eve", "wrong"))
    assert first.status_code == second.status_code == 403
    assert first.text.replace('value="ada"', 'value="eve"') == second.text
    assert "The username or the password is wrong." in first.text
    assert "wrong" not in {given.get("value") for given in page_of(first).inputs.values()}


async def test_a_lock_says_when_to_try_again() -> None:
    here = place()
    here.sessions.locked = TooManyAttempts(NOW + timedelta(minutes=4, seconds=1))
    response = await here.client.post("/sign-in", data=await attempt(here, "ada", "right"))
    assert (response.status_code, response.headers["retry-after"]) == (429, "241")
    assert "Try again in 5 minutes, at 14:09 UTC." in response.text


@pytest.mark.parametrize(("username", "password"), [("", "right"), ("ada", ""), (" ", "right")])
async def test_an_empty_field_is_asked_for(username: str, password: str) -> None:
    here = place()
    response = await here.client.post("/sign-in", data=await attempt(here, username, password))
    assert response.status_code == 400
    assert "Enter your username and your password." in response.text


async def test_a_username_comes_back_as_text() -> None:
    here = place()
    response = await here.client.post("/sign-in", data=await attempt(here, '"><script>', "wrong"))
    assert "script" not in page_of(response).tags


@pytest.mark.parametrize(
    "hostile",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/my",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/my\r\nSet-Cookie: a=b",
        "/my\\evil",
        "my",
        "",
        " /my",
        "/my#x",
        "/ünsafe",
        "/" + "a" * 2000,
    ],
)
async def test_one_is_never_led_to_another_site(hostile: str) -> None:
    here = place()
    assert safe_next(hostile) == "/my"
    sent = {**await attempt(here, "ada", "right"), "next": hostile}
    assert (await here.client.post("/sign-in", data=sent)).headers["location"] == "/my"


@pytest.mark.parametrize("given", ["/my", "/my/activity?patient=p1", "/authorize/continue?request=aZ_-09", "/"])
async def test_an_address_on_this_server_is_followed(given: str) -> None:
    assert safe_next(given) == given


async def test_signing_out_takes_a_button_and_ends_the_session() -> None:
    here = place()
    here.sign_in(ADA)
    page = page_of(await here.client.get("/my/sign-out"))
    assert here.sessions.signed_out == []
    assert page.buttons == ["Sign out"]
    response = await here.client.post("/my/sign-out", data=page.hidden)
    assert (response.status_code, here.sessions.signed_out) == (200, ["s1"])
    assert "Max-Age=0" in response.headers["set-cookie"]


async def test_demo_users_are_shown_only_where_they_are_given() -> None:
    assert "sandbox" not in (await place().client.get("/sign-in")).text
    assert "sandbox" not in (await place().client.get("/")).text
    here = place(PortalSettings(https=False, sandbox_hint=(DemoUser("demo-ada", "demo-word", "patient"),)))
    assert "demo-word" in (await here.client.get("/sign-in")).text
    assert "/sandbox/manifest.json" in (await here.client.get("/")).text
