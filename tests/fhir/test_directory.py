"""Who belongs to what consents name, as the upstream says (docs/decisions/0034): real requests to the built-in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir.consents import directory_lookup
from fhir.consents.directory import Directory
from fhir.consents.directory_lookup import MOST_ASKED, DirectoryLookup
from fhir.consents.reading import read_consent
from fhir.upstream.client import UpstreamClient
from fhir.upstream.credentials import Bearer
from fhir.upstream.upstreams import Upstream as Served
from fhir.upstream.upstreams import Upstreams
from policies.consent_rule import ConsentRule
from policies.memberships import NOTHING_KNOWN, Knowledge, means
from tests.leaks.upstream import TOKEN, Upstream
from tests.leaks.world import World, observation, patient, world

_NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
_APP = "urn:assent:client|app"
_NPI: dict[str, object] = {"system": "http://hl7.org/fhir/sid/us-npi"}


def _to(name: str) -> dict[str, Any]:
    return {"reference": name}


def _group(id: str, *members: object, **more: object) -> dict[str, Any]:
    listed = [{"entity": _to(m) if isinstance(m, str) else m} for m in members]
    return {"resourceType": "Group", "id": id, "type": "practitioner", "actual": True, "member": listed, **more}


def _practitioner(id: str, *identifiers: object) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "id": id, "identifier": list(identifiers)}


def _npi(value: str) -> dict[str, Any]:
    return {"identifier": _NPI | {"value": value}}


def _role(id: str, practitioner: str | dict[str, Any], organization: str, **more: object) -> dict[str, Any]:
    who = _to(f"Practitioner/{practitioner}") if isinstance(practitioner, str) else practitioner
    where = _to(f"Organization/{organization}")
    return {"resourceType": "PractitionerRole", "id": id, "practitioner": who, "organization": where, **more}


def _organization(id: str, part_of: str = "") -> dict[str, Any]:
    return {"resourceType": "Organization", "id": id, "name": id} | (
        {"partOf": _to(f"Organization/{part_of}")} if part_of else {}
    )


def _team(id: str, *members: str, status: str = "active", **participant: object) -> dict[str, Any]:
    listed = [{"member": _to(member), **participant} for member in members]
    return {
        "resourceType": "CareTeam",
        "id": id,
        "status": status,
        "subject": _to("Patient/ana"),
        "participant": listed,
    }


_DIRECTORY: list[dict[str, object]] = [
    patient("ana"),
    _practitioner("d", _NPI | {"value": "1"}),
    _practitioner("e", _NPI | {"value": "2"}, _NPI | {"value": "4", "use": "old"}),
    *(_practitioner(id, _NPI | {"value": "3"}) for id in ("twin-a", "twin-b")),
    _practitioner("odd", _NPI | {"value": "a,b|c$"}),
    *(_organization("ward", "hospital"), _organization("hospital", "trust"), _organization("trust")),
    *(_organization("round", "trip"), _organization("trip", "round"), _organization("elsewhere")),
    *(_role("r-d", "d", "ward"), _role("r-left", "d", "elsewhere", active=False), _role("r-e", "e", "elsewhere")),
    _role("r-ended", "d", "elsewhere", period={"end": "2026-06-14"}),
    _role("r-c", "c", "round"),
    _role("r-nowhere", "n", "nowhere"),
    _group("g", "Practitioner/d"),
    _group("outer", "Group/middle"),
    _group("middle", "Group/g", "Group/outer"),
    _group("roles", "PractitionerRole/r-d"),
    _group("apps", {"identifier": {"system": "urn:assent:client", "value": "app"}}),
    _group("others", "Practitioner/e"),
    _group("by-npi", _npi("1")),
    _group("by-odd-npi", _npi("a,b|c$")),
    _group("by-npi-of-two", _npi("3")),
    _group("by-npi-of-nobody", _npi("9")),
    _group("by-old-npi", _npi("4")),
    _group("by-npi-out-of-use", {"identifier": _NPI | {"value": "1", "use": "old"}}),
    _group("by-number-alone", {"identifier": {"value": "1"}}),
    _group("by-many-npis", *(_npi(str(number)) for number in range(1_000, 1_100)), _npi("1")),
    _group("named", "Practitioner/e") | {"identifier": [{"system": "urn:groups", "value": "named"}]},
    _group("of-a-clinic", "Organization/clinic"),
    *(_organization("clinic", "clinics"), _organization("clinics"), _organization("practice")),
    *(_role("r-npi", _npi("1"), "clinic"), _role("r-unclear", _npi("9"), "practice")),
    _role("r-by-npis", _npi("1"), "")
    | {"organization": {"identifier": {"system": "urn:organizations", "value": "named"}}},
    _organization("named") | {"identifier": [{"system": "urn:organizations", "value": "named"}]},
    _group("by-name", {"display": "Dr. D"}),
    _group("partly", "Practitioner/e", quantity=2),
    _group("described", "Practitioner/e") | {"actual": False},
    _group("unused", "Practitioner/d", active=False),
    _group("with-a-modifier", "Practitioner/d", modifierExtension=[{"url": "http://x.example", "valueBoolean": True}]),
    _group("holds-nobody-known", "Group/nowhere"),
    _group("left") | {"member": [{"entity": _to("Practitioner/d"), "inactive": True}]},
    _group("until-yesterday") | {"member": [{"entity": _to("Practitioner/d"), "period": {"end": "2026-06-14"}}]},
    *(_group(f"deep-{i}", f"Group/deep-{i + 1}") for i in range(12)),
    _group("deep-12", "Practitioner/d"),
    _group("wide", *(f"Group/wide-{i}" for i in range(MOST_ASKED + 1))),
    _team("team", "Practitioner/d"),
    _team("team-of-an-organization", "Organization/ward"),
    _team("past-team", "Practitioner/d", status="inactive"),
    _team("until-yesterday", "Practitioner/d", period={"end": "2026-06-14"}),
    {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": _to("Patient/ana"),
    }
    | {"diagnosis": [{"condition": _to("Condition/c/_history/2")}]},
    observation("o1"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("directory")
    async with world(await make_database(), folder, _DIRECTORY) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def upstream(server: World) -> AsyncIterator[Upstream]:
    server.upstream.asked.clear()
    yield server.upstream
    server.upstream.lies.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def directory(upstream: Upstream) -> AsyncIterator[Directory]:
    client = UpstreamClient(upstream.url, credentials=Bearer(TOKEN))
    behind = Upstreams([Served("main", upstream.url, None, client)])
    yield Directory(DirectoryLookup(behind.source, behind.bases), lambda: _NOW, timedelta(seconds=60))
    await behind.close()


def _rules(*names: str, references: Sequence[object] = (), **provision: Any) -> list[ConsentRule]:
    meant = [*map(_to, names), *references]
    actors = [{"role": {"coding": [{"code": "IRCP"}]}, "reference": reference} for reference in meant]
    root = {"type": "permit", **({"actor": actors} if actors else {}), **provision}
    consent = {"resourceType": "Consent", "status": "active", "patient": _to("Patient/ana"), "provision": root}
    return [read_consent(consent)]


def _meant(name: str, actual: Collection[str], known: Knowledge) -> str:
    """To whom a provision for `name` applies: what a permit and what a deny would do."""
    permitted, denied = (means((name,), frozenset(actual), known.askers, permit=permit) for permit in (True, False))
    return {(True, True): "member", (False, False): "no member", (False, True): "unknown"}[permitted, denied]


@pytest.mark.parametrize(
    ("name", "user", "outcome"),
    [
        ("Group/g", "Practitioner/d", "member"),
        ("Group/g", "PractitionerRole/r-d", "member"),
        ("Group/g", "Practitioner/e", "no member"),
        ("Group/g", "Patient/ana", "no member"),
        ("Group/outer", "Practitioner/d", "member"),
        ("Group/outer", "Practitioner/e", "no member"),
        ("Group/roles", "Practitioner/d", "member"),
        ("Group/roles", "Practitioner/e", "no member"),
        ("Group/apps", "Patient/ana", "member"),
        ("Group/others", "Practitioner/d", "no member"),
        ("Group/by-npi", "Practitioner/d", "member"),
        ("Group/by-npi", "PractitionerRole/r-d", "member"),
        ("Group/by-npi", "Practitioner/e", "no member"),
        ("Group/by-npi", "Patient/ana", "no member"),
        ("Group/by-odd-npi", "Practitioner/odd", "member"),
        ("Group/by-odd-npi", "Practitioner/d", "no member"),
        ("Group/by-npi-of-two", "Practitioner/twin-a", "unknown"),
        ("Group/by-npi-of-two", "Practitioner/d", "unknown"),
        ("Group/by-npi-of-nobody", "Practitioner/d", "unknown"),
        ("Group/by-old-npi", "Practitioner/e", "unknown"),
        ("Group/by-npi-out-of-use", "Practitioner/d", "unknown"),
        ("Group/by-number-alone", "Practitioner/d", "unknown"),
        ("Group/by-many-npis", "Practitioner/d", "member"),
        ("Group/by-many-npis", "Practitioner/e", "unknown"),
        ("Group/of-a-clinic", "Practitioner/d", "member"),
        ("Group/of-a-clinic", "Practitioner/e", "no member"),
        ("PractitionerRole/r-npi", "Practitioner/d", "member"),
        ("PractitionerRole/r-npi", "Practitioner/e", "no member"),
        ("PractitionerRole/r-unclear", "Practitioner/d", "unknown"),
        ("Organization/clinic", "Practitioner/d", "member"),
        ("Organization/clinics", "Practitioner/d", "member"),
        ("Organization/clinics", "PractitionerRole/r-npi", "member"),
        ("Organization/clinic", "Practitioner/e", "no member"),
        ("Organization/practice", "Practitioner/e", "unknown"),
        ("Organization/named", "PractitionerRole/r-by-npis", "member"),
        ("Group/by-name", "Practitioner/d", "unknown"),
        ("Group/partly", "Practitioner/d", "unknown"),
        ("Group/described", "Practitioner/d", "unknown"),
        ("Group/unused", "Practitioner/d", "unknown"),
        ("Group/with-a-modifier", "Practitioner/d", "unknown"),
        ("Group/nowhere", "Practitioner/d", "unknown"),
        ("Group/holds-nobody-known", "Practitioner/d", "unknown"),
        ("Group/left", "Practitioner/d", "no member"),
        ("Group/until-yesterday", "Practitioner/d", "no member"),
        ("Group/deep-6", "Practitioner/d", "member"),
        ("Group/deep-0", "Practitioner/d", "unknown"),
        ("Group/wide", "Practitioner/d", "unknown"),
        ("CareTeam/team", "Practitioner/d", "member"),
        ("CareTeam/team", "Patient/ana", "no member"),
        ("CareTeam/team-of-an-organization", "Practitioner/d", "member"),
        ("CareTeam/team-of-an-organization", "Practitioner/e", "no member"),
        ("CareTeam/team-of-an-organization", "Patient/ana", "unknown"),
        ("CareTeam/past-team", "Practitioner/d", "unknown"),
        ("CareTeam/until-yesterday", "Practitioner/d", "no member"),
        ("PractitionerRole/r-d", "Practitioner/d", "member"),
        ("PractitionerRole/r-d", "Practitioner/e", "no member"),
        ("PractitionerRole/r-left", "Practitioner/d", "unknown"),
        ("Practitioner/d", "PractitionerRole/r-d", "member"),
        ("Practitioner/e", "PractitionerRole/r-d", "no member"),
        ("Organization/ward", "Practitioner/d", "member"),
        ("Organization/trust", "Practitioner/d", "member"),
        ("Organization/trust", "PractitionerRole/r-d", "member"),
        ("Organization/elsewhere", "Practitioner/d", "no member"),
        ("Organization/elsewhere", "Practitioner/e", "member"),
        ("Organization/elsewhere", "Practitioner/n", "unknown"),
        ("Organization/trip", "Practitioner/c", "member"),
        ("Organization/trust", "Practitioner/c", "no member"),
        ("Organization/ward", "Patient/ana", "unknown"),
        ("HealthcareService/h", "Practitioner/d", "unknown"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_who_is_meant_by_a_name(directory: Directory, name: str, user: str, outcome: str) -> None:
    clinician = {user} if user.startswith("Practitioner") else set[str]()
    known = await directory.knowledge(_rules(name, "Group/others"), {user})
    assert _meant(name, {_APP, user, *clinician}, known) == outcome


@pytest.mark.parametrize(
    ("system", "value", "user", "outcome"),
    [
        ("http://hl7.org/fhir/sid/us-npi", "1", "Practitioner/d", "member"),
        ("http://hl7.org/fhir/sid/us-npi", "1", "PractitionerRole/r-d", "member"),
        ("http://hl7.org/fhir/sid/us-npi", "1", "Practitioner/e", "no member"),
        ("http://hl7.org/fhir/sid/us-npi", "1", "PractitionerRole/r-e", "no member"),
        ("http://hl7.org/fhir/sid/us-npi", "1", "PractitionerRole/nowhere", "unknown"),
        ("http://hl7.org/fhir/sid/us-npi", "1", "Patient/ana", "no member"),
        ("http://hl7.org/fhir/sid/us-npi", "3", "Practitioner/twin-a", "unknown"),
        ("http://hl7.org/fhir/sid/us-npi", "4", "Practitioner/e", "unknown"),
        ("http://hl7.org/fhir/sid/us-npi", "9", "Practitioner/d", "unknown"),
        ("http://hl7.org/fhir/sid/us-npi", "01", "Practitioner/d", "unknown"),
        ("urn:elsewhere", "1", "Practitioner/d", "unknown"),
        ("urn:groups", "named", "Practitioner/e", "member"),
        ("urn:groups", "named", "Practitioner/d", "no member"),
        ("urn:organizations", "named", "PractitionerRole/r-by-npis", "member"),
        ("urn:organizations", "named", "Practitioner/e", "no member"),
        ("urn:organizations", "named", "Patient/ana", "unknown"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_who_is_meant_by_an_identifier(
    directory: Directory, system: str, value: str, user: str, outcome: str
) -> None:
    rules = _rules(references=[{"identifier": {"system": system, "value": value}}])
    known = await directory.knowledge(rules, {user})
    assert _meant(f"{system}|{value}", {_APP, user}, known) == outcome


@pytest.mark.asyncio(loop_scope="session")
async def test_an_identifier_that_the_upstream_fails_to_look_up_is_not_known(
    directory: Directory, upstream: Upstream
) -> None:
    for body in (b"{}", b'{"resourceType":"Bundle","link":[{"relation":"next","url":"x"}],"entry":[]}'):
        with upstream.saying("/Practitioner", body):
            known = await directory.knowledge(_rules(references=[_npi("1")]), {"Practitioner/d"})
        assert _meant("http://hl7.org/fhir/sid/us-npi|1", {_APP, "Practitioner/d"}, known) == "unknown"


def test_a_permit_goes_by_the_literal_reference_and_a_deny_by_its_identifier_too() -> None:
    both = _to("Practitioner/d") | _npi("2")
    (permit,), (deny,) = _rules(references=[both]), _rules(references=[both], type="deny")
    assert permit.root.actors == ("Practitioner/d",)
    assert set(deny.root.actors) == {"Practitioner/d", "http://hl7.org/fhir/sid/us-npi|2"}


@pytest.mark.parametrize(
    ("name", "author", "permitted", "denied"),
    [
        ("Organization/hospital", "Practitioner/d", True, True),
        ("Organization/hospital", "PractitionerRole/r-d", True, True),
        ("Organization/hospital", "Organization/ward", True, True),
        ("Organization/hospital", "Practitioner/e", False, False),
        ("Organization/elsewhere", "Practitioner/d", False, True),  # worked there once
        ("Organization/trip", "Practitioner/c", True, True),
        ("Group/g", "Practitioner/d", True, True),
        ("Group/g", "Organization/ward", False, True),
        ("Practitioner/d", "PractitionerRole/r-d", True, True),
        ("Practitioner/d", "PractitionerRole/r-e", False, False),
        ("Practitioner/d", "Organization/ward", False, True),
        ("Organization/clinics", "Practitioner/d", True, True),
        ("Organization/clinics", "Practitioner/e", False, False),
        ("Organization/practice", "Practitioner/e", False, True),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_who_is_meant_by_an_author(
    directory: Directory, name: str, author: str, permitted: bool, denied: bool
) -> None:
    data = [{"meaning": "authoredby", "reference": _to(name)}]
    known = await directory.knowledge(_rules(data=data), ())
    for permit, outcome in ((True, permitted), (False, denied)):
        assert means((name,), frozenset({author}), known.authors, permit=permit) is outcome


@pytest.mark.asyncio(loop_scope="session")
async def test_what_a_related_resource_refers_to_is_known(directory: Directory) -> None:
    data = [{"meaning": "related", "reference": _to(name)} for name in ("Encounter/e", "Encounter/nowhere")]
    known = await directory.knowledge(_rules(data=data), ())
    assert known.links == {"Encounter/e": frozenset({"Patient/ana", "Condition/c"})}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 200),
        (b'{"resourceType":"Group","id":"other","type":"practitioner","actual":true}', 200),
        (b'{"resourceType":"CareTeam","id":"g","status":"active"}', 200),
        (b'{"resourceType":"Group","id":"g","actual":true', 200),
        (b'{"resourceType":"Group","id":"g","actual":"true","member":[]}', 200),
        (b'{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"X/e"}}],"member":[]}', 200),
        (b"", 500),
        (b"", 404),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_what_the_upstream_says_unclearly_is_not_known(
    directory: Directory, upstream: Upstream, body: bytes, status: int
) -> None:
    with upstream.saying("/Group/g", body, status):
        known = await directory.knowledge(_rules("Group/g"), {"Practitioner/e"})
    assert _meant("Group/g", {_APP, "Practitioner/e"}, known) == "unknown"


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Bundle","link":[{"relation":"next","url":"x"}],"entry":[]}',
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"p"}}]}',
        b'{"resourceType":"OperationOutcome"}',
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_roles_of_which_only_some_are_seen_are_not_all(
    directory: Directory, upstream: Upstream, body: bytes
) -> None:
    with upstream.saying("/PractitionerRole", body):
        known = await directory.knowledge(_rules("Organization/elsewhere"), {"Practitioner/d"})
    assert _meant("Organization/elsewhere", {_APP, "Practitioner/d"}, known) == "unknown"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_search_that_the_upstream_does_not_understand_makes_nobody_a_member(
    directory: Directory, upstream: Upstream
) -> None:
    """It answers with everybody's roles."""
    role = b'{"resourceType":"PractitionerRole","id":"x","practitioner":{"reference":"Practitioner/z"}'
    entry = role + b',"organization":{"reference":"Organization/elsewhere"}}'
    with upstream.saying("/PractitionerRole", b'{"resourceType":"Bundle","entry":[{"resource":' + entry + b"}]}"):
        known = await directory.knowledge(_rules("Organization/elsewhere"), {"Practitioner/d"})
    assert _meant("Organization/elsewhere", {_APP, "Practitioner/d"}, known) == "no member"


