"""The sandbox shows the letters that it would send."""

from __future__ import annotations

import time

import httpx

from tests.clients.app import App, register
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

CALLBACK = "http://localhost:9090/callback"


def test_what_somebody_shares_is_told_in_a_letter_that_names_the_app_and_not_what_is_shared(sandbox: Sandbox) -> None:
    scope, user = "launch/patient openid fhirUser patient/*.rs", sandbox.user()
    client = register(sandbox.issuer, "Letter <b>Test", scope, redirect_uri=CALLBACK)
    app = App(sandbox.fhir_base, client["client_id"], scope, CALLBACK)
    with Person(user["username"], user["password"]) as person:
        person.authorize(app.authorize_url(), ["Lab results"])
    deadline, wanted = time.monotonic() + 20, "You share something with Letter &lt;b&gt;Test now."
    while wanted not in (page := httpx.get(f"{sandbox.issuer}/sandbox/mail", timeout=10).text):
        assert time.monotonic() < deadline, page
        time.sleep(0.2)
    assert f"{user['username']}@sandbox.example" in page
    assert (f"{sandbox.issuer}/my\n" in page, "Lab results" in page) == (True, False)
