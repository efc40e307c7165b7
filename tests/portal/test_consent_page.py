"""What the consent page shows, and which answers it takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.portal.fakes import ADA, BEN, CATALOGUE, NOW, POLICY, REQUEST, Place, page_of, place

ADDRESS = "/authorize/continue?request=req-1"
PARTS = {"Problem list": False, "Health concerns": False, "Diagnoses at visits": False}


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA)
    return found


async def allow(here: Place, *categories: str, **fields: str) -> dict[str, object]:
    hidden = await here.fields(ADDRESS)
    return {**hidden, "category": list(categories), "duration": "month", "decision": "allow", **fields}


async def test_every_category_asked_for_has_a_checkbox_named_exactly_by_its_title(here: Place) -> None:
    page = page_of(await here.client.get(ADDRESS))
    assert page.named("checkbox") == {"Conditions": True, **PARTS, "Lab results": True, "HIV": False}


async def test_each_checkbox_is_described_by_what_the_category_holds(here: Place) -> None:
    page = page_of(await here.client.get(ADDRESS))
    described = page.inputs["category-laboratory"]["aria-describedby"] or ""
    assert page.texts[described] == CATALOGUE.categories["laboratory"].description


async def test_all_categories_of_the_catalogue_can_be_asked_for(here: Place) -> None:
    everything = tuple(CATALOGUE.categories)
    here.requests.requests["req-1"] = replace(REQUEST, asked=everything)
    page = page_of(await here.client.get(ADDRESS))
    titles = {c.title: not (c.sensitive or c.part_of) for c in CATALOGUE.categories.values() if not c.always}
    assert page.named("checkbox") == titles
    assert "Sensitive information" in page.headings


async def test_durations_are_radio_buttons_with_one_year_chosen(here: Place) -> None:
    page = page_of(await here.client.get(ADDRESS))
    assert page.named("radio") == {"Only this time (1 hour)": False, "30 days": False, "90 days": False, "1 year": True}


async def test_no_duration_is_offered_or_taken_that_is_longer_than_the_app_asked_for(here: Place) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, longest=720)
    page = page_of(await here.client.get(ADDRESS))
    assert page.named("radio") == {"Only this time (1 hour)": False, "30 days": True}
    response = await here.client.post("/authorize/decision", data=await allow(here, "laboratory", duration="quarter"))
    assert response.status_code == 400
    assert "Choose for how long Heart Diary may see this." in response.text
    assert here.consents.granted == []


async def test_the_page_says_which_limits_the_app_set_itself(here: Place) -> None:
    assert "Limits it set itself" not in (await here.client.get(ADDRESS)).text
    limits = {
        "categories": "only the kinds of information listed below",
        "duration": "for this long at most: 30 days",
        "purpose": "only for your own use, at your request",
    }
    for named in ({"categories"}, {"duration", "purpose"}, set(limits)):
        here.requests.requests["req-1"] = replace(REQUEST, longest=720, own_limits=frozenset(named))
        text = (await here.client.get(ADDRESS)).text
        assert "Limits it set itself" in text
        assert {name for name, words in limits.items() if words in text} == named


async def test_an_app_that_asks_for_longer_doesnt_change_what_is_chosen_at_first(here: Place) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, longest=999_999)
    page = page_of(await here.client.get(ADDRESS))
    assert page.named("radio") == {"Only this time (1 hour)": False, "30 days": False, "90 days": False, "1 year": True}


async def test_enter_presses_the_first_button_which_decides_nothing(here: Place) -> None:
    response = await here.client.get(ADDRESS)
    assert page_of(response).buttons == ["", "Allow", "Deny"]
    first = response.text.index("<button")
    assert response.text.startswith('<button type="submit" name="decision" value="review" hidden>', first)


async def test_the_page_says_who_asks_for_whom_and_shows_the_policy_text(here: Place) -> None:
    response = await here.client.get(ADDRESS)
    assert page_of(response).headings[0] == "Share your health information with Heart Diary?"
    assert POLICY.version in response.text
    assert "You can change your mind." in response.text
    assert "for your own use, at your request" in response.text
    assert "It wants to keep looking when you aren" in response.text


async def test_allow_grants_what_is_ticked_for_the_time_chosen(here: Place) -> None:
    response = await here.client.post("/authorize/decision", data=await allow(here, "laboratory", "hiv"))
    assert (response.status_code, response.headers["location"]) == (303, "https://heart.example/callback?code=c")
    (choice,) = here.consents.granted
    assert choice.categories == ("laboratory", "hiv")
    assert choice.until == NOW + timedelta(days=30)
    assert choice.policy == POLICY


@pytest.mark.smart(54)
async def test_deny_shares_nothing_whatever_is_ticked(here: Place) -> None:
    sent = await allow(here, "laboratory", decision="deny")
    response = await here.client.post("/authorize/decision", data=sent)
    assert response.status_code == 303
    assert response.headers["location"] == "https://heart.example/callback?error=access_denied"
    assert (here.consents.granted, here.consents.refused) == ([], [POLICY])


@pytest.mark.parametrize(
    ("categories", "fields", "says"),
    [
        ((), {}, "You haven't ticked anything to share."),
        (("hiv",), {}, "Tick one of the everyday kinds of information too."),
        (("laboratory",), {"duration": "ever"}, "Choose for how long Heart Diary may see this."),
        (("laboratory",), {"duration": "keep"}, "Choose for how long Heart Diary may see this."),
        (("laboratory",), {"policy": "0" * 64}, "has changed since you opened this page"),
        (("laboratory", "medications"), {}, "match what Heart Diary asked for"),
        (("laboratory", "directory"), {}, "match what Heart Diary asked for"),
        (("laboratory", "nonsense"), {}, "match what Heart Diary asked for"),
    ],
)
async def test_allow_with_a_problem_shows_the_page_again_and_grants_nothing(
    here: Place, categories: tuple[str, ...], fields: dict[str, str], says: str
) -> None:
    response = await here.client.post("/authorize/decision", data=await allow(here, *categories, **fields))
    assert response.status_code == 400
    assert says in response.text
    assert here.consents.granted == []
    page = page_of(response)
    assert page.headings[0] == "There is a problem"
    assert page.named("checkbox")["Lab results"] is ("laboratory" in categories)


async def test_an_app_that_asks_for_no_data_can_be_allowed(here: Place) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, asked=(), identity=True, needs_patient=False)
    response = await here.client.get(ADDRESS)
    assert page_of(response).headings[0] == "Sign in to Heart Diary?"
    answer = await here.client.post("/authorize/decision", data=await allow(here))
    assert answer.headers["location"] == "https://heart.example/callback?code=c"


@pytest.mark.parametrize("decision", ["", "review", "ALLOW", "maybe"])
async def test_a_decision_that_is_neither_button_is_none(here: Place, decision: str) -> None:
    response = await here.client.post("/authorize/decision", data=await allow(here, "laboratory", decision=decision))
    assert (response.status_code, here.consents.granted, here.consents.refused) == (400, [], [])
    assert "Nothing is decided yet." in response.text
    assert page_of(response).named("checkbox") == {"Conditions": False, **PARTS, "Lab results": True, "HIV": False}


async def test_without_a_session_one_signs_in_first_and_comes_back() -> None:
    response = await place().client.get(ADDRESS)
    assert response.status_code == 303
    assert response.headers["location"] == "/sign-in?next=%2Fauthorize%2Fcontinue%3Frequest%3Dreq-1"


async def test_a_sign_in_that_is_too_old_for_the_request_is_repeated(here: Place) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, signed_in_since=NOW + timedelta(seconds=1))
    assert (await here.client.get(ADDRESS)).headers["location"].startswith("/sign-in?next=")


@pytest.mark.parametrize("handle", ["", "gone", "a" * 300, "%00", "../x"])
async def test_an_unknown_or_malformed_handle_is_an_expired_request(here: Place, handle: str) -> None:
    response = await here.client.get(f"/authorize/continue?request={handle}")
    assert (response.status_code, page_of(response).headings[0]) == (400, "This request is no longer open")


async def test_one_who_acts_for_several_chooses_first_by_the_patients_names() -> None:
    here = place()
    here.sign_in(ADA, BEN)
    page = page_of(await here.client.get(ADDRESS))
    assert page.named("radio") == {"Ada Ito": False, "Ben Ito": False}
    assert page.buttons == ["Continue"]
    response = await here.client.post("/authorize/patient", data={**page.hidden, "patient": "ben"})
    assert (response.status_code, response.headers["location"]) == (303, ADDRESS)
    response = await here.client.get(ADDRESS)
    assert page_of(response).headings[0] == "Share Ben Ito\u2019s health information with Heart Diary?"
    again = page_of(await here.client.get(f"{ADDRESS}&choose=patient"))
    assert again.named("radio") == {"Ada Ito": False, "Ben Ito": True}


async def test_continue_without_a_patient_asks_again() -> None:
    here = place()
    here.sign_in(ADA, BEN)
    hidden = await here.fields(ADDRESS)
    response = await here.client.post("/authorize/patient", data=hidden)
    assert response.status_code == 400
    assert "Choose a person." in response.text


@pytest.mark.smart(119)
async def test_a_patient_whom_one_may_not_act_for_cannot_be_chosen() -> None:
    here = place()
    here.sign_in(ADA, BEN)
    hidden = await here.fields(ADDRESS)
    response = await here.client.post("/authorize/patient", data={**hidden, "patient": "eve"})
    assert response.status_code == 403
    assert here.requests.requests["req-1"].patient_id is None


async def test_a_patient_given_by_a_launch_must_be_one_whom_the_person_may_act_for(here: Place) -> None:
    sent = await allow(here, "laboratory")
    here.requests.requests["req-1"] = replace(REQUEST, patient_id="eve", patient_given=True)
    assert (await here.client.get(ADDRESS)).status_code == 403
    assert (await here.client.post("/authorize/decision", data=sent)).status_code == 403
    assert here.consents.granted == []


async def test_a_decision_for_another_patient_than_the_page_showed_is_refused() -> None:
    here = place()
    here.sign_in(ADA, BEN)
    here.requests.requests["req-1"] = replace(REQUEST, patient_id="ada")
    sent = await allow(here, "laboratory")
    here.requests.requests["req-1"] = replace(REQUEST, patient_id="ben")
    assert (await here.client.post("/authorize/decision", data=sent)).status_code == 403
    assert here.consents.granted == []


async def test_one_who_acts_for_nobody_can_only_go_back() -> None:
    here = place()
    here.sign_in()
    response = await here.client.get(ADDRESS)
    assert page_of(response).buttons == ["Go back to Heart Diary"]
    sent = await allow(here, "laboratory")
    assert (await here.client.post("/authorize/decision", data=sent)).status_code == 403


async def test_an_apps_name_is_text_and_never_markup(here: Place) -> None:
    hostile = "</title><script>alert(1)</script>\" onload='x"
    here.requests.requests["req-1"] = replace(REQUEST, app_name=hostile)
    response = await here.client.get(ADDRESS)
    assert "script" not in page_of(response).tags
    assert "<script" not in response.text
    assert "&lt;script&gt;" in response.text


async def test_the_consent_pages_policy_lets_its_form_lead_to_the_app_and_nothing_else_load(here: Place) -> None:
    policy = (await here.client.get(ADDRESS)).headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "form-action 'self' https://heart.example https:"
    )


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_of_two_clicks_the_second_finds_the_request_closed(here: Place, decision: str) -> None:
    sent = await allow(here, "laboratory", decision=decision)
    here.consents.decided = True
    response = await here.client.post("/authorize/decision", data=sent)
    assert (response.status_code, page_of(response).headings[0]) == (400, "This request is no longer open")


@pytest.mark.parametrize(
    ("letters", "label", "recorded"),
    [
        ("c", "Let Heart Diary add to the record", ("collect",)),
        ("ud", "Let Heart Diary change the record", ("correct",)),
        ("d", "Let Heart Diary change the record", ("correct",)),
        ("cud", "Let Heart Diary add to the record and change it", ("collect", "correct")),
    ],
)
async def test_an_app_that_asks_to_write_gets_a_box_that_nobody_has_ticked(
    here: Place, letters: str, label: str, recorded: tuple[str, ...]
) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, writes=letters)
    page = page_of(await here.client.get(ADDRESS))
    assert page.named("checkbox")[label] is False
    await here.client.post("/authorize/decision", data=await allow(here, "laboratory"))
    await here.client.post("/authorize/decision", data=await allow(here, "laboratory", writes="yes"))
    assert [choice.writes for choice in here.consents.granted] == [(), recorded]


@pytest.mark.parametrize(("letters", "sent"), [("", "yes"), ("cud", "no"), ("cud", "correct")])
async def test_an_answer_about_writing_that_was_not_offered_is_refused(here: Place, letters: str, sent: str) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, writes=letters)
    response = await here.client.post("/authorize/decision", data=await allow(here, "laboratory", writes=sent))
    assert response.status_code == 400
    assert here.consents.granted == []


@pytest.mark.parametrize(
    ("keeps", "said", "unsaid"),
    [
        ({"patient"}, ["notes here about Ada Ito"], ["your settings for it"]),
        ({"user"}, ["your settings for it"], ["notes here about", "As an operator"]),
        ({"patient", "user"}, ["notes here about Ada Ito", "your settings for it"], []),
        (set(), [], ["notes here about", "your settings for it"]),
    ],
)
async def test_the_page_says_what_the_app_may_keep_here(
    here: Place, keeps: set[str], said: list[str], unsaid: list[str]
) -> None:
    here.requests.requests["req-1"] = replace(REQUEST, keeps=frozenset(keeps))
    page = (await here.client.get(ADDRESS)).text
    assert [text for text in said if text not in page] == []
    assert [text for text in unsaid if text in page] == []
