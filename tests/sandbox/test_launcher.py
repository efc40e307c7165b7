"""`/sandbox/launcher` plays an EHR, and the sandbox's apps are launched by it, or by themselves."""

from __future__ import annotations

import httpx
import pytest

from tests.clients.person import Person
from tests.sandbox_server import Sandbox

PASSWORD = "sandbox"  # noqa: S105 - the sandbox's, printed in its guide


def _decide(person: Person, allow: list[str] | None) -> str:
    """Sign in and allow; the app, which is on the same server, then shows what it got."""
    if person.page.form_with("submit", "Sign in"):
        person.sign_in()
    person.decide(allow)
    return person.page.text


def test_the_app_is_launched_by_itself(sandbox: Sandbox) -> None:
    with Person("emi-tanaka", PASSWORD) as emi:
        emi.open(f"{sandbox.issuer}/sandbox/launcher")
        assert "Launch Heart Diary" in emi.page.text
        emi.open(f"{sandbox.issuer}/sandbox/launch")
        text = _decide(emi, ["Lab results"])
    assert "What Heart Diary got" in text
    assert "emi-tanaka" in text


def test_the_app_is_launched_by_the_ehr_for_its_patient(sandbox: Sandbox) -> None:
    with Person("hannah-kowalski", PASSWORD) as hannah:
        hannah.open(f"{sandbox.issuer}/sandbox/launcher")
        hannah.fill("Launch", Patient="nina-kowalski", Encounter_id="e-17", Intent="summary-timeline-view")
        text = _decide(hannah, ["Lab results"])
    assert "What Heart Diary got" in text
    for said in ("nina-kowalski", "e-17", "summary-timeline-view"):
        assert said in text


def test_a_clinician_is_launched_into_what_the_patient_shares(sandbox: Sandbox) -> None:
    clinic = f"{sandbox.issuer}/sandbox/clinic"
    with Person("hannah-kowalski", PASSWORD) as hannah:
        hannah.open(clinic)
        hannah.sign_in()
        hannah.choose_patient("Leo Kowalski")
        assert "What Clinic Companion got" in _decide(hannah, ["Lab results"])
    with Person("clinician", PASSWORD) as clinician:
        clinician.open(f"{sandbox.issuer}/sandbox/launcher")
        clinician.fill("Launch", App_launch_URL=clinic, Patient="leo-kowalski", User="Practitioner/practitioner-raman")
        text = _decide(clinician, None)
    assert "What Clinic Companion got" in text
    assert "leo-kowalski" in text


@pytest.mark.parametrize(
    "change",
    [
        {"launch_url": "javascript:alert(1)"},
        {"launch_url": "http://ehr.example/launch"},
        {"launch_url": "//evil.example"},
        {"launch_url": ""},
        {"patient": "../../x"},
        {"patient": "", "encounter": "e1"},
        {"intent": "<script>" + "x" * 300},
    ],
)
def test_what_cant_be_launched_is_refused(sandbox: Sandbox, change: dict[str, str]) -> None:
    form = {"launch_url": f"{sandbox.issuer}/sandbox/launch", "patient": "emi-tanaka", **change}
    answer = httpx.post(f"{sandbox.issuer}/sandbox/launcher", data=form)
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    assert "<script>" not in answer.text


def test_the_app_asks_no_server_that_it_doesnt_know(sandbox: Sandbox) -> None:
    query = {"iss": "https://evil.example/fhir", "launch": "x"}
    answer = httpx.get(f"{sandbox.issuer}/sandbox/launch", params=query)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_the_metadata_name_us_cores_profiles(sandbox: Sandbox) -> None:
    found = httpx.get(f"{sandbox.fhir_base}/metadata", timeout=30).json()
    assert "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server" in found["instantiates"]
    (patient,) = [r for r in found["rest"][0]["resource"] if r["type"] == "Patient"]
    assert patient["supportedProfile"] == ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]
