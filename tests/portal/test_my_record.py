"""The pages about a patient's record: how a consent came about, who saw what, and the download."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from markupsafe import Markup

from portal.record_ports import Activity, ActivityAsked, ActivityPage, ConsentVersion
from tests.portal.fakes import ADA, BEN, LANGUAGES, NOW, POLICY, Place, page_of, place

GIVEN = ConsentVersion(
    version=1,
    when=NOW - timedelta(days=30),
    who="Ada Ito",
    state="limited",
    permits=True,
    plain=True,
    categories=("conditions", "laboratory"),
    asked=("conditions", "laboratory", "hiv"),
    purpose="PATRQT",
    until=NOW,
    policy=POLICY,
)
ENDED = replace(GIVEN, version=3, when=NOW, who="Mia Ito", state="revoked")
CHANGED = replace(GIVEN, version=2, categories=("conditions",), policy=LANGUAGES.by_tag["es"].policy)


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA, BEN)
    return found


@pytest.mark.parametrize("address", ["/my/activity", "/my/sharing/c1/history"])
async def test_signing_in_comes_first(address: str) -> None:
    response = await place().client.get(address)
    assert response.headers["location"] == f"/sign-in?next={address.replace('/', '%2F')}"


async def test_every_version_is_told_with_who_when_what_and_the_text_as_it_was(here: Place) -> None:
    here.record.versions = [ENDED, CHANGED, GIVEN]
    response = await here.client.get("/my/sharing/c1/history")
    first, changed, given = response.text.split("<section")[1:]
    assert "<strong>Mia Ito</strong> ended the sharing." in first
    assert "<details" not in first
    assert "<strong>Ada Ito</strong> changed it to this." in changed
    assert '<div lang="es">' in changed
    assert "Spanish" in changed
    assert "<strong>Ada Ito</strong> decided this." in given
    assert "22 October 2026, 14:05 UTC" in given
    assert [title in given for title in ("Conditions", "Lab results", "HIV")] == [True] * 3
    assert POLICY.sha256 in given
    assert "You can change your mind." in given


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (replace(GIVEN, state="denied"), "<strong>Ada Ito</strong> said no."),
        (replace(GIVEN, state="requested"), "proposed this. Nothing was shared."),
        (replace(GIVEN, who=""), "<strong>Somebody</strong> decided this."),
        (replace(GIVEN, policy=None), "No text from these pages was shown with this decision."),
        (replace(GIVEN, plain=False), "This decision has finer rules"),
    ],
)
async def test_what_a_version_lacks_or_was_is_said(here: Place, version: ConsentVersion, says: str) -> None:
    here.record.versions = [version]
    assert says in (await here.client.get("/my/sharing/c1/history")).text


async def test_who_saw_what_is_listed_by_day_in_words(here: Place) -> None:
    lines = [
        Activity(NOW, Markup("<strong>Heart</strong> looked at Lab results"), "done"),
        Activity(NOW - timedelta(days=1), Markup("<strong>Steps</strong> tried"), "refused"),
    ]
    here.record.found = ActivityPage(lines, None, [])
    response = await here.client.get("/my/activity")
    assert page_of(response).headings == ["Who saw what", "21 November 2026", "20 November 2026"]
    assert "<strong>Heart</strong> looked at Lab results" in response.text
    assert "Refused, saw nothing" in response.text
    assert response.text.count("<ol") == response.text.count("</ol>") == 2
    assert "Older" not in response.text


async def test_lines_are_asked_for_by_app_and_day_and_the_next_page_asks_for_the_same(here: Place) -> None:
    here.record.found = ActivityPage([], "a b/c", [("heart", "Heart Diary")])
    response = await here.client.get("/my/activity?patient=ada&app=heart&until=2026-11-20&older=x")
    assert here.record.asked == [ActivityAsked("heart", date(2026, 11, 20), "x")]
    assert '<option value="heart" selected>Heart Diary</option>' in response.text
    kept = "/my/activity?patient=ada&amp;app=heart&amp;until=2026-11-20"
    assert f'href="{kept}&amp;older=a+b%2Fc">Older</a>' in response.text
    assert f'href="{kept}">Newest</a>' in response.text


@pytest.mark.parametrize("query", ["older=unfit", "until=20.11.2026", "until=9999-99-99", "patient=eve"])
async def test_a_page_that_can_not_be_asked_for_is_not_there(here: Place, query: str) -> None:
    assert (await here.client.get(f"/my/activity?{query}")).status_code == 404
    assert here.record.asked == []


async def test_the_download_is_of_one_person_whom_one_acts_for(here: Place) -> None:
    response = await here.client.get("/my/download?patient=ben")
    assert (response.status_code, response.content) == (200, b"PK of ben")
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == 'attachment; filename="assent-2026-11-21.zip"'
    assert response.headers["cache-control"] == "no-store"
    for address in ("/my/download", "/my/download?patient=eve", "/my/download?patient="):
        assert (await here.client.get(address)).status_code == 404
    assert (await place().client.get("/my/download?patient=ben")).headers["location"] == "/sign-in?next=%2Fmy"
