"""The pages of emergency access: what they say, in which language, and what they leave out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from portal.emergency_ports import OpenedInEmergency
from tests.portal.fakes import ADA, BEN, NOW, Place, page_of, place

OPENED = OpenedInEmergency(
    id="e1",
    app_name="Ward",
    user_name="Dr. Day",
    patient_id="ada",
    reason="Found <i>unconscious</i>",
    since=NOW - timedelta(minutes=5),
    until=NOW + timedelta(minutes=55),
    running=True,
    looks=2,
    categories=("laboratory", "hiv"),
    reviewed_at=None,
    reviewed_by=None,
    review_note=None,
)


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA, BEN)
    found.emergencies.found = [OPENED]
    return found


async def test_the_patient_is_told_and_another_isnt(here: Place) -> None:
    text = (await here.client.get("/my?patient=ada")).text
    for told in ("Emergency access", "Dr. Day", "Found &lt;i&gt;unconscious&lt;/i&gt;", "Lab results, HIV", "not yet"):
        assert told in text
    assert "Dr. Day" not in (await here.client.get("/my?patient=ben")).text


async def test_it_is_told_in_the_readers_language(here: Place) -> None:
    text = (await here.client.get("/my?patient=ada", headers={"Accept-Language": "es"})).text
    assert "Acceso de urgencia" in text
    assert "Resultados de laboratorio, VIH" in text


async def test_the_note_of_the_review_is_not_for_the_patient(here: Place) -> None:
    here.emergencies.found = [replace(OPENED, reviewed_at=NOW, reviewed_by="Kim", review_note="between us")]
    text = (await here.client.get("/my?patient=ada")).text
    assert "21 November 2026" in text
    assert "between us" not in text


async def test_where_it_is_on_my_doesnt_promise_that_nobody_sees_anything_unasked(here: Place) -> None:
    promise = "Nobody sees it through Assent unless you allowed it."
    assert promise in (await here.client.get("/my?patient=ada")).text
    here.emergencies.lasts = timedelta(hours=1)
    text = (await here.client.get("/my?patient=ada")).text
    assert promise not in text
    assert "In an emergency" in text


@pytest.mark.parametrize("path", ["/operator/emergency", "/authorize/emergency?request=req-1"])
async def test_nobody_signed_in_is_asked_to_and_a_patient_finds_nothing(here: Place, path: str) -> None:
    here.emergencies.lasts = timedelta(hours=1)
    assert (await here.client.get(path)).status_code == 404
    here.client.cookies.clear()
    answer = await here.client.get(path)
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")


@pytest.mark.parametrize("act", ["review", "end"])
async def test_a_patient_neither_reviews_nor_ends(here: Place, act: str) -> None:
    fields = await here.fields("/my/sign-out")
    answer = await here.client.post(f"/operator/emergency/e1/{act}", data={**fields, "note": "fine"})
    assert (answer.status_code, here.emergencies.done) == (404, [])
    assert page_of(answer).headings[0] == "This page isn't here"
