"""A service's token opens of each patient what that patient's consents allow it by name; all others aren't there."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from authz.consents.decisions import Choice, Decisions
from fhir.proxy.read_plans import MOST_PATIENTS
from policies.codes import CLIENT_SYSTEM, PARTICIPATION_SYSTEM
from tests.leaks.service import service
from tests.leaks.twins import Request, Twins, next_link
from tests.leaks.world import CATEGORY, App, World

BOTH = {"ana": ["demographics", "laboratory"], "bob": ["laboratory"]}


def _ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [e["resource"]["id"] for e in answer.json().get("entry", ())]


async def _all_ids(app: App, first: str) -> list[str]:
    found, url = [], first
    for _ in range(60):
        answer = await app.get(url)
        assert "total" not in answer.json()
        found += _ids(answer)
        link = next_link(answer)
        if link is None:
            return found
        url = link
    raise AssertionError("the pages don't end")


@pytest.mark.leak("L51")
async def test_l51_each_patient_is_decided_by_their_own_consents(leaky: World) -> None:
    app = await service(leaky, {"ana": ["vital-signs"], "bob": ["laboratory"]})
    found = set(await _all_ids(app, "Observation?_count=3"))
    assert found == {"vital0", "vital1", "vital2", "vital3", "bob1"}
    for wanted, status in (("vital0", 200), ("lab0", 404), ("bob1", 200), ("hiv-by-code", 404)):
        assert (await app.get(f"Observation/{wanted}")).status_code == status, wanted


@pytest.mark.leak("L04", "L22")
@pytest.mark.parametrize(
    "search", ["Condition", "?_type=Condition,AuditEvent&", "Condition?_revinclude=Provenance:target&"]
)
async def test_l04_l22_of_a_type_that_nobody_shares_nothing_is_asked_for(leaky: World, search: str) -> None:
    """Else where looking for something to show ends, which is bounded, would tell how much is there."""
    app = await service(leaky, {"ana": ["laboratory"], "bob": ["laboratory"]})
    with leaky.upstream.listening() as heard:
        answer = await app.get(f"{search}{'' if '?' in search else '?'}_count=1")
    assert (_ids(answer), next_link(answer), heard) == ([], None, [])


@pytest.mark.leak("L51")
async def test_l51_only_of_those_who_share_the_type_it_is_asked_for(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"], "bob": ["demographics"]})
    with leaky.upstream.listening() as heard:
        assert set(await _all_ids(app, "Observation?_count=50")) >= {"lab0"}
    assert [("ana" in asked.target, "bob" in asked.target) for asked in heard] == [(True, False)]


@pytest.mark.leak("L06", "L10")
@pytest.mark.parametrize(
    "path",
    [
        "Patient/bob",
        "Observation/bob1",
        "Observation/bob1/_history/1",
        "Patient/bob/_history/1",
        "Observation/hiv-by-code",
    ],
)
async def test_l06_who_doesnt_share_is_as_one_who_isnt_there(leaky: World, path: str) -> None:
    app = await service(leaky, {"ana": ["demographics", "laboratory"]})
    kind, _, rest = path.partition("/")
    withheld, absent = await app.get(path), await app.get(f"{kind}/absent/{rest.partition('/')[2]}".rstrip("/"))
    assert (withheld.status_code, withheld.json()) == (404, absent.json())


@pytest.mark.leak("L08", "L04")
@pytest.mark.parametrize(
    "query",
    [
        *("Observation?patient=bob", "Observation?subject=Patient/bob", "Observation?_id=bob1", "Patient?_id=bob"),
        *("Observation?patient=Patient/bob&_total=accurate", "Observation?focus=Patient/bob&subject=bob"),
        *("Patient?_id=bob&_revinclude=Observation:subject", "Observation?_id=bob1&_include=Observation:subject"),
    ],
)
async def test_l08_l04_searching_for_who_doesnt_share_is_like_searching_for_nobody(leaky: World, query: str) -> None:
    app = await service(leaky, {"ana": ["demographics", "laboratory"]})
    absent = query.replace("bob", "nob")
    one, other = (await app.get(query)), (await app.get(absent))
    assert (one.status_code, one.text.replace("bob", "nob")) == (200, other.text)
    assert _ids(one) == []
    assert "total" not in one.json()


@pytest.mark.leak("L08")
async def test_l08_a_search_that_names_patients_finds_those_who_share(leaky: World) -> None:
    app = await service(leaky, BOTH)
    assert await _all_ids(app, "Observation?patient=bob,nobody") == ["bob1"]
    assert await _all_ids(app, "Observation?subject=Patient/bob") == ["bob1"]
    assert await _all_ids(app, "Patient?_id=ana,bob") == ["ana"]
    assert "bob1" not in await _all_ids(app, "Observation?patient=ana")


@pytest.mark.leak("L08")
async def test_l08_only_who_shares_is_asked_for_upstream(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"]})
    with leaky.upstream.listening() as heard:
        await app.get("Observation")
        await app.get("Observation?patient=bob")
    (asked,) = heard
    assert parse_qs(urlsplit(asked.target).query)["patient"] == ["ana"]


@pytest.mark.leak("L10", "L11", "L13")
@pytest.mark.parametrize(
    "query",
    [
        *("Observation?_include=Observation:focus", "Practitioner?_revinclude=Observation:performer"),
        *("Patient?_revinclude=Observation:subject", "Observation?_include=Observation:subject"),
    ],
)
async def test_l10_l11_includes_bring_nothing_of_who_doesnt_share(leaky: World, query: str) -> None:
    app = await service(leaky, {"ana": ["demographics", "laboratory"]})
    found = await _all_ids(app, query)
    assert found
    assert {"bob", "bob1"}.isdisjoint(found)


@pytest.mark.leak("L21", "L62")
async def test_l21_l62_a_page_after_revocation_holds_nothing_of_who_revoked(leaky: World) -> None:
    app = await service(leaky, BOTH)
    first = await app.get("Observation?_count=2&_sort=_id")
    link = next_link(first)
    assert link is not None
    assert (await app.get("Observation/bob1")).status_code == 200
    await app.revoked_by("ana")
    assert [name for name in await _all_ids(app, link) if name != "bob1"] == []
    assert await _all_ids(app, "Observation") == ["bob1"]
    assert (await app.get("Observation/lab0")).status_code == 404
    await app.revoked_by("bob")
    for path in ("Observation/bob1", "Practitioner/doc"):
        assert (await app.get(path)).status_code == 404
    for path in ("Observation", "Practitioner", "Patient", link):
        assert _ids(await app.get(path)) == []


@pytest.mark.leak("L20")
async def test_l20_a_services_page_link_is_no_other_services(leaky: World) -> None:
    app, other = await service(leaky, BOTH), await service(leaky, BOTH)
    person = await leaky.app(["laboratory"])
    link = next_link(await app.get("Observation?_count=2"))
    assert link is not None
    assert [(await who.get(link)).status_code for who in (app, other, person)] == [200, 410, 410]


@pytest.mark.leak("L21")
async def test_l21_narrowing_counts_from_the_next_request_on(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory", "vital-signs"]})
    assert (await app.get("Observation/lab0")).status_code == 200
    await app.shared_by("ana", ["vital-signs"])
    assert (await app.get("Observation/lab0")).status_code == 404
    assert {name.rstrip("0123") for name in await _all_ids(app, "Observation")} == {"vital"}


@pytest.mark.leak("L52", "L53")
@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("system/Observation.r", "Observation/lab0", 200),
        ("system/Observation.r", "Observation", 403),
        ("system/Observation.s", "Observation/lab0", 403),
        ("system/Observation.rs", "Patient/ana", 403),
        (f"system/Observation.rs?category={CATEGORY}|vital-signs", "Observation/lab0", 404),
    ],
)
async def test_l52_l53_a_services_scope_covers_what_it_says(leaky: World, scope: str, path: str, status: int) -> None:
    app = await service(leaky, BOTH, scope=scope)
    assert (await app.get(path)).status_code == status


@pytest.mark.leak("L55")
@pytest.mark.parametrize(
    "change",
    [
        {"actor": None},
        {"actor": []},
        {"type": None},
        {"type": "deny"},
        {"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}]},
        {"period": {"end": "2020-01-01"}},
        {"period": {"start": "2999-01-01"}},
        {"modifierExtension": [{"url": "http://x", "valueBoolean": True}]},
        {"class": []},
    ],
)
async def test_l55_a_consent_that_doesnt_allow_the_service_by_name_opens_nothing(
    leaky: World, change: dict[str, object]
) -> None:
    app = await service(leaky, {"bob": ["laboratory"]})
    await app.consent("bob", **change)
    assert (await app.get("Observation/bob1")).status_code == 404
    with leaky.upstream.listening() as heard:
        assert _ids(await app.get("Observation")) == []
        assert _ids(await app.get("Observation?patient=bob")) == []
    whoever = "actor" in change and change["actor"] is None
    assert not (whoever and heard)


@pytest.mark.leak("L55")
async def test_l55_beside_a_consent_by_name_one_for_whatever_app_permits_nothing_but_denies(leaky: World) -> None:
    app, other = await service(leaky, {"bob": ["vital-signs"]}), await service(leaky, {"bob": ["laboratory"]})
    await other.consent("bob", actor=None)
    assert (await app.get("Observation/bob1")).status_code == 404
    await app.shared_by("bob", ["laboratory"])
    assert (await app.get("Observation/bob1")).status_code == 200
    await other.consent("bob", type="deny", provision=None)
    assert (await app.get("Observation/bob1")).status_code == 404


@pytest.mark.leak("L51", "L50")
async def test_l51_a_patients_token_is_untouched_by_what_others_allow_a_service(leaky: World) -> None:
    await service(leaky, BOTH)
    app = await leaky.app(["laboratory"])
    assert (await app.get("Observation/bob1")).status_code == 404
    assert await app.ids("Observation?_id=bob1,lab0") == ["Observation/lab0"]
    assert (await app.get("Observation?_id=bob1,lab0")).json()["total"] == 1


@pytest.mark.leak("L50")
async def test_l50_what_is_about_nobody_needs_somebody_who_shares(leaky: World) -> None:
    lonely, app = await service(leaky, {}), await service(leaky, {"bob": ["laboratory"]})
    assert (await lonely.get("Practitioner/doc")).status_code == 404
    assert _ids(await lonely.get("Practitioner")) == []
    assert (await app.get("Practitioner/doc")).status_code == 200
    assert "doc" in _ids(await app.get("Practitioner"))


@pytest.mark.leak("L50", "L55")
async def test_l50_l55_who_shares_nothing_opens_not_even_what_is_about_nobody(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"]})
    decisions = Decisions(leaky.assent.authz)
    await decisions.change(app.consents["ana"], leaky.account, Choice((), ("laboratory",), None, leaky.text), "test")
    assert (await app.get("Practitioner/doc")).status_code == 404
    for query in ("Practitioner", "Practitioner?_revinclude=Observation:performer", "Observation", "Medication"):
        assert _ids(await app.get(query)) == []


@pytest.mark.leak("L63")
async def test_l63_an_end_counts_when_it_comes_and_the_patient_isnt_searched_any_more(leaky: World) -> None:
    context = leaky.assent.authz
    app = await service(leaky, {})
    await app.shared_by("bob", ["laboratory"], ends=context.clock() + timedelta(milliseconds=400))
    assert (await app.get("Observation/bob1")).status_code == 200
    while (await app.get("Observation/bob1")).status_code == 200:
        pass
    with leaky.upstream.listening() as heard:
        assert _ids(await app.get("Observation")) == []
    assert heard == []


async def test_a_search_across_too_many_patients_is_refused_until_one_is_named(leaky: World) -> None:
    app = await service(leaky, {"bob": ["laboratory"]})
    for number in range(MOST_PATIENTS):
        await app.shared_by(f"p{number}", ["laboratory"])
    for query in ("Observation", "Patient", "Practitioner?_revinclude=Observation:performer"):
        answer = await app.get(query)
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "too-costly")
        assert "name a patient" in answer.text
    named = ",".join(f"p{number}" for number in range(MOST_PATIENTS + 1))
    assert (await app.get(f"Observation?patient={named}")).status_code == 400
    assert await _all_ids(app, "Observation?patient=bob") == ["bob1"]
    assert "doc" in await _all_ids(app, "Practitioner")
    await app.revoked_by("p0")
    assert await _all_ids(app, "Observation") == ["bob1"]


@pytest.mark.leak("L70")
async def test_l70_each_patients_record_names_their_own_data_and_nobody_elses(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory", "sharing-record"], "bob": ["laboratory"]})
    asked = {"X-Request-Id": f"request-{app.client_id}"}
    await app.get("Observation?_id=lab0,bob1", **asked)
    await app.get("Observation/bob1", **asked)
    reader = await leaky.app(["sharing-record"])
    found = [e["resource"] for e in (await reader.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]]
    mine = [event for event in found if asked["X-Request-Id"] in str(event)]
    assert len(mine) == 1
    assert "bob" not in str(mine)
    named = [entity["what"].get("reference") for entity in mine[0]["entity"]]
    assert named[:2] == ["Patient/ana", "Observation/lab0"]
    assert f"Consent/{app.consents['ana']}/_history/1" in named
    assert mine[0]["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    assert app.client_id in str(mine[0]["agent"])
    by_service = await app.get("AuditEvent?_count=200&_sort=-date")
    assert "Patient/bob" not in by_service.text
    assert "request-" in by_service.text


async def test_the_services_see_something_in_both_worlds(services: Twins) -> None:
    assert [len(_ids(await app.get("Observation?_count=200"))) for app in (services.one, services.other)] == [14, 14]


@pytest.mark.leak("L04", "L10", "L11", "L13", "L01", "L02")
@pytest.mark.parametrize(
    "query",
    [
        *(
            "Observation",
            "Observation?_count=3&_sort=-date",
            "Observation?patient=ana&_count=13",
            "Patient",
            "Condition",
        ),
        *(
            "Observation?_id=hiv00,lab01,another01",
            "Observation?subject=Patient/bob",
            "Observation?_count=1&code=75622-1",
        ),
        *("Observation?_include=Observation:performer", "Observation?_revinclude=Observation:has-member&_count=2"),
        *("Patient?_revinclude=Observation:subject", "Practitioner?_revinclude=Observation:performer&_count=2"),
        *("Patient?_id=bob,zoe,ana", "Patient?_sort=name", "Observation?code:not=718-7&_total=accurate", "Encounter"),
    ],
)
async def test_l04_a_services_searches_tell_nothing_of_what_is_withheld(services: Twins, query: str) -> None:
    await services.same_seen([Request(query)], pages=16)


@pytest.mark.leak("L06", "L39")
async def test_l06_l39_a_services_reads_tell_nothing_of_what_is_withheld(services: Twins) -> None:
    names = ["Patient/zoe", "Patient/bob", "Observation/hiv00", "Observation/another00", "Condition/bobs", "Group/g"]
    names += ["Observation/group", "Observation/elsewhere", "Observation/named", "Provenance/prov", "Binary/b"]
    await services.same_seen([path for name in names for path in (name, f"{name}/_history/1")])


@pytest.mark.leak("L06", "L41")
async def test_l06_l41_who_says_no_to_the_service_by_name_is_as_one_who_isnt_there(leaky: World) -> None:
    app = await service(leaky, {"ana": ["laboratory"]})
    await app.consent("ana", type="deny", provision=None)
    for path in ("Patient/{}", "Patient/{}/$everything", "Patient/{}/_history", "Observation?patient={}"):
        denying, absent = await app.get(path.format("ana")), await app.get(path.format("nob"))
        assert (denying.status_code, denying.text) == (absent.status_code, absent.text.replace("nob", "ana")), path


@pytest.mark.leak("L55", "L06")
async def test_l55_a_group_that_holds_the_service_isnt_its_name(leaky: World) -> None:
    """Who is in a Group the upstream says. Reads went by it, and searches and exports, which ask for names, didn't."""
    app = await service(leaky, {"bob": ["laboratory"]})
    member = {"entity": {"identifier": {"system": CLIENT_SYSTEM, "value": app.client_id}}}
    group = {"resourceType": "Group", "id": "partners", "type": "device", "actual": True, "member": [member]}
    role = {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP"}]}
    await app.consent("bob", actor=[{"role": role, "reference": {"reference": "Group/partners"}}])
    with leaky.upstream.saying("/Group/partners", json.dumps(group).encode()):
        for path in ("Observation/bob1", "Observation/bob1/_history", "Patient/bob/$everything"):
            assert (await app.get(path)).status_code == 404, path
        for query in ("Observation?patient=bob", "Observation"):
            assert _ids(await app.get(query)) == []
