"""`/my/e-mail`: giving an address, confirming it, choosing what is told, and who may do it when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from authz.mail.addresses import MailSettings
from authz.mail.notices import Kind
from portal.mail_text import Told, letter_text, plain_name
from tests.portal.fakes import ADA, LANGUAGES, NOW, Place, page_of, place

PLACE = "/my/e-mail"
USED = MailSettings("ada@example.org", None, sharing=True, language="en")
KINDS: tuple[Kind, ...] = (
    *("consent-asked", "consent-given", "consent-changed", "consent-ended", "sharing-ends", "emergency"),
    *("passkey-added", "passkey-removed", "password-changed", "sign-in-linked", "sign-in-unlinked"),
    *("address-changed", "address-removed", "confirm-address"),
)


@pytest_asyncio.fixture(loop_scope="session")
async def here() -> AsyncIterator[Place]:
    made = place()
    made.sign_in(ADA)
    yield made
    await made.client.aclose()


async def send(here: Place, path: str, **fields: str) -> tuple[int, str]:
    """Status, and where it leads or what it says."""
    token = (await here.fields(PLACE))["csrf"]
    answer = await here.client.post(f"{PLACE}{path}", data={"csrf": token, **fields})
    return answer.status_code, answer.headers.get("location", answer.text)


async def test_who_gave_no_address_is_asked_for_one_and_for_nothing_else(here: Place) -> None:
    page = page_of(await here.client.get(PLACE))
    assert page.headings == ["E-mail", "Give an address"]
    assert page.buttons == ["Send a code"]
    assert page.inputs["address"]["type"] == "email"


async def test_an_address_is_given_confirmed_and_used(here: Place) -> None:
    assert await send(here, "", address="ada@example.org") == (303, f"{PLACE}?done=sent")
    shown = await here.client.get(f"{PLACE}?done=sent")
    assert "A code is on its way to ada@example.org." in shown.text
    assert page_of(shown).headings == ["E-mail", "Confirm your address", "Use another address"]
    status, text = await send(here, "/confirm", code="wrong")
    assert (status, "This code doesn&#39;t count." in text or "This code doesn't count." in text) == (400, True)
    assert await send(here, "/confirm", code="right") == (303, f"{PLACE}?done=confirmed")
    assert here.mail.settings == USED
    assert "Messages go to ada@example.org from now on." in (await here.client.get(f"{PLACE}?done=confirmed")).text


async def test_a_new_code_goes_to_the_address_that_waits(here: Place) -> None:
    here.mail.settings = MailSettings(None, "ada@example.org", sharing=True, language="en")
    assert await send(here, "", again="yes", address="other@example.org") == (303, f"{PLACE}?done=sent")
    assert here.mail.settings.pending == "ada@example.org"


async def test_what_is_no_address_is_shown_again_and_escaped(here: Place) -> None:
    status, text = await send(here, "", address='"><script>@x')
    assert (status, here.mail.settings, "<script>@x" in text) == (400, None, False)
    assert "We can't write to this address." in text


async def test_who_asked_for_too_many_codes_is_told(here: Place) -> None:
    here.mail.full = True
    status, text = await send(here, "", address="ada@example.org")
    assert (status, "You have asked for several codes today." in text) == (429, True)


async def test_changes_in_sharing_can_be_switched_off_and_the_language_chosen(here: Place) -> None:
    here.mail.settings = USED
    page = page_of(await here.client.get(PLACE))
    assert page.named("checkbox") == {"Changes in sharing": True}
    assert await send(here, "/choose", language="es") == (303, f"{PLACE}?done=saved")
    assert here.mail.settings == MailSettings("ada@example.org", None, sharing=False, language="es")
    assert (await send(here, "/choose", language="tlh", sharing="yes"))[0] == 400
    assert not here.mail.settings.sharing


async def test_an_address_is_removed(here: Place) -> None:
    here.mail.settings = USED
    assert await send(here, "/remove") == (303, f"{PLACE}?done=removed")
    assert here.mail.settings.address is None


@pytest.mark.parametrize("path", ["", "/remove"])
async def test_an_old_sign_in_gives_changes_and_removes_no_address(here: Place, path: str) -> None:
    here.mail.settings = USED
    here.sign_in(ADA, auth_time=NOW - timedelta(hours=2))
    page = await here.client.get(PLACE)
    assert (page_of(page).buttons, "Sign in again" in page.text) == (["Save"], True)
    assert (await send(here, path, address="evil@example.org"))[0] == 403
    assert here.mail.settings == USED


@pytest.mark.parametrize("path", ["", "/confirm", "/remove", "/choose"])
async def test_a_foreign_form_changes_nothing(here: Place, path: str) -> None:
    here.mail.settings = MailSettings("ada@example.org", "new@example.org", sharing=True, language="en")
    before, form = here.mail.settings, {"code": "right", "address": "evil@example.org", "language": "es"}
    assert (await here.client.post(f"{PLACE}{path}", data=form)).status_code == 403
    assert here.mail.settings == before


async def test_who_isnt_signed_in_is_asked_to(here: Place) -> None:
    here.client.cookies.clear()
    answer = await here.client.get(PLACE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fmy%2Fe-mail")


async def test_where_no_e_mail_is_sent_there_is_no_such_page_nor_a_way_to_it() -> None:
    without = place(mails=False)
    without.sign_in(ADA)
    assert (await without.client.get(PLACE)).status_code == 404
    assert PLACE not in (await without.client.get("/my")).text
    await without.client.aclose()


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_letter_is_short_whole_and_leads_here_only(kind: Kind, own: bool, language: str) -> None:
    told = Told(kind, "Heart Diary", own, "ABCD-EFGH-JKLM" if kind == "confirm-address" else "")
    text = letter_text(told, "https://share.example", LANGUAGES.by_tag[language])
    links = [word for word in text.body.split() if "://" in word]
    assert {link.removeprefix("https://share.example") for link in links} <= {"", "/my", "/my/e-mail"}
    assert len(links) >= 1
    assert 10 < len(text.subject) < 80
    assert "\n" not in text.subject
    assert len(text.body) < 800
    assert ("ABCD-EFGH-JKLM" in text.body) is (kind == "confirm-address")
    assert "Heart Diary" not in text.subject  # it stands on locked screens
    assert ("%" in text.body, "Heart Diary" in text.body) == (False, kind.startswith(("consent", "sharing")))


def test_nothing_is_said_twice_in_the_same_words() -> None:
    english = LANGUAGES.english
    bodies = {
        letter_text(Told(kind, "App", own), "https://s.example", english).body
        for kind in KINDS[:6]
        for own in (True, False)
    }
    assert len(bodies) == 12


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Heart Diary", "Heart Diary"),
        ("Dr. Okafor's App", "Dr. Okafor's App"),
        ("evil.example", "evil example"),
        ("Prize: https://evil.example/x", "Prize: https evil example x"),
        ("write to me@evil.example", "write to me evil example"),
        ("two\r\nBcc: all@evil.example", "two Bcc: all evil example"),
        ("a\u2028b\x00c\u202ed", "a b c d"),
        ("x" * 500, "x" * 99 + "…"),
        ("", ""),
    ],
)
def test_an_apps_name_is_one_line_without_links(name: str, shown: str) -> None:
    assert plain_name(name) == shown
