"""A person in a real browser: an app asks, they share a part, the app reads that part, they end it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from tests.clients.app import App, register
from tests.clients.app_site import site
from tests.clients.chromium import chromium
from tests.sandbox_server import Sandbox

APP_NAME = "Heart Diary"
SCOPE = "launch/patient openid fhirUser offline_access patient/*.rs"
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WINDOW = ViewportSize(width=1000, height=900)

pytestmark = pytest.mark.browser


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser window of its own; it takes no scripts, since pages must do without."""
    with chromium() as browser:
        yield browser.new_context(java_script_enabled=False, viewport=WINDOW).new_page()


@pytest.fixture
def callback() -> Iterator[str]:
    """The address of an app, to which the person is sent back."""
    with site({"callback": b"Back in the app."}) as address:
        yield f"{address}/callback"


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page for the docs, when that is asked for."""
    if os.environ.get("ASSENT_SCREENSHOTS") == "1":
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(
            path=IMAGES / f"{name}.png", clip={"x": 0, "y": 0, "width": 1000, "height": 1250}, full_page=True
        )


def sign_in(page: Page, sandbox: Sandbox) -> None:
    user = sandbox.user()
    page.get_by_label("Username").fill(user["username"])
    page.get_by_label("Password").fill(user["password"])
    page.get_by_role("button", name="Sign in").click()


def category(page: Page, title: str) -> Locator:
    return page.get_by_role("checkbox", name=title, exact=True)


def introspect(sandbox: Sandbox, token: str) -> dict[str, object]:
    gateway = sandbox.client("gateway")
    answer = httpx.post(
        f"{sandbox.issuer}/introspect",
        data={"token": token},
        auth=(gateway["client_id"], gateway["client_secret"]),
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def allow_a_part(page: Page, sandbox: Sandbox, callback: str, name: str = APP_NAME) -> App:
    """The app's link, sign-in, two categories unticked, Allow, and the exchange of the code."""
    client = register(sandbox.issuer, name, SCOPE, redirect_uri=callback)
    app = App(sandbox.fhir_base, client["client_id"], SCOPE, callback)
    page.goto(app.authorize_url())
    sign_in(page, sandbox)
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    category(page, "Conditions").uncheck()
    category(page, "Claims and coverage").uncheck()
    expect(category(page, "HIV")).not_to_be_checked()
    if name == APP_NAME:
        picture(page, "consent")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("Back in the app.")).to_be_visible()
    app.redeem(page.url)
    return app


@pytest.mark.smart(27, 53, 95, 119)
def test_shared_in_part_read_in_part_and_taken_back(page: Page, sandbox: Sandbox, callback: str) -> None:
    app = allow_a_part(page, sandbox, callback)
    patient = app.tokens["patient"]
    assert patient == sandbox.user()["patients"][0]

    read = app.read(f"Patient/{patient}")
    assert (read.status_code, read.json()["id"]) == (200, patient)
    labs = app.read("Observation?category=laboratory&_count=5")
    assert labs.status_code == 200
    assert labs.json()["entry"]
    for path in ("Condition", "Coverage", f"Condition?patient={patient}"):
        denied = app.read(path)
        assert (denied.status_code, denied.json()["resourceType"]) == (403, "OperationOutcome"), path
    active = introspect(sandbox, app.tokens["access_token"])
    assert active["active"] is True
    assert active["patient"] == patient
    assert "Condition" not in str(active["scope"])

    page.goto(f"{sandbox.issuer}/my")
    section = page.get_by_role("region", name=APP_NAME)
    expect(section.get_by_role("listitem").filter(has_text="Lab results")).to_be_visible()
    expect(section.get_by_role("link", name="Change").or_(section.get_by_role("button", name="Change"))).to_be_visible()
    picture(page, "my")
    section.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("region", name=APP_NAME).get_by_role("button", name="Revoke")).to_have_count(0)

    assert app.read(f"Patient/{patient}").status_code in (401, 403)
    assert introspect(sandbox, app.tokens["access_token"]) == {"active": False}
    refreshed = app.refresh()
    assert (refreshed.status_code, refreshed.json()["error"]) == (400, "invalid_grant")


def test_what_was_decided_is_told_again_and_taken_along(page: Page, sandbox: Sandbox, callback: str) -> None:
    app = allow_a_part(page, sandbox, callback, "Sleep Diary")
    app.read("Observation?category=laboratory&_count=5")
    page.goto(f"{sandbox.issuer}/my")
    page.get_by_role("region", name="Sleep Diary").get_by_role("button", name="Revoke").click()
    ended = page.get_by_role("region", name="Sleep Diary")
    ended.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History: Sleep Diary")
    expect(page.get_by_role("heading", level=2)).to_have_count(2)
    expect(page.get_by_text("The text as it was shown")).to_have_count(1)
    page.get_by_role("link", name="Who saw what").click()
    page.get_by_label("App").select_option(label="Sleep Diary")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("listitem").filter(has_text="looked at Lab results")).to_have_count(1)
    expect(page.locator("ol li").filter(has_not_text="Sleep Diary")).to_have_count(0)
    page.get_by_role("link", name="My sharing").first.click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download everything").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.testzip() is None
        consents = [json.loads(line) for line in archive.read("consents.ndjson").splitlines()]
        assert archive.read("access-record.ndjson").count(b"Sleep Diary") >= 1
    assert {consent["patient"]["reference"] for consent in consents} == {f"Patient/{app.tokens['patient']}"}
    mine = [consent["status"] for consent in consents if app.client_id in json.dumps(consent)]
    assert mine == ["active", "inactive"]


@pytest.mark.smart(27, 54)
def test_denying_sends_the_app_an_error_and_nothing_else(page: Page, sandbox: Sandbox, callback: str) -> None:
    client = register(sandbox.issuer, "Nosy App", SCOPE, redirect_uri=callback)
    app = App(sandbox.fhir_base, client["client_id"], SCOPE, callback)
    page.goto(app.authorize_url())
    sign_in(page, sandbox)
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("Back in the app.")).to_be_visible()
    returned = httpx.URL(page.url).params
    assert returned["error"] == "access_denied"
    assert "code" not in returned


def test_choosing_and_deciding_work_with_the_keyboard_alone(page: Page, sandbox: Sandbox, callback: str) -> None:
    client = register(sandbox.issuer, "Keyboard App", SCOPE, redirect_uri=callback)
    app = App(sandbox.fhir_base, client["client_id"], SCOPE, callback)
    page.goto(app.authorize_url())
    user = sandbox.user()
    page.get_by_label("Username").focus()
    page.keyboard.type(user["username"])
    page.keyboard.press("Tab")
    page.keyboard.type(user["password"])
    page.keyboard.press("Enter")
    category(page, "Conditions").focus()
    page.keyboard.press("Space")
    expect(category(page, "Conditions")).not_to_be_checked()
    page.get_by_role("button", name="Allow").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Back in the app.")).to_be_visible()
    app.redeem(page.url)
    assert app.read("Condition").status_code == 403
