"""What counts once counts once for every process, also for one that wasn't there yet: proofs and pushed requests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.authz.proofs import Prover
from tests.clients.app import App, register
from tests.sandbox_server import assent_process, environment, free_port

GATEWAY = ("sandbox-gateway", "sandbox-gateway-secret-not-for-production")
SCOPE = "launch/patient patient/*.rs"


def introspect(url: str, token: str, proof: str) -> tuple[int, str | None]:
    """With a bound token for oneself, about that token."""
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    answer = httpx.post(f"{url}/introspect", data={"token": token}, headers=headers)
    body: dict[str, Any] = answer.json()
    return answer.status_code, body.get("error")


@pytest.mark.slow
def test_what_was_used_before_a_restart_stays_used() -> None:
    prover, port = Prover.new(), free_port()
    with tempfile.TemporaryDirectory(prefix="assent-restart-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        started = (["sandbox", "--port", str(port)], environment(place / "data"), port, place / "log")
        with assent_process(*started) as url:
            for_token = prover.proof("POST", f"{url}/token")
            asked = {"grant_type": "client_credentials", "scope": "assent/introspect"}
            given = httpx.post(f"{url}/token", data=asked, auth=GATEWAY, headers={"DPoP": for_token}).json()
            token = given["access_token"]
            proof = prover.proof("POST", f"{url}/introspect", token)
            assert introspect(url, token, proof) == (200, None)
            app = App(f"{url}/fhir", register(url, "Pushes", SCOPE)["client_id"], SCOPE)
            request = dict(httpx.URL(app.authorize_url()).params)
            used, fresh = (httpx.post(f"{url}/par", data=request).json()["request_uri"] for _ in range(2))
            assert httpx.get(f"{url}/authorize", params=sent(app, used)).status_code == 303
        with assent_process(*started) as url:
            assert introspect(url, token, proof) == (401, "invalid_dpop_proof")
            assert introspect(url, token, prover.proof("POST", f"{url}/introspect", token)) == (200, None)
            again = httpx.post(f"{url}/token", data=asked, auth=GATEWAY, headers={"DPoP": for_token})
            assert (again.status_code, again.json()["error"]) == (400, "invalid_dpop_proof")
            assert httpx.get(f"{url}/authorize", params=sent(app, used)).status_code == 400
            assert httpx.get(f"{url}/authorize", params=sent(app, fresh)).status_code == 303


def sent(app: App, reference: str) -> dict[str, str]:
    """What the browser brings."""
    return {"client_id": app.client_id, "request_uri": reference}
