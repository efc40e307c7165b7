"""Who gets which language, and how it stays."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.languages import Languages
from tests.portal.fakes import ADA, LANGUAGES, POLICY, SHARED, Place, page_of, place

SPANISH = LANGUAGES.by_tag["es"]
BRAZIL = replace(SPANISH, tag="pt-BR")


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA)
    return found


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("es", "es"),
        ("ES", "es"),
        ("es-MX,en;q=0.9", "es"),
        ("en,es;q=0.9", "en"),
        ("en;q=0.5, es;q=0.7", "es"),
        ("fr,de;q=0.9", "en"),
        ("fr, es;q=0.1", "es"),
        ("es;q=0", "en"),
        ("es;q=0.0,en", "en"),
        ("*", "en"),
        ("pt-br", "pt-BR"),
        ("pt-BR-x-own", "pt-BR"),
        ("pt", "en"),
        ("es;q=high", "en"),
        (";;;,,,=", "en"),
        ("x" * 10_000 + ",es", "en"),
        ("../../etc/passwd", "en"),
    ],
)
def test_a_browser_gets_the_best_that_it_asks_for(header: str, tag: str) -> None:
    spoken = Languages({**LANGUAGES.by_tag, "pt-BR": BRAZIL})
    assert spoken.accepted(header).tag == tag


async def test_the_page_says_its_language_and_writes_dates_and_titles_in_it(here: Place) -> None:
    response = await here.client.get("/my", headers={"Accept-Language": "es"})
    assert response.headers["content-language"] == "es"
    assert '<html lang="es" dir="ltr">' in response.text
    assert "Resultados de laboratorio" in response.text
    assert "20 de enero de 2027, 14:05 UTC" in response.text
    assert page_of(response).buttons == ["Retirar"]


async def test_a_choice_counts_more_than_the_browser_and_stays(here: Place) -> None:
    chosen = await here.client.get("/language/es?next=/my/activity?patient=ada")
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/my/activity?patient=ada")
    cookie = chosen.headers["set-cookie"]
    assert re.fullmatch(r"assent_language=es; HttpOnly; Max-Age=31536000; Path=/; SameSite=lax", cookie)
    english = await here.client.get("/my", headers={"Accept-Language": "en"})
    assert "Lo que comparto" in english.text
    await here.client.get("/language/en")
    assert "My sharing" in (await here.client.get("/my", headers={"Accept-Language": "es"})).text


@pytest.mark.parametrize("address", ["/my?patient=ada", "/authorize/continue?request=req-1", "/my/activity?app=a%26b"])
async def test_choosing_leads_back_to_the_same_page(here: Place, address: str) -> None:
    links = re.findall(r'href="(/language/[^"]+)"', (await here.client.get(address)).text)
    assert [link.split("?")[0] for link in links] == ["/language/en", "/language/es"]
    (back,) = parse_qs(urlsplit(links[1]).query)["next"]
    assert (await here.client.get(links[1])).headers["location"] == back == address


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"])
async def test_choosing_leads_to_no_other_site(here: Place, next_page: str) -> None:
    response = await here.client.get("/language/es", params={"next": next_page})
    assert (response.status_code, response.headers["location"]) == (303, "/my")


@pytest.mark.parametrize("tag", ["fr", "ES", "en%0a", "e" * 5000])
async def test_an_unknown_language_cannot_be_chosen(here: Place, tag: str) -> None:
    response = await here.client.get(f"/language/{tag}")
    assert response.status_code == 404
    assert "set-cookie" not in response.headers


async def test_an_unknown_choice_is_as_none(here: Place) -> None:
    here.client.cookies.set("assent_language", "xx")
    response = await here.client.get("/my", headers={"Accept-Language": "es"})
    assert 'lang="es"' in response.text


async def test_the_consent_keeps_the_text_in_the_language_in_which_it_was_shown(here: Place) -> None:
    page = page_of(await here.client.get("/authorize/continue?request=req-1", headers={"Accept-Language": "es"}))
    assert page.hidden["policy"] == SPANISH.policy.sha256 != POLICY.sha256
    sent = {**page.hidden, "category": ["laboratory"], "duration": "month", "decision": "allow"}
    # The browser may ask otherwise meanwhile; what counts is what stood in the form.
    await here.client.post("/authorize/decision", data=sent, headers={"Accept-Language": "en"})
    assert here.consents.granted[0].policy == SPANISH.policy
    refused = {**page.hidden, "decision": "deny"}
    await here.client.post("/authorize/decision", data=refused, headers={"Accept-Language": "en"})
    assert here.consents.refused == [SPANISH.policy]


async def test_an_error_speaks_the_visitors_language(here: Place) -> None:
    response = await here.client.get("/my/sharing/none/change", headers={"Accept-Language": "es"})
    assert response.status_code == 404
    assert "Esta página no está aquí" in response.text


async def test_a_name_that_an_app_gave_itself_brings_no_markup_into_any_language(here: Place) -> None:
    here.consents.consents = [replace(SHARED, app_name="<b>%(x)s {{ 7 }}</b>")]
    for tag in ("en", "es"):
        text = (await here.client.get("/my", headers={"Accept-Language": tag})).text
        assert "&lt;b&gt;%(x)s {{ 7 }}&lt;/b&gt;" in text
        assert "<b>" not in text
