"""A person lets an app change their record, and takes it back: a real sandbox, its pages, its upstream."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.app import App, register
from tests.clients.person import Person
from tests.sandbox_server import assent_process, copy_of, environment, free_port

PASSWORD = "sandbox"  # noqa: S105 - the sandbox's, printed in its guide
SCOPE = "launch/patient offline_access patient/Observation.cruds patient/Condition.rs"
ALLOW = "Let Diary add to the record and change it"


@pytest.fixture(scope="module")
def issuer(prepared_data: Path) -> Iterator[str]:
    """A sandbox in which the operator lets apps write."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="assent-writes-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        settings = environment(copy_of(prepared_data, place / "data"), ASSENT_UPSTREAM_WRITES="true")
        with assent_process(["sandbox", "--port", str(port)], settings, port, place / "log") as url:
            yield url


def _launched(issuer: str, allow: list[str], scope: str = SCOPE) -> App:
    app = App(f"{issuer}/fhir", register(issuer, "Diary", scope)["client_id"], scope)
    with Person("emi-tanaka", PASSWORD) as emi:
        app.redeem(emi.authorize(app.authorize_url(), allow))
    return app


def _send(app: App, method: str, path: str, body: Any = None, kind: str = "application/fhir+json") -> httpx.Response:
    headers = {"Authorization": f"Bearer {app.tokens['access_token']}", "Content-Type": kind}
    return httpx.request(method, f"{app.fhir_base}/{path}", json=body, headers=headers, timeout=30)


def _entry(app: App) -> dict[str, Any]:
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": f"Patient/{app.tokens['patient']}"},
        "effectiveDateTime": "2026-11-21",
        "valueQuantity": {"value": 61, "unit": "kg"},
    }


def test_a_person_lets_an_app_write_sees_it_and_takes_it_back(issuer: str) -> None:
    app = _launched(issuer, ["Vital signs", ALLOW])
    made = _send(app, "POST", "Observation", _entry(app))
    assert made.status_code == 201, made.text
    name = f"Observation/{made.json()['id']}"
    patch = [{"op": "replace", "path": "/valueQuantity/value", "value": 62}]
    changed = _send(app, "PATCH", name, patch, "application/json-patch+json")
    assert (changed.status_code, changed.json()["valueQuantity"]["value"]) == (200, 62)
    assert app.read(name).json() == changed.json()
    assert _send(app, "DELETE", name).status_code == 204
    assert app.read(name).status_code == 404
    with Person("emi-tanaka", PASSWORD) as emi:
        emi.open(f"{issuer}/my")
        emi.sign_in()
        assert "it can add to the record, and change and delete what it sees" in emi.page.text
        emi.open(f"{issuer}/my/activity")
        for what in ("added to Vital signs", "changed Vital signs", "deleted Vital signs"):
            assert what in emi.page.text
        emi.revoke(issuer, "Diary")
    assert _send(app, "POST", "Observation", _entry(app)).status_code in (401, 403)


def test_unless_it_is_ticked_the_app_only_sees(issuer: str) -> None:
    app = _launched(issuer, ["Vital signs"])
    assert {
        part.split(".")[1].split("?")[0] for part in app.tokens["scope"].split() if part.startswith("patient/")
    } == {"rs"}
    assert _send(app, "POST", "Observation", _entry(app)).status_code == 403


def test_an_app_that_asks_to_see_is_offered_no_more(issuer: str) -> None:
    scope = "launch/patient patient/Observation.rs"
    app = App(f"{issuer}/fhir", register(issuer, "Viewer", scope)["client_id"], scope)
    with Person("emi-tanaka", PASSWORD) as emi:
        emi.open(app.authorize_url())
        emi.sign_in()
        emi.choose_patient()
        assert [title for title in emi.offered() if title.startswith("Let ")] == []


def test_discovery_and_the_capability_statement_announce_writes(issuer: str) -> None:
    smart = httpx.get(f"{issuer}/fhir/.well-known/smart-configuration", timeout=30).json()
    assert "patient/*.cruds" in smart["scopes_supported"]
    described = httpx.get(f"{issuer}/openapi.json", timeout=30).json()["paths"]["/fhir/{type}/{id}"]
    assert {"get", "put", "patch", "delete"} <= described.keys()
    allowed = httpx.request("TRACE", f"{issuer}/fhir/Observation/x", timeout=30).headers["allow"]
    assert allowed == "GET, HEAD, PUT, PATCH, DELETE"
    statement = httpx.get(f"{issuer}/fhir/metadata", timeout=30).json()
    resources = {r["type"]: {i["code"] for i in r.get("interaction", ())} for r in statement["rest"][0]["resource"]}
    assert {"create", "update", "patch", "delete"} <= resources["Observation"]
    assert resources["Patient"] & {"create", "update", "patch", "delete"} == {"update", "patch"}
    assert resources["Practitioner"] & {"create", "update", "patch", "delete"} == set()
