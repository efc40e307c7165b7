"""A walk past every page, as the people for whom they are; names each page when it stands in the window."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey
from playwright.sync_api import BrowserContext, Page

from policies.codes import ACT_REASON_SYSTEM
from tests.authz.consent_recorder import category, consent, grantee
from tests.authz.test_ehr_launch import clinic_app
from tests.clients.app import App, register
from tests.clients.hospital import Hospital
from tests.clients.person import Person
from tests.conformance.launching import ASSERTION_TYPE
from tests.sandbox_server import Sandbox

SCOPE = "launch/patient openid fhirUser offline_access patient/*.rs"
LONG_NAME = "The Heart, Lung and Blood Pressure Companion of Lakeside Community Hospital"


@dataclass(frozen=True, slots=True)
class Ground:
    """A sandbox in which somebody shares with apps already."""

    sandbox: Sandbox
    callback: str

    def app(self, name: str, scope: str = SCOPE) -> App:
        """A new app."""
        client = register(self.sandbox.issuer, name, scope, redirect_uri=self.callback)
        return App(self.sandbox.fhir_base, client["client_id"], scope, self.callback)


def prepared(sandbox: Sandbox, callback: str) -> Ground:
    """Somebody shares with two apps, ended the sharing with a third, and hasn't answered a fourth."""
    ground = Ground(sandbox, callback)
    user = sandbox.user()
    with Person(user["username"], user["password"]) as person:
        for name in ("Pulse Diary", LONG_NAME):
            app = ground.app(name)
            app.redeem(person.authorize(app.authorize_url(), ["Lab results", "Medications", "Vital signs", "HIV"]))
            app.read("Observation?category=laboratory&_count=5")
            app.read("Condition")
        person.authorize(ground.app("Step Counter").authorize_url())
        person.revoke(sandbox.issuer, "Step Counter")
        person.open(ground.app("Sleep App").authorize_url())
    propose(sandbox, user["patients"][0], sandbox.client("confidential-symmetric")["client_id"])
    return ground


def propose(sandbox: Sandbox, patient_id: str, app: str) -> None:
    """Have the sandbox's recorder propose a consent."""
    desk = next(client for client in sandbox.manifest["clients"] if client["client_id"] == "sandbox-recorder")
    key = ECKey.import_key(desk["private_jwks"]["keys"][0])
    claims = {"iss": desk["client_id"], "sub": desk["client_id"], "aud": f"{sandbox.issuer}/token"}
    times = {"exp": int(time.time()) + 120, "jti": secrets.token_hex(8)}
    header = {"alg": "ES384", "kid": key.kid, "typ": "JWT"}
    form = {
        "grant_type": "client_credentials",
        "scope": desk["scope"],
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": jwt.encode(header, claims | times, key, algorithms=["ES384"]),
    }
    token = httpx.post(f"{sandbox.issuer}/token", data=form, timeout=30).json()["access_token"]
    permit = {"type": "permit", "actor": grantee(app), "class": category("laboratory", "conditions", "medications")}
    purpose = [{"system": ACT_REASON_SYSTEM, "code": "TREAT"}]
    body = consent({**permit, "purpose": purpose}, status="proposed", patient={"reference": f"Patient/{patient_id}"})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    httpx.post(f"{sandbox.fhir_base}/Consent", json=body, headers=headers, timeout=30).raise_for_status()


def walk(context: BrowserContext, ground: Ground) -> Iterator[tuple[str, Page]]:
    """Every page."""
    page = context.new_page()
    yield from _anybody(page, ground)
    yield from _patient(page, ground)
    yield from _representative(page, ground)
    yield from _staff(page, ground)


def sign_in(page: Page, user: dict[str, Any]) -> None:
    """On the page that asks for it, whatever its language."""
    page.locator("#username").fill(user["username"])
    page.locator("#password").fill(user["password"])
    press(page, "form[action='/sign-in'] button[type=submit]")


def press(page: Page, selector: str) -> None:
    """Press a button or a link, and wait for the page that it leads to."""
    with page.expect_navigation():
        page.locator(selector).first.click()


