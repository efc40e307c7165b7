"""In which formats `/fhir/Consent` is spoken to: FHIRPath Patch beside JSON Patch, R4 alone, JSON alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, issues, recorder
from tests.conftest import MakeDatabase
from tests.leaks.world import World, observation, patient, world

DOCUMENT = Path(__file__).parents[2] / "docs" / "consents-api.md"
FHIR = "application/fhir+json"
R5 = f"{FHIR}; fhirVersion=5.0"
IN_R5 = {
    "resourceType": "Consent",
    "status": "active",
    "subject": {"reference": "Patient/ana"},
    "decision": "permit",
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana"), patient("bob"), observation("lab0")]
    async with world(await make_database(), tmp_path_factory.mktemp("formats"), people) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


def operation(type: str, path: str, **more: Any) -> dict[str, Any]:
    """An operation of FHIRPath Patch; `value` is the part without its name."""
    given = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in more.items():
        kind = "valueString" if name == "name" else "valueInteger"
        given.append({"name": name, **(value if name == "value" else {kind: value})})
    return {"name": "operation", "part": given}


END = operation("replace", "Consent.status", value={"valueCode": "inactive"})


async def patch(clerk: RecorderClient, path: str, *operations: object, **headers: str) -> httpx.Response:
    body = {"resourceType": "Parameters", "parameter": list(operations)}
    return await clerk.send("PATCH", path, body, headers={"Content-Type": FHIR, **headers})


async def test_a_fhirpath_patch_makes_the_next_version_with_its_provenance(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    exception = {"part": [{"name": "type", "valueCode": "deny"}, {"name": "class", "valueCoding": category("hiv")[0]}]}
    answer = await patch(
        clerk,
        path,
        operation("add", "Consent.provision", name="provision", value=exception),
        operation("insert", "Consent.category", index=0, value={"valueCodeableConcept": {"coding": [{"code": "a"}]}}),
        operation("move", "Consent.category", source=0, destination=1),
        operation("delete", "Consent.dateTime"),
        **{"If-Match": 'W/"1"'},
    )
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"'), answer.text
    assert answer.json()["provision"]["provision"] == [{"type": "deny", "class": category("hiv")}]
    assert [c["coding"][0]["code"] for c in answer.json()["category"]] == ["59284-0", "a"]
    assert "dateTime" not in answer.json()
    assert (await clerk.get(path)).content == answer.content
    told = (await clerk.get(f"Provenance?target={path}")).json()["entry"]
    assert len(told) == 2


async def test_the_patch_in_the_documents_works(clerk: RecorderClient) -> None:
    made = await clerk.created(consent())
    (block,) = re.findall(r"^```json\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    answer = await clerk.send("PATCH", f"Consent/{made['id']}", block.encode(), headers={"Content-Type": FHIR})
    assert answer.status_code == 200, answer.text
    assert answer.json()["provision"]["provision"] == [{"type": "deny", "class": category("hiv")}]


async def test_ending_a_consent_by_a_fhirpath_patch_ends_the_apps_tokens(here: World, clerk: RecorderClient) -> None:
    app = await here.app(["laboratory"])
    assert (await app.get("Observation/lab0")).status_code == 200
    assert (await patch(clerk, f"Consent/{await app.consent_id()}", END)).status_code == 200
    assert (await app.get("Observation/lab0")).status_code == 401


async def test_a_fhirpath_patch_by_criteria_changes_the_only_match(clerk: RecorderClient) -> None:
    await clerk.created(consent(identifier=[{"system": "urn:paper", "value": "f-1"}]))
    answer = await patch(clerk, "Consent?identifier=urn:paper|f-1", END)
    assert (answer.status_code, answer.json()["status"]) == (200, "inactive")


@pytest.mark.parametrize(
    ("given", "status", "code", "expression"),
    [
        (operation("replace", "Consent.id", value={"valueString": "x"}), 400, "invalid", "Consent.id"),
        (
            operation("replace", "Consent.patient", value={"valueReference": {"reference": "Patient/bob"}}),
            *(422, "business-rule", "Consent.patient"),
        ),
        (
            operation("replace", "Consent.patient.reference", value={"valueString": "Patient/bob"}),
            *(422, "business-rule", "Consent.patient"),
        ),
        (operation("delete", "Consent.scope"), 400, "required", "Consent.scope"),
        (operation("delete", "Consent.provision.type"), 422, "not-supported", "Consent.provision.type"),
        (operation("replace", "Consent.status", value={"valueCode": "asleep"}), 422, "code-invalid", "Consent.status"),
        (
            operation(
                "add", "Consent", name="modifierExtension", value={"part": [{"name": "url", "valueUri": "urn:x"}]}
            ),
            *(422, "not-supported", "Consent.modifierExtension"),
        ),
        (operation("replace", "Consent.status", value={"valueString": "x"}), 422, "value", "Parameters.parameter[0]"),
        (
            operation("add", "Consent", name="decision", value={"valueCode": "x"}),
            422,
            "processing",
            "Parameters.parameter[0]",
        ),
        (operation("delete", "Consent.descendants()"), 422, "not-supported", "Parameters.parameter[0]"),
        (operation("delete", "Patient.name"), 422, "processing", "Parameters.parameter[0]"),
        (operation("copy", "Consent.status"), 400, "structure", "Parameters.parameter[0]"),
    ],
    ids=str,
)
async def test_a_fhirpath_patch_passes_no_guard(
    clerk: RecorderClient, given: object, status: int, code: str, expression: str
) -> None:
    made = await clerk.created(consent())
    answer = await patch(clerk, f"Consent/{made['id']}", given)
    assert answer.status_code == status, answer.text
    assert (code, (expression,)) in issues(answer)
    assert (await clerk.get(f"Consent/{made['id']}")).json() == made


async def test_a_fhirpath_patch_cant_name_the_recorder_nor_end_what_names_it(
    here: World, clerk: RecorderClient
) -> None:
    made = await clerk.created(consent())
    me = grantee(clerk.client_id)[0]
    actor = [
        {"name": "role", "valueCodeableConcept": me["role"]},
        {"name": "reference", "valueReference": me["reference"]},
    ]
    own = operation("add", "Consent.provision", name="actor", value={"part": actor})
    assert (await patch(clerk, f"Consent/{made['id']}", own)).status_code == 403
    other = await recorder(here)
    about = await other.created(consent({"type": "deny", "actor": grantee(clerk.client_id)}))
    assert (await patch(clerk, f"Consent/{about['id']}", END)).status_code == 403


async def test_a_where_asks_what_stands_there_so_it_takes_the_right_to_read(here: World, clerk: RecorderClient) -> None:
    made = await clerk.created(consent(identifier=[{"system": "urn:a", "value": "1"}]))
    writer = await recorder(here, "assent/consents.u")
    asking = operation("delete", "Consent.identifier.where(value = '1').system")
    assert (await patch(writer, f"Consent/{made['id']}", asking)).status_code == 403
    assert (await patch(clerk, f"Consent/{made['id']}", asking)).status_code == 200
    answer = await patch(writer, f"Consent/{made['id']}", END)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_fhirpath_patches_at_once_are_all_kept_or_told(clerk: RecorderClient) -> None:
    path = f"Consent/{(await clerk.created(consent()))['id']}"
    more = [
        operation("add", "Consent", name="category", value={"valueCodeableConcept": {"coding": [{"code": f"c{n}"}]}})
        for n in range(6)
    ]
    answers = await asyncio.gather(*(patch(clerk, path, one) for one in more))
    assert {a.status_code for a in answers} == {200}
    assert len((await clerk.get(path)).json()["category"]) == 7
    answers = await asyncio.gather(*(patch(clerk, path, one, **{"If-Match": 'W/"7"'}) for one in more))
    assert sorted(a.status_code for a in answers) == [200, *[412] * 5]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    "kind", [R5, f"{FHIR};fhirVersion=5.0;charset=utf-8", f'{FHIR}; fhirVersion="5.0"', f"{FHIR}; fhirVersion=3.0"]
)
async def test_a_body_in_another_release_is_refused_by_name(clerk: RecorderClient, method: str, kind: str) -> None:
    made = await clerk.created(consent())
    path = "Consent" if method == "POST" else f"Consent/{made['id']}"
    for body in (IN_R5, made):
        answer = await clerk.send(method, path, body, headers={"Content-Type": kind})
        assert (answer.status_code, issues(answer)) == (415, [("not-supported", ())])
        assert "R4" in answer.text
    assert (await clerk.get(f"Consent/{made['id']}")).json() == made


@pytest.mark.parametrize(
    "kind",
    [
        *(FHIR, f"{FHIR}; fhirVersion=4.0", f"{FHIR};charset=UTF-8;fhirVersion=4.0", f'{FHIR}; fhirVersion="4.0"'),
        *("application/json; fhirVersion=4.0; charset=utf-8", f"{FHIR};", "Application/FHIR+JSON"),
    ],
)
async def test_r4_in_utf_8_is_taken_however_the_type_is_written(clerk: RecorderClient, kind: str) -> None:
    assert (await clerk.send("POST", "Consent", consent(), headers={"Content-Type": kind})).status_code == 201


@pytest.mark.parametrize(
    "kind", [f"{FHIR};charset=utf-8;charset=latin-1", f"{FHIR};fhirVersion=4.0;fhirVersion=5.0", f"{FHIR};x=y"]
)
async def test_a_type_that_says_two_things_or_an_unknown_one_is_refused(clerk: RecorderClient, kind: str) -> None:
    assert (await clerk.send("POST", "Consent", consent(), headers={"Content-Type": kind})).status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/fhir+xml", "application/xml", "text/xml", "application/fhir+xml; fhirVersion=4.0"]
)
async def test_xml_is_neither_taken_nor_given(clerk: RecorderClient, kind: str) -> None:
    made = await clerk.created(consent())
    path = f"Consent/{made['id']}"
    for method, where in (("POST", "Consent"), ("PUT", path), ("PATCH", path)):
        answer = await clerk.send(
            method, where, b"<Consent xmlns='http://hl7.org/fhir'/>", headers={"Content-Type": kind}
        )
        assert (answer.status_code, answer.headers["content-type"]) == (415, f"{FHIR}; charset=utf-8"), method
    for where in (path, "Consent?patient=ana", f"{path}/_history", "Provenance"):
        answer = await clerk.get(where, Accept=kind)
        assert (answer.status_code, issues(answer)) == (406, [("not-supported", ())])
    assert (await clerk.get(f"{path}?_format=xml")).status_code == 406
    assert (await clerk.send("POST", "Consent", consent(), headers={"Accept": kind})).status_code == 406
    assert (await clerk.get(path)).json() == made


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        *(("*/*", 200), (FHIR, 200), (f"{FHIR}; fhirVersion=4.0", 200), (f"application/fhir+xml, {FHIR};q=0.1", 200)),
        *((R5, 406), (f"{R5}, application/fhir+xml", 406), (f"{R5}, {FHIR}; fhirVersion=4.0", 200), ("text/html", 406)),
    ],
)
async def test_what_is_accepted_is_json_of_r4(here: World, clerk: RecorderClient, accept: str, status: int) -> None:
    made = await clerk.created(consent())
    assert (await clerk.get(f"Consent/{made['id']}", Accept=accept)).status_code == status
    app = await here.app(["laboratory"])
    assert (await app.get("Observation/lab0", Accept=accept)).status_code == status
