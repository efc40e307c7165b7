"""L65: emergency access opens one record, for a while, to who asked; the rest looks as if it weren't there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from authz.tokens.access_tokens import TokenClaims
from tests.authz.emergency_ward import OPENED, REASON, Ward, ground, people, ward
from tests.leaks.service import service

__all__ = ["ground", "people", "ward"]


@pytest.mark.leak("L65")
@pytest.mark.parametrize("closed", ["violence0", "unknown0", "bob0"])
async def test_l65_what_stays_closed_looks_as_if_it_werent_there(ward: Ward, closed: str) -> None:
    app = await ward.opened()
    there, nowhere = await app.get(f"Observation/{closed}"), await app.get("Observation/nowhere0")
    assert _told(there, closed) == _told(nowhere, "nowhere0")
    for query in ("_id={}", "_id={}&_summary=count", "_id={},lab0&_count=1", "_id={},lab0&_sort=-date"):
        found = await app.get(f"Observation?{query.format(closed)}")
        missed = await app.get(f"Observation?{query.format('nowhere0')}")
        assert _told(found, closed) == _told(missed, "nowhere0")


@pytest.mark.leak("L65", "L70")
async def test_l65_l70_no_other_app_reads_why_the_record_was_opened(ward: Ward) -> None:
    await ward.opened()
    other = await ward.server.app(["sharing-record"])
    found = await other.get("AuditEvent?subtype=110127")
    purposes = [purpose for e in found.json()["entry"] for purpose in e["resource"]["purposeOfEvent"]]
    assert purposes
    assert all(purpose.keys() == {"coding"} for purpose in purposes)
    assert REASON not in found.text


@pytest.mark.leak("L65")
async def test_l65_other_tokens_of_the_app_see_no_more_than_before(ward: Ward) -> None:
    other = await ward.server.app(["laboratory"], purpose="TREAT")
    before = await other.ids("Observation")
    assert set(before) == {"Observation/lab0"}
    await ward.opened()
    assert await other.ids("Observation") == before


@pytest.mark.leak("L65")
async def test_l65_a_service_registered_for_break_glass_gets_nothing(ward: Ward) -> None:
    found = await service(ward.server, {"ana": ["laboratory"]})
    claims = TokenClaims(found.client_id, found.client_id, "system/*.rs", timedelta(minutes=5), purpose="BTG")
    token, _ = ward.server.assent.authz.tokens.mint(claims)
    assert (await found.get("Observation/lab0")).status_code == 200
    assert (await replace(found, token={"access_token": token}).get("Observation/lab0")).status_code == 403


@pytest.mark.leak("L65")
async def test_l65_what_an_operator_ends_is_closed_at_once(ward: Ward) -> None:
    app = await ward.opened()
    assert set(await app.ids("Observation")) == OPENED
    async with ward.visit("kim") as visitor:
        page = await visitor.open("/operator/emergency")
        while page.form_with("submit", "End it now") is not None:
            page = await visitor.send("End it now")
    assert (await app.get("Observation/lab0")).status_code == 401


def _told(answer: httpx.Response, name: str) -> tuple[int, str]:
    request_id = answer.headers.get("x-request-id", "?")
    return answer.status_code, answer.text.replace(name, "NAME").replace(request_id, "REQUEST")
