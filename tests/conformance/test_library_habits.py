"""What client libraries send and expect on their own account, and the specifications allow them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.leaks.world import World


@pytest.mark.parametrize(
    "path", ["Observation/lab0", "Observation", "Observation/lab0/_history", "Patient/ana/$everything"]
)
@pytest.mark.parametrize("pretty", ["true", "false"])
async def test_asking_for_a_layout_changes_nothing(server: World, path: str, pretty: str) -> None:
    app = await server.app(["demographics", "laboratory"])
    plain, asked = await app.get(path), await app.get(f"{path}?_pretty={pretty}")
    assert (plain.status_code, asked.status_code) == (200, 200)
    assert asked.json() == plain.json()


@pytest.mark.parametrize("value", ["", "yes", "1"])
async def test_a_layout_that_is_none_is_refused(server: World, value: str) -> None:
    app = await server.app(["laboratory"])
    assert (await app.get(f"Observation/lab0?_pretty={value}")).status_code == 400


@pytest.mark.parametrize("path", ["Observation/lab0", "Observation?_id=lab0"])
async def test_the_resource_type_may_be_named_among_the_elements(server: World, path: str) -> None:
    app = await server.app(["laboratory"])
    joint = "&" if "?" in path else "?"
    found: dict[str, Any] = (await app.get(f"{path}{joint}_elements=id,resourceType,code")).json()
    shown = found["entry"][0]["resource"] if found["resourceType"] == "Bundle" else found
    assert (shown["resourceType"], shown["id"]) == ("Observation", "lab0")
    assert shown["code"]["coding"][0]["code"] == "718-7"
    assert "effectiveDateTime" not in shown


async def test_a_revocation_is_answered_with_json(server: World) -> None:
    app = await server.app(["laboratory"])
    answer = await server.http.post("/revoke", data={"token": "none of ours", "client_id": app.client_id})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    assert answer.headers["cache-control"] == "no-store"


async def test_the_address_that_the_id_token_names_can_be_searched_for(server: World) -> None:
    app = await server.app(["laboratory"])
    by_address = await app.ids("Observation?patient=http://127.0.0.1:8000/fhir/Patient/ana")
    assert by_address == await app.ids("Observation?patient=ana") != []
