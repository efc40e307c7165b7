"""People sign in at npm's `oidc-provider`: launches, linking, signing out and errors, between real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.clients.app import REDIRECT_URI, App, register
from tests.clients.hospital import NAME, Hospital
from tests.clients.identity_provider import ACR, AMR, Browser
from tests.clients.person import Person

pytestmark = pytest.mark.slow
SCOPE = "launch/patient openid fhirUser patient/Patient.rs"


@pytest.fixture
def browser(hospital: Hospital) -> Iterator[Browser]:
    hospital.set_up()
    found = Browser()
    yield found
    found.close()


def signs_in(hospital: Hospital, person: Person, browser: Browser, login: str | None, next_page: str = "/my") -> str:
    """Follow the button of the sign-in page; answers the address at Assent to which the provider led back."""
    query = urlencode({"next": next_page})
    person.open(f"{hospital.sandbox.issuer}/sign-in/provider?{query}")
    assert person.returned_to is not None
    return browser.go(person.returned_to, login, hospital.callback)


def claims_of(hospital: Hospital, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set(httpx.get(f"{hospital.sandbox.issuer}/jwks", timeout=30).json())
    found = jwt.decode(token, keys, algorithms=["RS256"]).claims
    return dict(found)


def launched(hospital: Hospital, name: str, **more: str) -> tuple[App, str]:
    """An app, and the sign-in page's `next` to which its link leads."""
    client = register(hospital.sandbox.issuer, name, SCOPE)
    app = App(hospital.sandbox.fhir_base, client["client_id"], SCOPE, REDIRECT_URI)
    link = app.authorize_url() + "".join(f"&{key}={value}" for key, value in more.items())
    with httpx.Client(timeout=30) as http:
        to_page = http.get(link)
        to_sign_in = http.get(to_page.headers["location"])
    assert to_sign_in.status_code == 303, to_sign_in.text
    return app, parse_qs(urlsplit(to_sign_in.headers["location"]).query)["next"][0]


def test_a_launch_by_somebody_whom_the_operator_linked(hospital: Hospital, browser: Browser) -> None:
    user = hospital.sandbox.user()
    linked = hospital.assent("user", "link", user["username"], "--subject", "staff-17")
    assert linked.exit_code == 0, linked.stderr
    before = int(time.time())
    app, next_page = launched(hospital, "Linked Launch")
    with Person(user["username"], "never typed") as person:
        person.open(signs_in(hospital, person, browser, "staff-17", next_page))
        returned = person.decide({"Demographics"})
    assert returned is not None
    app.redeem(returned)
    claims = claims_of(hospital, app.tokens["id_token"])
    assert (claims["amr"], claims["acr"]) == (sorted(AMR), ACR)
    assert before - 5 <= claims["auth_time"] <= int(time.time())
    assert claims["fhirUser"].endswith(user["fhirUser"])
    assert app.read(f"Patient/{app.tokens['patient']}").status_code == 200
    unlinked = hospital.assent("user", "unlink", user["username"])
    assert unlinked.exit_code == 0, unlinked.stderr


def test_prompt_login_makes_the_provider_ask_again(hospital: Hospital, browser: Browser) -> None:
    user = hospital.sandbox.user()
    assert hospital.assent("user", "link", user["username"], "--subject", "staff-18").exit_code == 0
    with Person(user["username"], "") as person:
        person.open(signs_in(hospital, person, browser, "staff-18"))
        person.open(signs_in(hospital, person, browser, "staff-18"))
        assert not browser.asked  # single sign-on is enough for /my
        first = time.time()
        time.sleep(1.1)
        app, next_page = launched(hospital, "Asks Again", prompt="login")
        person.open(signs_in(hospital, person, browser, "staff-18", next_page))
        assert browser.asked
        returned = person.decide({"Demographics"})
    assert returned is not None
    app.redeem(returned)
    assert claims_of(hospital, app.tokens["id_token"])["auth_time"] >= int(first)
    assert hospital.assent("user", "unlink", user["username"]).exit_code == 0


def test_a_password_gives_pwd_and_no_acr(hospital: Hospital) -> None:
    user = hospital.sandbox.user()
    app, _ = launched(hospital, "By Password")
    with Person(user["username"], user["password"]) as person:
        app.redeem(person.authorize(app.authorize_url(), {"Demographics"}))
    claims = claims_of(hospital, app.tokens["id_token"])
    assert (claims["amr"], "acr" in claims) == (["pwd"], False)


