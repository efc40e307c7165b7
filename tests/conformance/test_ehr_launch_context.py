"""SMART 2.2, EHR launch: what the EHR says about a launch comes with the app's tokens, as it is and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.launching import Launch, launch, register
from tests.leaks.world import World

SCOPE = "launch launch/patient launch/encounter offline_access patient/*.rs"


async def _created(server: World, body: dict[str, Any]) -> httpx.Response:
    """The answer to an EHR that asks for this launch."""
    ehr, secret = await register(server, kind="ehr", redirect_uris=(), scope="assent/launch.c")
    assert secret is not None
    token = await server.http.post("/token", data={"grant_type": "client_credentials"}, auth=(ehr, secret))
    headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
    return await server.http.post("/launch-contexts", json=body, headers=headers)


async def _launched(server: World, body: dict[str, Any], scope: str = SCOPE) -> tuple[Launch, dict[str, Any]]:
    """An app that the EHR launched, and the answer of its token request."""
    created = await _created(server, body)
    assert created.status_code == 201, created.text
    app = await launch(server, scope)
    went = await app.authorize(launch=created.json()["launch"])
    answer = await app.exchange(await app.allow(went, ["laboratory"]))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return app, found


@pytest.mark.smart(352, 361, 362, 171)
async def test_an_app_that_the_ehr_launches_gets_its_patient_and_encounter(server: World) -> None:
    app, token = await _launched(server, {"patient": "ana", "encounter": "enc-1"})
    assert (token["patient"], token["encounter"]) == ("ana", "enc-1")
    assert {"launch", "launch/patient", "launch/encounter"} <= set(token["scope"].split(" "))
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert (await server.http.get("/fhir/Observation/lab0", headers=headers)).status_code == 200
    assert (await server.http.get("/fhir/Observation/bob0", headers=headers)).status_code == 404
    again = (await app.token(grant_type="refresh_token", refresh_token=token["refresh_token"])).json()
    assert (again["patient"], again["encounter"]) == ("ana", "enc-1")


@pytest.mark.smart(163)
async def test_context_that_the_app_wishes_and_the_ehr_has_not_is_left_out(server: World) -> None:
    _, token = await _launched(server, {"patient": "ana"})
    assert "launch/patient" in token["scope"].split(" ")
    assert {"encounter", "fhirContext", "intent", "smart_style_url", "tenant"}.isdisjoint(token)


@pytest.mark.smart(174, 175, 176, 194, 359, 360)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("need_patient_banner", True),
        ("need_patient_banner", False),
        ("intent", "reconcile-medications"),
        ("intent", "urn:anything, as the two agreed: 100 % {unread}"),
        ("smart_style_url", "https://ehr.example/styles.json?v=2"),
        ("tenant", "north-wing"),
    ],
)
async def test_what_the_ehr_says_stands_beside_the_token_as_it_is(server: World, name: str, value: object) -> None:
    _, token = await _launched(server, {"patient": "ana", name: value})
    assert token[name] == value
    assert type(token[name]) is type(value)
    # What an intent means is nobody's business here: it opens and closes nothing.
    _, plain = await _launched(server, {"patient": "ana"})
    assert token["scope"] == plain["scope"]


@pytest.mark.smart(172, 177, 179, 180, 181, 182, 183, 184, 186, 187, 189, 192)
@pytest.mark.parametrize(
    "items",
    [
        [{"reference": "ImagingStudy/i1"}],
        [{"reference": "ImagingStudy/i1"}, {"reference": "ImagingStudy/i2"}],
        [{"canonical": "https://ehr.example/Questionnaire/q"}],
        [{"canonical": "https://ehr.example/Questionnaire/q|1.2", "type": "Questionnaire"}],
        [{"identifier": {"system": "urn:x", "value": "1"}, "type": "ServiceRequest"}],
        [{"reference": "ServiceRequest/s1", "role": "launch"}],
        [{"reference": "Task/t1", "role": "https://ehr.example/role"}],
        [{"reference": "Task/t1", "role": "urn:x:role"}, {"reference": "Observation/o1", "role": "urn:x:role"}],
        [{"reference": "Patient/donor", "role": "https://ehr.example/donor"}],
        [{"reference": "Encounter/e2", "role": "https://ehr.example/earlier"}],
    ],
)
async def test_what_else_is_in_context_stands_in_fhir_context(server: World, items: list[dict[str, Any]]) -> None:
    _, token = await _launched(server, {"patient": "ana", "fhirContext": items})
    assert token["fhirContext"] == items
    assert token["patient"] == "ana"


@pytest.mark.smart(177, 178, 188, 190)
@pytest.mark.parametrize(
    "item",
    [
        {},
        {"type": "ImagingStudy"},
        {"role": "launch"},
        {"type": "ImagingStudy", "role": "https://ehr.example/role"},
        {"reference": "Patient/donor"},
        {"reference": "Patient/donor", "role": "launch"},
        {"reference": "Encounter/e2"},
        {"reference": "Encounter/e2", "role": "launch"},
        {"identifier": {"value": "1"}, "type": "Patient"},
        {"reference": "Task/t1", "role": ""},
        {"reference": "Task/t1", "role": "relative"},
        {"reference": "Task/t1", "role": "/relative"},
        {"reference": "Task/t1", "role": "//ehr.example/role"},
        {"reference": "Task/t1", "role": None},
    ],
)
async def test_an_item_of_fhir_context_that_may_not_be_is_not_taken(server: World, item: dict[str, Any]) -> None:
    good = {"reference": "ImagingStudy/i1"}
    assert (await _created(server, {"patient": "ana", "fhirContext": [good]})).status_code == 201
    assert (await _created(server, {"patient": "ana", "fhirContext": [good, item]})).status_code == 400
