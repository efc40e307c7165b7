"""`$explain` over HTTP: what the proxy does and `assent explain` prints, told to who may know, without data."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from policies.codes import ACT_REASON_SYSTEM, PARTICIPATION_SYSTEM
from tests.assent.commands import CommandLine
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, issues, recorder
from tests.conftest import MakeDatabase
from tests.leaks.service import service
from tests.leaks.world import World, observation, patient, world

UNSEEN = "NOBODY-MAY-SEE-THIS"
RESOURCES = [
    patient("ana", text={"status": "generated", "div": f"<div>{UNSEEN}</div>"}),
    patient("bob"),
    observation("lab0", note=[{"text": UNSEEN}], valueString=UNSEEN),
    observation("vital0", category="vital-signs"),
    observation("hiv0", code="75622-1"),
    observation("bob1", "bob"),
    observation("bob-hiv", "bob", code="75622-1"),
]


@dataclass(slots=True)
class Place:
    world: World
    clerk: RecorderClient
    assent: CommandLine


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    url, folder = await make_database(), tmp_path_factory.mktemp("explained")
    async with world(url, folder, RESOURCES) as running:
        yield Place(running, await recorder(running), CommandLine(url, folder))


def _told(answer: httpx.Response) -> dict[str, Any]:
    """The Parameters as `assent explain --json` has it."""
    assert answer.status_code == 200, answer.text
    assert UNSEEN not in answer.text
    content = answer.json()
    assert content["resourceType"] == "Parameters"
    told: dict[str, Any] = {"reasons": [], "removed": [], "masked": []}
    for parameter in content["parameter"]:
        parts = {part["name"]: next(v for k, v in part.items() if k != "name") for part in parameter.get("part", ())}
        if parameter["name"] == "reason":
            told["reasons"].append({"rule": parts["rule"], "text": parts["text"], "source": parts.get("source", "")})
        elif parameter["name"] == "element":
            told[parts["effect"]].append(parts["path"].partition(".")[2])
        else:
            told[parameter["name"]] = next(v for k, v in parameter.items() if k != "name")
    return told


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("resource=Observation/lab0", ("--read", "Observation/lab0")),
        ("resource=Observation/vital0", ("--read", "Observation/vital0")),
        ("resource=Observation/hiv0", ("--read", "Observation/hiv0")),
        ("resource=Observation/absent", ("--read", "Observation/absent")),
        ("resource=Patient/ana", ("--read", "Patient/ana")),
        ("interaction=search-type&type=Observation", ("--search", "Observation")),
        ("type=Observation&query=code%3D718-7", ("--search", "Observation?code=718-7")),
        ("type=Observation&query=note%3Dx", ("--search", "Observation?note=x")),
    ],
)
async def test_it_says_what_the_command_line_says(place: Place, query: str, arguments: tuple[str, str]) -> None:
    app = await place.world.app(["laboratory", "demographics"])
    consent_id = await app.consent_id()
    told = _told(await place.clerk.get(f"Consent/{consent_id}/$explain?{query}"))
    printed = json.loads((await place.assent.run("explain", "--consent", consent_id, *arguments, "--json")).stdout)
    assert {k: told[k] for k in ("decision", "reasons", "removed", "masked")} == {
        k: printed[k] for k in ("decision", "reasons", "removed", "masked")
    }
    assert (told["client"], told["purpose"]) == (app.client_id, "PATRQT")


async def test_both_say_that_a_binary_is_asked_about_by_its_document(place: Place) -> None:
    app = await place.world.app(["documents"])
    consent_id = await app.consent_id()
    told = await place.clerk.get(f"Consent/{consent_id}/$explain?resource=Binary/x")
    printed = await place.assent.run("explain", "--consent", consent_id, "--read", "Binary/x")
    assert (told.status_code, printed.exit_code) == (400, 2)
    assert "ask about that one" in told.json()["issue"][0]["diagnostics"]
    assert "ask about that one" in " ".join(printed.stderr.split())


async def test_it_decides_as_the_proxy_does_and_names_what_the_mask_takes(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    path = f"Consent/{await app.consent_id()}/$explain"
    for name in ("lab0", "vital0", "hiv0", "bob1"):
        told = _told(await place.clerk.get(f"{path}?resource=Observation/{name}"))
        shown = await app.get(f"Observation/{name}")
        assert (told["decision"] == "permit") == (shown.status_code == 200), name
    told = _told(await place.clerk.get(f"{path}?resource=Observation/lab0"))
    source = next(r for r in RESOURCES if r["id"] == "lab0")
    assert set(told["removed"]) == set(source) - set((await app.get("Observation/lab0")).json())
    rules = [reason["rule"] for reason in told["reasons"]]
    assert [rule for rule in ("scope", "category", "mask") if rule not in rules] == []
    assert f"Consent/{await app.consent_id()}/_history/1#provision" in [r["source"] for r in told["reasons"]]


@pytest.mark.parametrize("subject", ["bob", "ana"])
async def test_of_content_that_means_two_things_nothing_is_told(place: Place, subject: str) -> None:
    app = await place.world.app(["laboratory"])
    path = f"Consent/{await app.consent_id()}/$explain?resource=Observation/lab0"
    told = json.dumps(observation("lab0", subject))[:-1].encode() + b',"subject":{"reference":"Patient/ana"}}'
    with place.world.upstream.saying("/Observation/lab0", told):
        assert (await app.get("Observation/lab0")).status_code == 404
        found = _told(await place.clerk.get(path))
    assert (found["decision"], found["removed"], found["masked"]) == ("deny", [], [])


async def test_a_question_that_is_posted_is_answered_the_same(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    path = f"Consent/{await app.consent_id()}/$explain"
    asked = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "valueReference": {"reference": "Observation/lab0"}},
            {"name": "client", "valueString": app.client_id},
            {"name": "purpose", "valueCode": "PATRQT"},
        ],
    }
    posted = await place.clerk.send("POST", path, asked)
    query = f"resource=Observation/lab0&client={app.client_id}&purpose=PATRQT"
    assert _told(posted) == _told(await place.clerk.get(f"{path}?{query}"))


async def test_the_person_behind_the_app_may_be_named(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    role = {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP"}]}
    person = [{"role": role, "reference": {"reference": "Practitioner/d"}}]
    made = await place.clerk.created(consent({"type": "deny", "actor": person}))
    path = f"Consent/{await app.consent_id()}/$explain?resource=Observation/lab0"
    for user, decision in (("", "permit"), ("&user=Practitioner/d", "deny"), ("&user=Practitioner/e", "permit")):
        assert _told(await place.clerk.get(path + user))["decision"] == decision
    for user in ("Practitioner", "Observation/lab0", "Practitioner/d/_history/1", ""):
        assert (await place.clerk.get(f"{path}&user={user}")).status_code == 400, user
    assert (await place.clerk.send("DELETE", f"Consent/{made['id']}")).status_code == 204


async def test_the_provision_that_denies_is_named_by_its_path(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    deny = {"type": "deny", "class": category("laboratory"), "actor": grantee(app.client_id)}
    purposes = [{"system": ACT_REASON_SYSTEM, "code": "PATRQT"}]
    provision = {"type": "permit", "purpose": purposes, "provision": [{"type": "deny", "code": _CODE}, deny]}
    made = await place.clerk.created(consent(provision))
    told = _told(
        await place.clerk.get(f"Consent/{made['id']}/$explain?client={app.client_id}&resource=Observation/lab0")
    )
    assert told["decision"] == "deny"
    assert f"Consent/{made['id']}/_history/1#provision.provision[1]" in [r["source"] for r in told["reasons"]]
    assert (await app.get("Observation/lab0")).status_code == 404
    await place.clerk.send("DELETE", f"Consent/{made['id']}")
    assert (await place.clerk.get(f"Consent/{made['id']}/$explain?type=Observation")).status_code == 404


async def test_a_service_is_explained_by_what_names_it(place: Place) -> None:
    app = await service(place.world, {"bob": ["laboratory"]})
    path = f"Consent/{app.consents['bob']}/$explain"
    assert _told(await place.clerk.get(f"{path}?resource=Observation/bob1"))["decision"] == "permit"
    assert _told(await place.clerk.get(f"{path}?resource=Observation/bob-hiv"))["decision"] == "deny"
    await app.consent("bob", actor=None)
    told = _told(await place.clerk.get(f"{path}?client={app.client_id}&resource=Observation/bob1"))
    assert told["decision"] == "deny"
    assert (await app.get("Observation/bob1")).status_code == 404


async def test_a_service_gains_nothing_by_a_consent_that_names_nobody(place: Place) -> None:
    app = await service(place.world, {"bob": ["vital-signs"]})
    made = await place.clerk.created(
        consent({"type": "permit", "class": category("laboratory")}, patient={"reference": "Patient/bob"})
    )
    told = _told(await place.clerk.get(f"Consent/{app.consents['bob']}/$explain?resource=Observation/bob1"))
    assert told["decision"] == "deny"
    assert (await app.get("Observation/bob1")).status_code == 404
    await place.clerk.send("DELETE", f"Consent/{made['id']}")


async def test_of_another_patients_resource_not_even_the_kind_is_told(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    path = f"Consent/{await app.consent_id()}/$explain?resource=Observation"
    others, absent = [(await place.clerk.get(f"{path}/{name}")) for name in ("bob-hiv", "absent")]
    assert _told(others) == _told(absent)


async def test_a_gateway_asks_about_types_only(place: Place) -> None:
    gateway = await recorder(place.world, "assent/introspect")
    app = await place.world.app(["laboratory"])
    path = f"Consent/{await app.consent_id()}"
    assert _told(await gateway.get(f"{path}/$explain?type=Observation"))["decision"] == "permit"
    refused = await gateway.get(f"{path}/$explain?resource=Observation/lab0")
    assert (refused.status_code, issues(refused)) == (403, [("forbidden", ())])
    assert (await gateway.get(path)).status_code in (403, 404)


async def test_who_is_no_recorder_or_gateway_is_not_told(place: Place) -> None:
    app = await place.world.app(["laboratory", "sharing-record"], scope="launch/patient patient/*.rs")
    path = f"/fhir/Consent/{await app.consent_id()}/$explain?type=Observation"
    writer = await recorder(place.world, "assent/consents.c")
    assert (await place.world.http.get(path)).status_code == 401
    assert (await app.get(path.removeprefix("/fhir/"))).status_code == 501
    assert (await writer.get(path.removeprefix("/fhir/"))).status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        *("", "type=Nonsense", "type=Observation&resource=Patient/ana", "resource=Observation", "resource=/x"),
        *("resource=http://x/Observation/1", "type=Observation&interaction=erase", "type=Observation&nonsense=1"),
        *("type=Observation&type=Patient", "resource=Observation/lab0&interaction=search-type"),
        *("type=Observation&interaction=read&query=x%3D1", "type=Observation&client=nobody"),
        *("resource=Observation/lab0&interaction=create", "resource=Observation/lab0&interaction=vread"),
        *("resource=Observation/lab0&interaction=$everything", "type=Observation/lab0"),
        *("resource=Observation/lab0/_history/1&interaction=update", "resource=Binary/b&interaction=delete"),
        *("type=Observation&query=%2500%3D1", "type=Observation&query=a"),
    ],
)
async def test_a_question_that_is_not_well_put_is_refused(place: Place, query: str) -> None:
    app = await place.world.app(["laboratory"])
    answer = await place.clerk.get(f"Consent/{await app.consent_id()}/$explain?{query}")
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((b"", 400), (b"[]", 400), ({"resourceType": "Patient"}, 400), ({"resourceType": "Parameters"}, 400)),
        ({"resourceType": "Parameters", "parameter": {"name": "type"}}, 400),
        ({"resourceType": "Parameters", "parameter": ["x"]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "type"}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": 3}]}, 400),
        ({"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "a", "valueString": "b"}]}, 400),
        (b" " * 20_000, 413),
    ],
    ids=str,
)
async def test_a_posted_question_that_is_none_is_refused(place: Place, body: object, status: int) -> None:
    app = await place.world.app(["laboratory"])
    answer = await place.clerk.send("POST", f"Consent/{await app.consent_id()}/$explain", body)
    assert answer.status_code == status, answer.text


async def test_a_consent_that_names_no_app_needs_to_be_told_which(place: Place) -> None:
    made = await place.clerk.created(consent({"type": "deny", "class": category("laboratory")}))
    answer = await place.clerk.get(f"Consent/{made['id']}/$explain?type=Observation")
    assert (answer.status_code, issues(answer)) == (400, [("required", ())])
    await place.clerk.send("DELETE", f"Consent/{made['id']}")


_CODE = [{"coding": [{"system": "http://loinc.org", "code": "1-1"}]}]


async def test_a_prescription_is_decided_with_the_medication_that_it_refers_to(place: Place) -> None:
    methadone = {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6813"}]}
    request = {
        "resourceType": "MedicationRequest",
        "id": "referring",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/ana"},
        "medicationReference": {"reference": "Medication/methadone"},
    }
    medicine = {"resourceType": "Medication", "id": "methadone", "code": methadone}
    await place.world.upstream.write([medicine, request])
    app = await place.world.app(["medications"])
    consent_id = await app.consent_id()
    told = _told(await place.clerk.get(f"Consent/{consent_id}/$explain?resource=MedicationRequest/referring"))
    asked = ("--consent", consent_id, "--read", "MedicationRequest/referring", "--json")
    printed = json.loads((await place.assent.run("explain", *asked)).stdout)
    assert (told["decision"], printed["decision"]) == ("deny", "deny")
    assert "category/substance-use" in [reason["source"] for reason in told["reasons"]]
    assert (await app.get("MedicationRequest/referring")).status_code == 404
