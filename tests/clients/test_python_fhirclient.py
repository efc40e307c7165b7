"""PyPI's `fhirclient`, unmodified: endpoints from the CapabilityStatement, and `launch/patient` asked for twice."""

from __future__ import annotations

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.immunization import Immunization
from fhirclient.models.patient import Patient
from fhirclient.models.procedure import Procedure
from fhirclient.server import FHIRPermissionDeniedException

from tests.clients.app import REDIRECT_URI, register
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Immunization.rs patient/Procedure.rs"


def test_the_python_client_launches_reads_and_refreshes(sandbox: Sandbox) -> None:
    registered = register(sandbox.issuer, "Python client", SCOPE)
    smart = FHIRClient(
        settings={
            "app_id": registered["client_id"],
            "api_base": f"{sandbox.fhir_base}/",
            "redirect_uri": REDIRECT_URI,
            "scope": f"{SCOPE} launch/patient",
            "launch_token": None,
        }
    )
    assert not smart.ready
    user = sandbox.user()
    with Person(user["username"], user["password"]) as person:
        returned = person.authorize(smart.authorize_url, {"Demographics", "Immunizations"})
    smart.handle_callback(returned)
    assert smart.ready
    assert smart.patient_id == user["patients"][0]
    assert smart.patient is not None
    assert smart.patient.id == user["patients"][0]
    assert list(Immunization.where({"patient": smart.patient_id}).perform_resources_iter(smart.server))
    with pytest.raises(FHIRPermissionDeniedException):
        list(Procedure.where({"patient": smart.patient_id}).perform_resources_iter(smart.server))
    assert smart.reauthorize()
    assert Patient.read(smart.patient_id, smart.server).id == smart.patient_id