def _anybody(page: Page, ground: Ground) -> Iterator[tuple[str, Page]]:
    issuer = ground.sandbox.issuer
    for name, path in {"home": "/", "api": "/docs", "not-found": "/nowhere", "authorize-error": "/authorize"}.items():
        page.goto(f"{issuer}{path}")
        yield name, page
    page.goto(f"{issuer}/sign-in")
    yield "sign-in", page
    sign_in(page, {"username": "nobody", "password": "wrong"})
    yield "sign-in-problem", page


def _patient(page: Page, ground: Ground) -> Iterator[tuple[str, Page]]:
    issuer = ground.sandbox.issuer
    asked = ground.app("Food Diary").authorize_url()
    page.goto(asked)
    yield "sign-in-for-app", page
    sign_in(page, ground.sandbox.user())
    yield "consent", page
    ticked = page.locator("input[name=category]:checked")
    while ticked.count():
        ticked.first.uncheck(force=True)
    press(page, "button[value=allow]")
    yield "consent-problem", page
    page.goto(f"{issuer}/authorize/continue?request=gone")
    yield "request-expired", page
    page.goto(f"{issuer}/my")
    yield "my", page
    press(page, "section a[href$='/change']")
    yield "change", page
    page.goto(f"{issuer}/my")
    press(page, "section a[href$='/history']")
    for details in page.locator("details").all():
        details.evaluate("found => found.open = true")
    yield "history", page
    page.goto(f"{issuer}/my")
    press(page, "section a[href$='/explain']")
    press(page, "main form button[type=submit]")
    yield "explain-problem", page
    page.locator("#kind").select_option("laboratory")
    press(page, "main form button[type=submit]")
    for details in page.locator("details").all():
        details.evaluate("found => found.open = true")
    yield "explain", page
    page.goto(f"{issuer}/my/activity")
    yield "activity", page
    page.goto(f"{issuer}/my")
    press(page, "a[href^='/my/revoke-all']")
    yield "revoke-all", page
    page.goto(f"{issuer}/my")
    press(page, "a[href^='/my/proposals/']")
    yield "answer", page
    yield from _mail(page, issuer)
    yield from _sign_out(page, issuer)


def _mail(page: Page, issuer: str) -> Iterator[tuple[str, Page]]:
    page.goto(f"{issuer}/my/e-mail")
    yield "e-mail", page
    page.locator("#address").evaluate("field => field.form.noValidate = true")
    page.locator("#address").fill("no address")
    press(page, "form[action='/my/e-mail'] button")
    yield "e-mail-problem", page
    if not page.locator("#code").count():
        page.locator("#address").fill("the.address.of.somebody.with.a.long.name@a-hospital-with-a-long-name.example")
        press(page, "form[action='/my/e-mail'] button")
    page.goto(f"{issuer}/my/e-mail")
    page.locator("#code").fill("2222-2222-2222")
    press(page, "form[action='/my/e-mail/confirm'] button")
    yield "e-mail-wrong-code", page


def _representative(page: Page, ground: Ground) -> Iterator[tuple[str, Page]]:
    page.goto(ground.app("Family Health").authorize_url())
    sign_in(page, ground.sandbox.user("representative", patients=3))
    yield "choose-patient", page
    press(page, "main form button[type=submit]")
    yield "choose-patient-problem", page
    page.locator("input[name=patient]").nth(1).check(force=True)
    press(page, "main form button[type=submit]")
    yield "consent-for-child", page
    page.goto(f"{ground.sandbox.issuer}/my")
    yield "my-of-several", page
    page.goto(f"{ground.sandbox.issuer}/my/sign-out")
    press(page, "main form button[type=submit]")


def _staff(page: Page, ground: Ground) -> Iterator[tuple[str, Page]]:
    issuer = ground.sandbox.issuer
    page.goto(f"{issuer}/sign-in?{urlencode({'next': '/developer/register'})}")
    sign_in(page, ground.sandbox.user("developer", patients=0))
    yield "register-app", page
    page.locator("#name").fill("Sleep Well")
    press(page, "main form button[type=submit]")
    yield "register-app-problem", page
    page.locator("#redirect_uris").fill("https://sleep.example/callback")
    page.locator("#kind-confidential-symmetric").check(force=True)
    press(page, "main form button[type=submit]")
    yield "app-credentials", page
    page.goto(f"{issuer}/developer")
    yield "developer", page
    page.goto(f"{issuer}/operator")
    yield "not-yours", page
    yield from _as(page, ground, "operator", ["/operator", "/operator/health", "/operator/explain"])
    yield from _as(page, ground, "clinician", ["/my"])


