"""EHR launch, whole: the EHR creates a launch, a person decides, and the app gets the context with its tokens.

The sandbox as its own process; the people fill in its forms. Every test has an app of its own, or a patient of its own
where the app is the sandbox's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.clients.app import App, register
from tests.clients.html_page import Control
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

CONTEXT = {
    "encounter": "enc-1",
    "fhirContext": [{"reference": "ImagingStudy/i1"}],
    "intent": "reconcile-medications",
    "need_patient_banner": False,
    "smart_style_url": "https://ehr.example/style.json",
    "tenant": "north-wing",
}
SCOPE = "openid fhirUser launch offline_access patient/*.rs"
PASSWORD = "sandbox"  # noqa: S105 - the sandbox's, printed in its guide
CLINICIAN = "Practitioner/practitioner-raman"


def launch(sandbox: Sandbox, **context: Any) -> str:
    """What the EHR hands to the app."""
    ehr = sandbox.client("ehr")
    secret = (ehr["client_id"], ehr["client_secret"])
    token = httpx.post(f"{sandbox.issuer}/token", data={"grant_type": "client_credentials"}, auth=secret).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    answer = httpx.post(f"{sandbox.issuer}/launch-contexts", json=context, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["launch"])


def introspected(sandbox: Sandbox, token: str) -> dict[str, Any]:
    gateway = sandbox.client("gateway")
    auth = (gateway["client_id"], gateway["client_secret"])
    answer = httpx.post(f"{sandbox.issuer}/introspect", data={"token": token}, auth=auth)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def own_app(sandbox: Sandbox, name: str, launched: str | None, scope: str = SCOPE) -> App:
    """A public app that a patient uses."""
    return App(sandbox.fhir_base, register(sandbox.issuer, name, "")["client_id"], scope, launch=launched)


def clinic_app(sandbox: Sandbox, launched: str | None, scope: str = SCOPE, purpose: str | None = "TREAT") -> App:
    """The sandbox's app that is registered for treatment."""
    client = sandbox.client("confidential-symmetric")
    return App(
        sandbox.fhir_base,
        client["client_id"],
        scope,
        redirect_uri="http://localhost:9090/callback",
        client_secret=client["client_secret"],
        launch=launched,
        purpose=purpose,
    )


def sees(app: App, kind: str = "Observation") -> bool:
    """Whether a search of the app finds anything."""
    answer = app.read(f"{kind}?_count=1")
    assert answer.status_code == 200, answer.text
    return bool(answer.json().get("entry"))


def error_of(returned_to: str) -> str:
    return parse_qs(urlsplit(returned_to).query)["error"][0]


def share(sandbox: Sandbox, username: str, allow: list[str]) -> None:
    """The patient shares with the clinic's app for treatment."""
    with Person(username, PASSWORD) as person:
        returned = person.authorize(clinic_app(sandbox, None, "launch/patient patient/*.rs").authorize_url(), allow)
        assert "code=" in returned


def open_record(sandbox: Sandbox, patient: str, **context: Any) -> App:
    """A clinician opens a patient's record with the clinic's app."""
    app = clinic_app(sandbox, launch(sandbox, patient=patient, user=CLINICIAN, **context))
    with Person("clinician", PASSWORD) as person:
        app.redeem(person.authorize(app.authorize_url()))
    return app


@pytest.mark.smart(349, 352, 359, 360, 171, 172, 174, 175, 176)
def test_a_patient_launched_from_the_ehr_decides_and_the_context_comes_with_the_tokens(sandbox: Sandbox) -> None:
    app = own_app(sandbox, "Launched App", launch(sandbox, patient="amelia-okafor", **CONTEXT))
    with Person("amelia-okafor", PASSWORD) as amelia:
        app.redeem(amelia.authorize(app.authorize_url(), ["Lab results"]))
        expected = {"patient": "amelia-okafor", **CONTEXT}
        assert {name: app.tokens[name] for name in expected} == expected
        assert {"launch", "offline_access"} <= set(app.tokens["scope"].split(" "))
        assert sees(app)
        refreshed = app.refresh().json()
        assert {name: refreshed[name] for name in expected} == expected
        found = introspected(sandbox, app.tokens["access_token"])
        assert {name: found[name] for name in expected} == expected
        amelia.revoke(sandbox.issuer, "Launched App")
    assert app.read("Observation?_count=1").status_code == 401
    assert introspected(sandbox, app.tokens["access_token"]) == {"active": False}


