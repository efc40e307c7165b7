"""The patient's own pages: what is shared, change, revoke, who saw what."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from portal.my_sharing import one_section_each
from portal.ports import SharedWith
from portal.record_ports import Waiting
from tests.portal.fakes import ADA, BEN, NOW, POLICY, SHARED, Place, page_of, place

RESEARCH = replace(
    SHARED, consent_id="c2", client_id="Organization/x", app_name="Lakeside Research", is_app=False, plain=False
)
KEPT = replace(RESEARCH, consent_id="c3", app_name="Dr Day", permits=False, categories=(), asked=(), until=None)
FINER = replace(SHARED, consent_id="c4", client_id="fine", app_name="Fine App", plain=False, categories=(), asked=())


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA, BEN)
    return found


@pytest.mark.parametrize("address", ["/my", "/my/activity", "/my/sharing/c1/change"])
async def test_signing_in_comes_first(address: str) -> None:
    response = await place().client.get(address)
    assert response.status_code == 303
    assert response.headers["location"] == f"/sign-in?next={address.replace('/', '%2F')}"


async def test_each_app_is_a_section_headed_by_its_name_with_change_and_revoke(here: Place) -> None:
    response = await here.client.get("/my")
    page = page_of(response)
    assert page.headings == ["My sharing", "Heart Diary", "Take it with you"]
    assert page.buttons == ["Revoke"]
    assert '<section class="card" aria-labelledby="app-c1">' in response.text
    assert '<a class="button" href="/my/sharing/c1/change" aria-describedby="app-c1">Change</a>' in response.text
    for words in ("Lab results", "HIV", "Shared in part", "22 October 2026", "20 January 2027, 14:05 UTC"):
        assert words in response.text
    assert "not yet" in response.text


async def test_use_is_told_when_it_is_known(here: Place) -> None:
    here.consents.consents = [replace(SHARED, last_used=NOW, uses=41)]
    text = (await here.client.get("/my")).text
    assert "21 November 2026, 14:05 UTC</time>" in text
    assert "<dd>41 times</dd>" in text


async def test_revoke_ends_the_sharing_and_says_so(here: Place) -> None:
    response = await here.client.post("/my/sharing/c1/revoke", data=await here.fields("/my"))
    assert (response.status_code, response.headers["location"]) == (303, "/my?patient=ada&revoked=c1")
    after = await here.client.get("/my?patient=ada&revoked=c1")
    assert "Heart Diary can see nothing more of your health information." in after.text
    assert page_of(after).buttons == []
    assert here.consents.consents[0].state == "revoked"


@pytest.mark.parametrize(("apps", "folded"), [(5, 0), (6, 6)])
async def test_of_many_apps_only_what_they_can_see_stands_open(here: Place, apps: int, folded: int) -> None:
    here.consents.consents = [replace(SHARED, consent_id=f"c{n}", app_name=f"App {n}") for n in range(apps)]
    cards = (await here.client.get("/my")).text.split('<section class="card" aria-labelledby="app-')[1:]
    assert len(cards) == apps
    assert sum('<details class="folded">' in card for card in cards) == folded
    for card in cards:
        before = card.split('<details class="folded">')[0]
        assert "Lab results" in before
        assert ("Decided by" in before or "Since" in before) is (folded == 0)


async def test_the_address_cannot_make_the_page_claim_what_is_not_so(here: Place) -> None:
    response = await here.client.get("/my?patient=ada&revoked=c1")
    assert "can see nothing more" not in response.text


async def test_change_shows_what_is_shared_now_and_saves_what_is_ticked(here: Place) -> None:
    page = page_of(await here.client.get("/my/sharing/c1/change"))
    parts = {"Problem list": False, "Health concerns": False, "Diagnoses at visits": False}
    assert page.named("checkbox") == {"Conditions": True, **parts, "Lab results": True, "HIV": False}
    assert page.named("radio")["As now, until 20 January 2027"] is True
    sent = {**page.hidden, "category": ["conditions"], "duration": "keep"}
    response = await here.client.post("/my/sharing/c1/change", data=sent)
    assert (response.status_code, response.headers["location"]) == (303, "/my?patient=ada&changed=c1")
    (choice,) = here.consents.changed
    assert (choice.categories, choice.until) == (("conditions",), SHARED.until)


async def test_a_new_duration_counts_from_now(here: Place) -> None:
    sent = {**await here.fields("/my/sharing/c1/change"), "category": ["conditions"], "duration": "once"}
    await here.client.post("/my/sharing/c1/change", data=sent)
    assert here.consents.changed[0].until == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"duration": "keep"}, "You haven't ticked anything to share."),
        ({"duration": "keep", "category": "medications"}, "Please check your choices"),
        ({"category": "conditions"}, "Choose for how long"),
        ({"category": "conditions", "duration": "keep", "decision": "review"}, "Nothing is decided yet."),
    ],
)
async def test_a_change_with_a_problem_saves_nothing(here: Place, fields: dict[str, str], says: str) -> None:
    sent = {**await here.fields("/my/sharing/c1/change"), **fields}
    response = await here.client.post("/my/sharing/c1/change", data=sent)
    assert response.status_code == 400
    assert says in response.text
    assert here.consents.changed == []


async def test_what_has_ended_cannot_be_changed(here: Place) -> None:
    sent = {**await here.fields("/my/sharing/c1/change"), "category": ["conditions"], "duration": "keep"}
    here.consents.consents = [replace(SHARED, state="revoked")]
    assert (await here.client.get("/my/sharing/c1/change")).status_code == 409
    assert (await here.client.post("/my/sharing/c1/change", data=sent)).status_code == 409
    assert here.consents.changed == []


@pytest.mark.parametrize("consent_id", ["c9", "nothing", "%2e%2e", "a" * 65])
async def test_anothers_consent_looks_like_one_that_is_not_there(here: Place, consent_id: str) -> None:
    here.consents.consents = [SHARED, replace(SHARED, consent_id="c9", patient_id="eve")]
    token = (await here.fields("/my"))["csrf"]
    answers = [
        await here.client.get(f"/my/sharing/{consent_id}/change"),
        await here.client.post(f"/my/sharing/{consent_id}/change", data={"csrf": token}),
        await here.client.post(f"/my/sharing/{consent_id}/revoke", data={"csrf": token}),
        await here.client.get(f"/my/sharing/{consent_id}/history"),
    ]
    nowhere = _without_addresses(await here.client.get("/my/sharing/unknown/change"))
    assert [(a.status_code, _without_addresses(a)) for a in answers] == [(404, nowhere)] * 4
    assert here.consents.consents[1].state == "limited"


def _without_addresses(response: httpx.Response) -> str:
    """The links to other languages lead back to where one is."""
    return re.sub(r'next=[^"]*', "", response.text)


@pytest.mark.parametrize("page", ["/my", "/my/activity"])
async def test_one_sees_only_the_people_one_acts_for(here: Place, page: str) -> None:
    assert (await here.client.get(f"{page}?patient=eve")).status_code == 404
    response = await here.client.get(f"{page}?patient=ben")
    assert response.status_code == 200
    assert f'<a href="{page}?patient=ben" aria-current="true">Ben Ito</a>' in response.text
    assert "Heart Diary" not in response.text


async def test_an_account_without_patients_is_told_so() -> None:
    here = place()
    here.sign_in()
    assert "linked to a patient" in (await here.client.get("/my")).text


async def test_a_clinician_without_patients_is_told_where_records_open_and_promised_nothing() -> None:
    here = place()
    here.sign_in()
    known = here.sessions.sessions["c"]
    here.sessions.sessions["c"] = replace(known, account=replace(known.account, role="clinician"))
    text = (await here.client.get("/my")).text
    assert "start the app that you use for treatment" in text
    assert "You decide who sees your health information" not in text


def test_every_app_is_seen_once_and_every_current_consent_always() -> None:
    old = replace(SHARED, consent_id="c0", state="revoked")
    other = replace(SHARED, consent_id="c2", client_id="steps", state="expired")
    older = replace(other, consent_id="c3", state="denied")
    twin = replace(SHARED, consent_id="c4", state="granted")
    asked = replace(SHARED, consent_id="c5", client_id="new", state="requested")
    current, ended = one_section_each([SHARED, other, asked, older, twin, old])
    assert [c.consent_id for c in current] == ["c1", "c4"]
    assert [c.consent_id for c in ended] == ["c2"]


async def test_decisions_written_elsewhere_stand_apart_and_are_told_as_far_as_words_go(here: Place) -> None:
    here.consents.consents = [SHARED, RESEARCH, KEPT, FINER]
    text = (await here.client.get("/my")).text
    others = text[text.index("Other decisions about this information") : text.index('id="download"')]
    assert [name in others for name in ("Heart Diary", "Fine App", "Lakeside Research", "Dr Day")] == [0, 0, 1, 1]
    assert text.count("This decision has finer rules") == 3
    assert "A part of the health information" in text
    assert 'action="/my/sharing/c2/revoke"' in text
    assert "This decision keeps something closed." in others
    assert [words in others for words in ("Not allowed", "it is taken back", "you take it back")] == [True, True, False]


@pytest.mark.parametrize(
    ("shared", "change", "revoke"),
    [(SHARED, 200, 303), (RESEARCH, 404, 303), (KEPT, 404, 404), (FINER, 404, 303)],
)
async def test_only_what_a_form_can_show_is_changed_and_only_what_opens_is_revoked(
    here: Place, shared: SharedWith, change: int, revoke: int
) -> None:
    here.consents.consents = [shared]
    token = {"csrf": (await here.fields("/my/sign-out"))["csrf"]}
    address = f"/my/sharing/{shared.consent_id}"
    assert (await here.client.get(f"{address}/change")).status_code == change
    sent = {**token, "category": ["conditions"], "duration": "keep", "policy": POLICY.sha256}
    assert (await here.client.post(f"{address}/change", data=sent)).status_code == (303 if change == 200 else 404)
    assert len(here.consents.changed) == (1 if change == 200 else 0)
    assert (await here.client.post(f"{address}/revoke", data=token)).status_code == revoke
    assert here.consents.consents[0].state == ("revoked" if revoke == 303 else "limited")


async def test_everything_is_revoked_after_a_question_that_names_all(here: Place) -> None:
    bens = replace(SHARED, consent_id="c8", patient_id="ben")
    here.consents.consents = [SHARED, RESEARCH, KEPT, bens]
    asks = await here.client.get("/my/revoke-all?patient=ada")
    assert [name in asks.text for name in ("Heart Diary", "Lakeside Research", "Dr Day")] == [True, True, False]
    response = await here.client.post("/my/revoke-all", data=page_of(asks).hidden)
    assert (response.status_code, response.headers["location"]) == (303, "/my?patient=ada&revoked=all")
    assert (
        "Nobody can see anything more of your health information."
        in (await here.client.get("/my?patient=ada&revoked=all")).text
    )
    assert [c.state for c in here.consents.consents] == ["revoked", "revoked", "limited", "limited"]


async def test_revoking_everything_needs_a_person_whom_one_acts_for_and_something_to_end(here: Place) -> None:
    token = {"csrf": (await here.fields("/my"))["csrf"]}
    assert (await here.client.get("/my/revoke-all?patient=eve")).status_code == 404
    assert (await here.client.post("/my/revoke-all", data={**token, "patient": "eve"})).status_code == 404
    assert (await here.client.post("/my/revoke-all", data={"patient": "ada"})).status_code == 403
    nothing = await here.client.get("/my/revoke-all?patient=ben")
    assert (nothing.status_code, nothing.headers["location"]) == (303, "/my?patient=ben")
    assert here.consents.consents == [SHARED]


async def test_what_waits_for_an_answer_is_named_and_shares_nothing(here: Place) -> None:
    here.record.waits = [Waiting("Steps", ("vital-signs", "laboratory"), NOW, NOW + timedelta(minutes=10))]
    text = (await here.client.get("/my")).text
    assert "Waiting for your answer" in text
    waiting = text[text.index("Waiting for your answer") : text.index("Until you answer")]
    assert [title in waiting for title in ("Lab results", "Vital signs", "Conditions")] == [True, True, False]
    assert "14:15 UTC" in text