def _as(page: Page, ground: Ground, role: str, paths: list[str]) -> Iterator[tuple[str, Page]]:
    page.goto(f"{ground.sandbox.issuer}/my/sign-out")
    press(page, "main form button[type=submit]")
    page.goto(f"{ground.sandbox.issuer}/sign-in?{urlencode({'next': paths[0]})}")
    sign_in(page, ground.sandbox.user(role, patients=0))
    for path in paths:
        page.goto(f"{ground.sandbox.issuer}{path}")
        yield f"{role}{path.replace('/', '-')}", page


def _sign_out(page: Page, issuer: str) -> Iterator[tuple[str, Page]]:
    page.goto(f"{issuer}/my/sign-out")
    yield "sign-out", page
    press(page, "main form button[type=submit]")
    yield "signed-out", page


def walk_of_sign_ins(context: BrowserContext, hospital: Hospital) -> Iterator[tuple[str, Page]]:
    """Every page of those who sign in elsewhere or with passkeys, with each notice that a script can show."""
    page, issuer = context.new_page(), hospital.sandbox.issuer
    hospital.set_up()
    page.goto(f"{issuer}/sign-in")
    _reveal(page)
    yield "ways-to-sign-in", page
    page.goto(f"{issuer}/sign-in/provider/callback")
    yield "sign-in-not-begun", page
    page.goto(f"{issuer}/sign-in/provider")
    page.locator("[name=login]").fill("somebody-new")
    press(page, "button[type=submit]")
    yield "link", page
    page.goto(f"{issuer}/sign-in?{urlencode({'next': '/my/passkeys'})}")
    sign_in(page, hospital.sandbox.user())
    _reveal(page)
    yield "passkeys", page
    page.goto(f"{issuer}/my/passkeys?done=removed")
    yield "passkey-removed", page
    page.goto(f"{issuer}/my/sign-out")
    press(page, "main form button[type=submit]")
    yield "signed-out-here", page


def walk_of_emergencies(context: BrowserContext, hospital: Hospital) -> Iterator[tuple[str, Page]]:
    """From a clinician's emergency to its patient and its review."""
    page, sandbox = context.new_page(), hospital.sandbox
    page.goto(clinic_app(sandbox, None, "launch/patient patient/*.rs").authorize_url())
    sign_in(page, sandbox.user("clinician", patients=0))
    yield "choose-record", page
    press(page, "a[href^='/authorize/emergency']")
    yield "emergency", page
    page.locator("form[action='/authorize/emergency']").evaluate("form => form.noValidate = true")
    page.locator("#record").fill(sandbox.user()["patients"][0])
    page.locator("#reason").fill("Unconscious, nobody can be asked")
    press(page, "form[action='/authorize/emergency'] button[type=submit]")
    yield "emergency-problem", page
    page.locator("#confirm").check()
    # Nobody answers at the app's address, but the browser goes there.
    with page.expect_event("requestfailed", lambda request: "localhost:9090/callback?code=" in request.url):
        page.locator("form[action='/authorize/emergency'] button[type=submit]").click()
    page.wait_for_url("chrome-error://**")
    for name, user, path in (
        ("operator-emergency", sandbox.user("operator", patients=0), "/operator/emergency"),
        ("my-emergency", sandbox.user(), "/my"),
    ):
        page.goto(f"{sandbox.issuer}/my/sign-out")
        press(page, "main form button[type=submit]")
        page.goto(f"{sandbox.issuer}/sign-in?{urlencode({'next': path})}")
        sign_in(page, user)
        yield name, page


def _reveal(page: Page) -> None:
    for notice in page.locator("[data-problem]").all():
        notice.evaluate("found => found.hidden = false")