def test_a_launch_without_hints_says_no_more_than_the_patient(sandbox: Sandbox) -> None:
    app = own_app(sandbox, "Plain Launch", launch(sandbox, patient="amelia-okafor"))
    with Person("amelia-okafor", PASSWORD) as amelia:
        app.redeem(amelia.authorize(app.authorize_url(), ["Lab results"]))
    assert (app.tokens["patient"], app.tokens["need_patient_banner"]) == ("amelia-okafor", True)
    assert {"encounter", "fhirContext", "intent", "smart_style_url", "tenant", "user"}.isdisjoint(app.tokens)


def test_a_launch_without_a_patient_lets_the_person_choose(sandbox: Sandbox) -> None:
    app = own_app(sandbox, "Chooser", launch(sandbox, intent="choose"))
    with Person("hannah-kowalski", PASSWORD) as hannah:
        app.redeem(hannah.authorize(app.authorize_url(), ["Lab results"], patient="Leo Kowalski"))
    assert (app.tokens["patient"], app.tokens["intent"]) == ("leo-kowalski", "choose")


def test_the_patient_of_a_launch_cant_be_exchanged_for_another(sandbox: Sandbox) -> None:
    app = own_app(sandbox, "Fixed Patient", launch(sandbox, patient="leo-kowalski"))
    with Person("hannah-kowalski", PASSWORD) as hannah:
        hannah.open(app.authorize_url())
        page = hannah.sign_in()
        assert "Leo Kowalski" in page.text
        assert page.form_with("submit", "Continue") is None
        again = hannah.open(f"{page.url}&choose=patient")
        assert again.form_with("submit", "Continue") is None
        app.redeem(str(hannah.decide(["Lab results"])))
    assert app.tokens["patient"] == "leo-kowalski"


def test_a_launch_for_sign_in_only_gives_context_and_leaves_what_is_shared_alone(sandbox: Sandbox) -> None:
    app = own_app(sandbox, "Signs In", None, "launch/patient patient/*.rs")
    with Person("amelia-okafor", PASSWORD) as amelia:
        app.redeem(amelia.authorize(app.authorize_url(), ["Lab results"]))
        launched = launch(sandbox, patient="amelia-okafor")
        signs_in = App(sandbox.fhir_base, app.client_id, "openid fhirUser launch", launch=launched)
        signs_in.redeem(amelia.authorize(signs_in.authorize_url()))
    assert (signs_in.tokens["patient"], signs_in.tokens["scope"]) == ("amelia-okafor", "openid fhirUser launch")
    assert signs_in.read("Observation?_count=1").status_code == 403
    assert sees(app)


def test_a_launch_for_a_patient_whom_one_may_not_act_for_leads_only_back(sandbox: Sandbox) -> None:
    app = own_app(sandbox, "Wrong Patient", launch(sandbox, patient="george-whitfield"))
    with Person("amelia-okafor", PASSWORD) as amelia:
        amelia.open(app.authorize_url())
        page = amelia.sign_in()
        assert (page.status, page.form_with("submit", "Allow")) == (403, None)
        amelia.press("Go back to Wrong Patient")
        assert error_of(str(amelia.returned_to)) == "access_denied"
    with Person("george-whitfield", PASSWORD) as george:
        george.open(f"{sandbox.issuer}/my")
        # Nobody else's "no" stands in his record.
        assert "Wrong Patient" not in george.sign_in().text


@pytest.mark.parametrize("user", ["Patient/george-whitfield", CLINICIAN, "Practitioner/nobody"])
def test_a_launch_for_another_user_leads_only_back(sandbox: Sandbox, user: str) -> None:
    app = own_app(sandbox, "Wrong User", launch(sandbox, patient="amelia-okafor", user=user))
    with Person("amelia-okafor", PASSWORD) as amelia:
        amelia.open(app.authorize_url())
        page = amelia.sign_in()
        assert (page.status, page.form_with("submit", "Allow")) == (403, None)
        amelia.press("Go back to Wrong User")
        assert error_of(str(amelia.returned_to)) == "access_denied"
        assert "Wrong User" not in amelia.open(f"{sandbox.issuer}/my").text


