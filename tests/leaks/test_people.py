"""L61, L71: who may consent, and what a registration may make the server do."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx
import pytest

from assent.app import build
from assent.server import listen
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from tests.clients.html_page import Page, read_page
from tests.conformance.launching import ASSERTION_TYPE, assertion, key_pair
from tests.leaks.world import ISSUER, World, client_of, settings_for

PASSWORD = "a password for one test run"  # noqa: S105  # of an account that lives for one test


class Visitor:
    """Somebody with a browser who fills forms as they like."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.page = Page("", 0)

    async def open(self, url: str) -> Page:
        """Follow a link and the redirects behind it."""
        return self._shown(await self.http.get(url, follow_redirects=True))

    async def send(self, label: str, to: str | None = None, **changed: str) -> Page:
        """Press a button of a form, with some fields changed, perhaps at another address."""
        form = self.page.form_with("submit", label)
        assert form is not None
        pressed = dict(form.pressed(form.find("submit", label))) | changed
        headers = {"Origin": ISSUER}
        url = to or form.action
        return self._shown(await self.http.post(url, data=pressed, headers=headers, follow_redirects=True))

    def _shown(self, answer: httpx.Response) -> Page:
        self.page = read_page(str(answer.url), answer.status_code, answer.text)
        return self.page


async def _visitor(leaky: World, http: httpx.AsyncClient, username: str, *acts_for: str) -> Visitor:
    """Somebody signed in who may act for these patients."""
    context = leaky.assent.authz
    patients = tuple(ActsFor(name, name.title(), own=False) for name in acts_for)
    async with leaky.assent.engine.begin() as connection:
        who = Account("", username, username.title(), None, "patient", patients)
        await add_account(connection, who, await Passwords().hash(PASSWORD), context.clock())
    visitor = Visitor(http)
    await visitor.open("/sign-in")
    await visitor.send("Sign in", username=username, password=PASSWORD)
    assert visitor.page.status == 200
    return visitor


async def _asked(leaky: World) -> str:
    """Address of the page on which a new app's request waits."""
    client_id, _ = await leaky.launch(["laboratory"], "launch/patient patient/*.rs")
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": "http://localhost:9090/callback",
        "scope": "launch/patient patient/Observation.rs",
        "state": "s",
        "aud": f"{ISSUER}/fhir",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    answer = await leaky.http.get(f"/authorize?{urlencode(query)}")
    return str(answer.headers["location"])


@pytest.mark.leak("L61")
async def test_l61_nobody_chooses_or_consents_for_a_patient_they_dont_act_for(leaky: World) -> None:
    address = await _asked(leaky)
    async with client_of(leaky.assent) as http:
        visitor = await _visitor(leaky, http, "carer", "bob", "cyd")
        await visitor.open(address)
        assert (await visitor.send("Continue", patient="ana")).status == 403
        await visitor.open(address)
        await visitor.send("Continue", patient="bob")
        assert (await visitor.send("Allow", patient="ana")).status == 403
        await visitor.open(address)
        assert visitor.page.form_with("submit", "Allow") is not None  # nothing was decided


@pytest.mark.leak("L61", "L60")
@pytest.mark.parametrize("verb", ["change", "revoke"])
async def test_l61_l60_nobody_changes_a_consent_of_a_patient_they_dont_act_for(leaky: World, verb: str) -> None:
    app = await leaky.app(["laboratory"])
    consent = await app.consent_id()
    async with client_of(leaky.assent) as http:
        visitor = await _visitor(leaky, http, f"stranger-{verb}", "bob")
        await visitor.open("/my/sign-out")
        there = await visitor.send("Sign out", to=f"/my/sharing/{consent}/{verb}")
        await visitor.open("/my/sign-out")
        nowhere = await visitor.send("Sign out", to=f"/my/sharing/nothing/{verb}")
    assert there.status == nowhere.status == 404
    assert (await app.get("Observation/lab0")).status_code == 200


@pytest.mark.leak("L71")
async def test_l71_no_address_in_a_registration_leads_inside(leaky: World) -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    addresses = {
        name: f"http://127.0.0.1:{port}/{name}" for name in ("logo_uri", "client_uri", "policy_uri", "tos_uri")
    }
    whole = {"client_name": "x", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}
    signing = {**whole, "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"]}
    change = {"open_registration": True, "public_url": "https://assent.example"}
    settings = settings_for(leaky.folder, leaky.upstream).model_copy(update=change)
    open_to_all = await build(settings, leaky.database_url)
    try:
        async with client_of(open_to_all) as http:
            taken = await http.post("/register", json={**whole, **addresses})
            for host in (
                f"127.0.0.1:{port}",
                f"localhost:{port}",
                f"[::1]:{port}",
                f"0x7f.1:{port}",
                "169.254.169.254",
            ):
                for scheme in ("http", "https"):
                    asked = {**signing, "jwks_uri": f"{scheme}://{host}/jwks"}
                    refused = await http.post("/register", json=asked)
                    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata"), host
            # A name is taken as it is; what it stands for is looked at when it is asked.
            named = await http.post("/register", json={**signing, "jwks_uri": "https://x.localhost/jwks"})
            signed = assertion(named.json()["client_id"], key_pair("ES384")[1], "ES384", jti="1")
            form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
            unknown = await http.post("/token", data={"grant_type": "client_credentials", **form})
    finally:
        await open_to_all.aclose()
    assert taken.status_code == 201
    assert set(taken.json()).isdisjoint(addresses)
    assert (named.status_code, unknown.status_code, unknown.json()["error"]) == (201, 401, "invalid_client")
    with pytest.raises(BlockingIOError):
        listener.accept()  # nobody came
    listener.close()
