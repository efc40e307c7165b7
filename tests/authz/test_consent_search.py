"""Searching consents as a recorder: every parameter that is offered, by GET and POST, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from policies.codes import ACT_REASON_SYSTEM
from tests.authz.consent_recorder import RecorderClient, consent, grantee, issues, recorder
from tests.conftest import MakeDatabase
from tests.leaks.twins import next_link
from tests.leaks.world import patient, world

MRN = "urn:mrn"
TREATMENT = {"system": ACT_REASON_SYSTEM, "code": "TREAT"}
RESTRICTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
STUDY = {"coding": [{"system": "urn:kinds", "code": "study"}]}
KEPT = {
    "plain": consent(dateTime="2026-01-01"),
    "app": consent({"type": "permit", "actor": grantee("app")}, dateTime="2026-02-02"),
    "purpose": consent({"type": "permit", "purpose": [TREATMENT]}, dateTime="2026-03-03"),
    "label": consent({"type": "deny", "securityLabel": [RESTRICTED]}, dateTime="2026-04-04"),
    "period": consent(
        {"type": "permit", "period": {"start": "2030-01-01", "end": "2030-12-31"}}, dateTime="2026-05-05"
    ),
    "study": consent(category=[STUDY], dateTime="2026-06-06"),
    "ended": consent(status="inactive", dateTime="2026-07-07"),
    "bob": consent(patient={"reference": "Patient/bob"}, dateTime="2026-08-08"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RecorderClient]:
    people = [
        patient("ana", identifier=[{"system": MRN, "value": "A1"}]),
        patient("bob", identifier=[{"system": MRN, "value": "B2"}]),
        patient("eve", identifier=[{"system": MRN, "value": "E3"}]),
    ]
    async with world(await make_database(), tmp_path_factory.mktemp("searched"), people) as running:
        acting = await recorder(running)
        for name, one in KEPT.items():
            await acting.created({**one, "identifier": [{"system": "urn:name", "value": name}]})
        yield acting


async def _names(clerk: RecorderClient, url: str) -> list[str]:
    found: list[str] = []
    for _ in range(20):
        answer = await clerk.get(url)
        assert answer.status_code == 200, answer.text
        found += [e["resource"]["identifier"][0]["value"] for e in answer.json().get("entry", ())]
        link = next_link(answer)
        if link is None:
            return found
        url = link
    raise AssertionError("the pages don't end")


ANAS = {"plain", "app", "purpose", "label", "period", "study", "ended"}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("patient=ana", ANAS),
        ("patient=Patient/bob", {"bob"}),
        ("patient=nobody", set()),
        (f"patient.identifier={MRN}|B2", {"bob"}),
        (f"patient:Patient.identifier={MRN}|A1&status=inactive", {"ended"}),
        (f"patient.identifier={MRN}|E3", set()),
        (f"patient.identifier={MRN}|none", set()),
        ("status=inactive", {"ended"}),
        ("status=inactive,active&patient=bob", {"bob"}),
        ("actor:identifier=urn:assent:client|app", {"app"}),
        (f"purpose={ACT_REASON_SYSTEM}|TREAT", {"purpose"}),
        ("purpose=TREAT", {"purpose"}),
        ("security-label=R", {"label"}),
        ("period=2030", {"period"}),
        ("period=gt2031", set()),
        ("date=2026-03-03", {"purpose"}),
        ("date=ge2026-07-01", {"ended", "bob"}),
        ("category=urn:kinds|study", {"study"}),
        ("identifier=urn:name|app", {"app"}),
        ("_lastUpdated=gt2020-01-01&patient=bob", {"bob"}),
        ("_lastUpdated=lt2020-01-01", set()),
    ],
)
async def test_each_parameter_finds_what_it_says(clerk: RecorderClient, query: str, names: set[str]) -> None:
    assert set(await _names(clerk, f"Consent?{query}")) == names
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await clerk.send("POST", "Consent/_search", query.encode(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert {e["resource"]["identifier"][0]["value"] for e in answer.json().get("entry", ())} == names


async def test_results_are_sorted_and_paged_without_loss(clerk: RecorderClient) -> None:
    for sort, names in (("date", list(KEPT)), ("-date", list(reversed(KEPT)))):
        assert await _names(clerk, f"Consent?_sort={sort}&_count=3") == names
    assert set(await _names(clerk, "Consent?_count=1")) == set(KEPT)


async def test_a_total_and_a_summary_count_are_exact(clerk: RecorderClient) -> None:
    assert (await clerk.get("Consent?patient=ana&_count=2&_total=accurate")).json()["total"] == len(ANAS)
    counted = (await clerk.get("Consent?patient=ana&_summary=count")).json()
    assert (counted["total"], "entry" in counted) == (len(ANAS), False)


async def test_provenances_come_along_when_asked_for(clerk: RecorderClient) -> None:
    found = (await clerk.get("Consent?identifier=urn:name|app&_revinclude=Provenance:target")).json()["entry"]
    assert [(e["resource"]["resourceType"], e["search"]["mode"]) for e in found] == [
        *(("Consent", "match"), ("Provenance", "include"))
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("nonsense=1", "not-supported"),
        ("patient.name=x", "not-supported"),
        ("_include=Consent:patient", "not-supported"),
        ("_revinclude=AuditEvent:entity", "not-supported"),
        ("_elements=status", "not-supported"),
        ("_summary=true", "not-supported"),
        ("date=yesterday", "not-supported"),
        ("_count=-1", "value"),
        ("_sort=nonsense", "not-supported"),
        ("patient.identifier=", "value"),
        (urlencode({"patient.identifier": "x" * 600}), "value"),
        ("status=%00", "invalid"),
    ],
)
async def test_what_is_not_offered_is_refused_by_name(clerk: RecorderClient, query: str, code: str) -> None:
    answer = await clerk.get(f"Consent?{query}")
    assert answer.status_code == 400, answer.text
    assert issues(answer)[0][0] == code


async def test_a_history_is_paged_newest_first(clerk: RecorderClient) -> None:
    made = await clerk.created(consent(identifier=[{"system": "urn:name", "value": "changed"}]))
    path = f"Consent/{made['id']}"
    for day in range(1, 8):
        await clerk.send("PATCH", path, [{"op": "replace", "path": "/dateTime", "value": f"2026-01-0{day}"}])
    versions: list[str] = []
    url = f"{path}/_history?_count=3"
    while True:
        answer = await clerk.get(url)
        versions += [e["resource"]["meta"]["versionId"] for e in answer.json()["entry"]]
        link = next_link(answer)
        if link is None:
            break
        url = link
    assert versions == [str(n) for n in range(8, 0, -1)]
    since = (await clerk.get(f"{path}/_history?_since=2099-01-01T00:00:00Z")).json()
    assert since["entry"] == []
    for broken in ("_count=x", "_since=soon", "_page=1", "nonsense=1", "_count=1&_count=2"):
        assert (await clerk.get(f"{path}/_history?{broken}")).status_code == 400
    everything = (await clerk.get("Consent/_history?_count=500")).json()["entry"]
    assert len(everything) >= len(KEPT) + 8
    await clerk.send("DELETE", path)