def test_somebody_links_their_account_with_their_password_once(hospital: Hospital, browser: Browser) -> None:
    user = hospital.sandbox.user("clinician", patients=0)
    with Person(user["username"], user["password"]) as person:
        page = person.open(signs_in(hospital, person, browser, "dr-new"))
        assert page.status == 403
        assert "Link your account" in page.text
        assert "dr-new" in page.text
        wrong = person.fill("Sign in and link", Username=user["username"])  # without the password
        assert wrong.status == 400
        done = person.sign_in("Sign in and link")
        assert (done.status, urlsplit(done.url).path) == (200, "/my")
    browser.forget()
    with Person(user["username"], "never typed") as person:
        page = person.open(signs_in(hospital, person, browser, "dr-new"))
        assert (page.status, urlsplit(page.url).path) == (200, "/my")
    assert hospital.assent("user", "unlink", user["username"]).exit_code == 0


def test_an_answer_is_worth_nothing_a_second_time_or_elsewhere(hospital: Hospital, browser: Browser) -> None:
    with Person("", "") as person, Person("", "") as other:
        back = signs_in(hospital, person, browser, "nobody")
        assert other.open(back).status == 400
        assert person.open(back).status == 403  # known there, not here
        again = person.open(back)
        assert (again.status, "no longer open" in again.text) == (400, True)


def test_a_session_id_is_never_one_from_before(hospital: Hospital, browser: Browser) -> None:
    user = hospital.sandbox.user()
    assert hospital.assent("user", "link", user["username"], "--subject", "staff-19").exit_code == 0
    with Person("", "") as person:
        person.plant("assent_session", "planted", hospital.sandbox.issuer)
        person.open(signs_in(hospital, person, browser, "staff-19"))
        first = person.cookie("assent_session")
        person.open(signs_in(hospital, person, browser, "staff-19"))
        second = person.cookie("assent_session")
        assert len({"planted", first, second}) == 3
        person.plant("assent_session", second or "", hospital.sandbox.issuer)
        assert urlsplit(person.open(f"{hospital.sandbox.issuer}/my").url).path == "/my"
        person.plant("assent_session", first or "", hospital.sandbox.issuer)
        assert urlsplit(person.open(f"{hospital.sandbox.issuer}/my").url).path == "/sign-in"
    assert hospital.assent("user", "unlink", user["username"]).exit_code == 0


def test_cancelling_there_leads_to_a_page_and_another_way(hospital: Hospital, browser: Browser) -> None:
    with Person("", "") as person:
        page = person.open(signs_in(hospital, person, browser, None))
        assert (page.status, "You weren't signed in" in page.text) == (403, True)


def test_while_the_provider_is_down_the_password_still_works(hospital: Hospital, browser: Browser) -> None:
    user = hospital.sandbox.user()
    with Person(user["username"], user["password"]) as person:
        back = signs_in(hospital, person, browser, "nobody")
        hospital.provider.go_down()
        page = person.open(back)
        assert (page.status, f"{NAME} can't be reached" in page.text) == (503, True)
        person.open(f"{hospital.sandbox.issuer}/sign-in")
        assert urlsplit(person.sign_in().url).path == "/my"


def test_signing_out_names_the_provider_and_leads_to_its_page(hospital: Hospital, browser: Browser) -> None:
    user = hospital.sandbox.user()
    with Person(user["username"], user["password"]) as person:
        person.open(f"{hospital.sandbox.issuer}/sign-in")
        person.sign_in()
        person.open(f"{hospital.sandbox.issuer}/my/sign-out")
        assert f"Sign out at {NAME}" in person.press("Sign out").text
        person.open(f"{hospital.sandbox.issuer}/sign-in/provider/sign-out")
        assert person.returned_to is not None
        assert person.returned_to.startswith(f"{hospital.provider.issuer}/session/end?client_id=")


def test_the_doctor_asks_the_provider(hospital: Hospital) -> None:
    report = hospital.assent("doctor", "--json")
    assert f"`{hospital.provider.issuer}` answers" in report.stdout, report.stdout + report.stderr
