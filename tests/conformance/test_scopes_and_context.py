"""SMART 2.2, "Scopes and launch context": what scopes open, and what stands beside the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.authorize.asked_categories import asked_categories
from authz.sign_in.accounts import Account, ActsFor, add_account
from tests.conformance.launching import Launch, launch, register
from tests.leaks.world import App, World

LABS = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.smart(119)
async def test_a_scope_opens_nothing_that_the_person_did_not_allow(server: World) -> None:
    app = await (await launch(server, "launch/patient patient/*.cruds")).app(["vital-signs"])
    assert (await app.get("Observation/vital0")).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 404
    assert (await app.get("Condition/flu")).status_code == 403


@pytest.mark.smart(128, 369)
async def test_a_v1_read_scope_means_reading_and_searching(server: World) -> None:
    app = await (await launch(server, "launch/patient patient/Observation.read")).app(["laboratory", "vital-signs"])
    assert (await app.get("Observation/lab0")).status_code == 200
    assert sorted(await app.ids("Observation")) == ["Observation/lab0", "Observation/vital0"]


@pytest.mark.smart(127)
async def test_who_asks_in_v1_scopes_is_answered_in_v1_scopes_where_they_are_granted_whole(server: World) -> None:
    everything = [c.code for c in server.assent.authz.catalogue.everyday]
    scope = "launch/patient offline_access patient/Observation.read patient/Condition.rs"
    asked = await launch(server, scope)
    app = await asked.app(everything)
    assert app.token["scope"] == scope
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"]}
    assert (await asked.token(**form)).json()["scope"] == scope
    part = await asked.app(["laboratory"])
    assert part.token["scope"] == f"launch/patient offline_access patient/Observation.rs?category={LABS}"


@pytest.mark.smart(370)
async def test_a_v2_scope_with_a_search_parameter_opens_what_it_finds(server: World) -> None:
    asked = await launch(server, f"launch/patient patient/Observation.rs?category={LABS}")
    app = await asked.app(["laboratory", "vital-signs"])
    assert await app.ids("Observation") == ["Observation/lab0"]
    assert (await app.get("Observation/vital0")).status_code == 404


@pytest.mark.smart(129)
@pytest.mark.parametrize("odd", ["patient/Observation.sr", "patient/Observation.rx", "patient/Observation.rrs"])
async def test_a_scope_with_letters_out_of_order_is_left_out(server: World, odd: str) -> None:
    app = await (await launch(server, f"launch/patient patient/Condition.rs {odd}")).app(["conditions", "laboratory"])
    assert app.token["scope"] == "launch/patient patient/Condition.rs"
    assert (await app.get("Observation/lab0")).status_code == 403


@pytest.mark.smart(130)
async def test_each_entry_of_a_batch_is_checked_like_a_request_of_its_own(server: World) -> None:
    app = await (await launch(server, "launch/patient patient/Observation.r")).app(["laboratory"])
    bearer = {"Authorization": f"Bearer {app.token['access_token']}"}
    urls = ("Observation/lab0", "Observation?_id=lab0", "Condition/flu", "Observation/bob0")
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    answer = await server.http.post("/fhir", json=bundle, headers=bearer)
    alone = [(await app.get(url)).status_code for url in urls]
    assert [int(entry["response"]["status"][:3]) for entry in answer.json()["entry"]] == alone == [200, 403, 403, 404]
    bundle["type"] = "transaction"
    refused = await server.http.post("/fhir", json=bundle, headers=bearer)
    assert refused.status_code == 405
    assert "lab0" not in refused.text


@pytest.mark.smart(123)
async def test_updates_are_refused(server: World) -> None:
    app = await (await launch(server, "launch/patient patient/*.cruds")).app(["laboratory"])
    bearer = {"Authorization": f"Bearer {app.token['access_token']}"}
    update = await server.http.put("/fhir/Observation/new", json={"resourceType": "Observation"}, headers=bearer)
    assert update.status_code == 405


@pytest.mark.smart(136, 164, 170)
async def test_patient_scopes_are_held_to_the_patient_that_the_token_names(server: World) -> None:
    app = await (await launch(server, "launch/patient patient/Observation.rs")).app(["laboratory", "vital-signs"])
    assert app.token["patient"] == "ana"
    assert sorted(await app.ids("Observation")) == ["Observation/lab0", "Observation/vital0"]
    assert (await app.get("Observation/bob0")).status_code == 404
    assert (await app.get("Observation/lab0")).json()["subject"]["reference"] == "Patient/ana"


@pytest.mark.smart(138)
async def test_of_what_a_result_points_to_the_directory_is_open_and_types_outside_of_the_categories_are_not(
    server: World,
) -> None:
    app = await (await launch(server)).app(["laboratory"])
    assert (await app.get("Practitioner/doc")).status_code == 200
    assert (await app.get("MolecularSequence/dna")).status_code == 403
    assert await app.ids("Observation?_id=lab0&_include=Observation:performer") == [
        "Observation/lab0",
        "Practitioner/doc",
    ]


@pytest.mark.smart(139)
async def test_a_link_between_patients_opens_nothing_and_the_documents_say_so(server: World) -> None:
    app = await (await launch(server)).app(["demographics", "laboratory"])
    assert (await app.get("Patient/ana")).status_code == 200
    assert (await app.get("Patient/bob")).status_code == 404
    assert (await app.get("Observation/bob0")).status_code == 404
    assert (await app.get("Patient?_include=Patient:link")).status_code == 403
    assert "`Patient.link`" in (DOCS / "apps.md").read_text()


@pytest.mark.smart(140, 350, 368)
async def test_user_scopes_open_what_the_person_may_see_and_the_patient_allowed(server: World) -> None:
    nurse = Account("", "nurse", "Nurse", "Practitioner/nurse", "clinician", (ActsFor("ana", "Ana", own=False),))
    async with server.assent.engine.begin() as connection:
        account = await add_account(connection, nurse, "-", server.assent.authz.clock())
    for account_of_app in (None, account):
        asked = await launch(server, "launch/patient user/Observation.rs")
        asked.account = account_of_app
        app = await asked.app(["laboratory"])
        assert await app.ids("Observation") == ["Observation/lab0"]
        assert (await app.get("Observation/bob0")).status_code == 404
        assert (await app.get("Condition/flu")).status_code == 403


@pytest.mark.smart(144, 114)
async def test_a_wildcard_granted_whole_opens_every_type(server: World) -> None:
    everything = [c.code for c in server.assent.authz.catalogue.everyday]
    app = await (await launch(server, "launch/patient patient/*.rs")).app(everything)
    assert "patient/*.rs" in app.token["scope"].split(" ")
    for name in ("Observation/lab0", "Observation/vital0", "Condition/flu", "Patient/ana"):
        assert (await app.get(name)).status_code == 200
    for kind in server.assent.authz.catalogue.scopes_by_type:
        assert (await app.get(kind)).status_code == 200, kind


@pytest.mark.smart(149, 167, 168, 169, 363, 83)
async def test_a_patient_stands_beside_the_token_when_it_was_asked_for_and_not_otherwise(server: World) -> None:
    asked = await (await launch(server, "openid launch/patient patient/Observation.rs")).app(["laboratory"])
    assert asked.token["patient"] == "ana"
    plain = await (await launch(server, "openid")).app([])
    assert "patient" not in plain.token
    assert "need_patient_banner" not in plain.token


@pytest.mark.smart(159, 160)
@pytest.mark.parametrize("role", ["https://app.example/roles/proband", "sibling", ""])
async def test_a_launch_scope_with_a_role_gets_the_context_of_its_type(server: World, role: str) -> None:
    asked = await launch(server, f"launch/patient?role={role} launch/imagingstudy?role=x patient/Observation.rs")
    app = await asked.app(["laboratory"])
    assert app.token["patient"] == "ana"
    assert app.token["scope"].split(" ")[0] == "launch/patient"
    assert "role" not in app.token["scope"]


@pytest.mark.smart(164, 165)
async def test_a_patient_scope_without_a_launch_scope_gets_a_patient_all_the_same(server: World) -> None:
    app = await (await launch(server, "patient/Observation.rs")).app(["laboratory"])
    assert app.token["patient"] == "ana"
    assert (await app.get("Observation/lab0")).status_code == 200


@pytest.mark.smart(173)
async def test_whether_a_patient_banner_is_needed_is_a_boolean(server: World) -> None:
    app = await (await launch(server)).app(["laboratory"])
    assert app.token["need_patient_banner"] is True


@pytest.mark.smart(154)
@pytest.mark.parametrize("scope", ["launch/imagingstudy", "launch/practitioner"])
async def test_launch_scopes_for_other_types_are_left_out(server: World, scope: str) -> None:
    app = await (await launch(server, f"launch/patient patient/Observation.rs {scope}")).app(["laboratory"])
    assert scope not in app.token["scope"].split(" ")
    assert "fhirContext" not in app.token


async def test_an_app_that_asks_for_more_than_it_is_registered_for_gets_what_it_is_registered_for(
    server: World,
) -> None:
    everything = [c.code for c in server.assent.authz.catalogue.everyday]
    registered = "launch/patient offline_access patient/Observation.rs patient/Patient.r"
    client_id, _ = await register(server, scope=registered)
    asked = Launch(server, client_id, None, "launch/patient offline_access patient/*.rs")
    app = await asked.app(everything)
    assert app.token["scope"] == "launch/patient offline_access patient/Observation.rs patient/Patient.r"
    statuses = [(await app.get(name)).status_code for name in ("Observation/lab0", "Patient/ana", "Condition/flu")]
    assert statuses == [200, 200, 403]
    asked_of_the_person = asked_categories(app.token["scope"], server.assent.authz.catalogue)
    assert {"laboratory", "demographics"} <= set(asked_of_the_person)
    assert not {"conditions", "medications"} & set(asked_of_the_person)


async def test_a_refresh_may_ask_for_one_type_of_a_wildcard_that_was_granted_whole(server: World) -> None:
    everything = [c.code for c in server.assent.authz.catalogue.everyday]
    asked = await launch(server, "launch/patient offline_access patient/*.rs")
    app = await asked.app(everything)
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"]}
    less = await asked.token(**form, scope="patient/Condition.rs")
    assert (less.status_code, less.json()["scope"]) == (200, "patient/Condition.rs")
    narrow = App(server, asked.client_id, less.json())
    assert [(await narrow.get(name)).status_code for name in ("Condition/flu", "Observation/lab0")] == [200, 403]
