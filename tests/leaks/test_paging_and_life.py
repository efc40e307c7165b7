"""L20-L24, L60-L63: page links and tokens follow the consent of the moment."""

from __future__ import annotations

import httpx
import pytest

from authz.consents.decisions import Choice, Decisions
from tests.leaks.world import App, World


def _next(answer: httpx.Response) -> str:
    return next(str(link["url"]) for link in answer.json()["link"] if link["relation"] == "next")


async def _all_pages(app: App, first: str) -> list[str]:
    found, url = [], first
    for _ in range(50):
        answer = await app.get(url)
        assert answer.status_code == 200
        found += [e["resource"]["id"] for e in answer.json().get("entry", ())]
        links = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]
        if not links:
            return found
        url = links[0]
    raise AssertionError("the pages don't end")


@pytest.mark.leak("L04")
async def test_paging_gives_everything_once_and_nothing_else(leaky: World) -> None:
    app = await leaky.app(["laboratory", "vital-signs"])
    whole = [name.removeprefix("Observation/") for name in await app.ids("Observation?_count=200&_sort=_id")]
    for count in (1, 3, 7):
        assert await _all_pages(app, f"Observation?_count={count}&_sort=_id") == whole


@pytest.mark.leak("L20")
async def test_l20_another_apps_page_link_is_refused(leaky: World) -> None:
    app, other = await leaky.app(["laboratory"]), await leaky.app(["laboratory"])
    link = _next(await app.get("Observation?_count=2"))
    assert (await app.get(link)).status_code == 200
    assert (await other.get(link)).status_code == 410
    assert (await app.get(link + "x")).status_code == 410
    assert (await app.get(link.replace("/Observation?", "/Condition?"))).status_code in (403, 410)


@pytest.mark.leak("L21")
async def test_l21_a_page_after_narrowing_shows_less(leaky: World) -> None:
    app = await leaky.app(["laboratory", "vital-signs"])
    link = _next(await app.get("Observation?_count=2&_sort=_id"))
    context = leaky.assent.authz
    choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, leaky.text)
    await Decisions(context).change(await app.consent_id(), leaky.account, choice, "test")
    shown = [e["resource"]["id"] for e in (await app.get(link)).json().get("entry", ())]
    assert all(name.startswith("vital") for name in shown)
    assert await app.ids("Observation?_id=lab0") == []


@pytest.mark.leak("L21")
async def test_l21_after_revocation_no_page_no_read_and_no_refresh(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    link = _next(await app.get("Observation?_count=2"))
    await Decisions(leaky.assent.authz).revoke(await app.consent_id(), leaky.account, "test")
    assert (await app.get(link)).status_code == 401
    assert (await app.get("Observation/lab0")).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    answer = await leaky.http.post("/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.leak("L22")
async def test_l22_page_links_hide_the_upstream(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get("Observation?_count=2")
    assert "_cursor" not in answer.text
    assert "patient=ana" not in answer.text
    assert all(entry["fullUrl"].startswith("http://127.0.0.1:8000/fhir/") for entry in answer.json()["entry"])


@pytest.mark.leak("L23", "L24")
async def test_l23_l24_answers_carry_no_validators_and_are_not_cached(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    answer = await app.get("Observation/lab0")
    assert "etag" not in answer.headers
    assert "last-modified" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert (await app.get("Observation/lab0", **{"If-None-Match": 'W/"1"'})).status_code == 200


async def test_every_disclosure_has_its_audit_event_before_the_answer(leaky: World) -> None:
    app = await leaky.app(["laboratory", "sharing-record"])
    answer = await app.get("Observation/lab0", **{"X-Request-Id": "leak-test-request-1"})
    assert answer.headers["x-request-id"] == "leak-test-request-1"
    events = await app.get("AuditEvent?_count=200&_sort=-date")
    assert events.status_code == 200
    assert "leak-test-request-1" in events.text
    assert "Observation/lab0" in events.text


@pytest.mark.leak("L70")
async def test_l70_the_record_tells_an_app_neither_queries_nor_kinds_of_data(leaky: World) -> None:
    other = await leaky.app(["laboratory", "hiv"])
    assert (await other.get("Observation?code=http://loinc.org|2345-7")).status_code == 200
    app = await leaky.app(["sharing-record"])
    events = (await app.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]
    seen = [event["resource"] for event in events if other.client_id in str(event)]
    assert seen
    entities = [entity for event in seen for entity in event.get("entity", ())]
    assert {name for entity in entities for name in entity} <= {"what", "type", "role"}


@pytest.mark.leak("L60")
async def test_own_consents_are_readable_and_another_patients_are_not(leaky: World) -> None:
    app = await leaky.app(["sharing-record"])
    found = (await app.get("Consent?_count=200&_sort=-_lastUpdated")).json()["entry"]
    assert found
    assert all(e["resource"]["patient"]["reference"] == "Patient/ana" for e in found)
    assert app.client_id in str(found)
    wanted = found[0]["resource"]["id"]
    assert (await app.get(f"Consent/{wanted}")).status_code == 200


async def test_what_one_app_has_seen_opens_nothing_for_another(leaky: World) -> None:
    """Contents are remembered by their bytes; who may see them is not."""
    first, second = await leaky.app(["laboratory"]), await leaky.app(["vital-signs"])
    other_purpose = await leaky.app(["laboratory", "vital-signs"], purpose="HRESCH")
    assert (await first.get("Observation/lab0")).status_code == 200
    assert (await second.get("Observation/lab0")).status_code == 404
    masked, whole = (await other_purpose.get("Observation/lab0")).json(), (await first.get("Observation/lab0")).json()
    assert masked.keys() < whole.keys()
    await Decisions(leaky.assent.authz).revoke(await first.consent_id(), leaky.account, "test")
    assert (await first.get("Observation/lab0")).status_code == 401
