"""RFC 8707: there is one resource, the FHIR base, and who asks for a token for another gets none."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conformance.launching import FHIR_BASE, launch
from tests.leaks.world import ISSUER, World

OTHERS = ["https://elsewhere.example/fhir", ISSUER, f"{FHIR_BASE}/Patient", "fhir", "\x7f", "https://[::"]


@pytest.mark.parametrize("resource", [FHIR_BASE, f"{FHIR_BASE}/"])
async def test_the_fhir_base_may_be_named_at_every_step(server: World, resource: str) -> None:
    begun = await launch(server, "launch/patient offline_access patient/*.rs")
    returned = await begun.allow(await begun.authorize(resource=resource), ["laboratory"])
    tokens = (await begun.exchange(returned, resource=resource)).json()
    answer = await begun.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], resource=resource)
    assert answer.status_code == 200


@pytest.mark.parametrize("resource", OTHERS)
async def test_an_authorization_request_for_another_resource_is_refused(server: World, resource: str) -> None:
    begun = await launch(server)
    answer = await begun.authorize(resource=resource)
    assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == ["invalid_target"]
    pushed = await begun.push(resource=resource)
    assert (pushed.status_code, pushed.json()["error"]) == (400, "invalid_target")


@pytest.mark.parametrize("resource", OTHERS)
async def test_a_token_for_another_resource_is_refused_and_nothing_is_used_up(server: World, resource: str) -> None:
    begun = await launch(server, "launch/patient offline_access patient/*.rs")
    returned = await begun.allow(await begun.authorize(), ["laboratory"])
    refused = await begun.exchange(returned, resource=resource)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    tokens = (await begun.exchange(returned)).json()
    refreshing = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refused = await begun.token(**refreshing, resource=resource)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    assert (await begun.token(**refreshing)).status_code == 200