@pytest.mark.asyncio(loop_scope="session")
async def test_an_upstream_that_is_slow_keeps_nobody_waiting_for_long(
    directory: Directory, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_lookup, "MOST_SECONDS", 0.2)
    with upstream.hanging():
        async with asyncio.timeout(5):
            known = await directory.knowledge(_rules("Group/outer", "Group/others"), {"Practitioner/d"})
    assert {_meant(name, {_APP, "Practitioner/d"}, known) for name in ("Group/outer", "Group/others")} == {"unknown"}
    assert known.until == _NOW + timedelta(seconds=5)


@pytest.mark.asyncio(loop_scope="session")
async def test_an_answer_beyond_bounds_is_not_known(directory: Directory, upstream: Upstream) -> None:
    body = b'{"resourceType":"Group","id":"g","type":"practitioner","actual":true,"name":"%s"}' % (b"x" * 2**21)
    with upstream.saying("/Group/g", body):
        known = await directory.knowledge(_rules("Group/g"), {"Practitioner/e"})
    assert _meant("Group/g", {_APP, "Practitioner/e"}, known) == "unknown"


@pytest.mark.asyncio(loop_scope="session")
async def test_what_is_remembered_is_bounded_in_bytes(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_lookup, "_MOST_KEPT_BYTES", 1_000)
    client = UpstreamClient(upstream.url, credentials=Bearer(TOKEN))
    behind = Upstreams([Served("main", upstream.url, None, client)])
    directory = Directory(DirectoryLookup(behind.source), lambda: _NOW, timedelta(seconds=60))
    for name in ("Group/g", "Group/others", "Group/g", "Group/g"):
        await directory.knowledge(_rules(name), ())
    assert [asked.target for asked in upstream.asked] == ["/Group/g", "/Group/others", "/Group/g"]
    await behind.close()


