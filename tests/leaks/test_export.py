"""Bulk export: what a service gets of many patients at once is what it would get of each of them, and no more."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from assent.app import build
from authz.tokens.access_tokens import TokenClaims
from fhir.export.jobs import LIFETIME, MOST_OPEN
from fhir.proxy.responses import Receive, Scope, Send
from fhir.r4.definitions import load_definitions
from fhir.search.query import parse_search
from tests.leaks.exporting import ask, begun, exported, false_export, files_of, ids, kick_off, manifest_of
from tests.leaks.service import service
from tests.leaks.twins import Twins
from tests.leaks.world import World, client_of, settings_for

BOTH = {"ana": ["demographics", "vital-signs"], "bob": ["laboratory"]}


@pytest.mark.leak("L41")
async def test_l41_each_line_is_decided_by_the_consents_of_its_own_patient(leaky: World) -> None:
    app = await service(leaky, BOTH)
    found = await exported(app, "$export?_type=Observation,Patient,Condition")
    assert list(found) == ["Observation", "Patient", "Condition"]
    assert sorted(ids(found["Observation"])) == ["bob1", "vital0", "vital1", "vital2", "vital3"]
    assert (ids(found["Patient"]), found["Condition"]) == (["ana"], b"")


@pytest.mark.leak("L41")
async def test_l41_a_line_is_the_resource_as_it_would_be_read(leaky: World) -> None:
    app = await service(leaky, {"ana": ["demographics", "laboratory"]})
    found = await exported(app, "Patient/$export?_type=Observation")
    lines = found["Observation"].splitlines()
    assert len(lines) > 12
    for line in lines:
        assert (await app.get(f"Observation/{json.loads(line)['id']}")).content == line
    assert b"SECRET" not in found["Observation"]


@pytest.mark.leak("L41")
async def test_l41_where_nobody_shares_the_files_are_there_and_empty(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"]})
    await app.revoked_by("ana")
    found = await exported(app)
    assert {"Observation", "Patient", "Practitioner"} <= found.keys()
    assert {"AuditEvent", "Consent", "Group", "Binary"}.isdisjoint(found)
    assert set(found.values()) == {b""}


@pytest.mark.leak("L41")
async def test_l41_what_is_about_nobody_comes_while_somebody_shares(leaky: World) -> None:
    found = await exported(await service(leaky, {"ana": ["laboratory"]}), "$export?_type=Practitioner")
    assert sorted(ids(found["Practitioner"])) == ["doc", "hivdoc"]


@pytest.mark.leak("L41")
async def test_l41_a_group_is_exported_when_the_operator_says_so(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"], "bob": ["laboratory"]})
    found = await exported(app, "Group/cohort/$export?_type=Observation")
    assert ids(found["Observation"]) == ["bob1"]
    with leaky.upstream.listening() as heard:
        answer = await kick_off(app, "Group/absent/$export")
    assert (answer.status_code, answer.json()["issue"][0]["code"], heard) == (404, "not-found", [])


@pytest.mark.leak("L41")
async def test_l41_providers_and_places_come_along_with_a_group(leaky: World) -> None:
    found = await exported(await service(leaky, {"ana": ["laboratory"], "bob": ["laboratory"]}), "Group/cohort/$export")
    assert (ids(found["Observation"]), sorted(ids(found["Practitioner"]))) == (["bob1"], ["doc", "hivdoc"])
    nobody = await exported(await service(leaky, {}), "Group/cohort/$export")
    assert (nobody.keys(), set(nobody.values())) == (found.keys(), {b""})


@pytest.mark.leak("L41")
@pytest.mark.parametrize("status", [400, 422, 501, 500])
async def test_l41_an_upstream_that_refuses_them_is_asked_without_and_the_manifest_is_the_same(
    leaky: World, status: int
) -> None:
    app = await service(leaky, {"bob": ["laboratory"]})
    expected = {*await exported(app, "Group/cohort/$export")}

    async def picky(scope: Scope, receive: Receive, send: Send) -> None:
        if b"Practitioner" in scope["query_string"]:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"UPSTREAM-SECRET"})
        else:
            await false(scope, receive, send)

    with false_export(leaky) as false, leaky.upstream.listening() as heard:
        false.names()
        leaky.upstream.acts["/Group/cohort/$export"] = picky
        answer = await kick_off(app, "Group/cohort/$export")
        assert answer.status_code == (502 if status == 500 else 202)
        if answer.status_code == 202:
            manifest = await manifest_of(app, answer.headers["content-location"])
            assert {file["type"] for file in manifest["output"]} == expected
        named = await kick_off(app, "Group/cohort/$export?_type=Practitioner,Patient")
        assert (named.status_code, "SECRET" in named.text) == (502, False)
        del leaky.upstream.acts["/Group/cohort/$export"]
    begun = [asked.target for asked in heard if "$export" in asked.target]
    assert len(begun) == (2 if status == 500 else 3)


@pytest.mark.leak("L41")
async def test_l41_the_upstream_is_asked_for_what_the_token_opens_and_tells_nothing_of_itself(leaky: World) -> None:
    app = await service(leaky, BOTH, scope="system/Observation.rs system/Condition.r system/Patient.rs")
    with leaky.upstream.listening() as heard:
        answers = [await kick_off(app, "$export?_since=2020-01-01T00:00:00Z")]
        job = answers[0].headers["content-location"]
        answers += [await app.get(job), await app.get(job), await app.get(f"{job}/Observation.ndjson")]
    assert [answer.status_code for answer in answers] == [202, 202, 200, 200]
    asked = parse_qs(urlsplit(heard[0].target).query)
    assert (asked["_type"], asked["_since"]) == (["Observation,Patient"], ["2020-01-01T00:00:00Z"])
    assert all(app.token["access_token"] not in str(request) for request in heard)
    for answer in answers:
        said = answer.text + str(answer.headers.multi_items())
        assert leaky.upstream.url not in said
        assert "export-jobs" not in said
        assert "just begun" not in said
    assert (answers[1].headers["x-progress"], answers[1].headers["retry-after"]) == ("in progress", "1")
    manifest = answers[2].json()
    assert manifest.keys() == {"transactionTime", "request", "requiresAccessToken", "output", "error"}
    assert manifest["request"].endswith("/fhir/$export?_since=2020-01-01T00%3A00%3A00Z")
    assert manifest["output"][0] == {"type": "Observation", "url": f"{job}/Observation.ndjson"}
    assert (manifest["requiresAccessToken"], manifest["error"]) == (True, [])


@pytest.mark.leak("L41")
async def test_l41_an_export_can_be_asked_for_in_a_body(leaky: World) -> None:
    app = await service(leaky, BOTH)
    parameters = [{"name": "_type", "valueString": "Observation"}, {"name": "_type", "valueString": "Patient"}]
    body = json.dumps({"resourceType": "Parameters", "parameter": parameters})
    answer = await app.post_bundle(body, "/Patient/$export", Prefer="respond-async")
    assert answer.status_code == 202, answer.text
    manifest = await manifest_of(app, answer.headers["content-location"])
    assert [file["type"] for file in manifest["output"]] == ["Observation", "Patient"]


@pytest.mark.leak("L41")
@pytest.mark.parametrize(
    ("query", "status", "code", "named"),
    [
        ("_elements=id", 400, "not-supported", "`_elements`"),
        ("_typeFilter=Patient%3Fgender%3Dmale", 400, "not-supported", "`_typeFilter`"),
        ("patient=ana", 400, "not-supported", "`patient`"),
        ("includeAssociatedData=x", 400, "not-supported", "`includeAssociatedData`"),
        ("<script>=x", 400, "not-supported", "a parameter"),
        ("_outputFormat=text/csv", 400, "not-supported", "`_outputFormat`"),
        ("_type=AuditEvent", 400, "not-supported", "`_type`"),
        ("_type=Nonsense", 400, "not-supported", "`_type`"),
        ("_type=Patient,", 400, "invalid", "`_type`"),
        ("_since=2020", 400, "invalid", "`_since`"),
        ("_since=2020-01-01T00:00:00Z&_since=2021-01-01T00:00:00Z", 400, "invalid", "`_since`"),
        ("_type=Condition", 403, "forbidden", "`Condition`"),
        ("_type=Patient,Encounter", 403, "forbidden", "`Encounter`"),
    ],
)
async def test_l41_what_an_export_does_not_take_is_refused_by_name(
    leaky: World, query: str, status: int, code: str, named: str
) -> None:
    app = await service(leaky, {}, scope="system/Observation.rs system/Patient.rs system/Encounter.s")
    with leaky.upstream.listening() as heard:
        answer = await kick_off(app, f"$export?{query}")
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["code"], heard) == (status, code, [])
    assert named in issue["diagnostics"]


@pytest.mark.leak("L41")
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "$export", {}, 400),
        ("GET", "$export", {"Prefer": "respond-asynchronously"}, 400),
        ("GET", "$export", {"Prefer": "respond-async", "Accept": "text/html"}, 406),
        ("POST", "$export", {"Prefer": "respond-async"}, 415),
        ("PUT", "$export", {}, 405),
        ("HEAD", "$export", {}, 405),
        ("POST", "$export/x", {}, 405),
        ("DELETE", "$export/x/Patient.ndjson", {}, 405),
        ("GET", "Patient/ana/$export", {"Prefer": "respond-async"}, 501),
        ("GET", "Observation/$export", {"Prefer": "respond-async"}, 501),
        ("GET", "$export/x/y/z", {}, 404),
        ("GET", "$export/x/../x/Patient.ndjson", {}, 404),
    ],
)
async def test_l41_a_request_that_is_no_export_is_refused(
    leaky: World, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    app = await service(leaky, {})
    with leaky.upstream.listening() as heard:
        answer = await ask(app, method, f"/fhir/{path}", headers=headers)
    assert (answer.status_code, heard) == (status, [])


@pytest.mark.leak("L41")
@pytest.mark.parametrize(
    "body",
    [
        *("[]", "{", '{"resourceType":"Patient"}', '{"resourceType":"Parameters","parameter":{}}'),
        '{"resourceType":"Parameters","parameter":[{"name":"_type","valueCode":"Patient"}]}',
        '{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/bob"}}]}',
        '{"resourceType":"Parameters","parameter":["_type"]}',
        '{"resourceType":"Parameters","resourceType":"Parameters"}',
    ],
)
async def test_l41_a_body_that_is_not_understood_is_refused(leaky: World, body: str) -> None:
    app = await service(leaky, {})
    with leaky.upstream.listening() as heard:
        answer = await app.post_bundle(body, "/$export", Prefer="respond-async")
    assert (answer.status_code, heard) == (400, [])


@pytest.mark.leak("L41", "L50")
@pytest.mark.parametrize(
    "path", ["$export", "Patient/$export", "Group/cohort/$export", "$export/x", "$export/x/Patient.ndjson"]
)
async def test_l41_l50_exports_are_for_services_alone(leaky: World, path: str) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.listening() as heard:
        answer = await kick_off(app, path)
        nobody = await leaky.http.get(f"/fhir/{path}", headers={"Prefer": "respond-async"})
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["code"]) == (403, "forbidden")
    assert "bulk export is for backend services" in issue["diagnostics"]
    assert (nobody.status_code, heard) == (401, [])


@pytest.mark.leak("L41", "L06")
async def test_l41_l06_the_job_of_another_client_is_as_one_that_is_not_there(leaky: World) -> None:
    app, other = await service(leaky, BOTH), await service(leaky, BOTH)
    job = await begun(app, "$export?_type=Observation")
    await manifest_of(app, job)
    absent = f"{job.rpartition('/')[0]}/{'x' * 43}"
    for method, path in (("GET", ""), ("GET", "/Observation.ndjson"), ("DELETE", "")):
        theirs, nothing = await ask(other, method, job + path), await ask(other, method, absent + path)
        assert (theirs.status_code, theirs.content) == (404, nothing.content)
    assert (await app.get(f"{job}/Condition.ndjson")).content == nothing.content
    assert ids((await app.get(f"{job}/Observation.ndjson")).content)


@pytest.mark.leak("L41", "L04", "L20")
async def test_l41_l04_l20_an_export_is_the_same_with_and_without_what_is_withheld(services: Twins) -> None:
    seen = []
    for app in (services.one, services.other):
        job = await begun(app)
        manifest = await manifest_of(app, job)
        told = json.dumps(manifest).replace(job, "JOB").replace(manifest["transactionTime"], "TIME")
        seen.append((told, await files_of(app, manifest)))
    assert seen[0] == seen[1]
    assert sum(len(content) for content in seen[0][1].values()) > 10_000


@pytest.mark.leak("L41", "L62")
async def test_l41_l62_a_file_holds_what_is_shared_when_it_is_fetched(leaky: World) -> None:
    app = await service(leaky, BOTH)
    job = await begun(app, "$export?_type=Observation")
    await manifest_of(app, job)
    await app.revoked_by("ana")
    assert ids((await app.get(f"{job}/Observation.ndjson")).content) == ["bob1"]
    await app.shared_by("ana", ["laboratory"])
    assert "lab0" in ids((await app.get(f"{job}/Observation.ndjson")).content)


@pytest.mark.leak("L41", "L55")
async def test_l41_l55_a_token_with_less_opens_less_of_a_job(leaky: World) -> None:
    app = await service(leaky, BOTH)
    job = await begun(app, "$export?_type=Observation,Patient")
    await manifest_of(app, job)
    context = leaky.assent.authz
    claims = TokenClaims(app.client_id, app.client_id, "system/Patient.rs", timedelta(minutes=5), purpose="TREAT")
    app.token = {"access_token": context.tokens.mint(claims)[0]}
    assert (await app.get(f"{job}/Observation.ndjson")).status_code == 403
    assert ids((await app.get(f"{job}/Patient.ndjson")).content) == ["ana"]


@pytest.mark.leak("L41")
async def test_l41_a_cancelled_job_is_gone_here_and_upstream(leaky: World) -> None:
    app = await service(leaky, BOTH)
    job = await begun(app, "$export?_type=Observation")
    await manifest_of(app, job)
    with leaky.upstream.listening() as heard:
        assert (await ask(app, "DELETE", job)).status_code == 202
    assert [request.method for request in heard] == ["DELETE"]
    for method, path in (("GET", ""), ("GET", "/Observation.ndjson"), ("DELETE", "")):
        assert (await ask(app, method, job + path)).status_code == 404


async def test_a_client_has_few_jobs_at_a_time(leaky: World) -> None:
    app, other = await service(leaky, BOTH), await service(leaky, {})
    jobs = [await begun(app, "$export?_type=Patient") for _ in range(MOST_OPEN)]
    refused = await kick_off(app, "$export?_type=Patient")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert refused.json()["issue"][0]["code"] == "throttled"
    await manifest_of(other, await begun(other, "$export?_type=Patient"))
    await manifest_of(app, jobs[0])
    await ask(app, "DELETE", jobs[1])
    assert (await kick_off(app, "$export?_type=Patient")).status_code == 202


async def test_a_client_begins_few_jobs_an_hour_however_soon_it_ends_them(
    leaky: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir.export.jobs.MOST_AN_HOUR", 4)
    app = await service(leaky, {})
    for _ in range(4):
        await ask(app, "DELETE", await begun(app, "$export?_type=Patient"))
    assert (await kick_off(app, "$export?_type=Patient")).headers["retry-after"] == "600"


async def test_a_job_goes_on_after_a_restart_and_until_it_expires(leaky: World) -> None:
    app = await service(leaky, BOTH)
    job = await begun(app, "$export?_type=Observation")
    await manifest_of(app, job)
    headers = {"Authorization": f"Bearer {app.token['access_token']}"}
    later = leaky.assent.authz.clock() + LIFETIME
    for clock, status in ((leaky.assent.authz.clock, 200), (lambda: later, 401)):
        again = await build(settings_for(leaky.folder, leaky.upstream), leaky.database_url, clock=clock)
        try:
            async with client_of(again) as http:
                answer = await http.get(f"{job}/Observation.ndjson", headers=headers)
                assert answer.status_code == status
                if status == 200:
                    assert len(ids(answer.content)) == 5
        finally:
            await again.aclose()


@pytest.mark.leak("L41", "L70")
async def test_l41_l70_each_patient_has_a_record_that_names_no_other(leaky: World) -> None:
    app = await service(leaky, BOTH)
    await exported(app, "$export?_type=Observation,Patient")
    await leaky.assent.audit.settle()
    ana, bob = await _events(leaky, "ana", app.client_id), await _events(leaky, "bob", app.client_id)
    assert bob == [{"Observation/bob1", "Patient/bob"}]
    # Both were recorded in the same moment: which of them stands first is chance.
    assert sorted(ana, key=len) == [{"Patient/ana"}, {"Patient/ana", *(f"Observation/vital{n}" for n in range(4))}]


async def _events(world: World, patient: str, client_id: str) -> list[set[str]]:
    """What each AuditEvent of a patient names of their record, of those in which the client stands."""
    pairs = [("patient", f"Patient/{patient}"), ("subtype", "operation"), ("_sort", "-_lastUpdated"), ("_count", "500")]
    query = parse_search("AuditEvent", pairs, load_definitions(), max_count=500)
    rows = await world.assent.authz.repository.search(query)
    events = [row.body.decode() for row in rows.matches if client_id in row.body.decode()]
    return [set(re.findall(r'"reference":"((?:Observation|Patient)/\w+)"', event)) for event in reversed(events)]
