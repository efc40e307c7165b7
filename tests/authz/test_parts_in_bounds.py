"""Parts of a category where more than a page decides: bounds of a token, services, consents from elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from authz.consents.recorded_consents import NotRecordable
from smart.consent_details import TYPE
from tests.authz.consent_recorder import category, consent, grantee, recorder
from tests.authz.test_parts_of_a_type import DIAGNOSES, HL7, RESOURCES, SCOPE, WHOLE
from tests.conformance.launching import launch
from tests.conftest import MakeDatabase
from tests.leaks.service import service
from tests.leaks.world import App, World, world

SEEN = {"diagnosis", "both"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(await make_database(), tmp_path_factory.mktemp("bounds"), RESOURCES) as running:
        yield running


async def _seen(app: App) -> set[str]:
    return {id.removeprefix("Condition/") for id in await app.ids("Condition?patient=ana")}


def _codes(token: Any) -> list[str]:
    (element,) = token["authorization_details"]
    return list(element["categories"])


@pytest.mark.parametrize(("bound", "shared"), [("visit-diagnoses", "conditions"), ("conditions", "visit-diagnoses")])
async def test_a_token_has_the_part_that_its_bound_and_the_consent_have_in_common(
    here: World, bound: str, shared: str
) -> None:
    asked = await launch(here, SCOPE)
    details = json.dumps([{"type": TYPE, "categories": [bound]}])
    answer = await asked.exchange(await asked.allow(await asked.authorize(authorization_details=details), [shared]))
    app = App(here, asked.client_id, answer.json())
    for _ in range(2):
        assert _codes(app.token) == ["visit-diagnoses"]
        assert [s for s in app.token["scope"].split() if "Condition" in s] == [DIAGNOSES]
        assert await _seen(app) == SEEN
        assert (await app.get("Condition/problem")).status_code == 404
        await app.renew()


async def test_a_token_for_a_part_of_its_grant_says_that_part_in_its_details(here: World) -> None:
    asked = await launch(here, SCOPE)
    details = json.dumps([{"type": TYPE, "categories": ["conditions", "visit-diagnoses"]}])
    code = await asked.allow(await asked.authorize(authorization_details=details), ["conditions"])
    whole = (await asked.exchange(code)).json()
    assert _codes(whole) == ["conditions"]
    form = {"grant_type": "refresh_token", "client_id": asked.client_id, "scope": DIAGNOSES}
    answer = await here.http.post("/token", data=form | {"refresh_token": whole["refresh_token"]})
    assert (answer.status_code, answer.json()["scope"]) == (200, DIAGNOSES)
    assert _codes(answer.json()) == ["visit-diagnoses"]


async def test_details_cant_name_a_part_for_which_the_scopes_dont_ask(here: World) -> None:
    asked = await launch(here, f"launch/patient {DIAGNOSES}")
    details = json.dumps([{"type": TYPE, "categories": ["problem-list"]}])
    answer = await asked.authorize(authorization_details=details)
    assert "error=invalid_authorization_details" in answer.headers["location"]


async def test_a_service_gets_the_part_that_a_patient_named(here: World) -> None:
    app = await service(here, {"ana": ["visit-diagnoses"]})
    assert await _seen(app) == SEEN
    assert (await app.get("Condition/neither")).status_code == 404


async def test_a_service_registered_for_a_part_is_given_no_more(here: World) -> None:
    app = await service(here, {}, registered=f"system/Condition.rs?category={HL7}|encounter-diagnosis")
    with pytest.raises(NotRecordable, match="`conditions` is no category that the service's scopes reach"):
        await app.shared_by("ana", ["conditions"])
    await app.shared_by("ana", ["visit-diagnoses"])
    assert await _seen(app) == SEEN


@pytest.mark.parametrize(
    ("shared", "denied", "seen"),
    [
        ("conditions", "visit-diagnoses", {"problem", "concern", "neither"}),
        ("conditions", "conditions", set()),
        ("visit-diagnoses", "conditions", set()),
        ("visit-diagnoses", "problem-list", {"diagnosis"}),
    ],
)
async def test_a_deny_from_elsewhere_counts_for_the_part_or_the_whole_that_it_names(
    here: World, shared: str, denied: str, seen: set[str]
) -> None:
    app = await here.app([shared, "demographics"], scope=SCOPE)
    clerk = await recorder(here)
    deny = {"type": "deny", "actor": grantee(app.client_id), "class": category(denied)}
    made = await clerk.created(consent(deny))
    try:
        for name in ("problem", "diagnosis", "concern", "both", "neither"):
            assert (await app.get(f"Condition/{name}")).status_code == (200 if name in seen else 404)
        assert await _seen(app) == seen
        await app.renew()
        left = {s for s in app.token["scope"].split() if "Condition" in s}
        expected = {WHOLE} if seen and shared == "conditions" else {DIAGNOSES} if seen else set()
        assert left == expected
    finally:
        await clerk.send("DELETE", f"Consent/{made['id']}")