@pytest.mark.asyncio(loop_scope="session")
async def test_an_answer_is_remembered_for_its_time(upstream: Upstream) -> None:
    clock = [_NOW]
    client = UpstreamClient(upstream.url, credentials=Bearer(TOKEN))
    behind = Upstreams([Served("main", upstream.url, None, client)])
    directory = Directory(DirectoryLookup(behind.source), lambda: clock[0], timedelta(seconds=60))
    asked = []
    for seconds in (0, 59, 60):
        clock[0] = _NOW + timedelta(seconds=seconds)
        known = await directory.knowledge(_rules("Group/g"), ())
        asked.append(len(upstream.asked))
        assert known.until == _NOW + timedelta(seconds=60 if seconds < 60 else 120)
    assert asked == [1, 1, 2]
    await behind.close()


async def _heard(upstream: Upstream) -> None:
    """Returns once something is asked."""
    for _ in range(500):
        if upstream.asked:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was asked")


@pytest.mark.asyncio(loop_scope="session")
async def test_what_many_need_at_once_is_asked_once(directory: Directory, upstream: Upstream) -> None:
    with upstream.hanging():
        waiting = [asyncio.ensure_future(directory.knowledge(_rules("Group/g"), {"Practitioner/d"})) for _ in range(20)]
        await _heard(upstream)
        waiting[0].cancel()  # it was the one that asked
        waiting[7].cancel()
        await asyncio.sleep(0.05)
        waiting.append(asyncio.ensure_future(directory.knowledge(_rules("Group/g"), {"Practitioner/d"})))
    found = await asyncio.gather(*waiting, return_exceptions=True)
    known = [one for one in found if isinstance(one, Knowledge)]
    assert len(known) == 19
    assert {_meant("Group/g", {_APP, "Practitioner/d"}, one) for one in known} == {"member"}
    assert [asked.target for asked in upstream.asked if "/Group/" in asked.target] == ["/Group/g"]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_question_that_everybody_gave_up_is_asked_anew(directory: Directory, upstream: Upstream) -> None:
    with upstream.hanging():
        waiting = [asyncio.ensure_future(directory.knowledge(_rules("Group/g"), {"Practitioner/d"})) for _ in range(3)]
        await _heard(upstream)
        for one in waiting:
            one.cancel()
        again = asyncio.ensure_future(directory.knowledge(_rules("Group/g"), {"Practitioner/d"}))
        await asyncio.gather(*waiting, return_exceptions=True)
    assert _meant("Group/g", {_APP, "Practitioner/d"}, await again) == "member"