@pytest.mark.smart(351, 352)
def test_a_clinician_opens_what_the_patient_shares_until_it_is_revoked(sandbox: Sandbox) -> None:
    share(sandbox, "carlos-mendoza", ["Lab results", "Vital signs"])
    app = open_record(sandbox, "carlos-mendoza", **CONTEXT)
    expected = {"patient": "carlos-mendoza", **CONTEXT}
    assert {name: app.tokens[name] for name in expected} == expected
    assert sees(app)
    assert app.read("Condition?_count=1").status_code == 403
    found = introspected(sandbox, app.tokens["access_token"])
    assert {name: found[name] for name in expected} == expected
    assert found["fhirUser"] == f"{sandbox.fhir_base}/{CLINICIAN}"
    assert found["extensions"]["ihe_iua"]["purpose_of_use"][0]["code"] == "TREAT"
    assert len(found["consent"]) == 1
    again = app.refresh().json()
    assert {name: again[name] for name in expected} == expected
    with Person("carlos-mendoza", PASSWORD) as carlos:
        carlos.revoke(sandbox.issuer, "Clinic Companion")
    assert app.read("Observation?_count=1").status_code == 401
    assert introspected(sandbox, app.tokens["access_token"]) == {"active": False}
    refused = app.refresh()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    share(sandbox, "carlos-mendoza", ["Lab results"])
    # What ended stays ended: the clinician opens the record again.
    assert app.read("Observation?_count=1").status_code == 401


def test_a_clinicians_access_narrows_with_the_patients_decision(sandbox: Sandbox) -> None:
    share(sandbox, "daniel-obrien", ["Lab results", "Conditions"])
    app = open_record(sandbox, "daniel-obrien")
    assert sees(app, "Condition")
    share(sandbox, "daniel-obrien", ["Lab results"])
    assert not sees(app, "Condition")
    scope = introspected(sandbox, app.tokens["access_token"])["scope"].split(" ")
    assert not any(text.startswith("patient/Condition") for text in scope)


def test_without_the_patients_consent_a_clinician_gets_nothing(sandbox: Sandbox) -> None:
    app = clinic_app(sandbox, launch(sandbox, patient="emi-tanaka", user=CLINICIAN))
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(app.authorize_url())
        page = clinician.sign_in()
        assert (page.status, page.form_with("submit", "Allow")) == (403, None)
        assert "doesn't share with Clinic Companion" in page.text
        clinician.press("Go back to Clinic Companion")
        assert error_of(str(clinician.returned_to)) == "access_denied"
    with Person("emi-tanaka", PASSWORD) as emi:
        emi.open(f"{sandbox.issuer}/my")
        assert "Clinic Companion" not in emi.sign_in().text


def test_a_forged_form_opens_nothing_to_a_clinician(sandbox: Sandbox) -> None:
    app = clinic_app(sandbox, launch(sandbox, patient="emi-tanaka"))
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(app.authorize_url())
        form = clinician.sign_in().form_with("submit", "Go back to Clinic Companion")
        assert form is not None
        form.find("submit", "Go back to Clinic Companion").value = "allow"
        form.controls.append(Control("hidden", "patient", "emi-tanaka"))
        assert clinician.press("Go back to Clinic Companion").status == 403
        assert clinician.returned_to is None


def test_a_clinicians_decision_is_about_the_patient_whom_the_page_showed(sandbox: Sandbox) -> None:
    share(sandbox, "li-wei", ["Lab results"])
    share(sandbox, "george-whitfield", ["Lab results"])
    app = clinic_app(sandbox, launch(sandbox, patient="li-wei"))
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(app.authorize_url())
        form = clinician.sign_in().form_with("submit", "Allow")
        assert form is not None
        shown = next(control for control in form.controls if control.name == "patient")
        shown.value = "george-whitfield"
        assert clinician.press("Allow").status == 403
        assert clinician.returned_to is None


