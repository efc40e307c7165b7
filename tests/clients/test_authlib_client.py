"""Authlib's OAuth client, as a developer would use it with discovery alone: launch, read, refresh, revoke."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from authlib.common.security import generate_token
from authlib.integrations.httpx_client import AsyncOAuth2Client

from tests.clients.app import REDIRECT_URI, register
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Immunization.rs patient/Procedure.rs"


async def discovered(sandbox: Sandbox) -> dict[str, Any]:
    async with httpx.AsyncClient() as plain:
        found: dict[str, Any] = (await plain.get(f"{sandbox.fhir_base}/.well-known/smart-configuration")).json()
    return found


async def signed_in(sandbox: Sandbox, client: AsyncOAuth2Client, endpoints: dict[str, Any], allow: set[str]) -> None:
    """The person's part and the exchange of the code."""
    verifier = generate_token(64)
    url, state = client.create_authorization_url(
        endpoints["authorization_endpoint"], code_verifier=verifier, aud=sandbox.fhir_base
    )
    user = sandbox.user()
    with Person(user["username"], user["password"]) as person:
        returned = person.authorize(url, allow)
    await client.fetch_token(
        endpoints["token_endpoint"], authorization_response=returned, state=state, code_verifier=verifier
    )


@pytest.mark.parametrize("kind", ["public", "confidential-symmetric"])
@pytest.mark.smart(14, 95, 353, 355, 356, 365, 392)
async def test_authlib_client_goes_from_launch_to_revocation(sandbox: Sandbox, kind: str) -> None:
    endpoints = await discovered(sandbox)
    method = "none" if kind == "public" else "client_secret_basic"
    registered = register(sandbox.issuer, f"Authlib {kind}", SCOPE, token_endpoint_auth_method=method)
    async with AsyncOAuth2Client(
        registered["client_id"],
        registered.get("client_secret"),
        token_endpoint_auth_method=method,
        scope=SCOPE,
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
    ) as client:
        await signed_in(sandbox, client, endpoints, {"Demographics", "Immunizations"})
        patient = sandbox.user()["patients"][0]
        assert client.token["patient"] == patient
        assert client.token["token_type"].lower() == "bearer"
        read = await client.get(f"{sandbox.fhir_base}/Patient/{patient}")
        assert (read.status_code, read.json()["id"]) == (200, patient)
        assert (await client.get(f"{sandbox.fhir_base}/Immunization?patient={patient}")).status_code == 200
        denied = await client.get(f"{sandbox.fhir_base}/Procedure?patient={patient}")
        assert (denied.status_code, denied.json()["resourceType"]) == (403, "OperationOutcome")

        before = client.token["access_token"]
        await client.refresh_token(endpoints["token_endpoint"])
        assert client.token["access_token"] != before
        assert (await client.get(f"{sandbox.fhir_base}/Patient/{patient}")).status_code == 200

        revoked = await client.revoke_token(endpoints["revocation_endpoint"])
        assert revoked.status_code == 200