@pytest.mark.asyncio(loop_scope="session")
async def test_who_has_less_time_takes_no_answer_from_who_has_more(
    directory: Directory, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {"Practitioner/d"}
    with upstream.hanging():
        patient_one = asyncio.ensure_future(directory.knowledge(_rules("Group/g"), user))
        await _heard(upstream)
        with monkeypatch.context() as impatient:
            impatient.setattr(directory_lookup, "MOST_SECONDS", 0.05)
            hasty = await directory.knowledge(_rules("Group/g"), user)
        late = asyncio.ensure_future(directory.knowledge(_rules("Group/g"), user))
        await asyncio.sleep(0.01)
    assert _meant("Group/g", {_APP, *user}, hasty) == "unknown"
    assert {_meant("Group/g", {_APP, *user}, await one) for one in (patient_one, late)} == {"member"}


@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_is_asked_for_consents_that_name_no_group(directory: Directory, upstream: Upstream) -> None:
    assert await directory.knowledge(_rules("Practitioner/d"), {"Practitioner/d"}) is NOTHING_KNOWN
    assert await directory.knowledge(_rules(), {"Practitioner/d"}) is NOTHING_KNOWN
    assert upstream.asked == []


@pytest.mark.asyncio(loop_scope="session")
async def test_a_directory_that_is_switched_off_is_not_asked(upstream: Upstream) -> None:
    client = UpstreamClient(upstream.url, credentials=Bearer(TOKEN))
    behind = Upstreams([Served("main", upstream.url, None, client)])
    directory = Directory(DirectoryLookup(behind.source), lambda: _NOW, timedelta(0))
    assert await directory.knowledge(_rules("Group/g"), ()) is NOTHING_KNOWN
    assert upstream.asked == []