def test_a_consent_for_another_purpose_or_app_opens_nothing_to_a_clinician(sandbox: Sandbox) -> None:
    own = clinic_app(sandbox, None, "launch/patient patient/*.rs", purpose=None)
    other = own_app(sandbox, "Other App", None, "launch/patient patient/*.rs")
    with Person("fatima-al-rashid", PASSWORD) as fatima:
        assert "code=" in fatima.authorize(own.authorize_url(), ["Lab results"])
        assert "code=" in fatima.authorize(other.authorize_url(), ["Lab results"])
    app = clinic_app(sandbox, launch(sandbox, patient="fatima-al-rashid"))
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(app.authorize_url())
        assert clinician.sign_in().status == 403
        # An app that isn't registered for treatment is no clinician's.
        other.launch, other.scope = launch(sandbox, patient="fatima-al-rashid"), SCOPE
        assert clinician.open(other.authorize_url()).status == 403


def test_a_clinician_who_denies_leaves_the_patients_consent_alone(sandbox: Sandbox) -> None:
    share(sandbox, "li-wei", ["Lab results"])
    app = clinic_app(sandbox, launch(sandbox, patient="li-wei"))
    with Person("clinician", PASSWORD) as clinician:
        assert error_of(clinician.authorize(app.authorize_url(), deny=True)) == "access_denied"
    assert sees(open_record(sandbox, "li-wei"))


def test_an_app_that_names_no_purpose_treats_when_a_clinician_uses_it(sandbox: Sandbox) -> None:
    share(sandbox, "adwoa-mensah", ["Lab results"])
    app = clinic_app(sandbox, launch(sandbox, patient="adwoa-mensah"), purpose=None)
    with Person("clinician", PASSWORD) as clinician:
        app.redeem(clinician.authorize(app.authorize_url()))
    purpose = introspected(sandbox, app.tokens["access_token"])["extensions"]["ihe_iua"]["purpose_of_use"]
    assert purpose[0]["code"] == "TREAT"


def test_a_clinician_who_launches_standalone_chooses_among_those_who_share(sandbox: Sandbox) -> None:
    share(sandbox, "george-whitfield", ["Lab results"])
    app = clinic_app(sandbox, None, "openid fhirUser launch/patient user/*.rs")
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(app.authorize_url())
        clinician.sign_in()
        page = clinician.fill("Search", Name="whit")
        assert page.form_with("submit", "Continue") is not None
        assert "whit" not in page.url
        assert clinician.fill("Search", Name="nobody of this name").form_with("submit", "Continue") is None
        clinician.fill("Search", Name="Whitfield")
        clinician.choose_patient("George Whitfield")
        app.redeem(str(clinician.decide()))
    assert app.tokens["patient"] == "george-whitfield"
    assert sees(app)


def test_a_clinician_cant_choose_a_patient_who_doesnt_share(sandbox: Sandbox) -> None:
    share(sandbox, "george-whitfield", ["Lab results"])
    app = clinic_app(sandbox, None, "launch/patient patient/*.rs")
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(app.authorize_url())
        form = clinician.sign_in().form_with("submit", "Continue")
        assert form is not None
        form.find("radio", "George Whitfield").value = "emi-tanaka"
        assert clinician.choose_patient("George Whitfield").status == 403


def test_nobody_registers_an_ehr_of_their_own(sandbox: Sandbox) -> None:
    document = {
        "client_name": "Mine",
        "grant_types": ["client_credentials"],
        "scope": "system/*.rs assent/launch.c",
    }
    answer = httpx.post(f"{sandbox.issuer}/register", json=document)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


def test_discovery_announces_what_these_tests_show(sandbox: Sandbox) -> None:
    found = httpx.get(f"{sandbox.fhir_base}/.well-known/smart-configuration").json()
    launched = {"launch-ehr", "context-ehr-patient", "context-ehr-encounter", "context-banner", "context-style"}
    assert launched <= set(found["capabilities"])
    assert "context-standalone-encounter" not in found["capabilities"]
    assert "launch" in found["scopes_supported"]
