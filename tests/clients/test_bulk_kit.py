"""A bulk data kit's service against the sandbox, in the order in which such kits go: authorization, a Group, its files.

Its patients are those who agreed: with the service that the sandbox has for it, or with the kit's own once they are
recorded. Nothing comes of anybody else in the Group.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeyParameters, RSAKey

from assent.policy_files import load_catalogue
from policies.codes import CLIENT_SYSTEM, DATA_CATEGORY_SYSTEM
from sandbox.clients import EVERYDAY, POPULATION, SENSITIVE, SERVICE_CONSENTS
from sandbox.records.cohorts import EVERYBODY
from tests.sandbox_server import Sandbox

pytestmark = pytest.mark.slow

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_V3 = "http://terminology.hl7.org/CodeSystem"
US_CORE = (
    # Types whose profiles g10 looks for in an export (US Core 3.1.1 to 7.0).
    *("AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Coverage", "Device", "DiagnosticReport"),
    *("DocumentReference", "Encounter", "Goal", "Immunization", "Location", "MedicationDispense", "MedicationRequest"),
    *("Observation", "Organization", "Patient", "Practitioner", "Procedure", "Provenance", "QuestionnaireResponse"),
    *("RelatedPerson", "ServiceRequest", "Specimen"),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A backend service that speaks HTTP and nothing else."""

    sandbox: Sandbox
    client_id: str
    key: Key
    algorithm: str = "ES384"

    @property
    def token_url(self) -> str:
        """As discovery says it."""
        answer = httpx.get(f"{self.sandbox.fhir_base}/.well-known/smart-configuration", timeout=30)
        return str(answer.json()["token_endpoint"])

    def ask(self, *, claims: Mapping[str, object] | None = None, **change: str) -> httpx.Response:
        """A request for a token; `claims` and `change` spoil it."""
        good: dict[str, object] = {"iss": self.client_id, "sub": self.client_id, "aud": self.token_url}
        good |= {"exp": int(time.time()) + 300, "jti": str(uuid.uuid4()), **(claims or {})}
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.key.kid}
        form = {
            "grant_type": "client_credentials",
            "scope": "system/*.read" if self.algorithm == "RS384" else "system/*.rs",
            "client_assertion_type": _ASSERTION,
            "client_assertion": jwt.encode(header, good, self.key, [self.algorithm]),
        }
        return httpx.post(self.token_url, data=form | change, timeout=30)

    def headers(self) -> dict[str, str]:
        """With a fresh token."""
        answer = self.ask()
        assert answer.status_code == 200, answer.text
        assert (answer.json()["token_type"].lower(), answer.json()["expires_in"]) == ("bearer", 300)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def kick_off(self, headers: Mapping[str, str], query: str = "") -> httpx.Response:
        """Begin to export the Group."""
        asked = {"Accept": "application/fhir+json", "Prefer": "respond-async", **headers}
        return httpx.get(f"{self.sandbox.fhir_base}/Group/{EVERYBODY}/$export{query}", headers=asked, timeout=60)

    def exported(self, query: str = "") -> dict[str, list[dict[str, Any]]]:
        """Resources of a whole export, by type."""
        headers = self.headers()
        job = self.kick_off(headers, query).headers["content-location"]
        while (
            status := httpx.get(job, headers=headers | {"Accept": "application/json"}, timeout=30)
        ).status_code == 202:
            time.sleep(int(status.headers.get("retry-after", "1")))
        assert status.status_code == 200, status.text
        assert status.headers["content-type"].startswith("application/json")
        manifest = status.json()
        assert {"transactionTime", "request", "requiresAccessToken", "output", "error"} <= manifest.keys()
        assert manifest["requiresAccessToken"] is True
        found = {}
        for file in manifest["output"]:
            assert file["url"].startswith(self.sandbox.fhir_base)
            assert httpx.get(file["url"], timeout=30).status_code == 401
            got = httpx.get(file["url"], headers=headers | {"Accept": "application/fhir+ndjson"}, timeout=60)
            assert got.headers["content-type"].startswith("application/fhir+ndjson")
            found[file["type"]] = [json.loads(line) for line in got.text.splitlines()]
            assert {resource["resourceType"] for resource in found[file["type"]]} <= {file["type"]}
        assert httpx.delete(job, headers=headers, timeout=30).status_code == 202
        return found


@pytest.fixture(scope="module")
def population(sandbox: Sandbox) -> Service:
    """The service that the sandbox has for kits."""
    client = next(c for c in sandbox.manifest["clients"] if c["client_id"] == POPULATION)
    return Service(sandbox, POPULATION, ECKey.import_key(client["private_jwks"]["keys"][0]))


def test_a_service_whose_request_is_wrong_gets_no_token(population: Service) -> None:
    assert population.ask(grant_type="not_a_grant_type").json()["error"] == "unsupported_grant_type"
    for spoilt in (
        population.ask(client_assertion_type="not_an_assertion_type"),
        population.ask(client_assertion="x.y.z"),
    ):
        assert spoilt.status_code in (400, 401)
        assert spoilt.json()["error"] in ("invalid_client", "invalid_request")
    wrong_claims: list[dict[str, object]] = [
        {"iss": "not_a_client"},
        {"sub": "not_a_client"},
        {"aud": "https://elsewhere.example/token"},
        {"exp": int(time.time()) - 100},
    ]
    for wrong in wrong_claims:
        assert population.ask(claims=wrong).json().get("error") == "invalid_client", wrong


