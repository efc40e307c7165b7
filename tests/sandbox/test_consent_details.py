"""A person is asked by `authorization_details`, on the page and in a real sandbox, and decides within them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.clients.app import App, register
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

SCOPE = "launch/patient offline_access patient/*.rs"
TYPE = "urn:assent:consent"


def test_the_page_offers_what_the_details_ask_for_and_the_answer_says_what_was_granted(sandbox: Sandbox) -> None:
    user = sandbox.user()
    asked = [{"type": TYPE, "categories": ["conditions", "laboratory", "hiv"], "duration": "month"}]
    app = App(sandbox.fhir_base, register(sandbox.issuer, "Narrow", SCOPE)["client_id"], SCOPE)
    url = f"{app.authorize_url()}&{urlencode({'authorization_details': json.dumps(asked)})}"
    with Person(user["username"], user["password"]) as person:
        person.open(url)
        person.sign_in()
        parts = ["Problem list", "Health concerns", "Diagnoses at visits"]
        assert person.offered() == ["Conditions", *parts, "Lab results", "HIV"]
        limits = ("only the kinds of information listed below", "for this long at most: 30 days", "only for your own")
        assert [words in person.page.text for words in limits] == [True, True, False]
        returned = person.decide({"Lab results"}, duration="30 days")
    assert returned is not None
    (granted,) = app.redeem(returned)["authorization_details"]
    until = datetime.fromisoformat(granted.pop("until"))
    assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)
    assert granted == {
        "type": TYPE,
        "locations": [sandbox.fhir_base],
        "categories": ["laboratory"],
        "purpose": "PATRQT",
    }
    patient = app.tokens["patient"]
    assert app.read(f"Condition?patient={patient}").status_code == 403
    assert app.read(f"Observation?patient={patient}&category=laboratory").status_code == 200
    assert app.refresh().json()["authorization_details"][0]["categories"] == ["laboratory"]
    assert _introspected(sandbox, app)["authorization_details"][0]["categories"] == ["laboratory"]


def test_a_registration_is_told_which_type_it_may_use(sandbox: Sandbox) -> None:
    named = register(sandbox.issuer, "Types", SCOPE, authorization_details_types=[TYPE])
    assert named["authorization_details_types"] == [TYPE]
    assert register(sandbox.issuer, "No types", SCOPE)["authorization_details_types"] == [TYPE]


def _introspected(sandbox: Sandbox, app: App) -> dict[str, Any]:
    gateway = sandbox.client("gateway")
    auth = (gateway["client_id"], gateway["client_secret"])
    form = {"token": app.tokens["access_token"]}
    answer = httpx.post(f"{sandbox.issuer}/introspect", data=form, auth=auth, timeout=30)
    found: dict[str, Any] = answer.json()
    return found
