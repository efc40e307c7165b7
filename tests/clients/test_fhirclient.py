"""npm's `fhirclient`, unmodified, in a browser: standalone launch with PKCE, reads, and what it isn't given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.clients.app import register
from tests.clients.app_site import site
from tests.clients.chromium import chromium
from tests.clients.node_modules_folder import HERE, installed
from tests.sandbox_server import Sandbox

SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Condition.rs"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def fhirclient() -> Path:
    """The library's browser build, installed by the lock."""
    return installed("fhirclient") / "build" / "fhir-client.js"


@pytest.fixture(scope="module")
def app_site(fhirclient: Path) -> Iterator[str]:
    """The app's own site."""
    pages = HERE / "fhirclient_app"
    names = ("index.html", "launch.html")
    with site({"fhir-client.js": fhirclient} | {name: pages / name for name in names}) as address:
        yield address


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser window of its own."""
    with chromium() as browser:
        yield browser.new_page()


def launch(page: Page, sandbox: Sandbox, app_site: str, app_name: str) -> None:
    """Open the app and sign in, up to the consent page."""
    client = register(sandbox.issuer, app_name, SCOPE, redirect_uri=f"{app_site}/index.html")
    query = {"iss": sandbox.fhir_base, "client_id": client["client_id"], "scope": SCOPE}
    page.goto(f"{app_site}/launch.html?{urlencode(query)}")
    user = sandbox.user()
    page.get_by_label("Username").fill(user["username"])
    page.get_by_label("Password").fill(user["password"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Allow")).to_be_visible()


def shown(page: Page) -> dict[str, Any]:
    """What the app shows once it is done."""
    page.locator("#result[data-state]").wait_for(timeout=30_000)
    assert page.locator("#result").get_attribute("data-state") == "ready", page.locator("#result").inner_text()
    found: dict[str, Any] = json.loads(page.locator("#result").inner_text())
    return found


@pytest.mark.smart(16, 17, 353, 355)
def test_app_reads_what_was_allowed_and_is_denied_the_rest(page: Page, sandbox: Sandbox, app_site: str) -> None:
    launch(page, sandbox, app_site, "Unmodified App")
    page.get_by_role("checkbox", name="Conditions", exact=True).uncheck()
    page.get_by_role("button", name="Allow").click()
    result = shown(page)
    assert result["patient"]["resourceType"] == "Patient"
    assert result["patient"]["id"] == sandbox.user()["patients"][0]
    assert result["observations"], "the sandbox's patients have laboratory results"
    assert {observation["resourceType"] for observation in result["observations"]} == {"Observation"}
    denied = page.evaluate("read('Condition')")
    assert denied["status"] == 403
    assert "body" not in denied


@pytest.mark.smart(101, 365)
def test_app_refreshes_its_token(page: Page, sandbox: Sandbox, app_site: str) -> None:
    launch(page, sandbox, app_site, "Refreshing App")
    page.get_by_role("button", name="Allow").click()
    patient = shown(page)["patient"]["id"]
    assert "access_token" in page.evaluate("refresh()")["body"]
    assert page.evaluate("id => read('Patient/' + id)", patient)["body"]["id"] == patient


@pytest.mark.smart(54)
def test_app_is_told_that_the_person_said_no(page: Page, sandbox: Sandbox, app_site: str) -> None:
    launch(page, sandbox, app_site, "Refused App")
    page.get_by_role("button", name="Deny").click()
    page.locator("#result[data-state=failed]").wait_for(timeout=30_000)
    assert page.url.startswith(f"{app_site}/index.html?")
    assert httpx.URL(page.url).params["error"] == "access_denied"