def test_the_group_is_exported_with_what_its_patients_agreed_to(population: Service) -> None:
    (rest,) = httpx.get(f"{population.sandbox.fhir_base}/metadata", timeout=30).json()["rest"]
    (group,) = [resource for resource in rest["resource"] if resource["type"] == "Group"]
    definition = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export"
    assert ("export", definition) in [(operation["name"], operation["definition"]) for operation in group["operation"]]
    assert population.kick_off({}).status_code == 401
    assert population.kick_off({"Authorization": "Bearer invalid"}).status_code == 401
    found = population.exported()
    shared = {given.patient for given in SERVICE_CONSENTS if given.client_id == POPULATION}
    assert {resource["id"] for resource in found["Patient"]} == shared
    assert len(shared) > 2
    assert {kind for kind in US_CORE if not found.get(kind)} == set()
    about = {resource["subject"]["reference"] for resource in found["Observation"]}
    assert about <= {f"Patient/{wanted}" for wanted in shared}


def test_the_parameters_that_kits_try_begin_an_export_that_can_be_cancelled(population: Service) -> None:
    headers = population.headers()
    since = (datetime.now(UTC) - timedelta(days=7)).isoformat(timespec="milliseconds")
    formats = ("application%2Ffhir%2Bndjson", "application%2Fndjson", "ndjson")
    for query in (*(f"?_outputFormat={wanted}" for wanted in formats), f"?_since={since.replace('+', '%2B')}"):
        begun = population.kick_off(headers, query)
        assert begun.status_code == 202, query
        job = begun.headers["content-location"]
        assert httpx.delete(job, headers=headers, timeout=30).status_code == 202
        gone = httpx.get(job, headers=headers, timeout=30)
        assert (gone.status_code, gone.json()["resourceType"]) == (404, "OperationOutcome")


def test_what_the_population_shares_are_the_categories_of_the_catalogue() -> None:
    categories = load_catalogue(None).categories.values()
    assert set(EVERYDAY) == {c.code for c in categories if not (c.always or c.sensitive or c.part_of)}
    assert set(SENSITIVE) == {c.code for c in categories if c.sensitive}


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_a_service_that_registers_itself_exports_nothing_until_patients_name_it(
    sandbox: Sandbox, algorithm: str
) -> None:
    """RFC 7591 with a JWK Set; then the recorder writes down what two patients decided, and one of them revokes."""
    values: KeyParameters = {"kid": f"kit-{algorithm}", "use": "sig", "alg": algorithm}
    key: Key = (
        RSAKey.generate_key(2048, values, private=True)
        if algorithm == "RS384"
        else ECKey.generate_key("P-384", values, private=True)
    )
    document = {
        "client_name": f"Kit {algorithm}",
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key.as_dict(private=False)]},
        "scope": "system/*.rs",
        "purpose_of_use": ["HOPERAT"],
    }
    answer = httpx.post(f"{sandbox.issuer}/register", json=document, timeout=30)
    assert answer.status_code == 201, answer.text
    kit = Service(sandbox, answer.json()["client_id"], key, algorithm)
    few = "?_type=Patient,Condition"
    assert kit.exported(few) == {"Patient": [], "Condition": []}
    desk = _desk(sandbox)
    first, _ = (_decided(desk, kit, patient) for patient in ("emi-tanaka", "li-wei"))
    assert {resource["id"] for resource in kit.exported(few)["Patient"]} == {"emi-tanaka", "li-wei"}
    url = f"{sandbox.fhir_base}/Consent/{first['id']}"
    assert httpx.delete(url, headers=desk.headers(), timeout=30).status_code == 204
    assert {resource["id"] for resource in kit.exported(few)["Patient"]} == {"li-wei"}


@dataclass(frozen=True, slots=True)
class _Desk(Service):
    def ask(self, *, claims: Mapping[str, object] | None = None, **change: str) -> httpx.Response:
        return Service.ask(self, claims=claims, scope="assent/consents.cruds", **change)


def _desk(sandbox: Sandbox) -> _Desk:
    client = next(c for c in sandbox.manifest["clients"] if c["client_id"] == "sandbox-recorder")
    return _Desk(sandbox, client["client_id"], ECKey.import_key(client["private_jwks"]["keys"][0]))


def _decided(desk: _Desk, kit: Service, patient: str) -> dict[str, Any]:
    recipient = {"coding": [{"system": f"{_V3}/v3-ParticipationType", "code": "IRCP"}]}
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": f"{_V3}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-11-02",
        "policy": [{"uri": "https://desk.example/policies/sharing-1"}],
        "provision": {
            "type": "permit",
            "actor": [
                {"role": recipient, "reference": {"identifier": {"system": CLIENT_SYSTEM, "value": kit.client_id}}}
            ],
            "purpose": [{"system": f"{_V3}/v3-ActReason", "code": "HOPERAT"}],
            "class": [{"system": DATA_CATEGORY_SYSTEM, "code": code} for code in ("demographics", "laboratory")],
        },
    }
    url = f"{desk.sandbox.fhir_base}/Consent"
    sent = desk.headers() | {"Content-Type": "application/fhir+json"}
    answer = httpx.post(url, json=consent, headers=sent, timeout=30)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found
