"""Passkeys in a real browser, with Chromium's virtual authenticator: added, used, removed; and what isn't taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Page, ViewportSize, expect

from tests.clients.app import App, register
from tests.clients.app_site import site
from tests.clients.chromium import chromium
from tests.clients.hospital import NAME, Hospital
from tests.clients.test_identity_provider import claims_of

SCOPE = "launch/patient openid fhirUser patient/Patient.rs"
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WINDOW = ViewportSize(width=1000, height=900)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@dataclass(slots=True)
class Device:
    """A virtual authenticator (CDP domain WebAuthn) that holds passkeys and knows its person."""

    cdp: CDPSession
    id: str

    def verify(self, whether: bool) -> None:
        """Whether the person shows the right finger from now on."""
        self.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": whether})

    def credentials(self) -> list[dict[str, Any]]:
        answer = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        found: list[dict[str, Any]] = answer["credentials"]
        return found

    def set_count(self, count: int) -> None:
        """As if the passkey had been copied long ago: its counter goes back."""
        (credential,) = self.credentials()
        self.cdp.send("WebAuthn.clearCredentials", {"authenticatorId": self.id})
        changed = credential | {"signCount": count}
        self.cdp.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": changed})


@dataclass(slots=True)
class Person:
    """A window and the device beside it."""

    page: Page
    device: Device
    hospital: Hospital
    problems: list[str]

    def goto(self, path: str) -> None:
        self.page.goto(f"{self.hospital.sandbox.issuer}{path}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def sign_in(self, user: dict[str, Any]) -> None:
        self.page.get_by_label("Username").fill(user["username"])
        self.page.get_by_label("Password").fill(user["password"])
        self.press("Sign in")

    def sign_out(self) -> None:
        self.goto("/my/sign-out")
        self.press("Sign out")

    def add(self, name: str) -> None:
        self.goto("/my/passkeys")
        self.page.get_by_label("Name").fill(name)
        self.press("Add a passkey")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def person(browser: Browser, hospital: Hospital) -> Iterator[Person]:
    hospital.set_up()
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))

    def heard(message: ConsoleMessage) -> None:
        # What the pages of others, or a refusal as such (403), make the browser say isn't ours to mend.
        ours = message.location["url"].startswith(hospital.sandbox.issuer)
        if message.type == "error" and ours and "403 (Forbidden)" not in message.text:
            problems.append(message.text)

    page.on("console", heard)
    cdp = context.new_cdp_session(page)
    cdp.send("WebAuthn.enable", {"enableUI": False})
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device = Device(cdp, cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"])
    yield Person(page, device, hospital, problems)
    context.close()


def user_of(hospital: Hospital, place: int) -> dict[str, Any]:
    """A patient of the sandbox; each test takes another."""
    found = [user for user in hospital.sandbox.manifest["users"] if user["role"] == "patient"]
    user: dict[str, Any] = found[place]
    return user


def test_a_passkey_is_added_signs_in_tells_the_app_how_and_is_removed(person: Person, hospital: Hospital) -> None:
    page, user = person.page, user_of(hospital, 1)
    person.goto("/sign-in?next=/my/passkeys")
    person.sign_in(user)
    expect(page.get_by_text("You have no passkey yet.")).to_be_visible()
    person.add("My phone")
    expect(page.get_by_role("status")).to_contain_text("Your passkey is ready.")
    expect(page.get_by_role("region", name="My phone")).to_contain_text("not yet")
    person.sign_out()

    with site({"callback": b"Back in the app."}) as address:
        client = register(hospital.sandbox.issuer, "Passkey App", SCOPE, redirect_uri=f"{address}/callback")
        app = App(hospital.sandbox.fhir_base, client["client_id"], SCOPE, f"{address}/callback")
        page.goto(app.authorize_url() + "&prompt=login")
        person.press("Use a passkey")
        page.get_by_role("button", name="Allow").click()
        expect(page.get_by_text("Back in the app.")).to_be_visible()
        app.redeem(page.url)
    claims = claims_of(hospital, app.tokens["id_token"])
    assert (claims["amr"], "acr" in claims) == (["mfa", "pop", "user"], False)
    assert claims["iat"] - claims["auth_time"] < 60

    person.goto("/my/passkeys")
    section = page.get_by_role("region", name="My phone")
    expect(section).not_to_contain_text("not yet")
    section.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_contain_text("The passkey is removed.")
    person.sign_out()
    person.goto("/sign-in")
    person.press("Use a passkey")
    expect(page.get_by_role("heading", level=1)).to_have_text("The passkey didn't work")
    assert person.problems == []  # no policy was violated, for one


def test_without_the_persons_finger_nothing_happens(person: Person, hospital: Hospital) -> None:
    page = person.page
    person.goto("/sign-in?next=/my/passkeys")
    person.sign_in(user_of(hospital, 2))
    person.device.verify(False)
    person.add("Laptop")
    expect(page.get_by_text("No passkey was added.")).to_be_visible()
    person.device.verify(True)
    person.add("Laptop")
    expect(page.get_by_role("region", name="Laptop")).to_be_visible()
    person.device.verify(False)
    person.sign_out()
    person.goto("/sign-in")
    person.press("Use a passkey")
    expect(page.get_by_text("No passkey was used.")).to_be_visible()
    assert page.url.endswith("/sign-in")
    person.goto("/my")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_device_that_has_one_is_told_so(person: Person, hospital: Hospital) -> None:
    person.goto("/sign-in?next=/my/passkeys")
    person.sign_in(user_of(hospital, 3))
    person.add("One")
    expect(person.page.get_by_role("region", name="One")).to_be_visible()
    person.add("Two")
    expect(person.page.get_by_text("This device has a passkey already.")).to_be_visible()
    assert len(person.device.credentials()) == 1


def test_a_passkey_whose_counter_went_back_isnt_taken(person: Person, hospital: Hospital) -> None:
    person.goto("/sign-in?next=/my/passkeys")
    person.sign_in(user_of(hospital, 4))
    person.add("Copied")
    expect(person.page.get_by_role("region", name="Copied")).to_be_visible()
    heading = person.page.get_by_role("heading", level=1)
    for _ in range(2):
        person.sign_out()
        person.goto("/sign-in")
        person.press("Use a passkey")
        expect(heading).to_have_text("My sharing")
    person.sign_out()
    person.device.set_count(0)
    person.goto("/sign-in")
    person.press("Use a passkey")
    expect(heading).to_have_text("The passkey didn't work")


def test_without_scripts_the_page_says_so_and_passwords_work(browser: Browser, hospital: Hospital) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{hospital.sandbox.issuer}/sign-in?next=/my/passkeys")
    expect(page.get_by_role("button", name="Use a passkey")).to_have_count(0)
    user = user_of(hospital, 5)
    page.get_by_label("Username").fill(user["username"])
    page.get_by_label("Password").fill(user["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("This needs scripts")).to_be_visible()
    expect(page.get_by_role("button", name="Add a passkey")).to_have_count(0)
    context.close()


def test_somebody_signs_in_at_the_provider_in_a_browser(person: Person, hospital: Hospital) -> None:
    user = user_of(hospital, 0)
    assert hospital.assent("user", "link", user["username"], "--subject", "staff-1").exit_code == 0
    person.goto("/sign-in")
    person.page.get_by_role("link", name=f"Sign in with {NAME}").click()
    person.page.get_by_label("Who are you?").fill("staff-1")
    person.press("Go on")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("My sharing")
    assert person.problems == []
    assert hospital.assent("user", "unlink", user["username"]).exit_code == 0


def test_pictures_for_the_docs(person: Person, hospital: Hospital) -> None:
    if os.environ.get("ASSENT_SCREENSHOTS") != "1":
        pytest.skip("pictures are made on request (ASSENT_SCREENSHOTS=1)")
    person.goto("/sign-in?next=/my/passkeys")
    expect(person.page.get_by_role("button", name="Use a passkey")).to_be_visible()
    person.page.screenshot(path=IMAGES / "sign-in.png", clip={"x": 0, "y": 0, "width": 1000, "height": 760})
    person.sign_in(user_of(hospital, 6))
    person.add("My phone")
    expect(person.page.get_by_role("status")).to_be_visible()
    person.page.screenshot(path=IMAGES / "passkeys.png", full_page=True)
