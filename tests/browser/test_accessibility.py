"""Every page, as people have it who see little, use a phone, enlarge, need the dark, or have no mouse (WCAG 2.2 AA)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.axe import overflow, violations
from tests.browser.walk import Ground, prepared, sign_in, walk, walk_of_emergencies, walk_of_sign_ins
from tests.clients.app_site import site
from tests.clients.chromium import chromium
from tests.clients.hospital import Hospital
from tests.sandbox_server import Sandbox

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Scheme = Literal["light", "dark"]
PAGES = 36
"""How many pages the walk passes; a page that goes missing goes unchecked."""
SIGN_INS = 6
EMERGENCIES = 5
PHONE = ViewportSize(width=320, height=800)
DESK = ViewportSize(width=1280, height=900)
ENLARGED = ViewportSize(width=640, height=450)
"""A window of 1280 by 900 at 200 %: half as many CSS pixels."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def ground(sandbox: Sandbox) -> Iterator[Ground]:
    with site({"callback": b"Back in the app."}) as address:
        yield prepared(sandbox, f"{address}/callback")


@pytest.mark.parametrize(
    ("language", "scheme", "window"),
    [("en", "light", DESK), ("es", "dark", DESK), ("es", "light", PHONE), ("en", "dark", ENLARGED)],
    ids=["en-light-desk", "es-dark-desk", "es-light-phone", "en-dark-enlarged"],
)
def test_no_page_breaks_a_rule_that_a_machine_can_check_or_scrolls_sideways(
    browser: Browser, ground: Ground, language: str, scheme: Scheme, window: ViewportSize
) -> None:
    """On a desk also with text at twice its size (WCAG 2.2, 1.4.4): a page is shown once for all of it."""
    context = browser.new_context(locale=language, color_scheme=scheme, viewport=window)
    wide, wide_at_twice, broken = {}, {}, {}
    for name, page in walk(context, ground):
        assert page.locator("html").get_attribute("lang") == language
        wide[name], broken[name] = overflow(page), violations(page)
        if window is DESK:
            wide_at_twice[name] = _overflow_at_twice(page)
    context.close()
    assert len(wide) == PAGES
    assert {name: by for name, by in wide.items() if by > 0} == {}
    assert {name: by for name, by in wide_at_twice.items() if by > 0} == {}
    assert {name: rules for name, rules in broken.items() if rules} == {}


@pytest.mark.parametrize(
    ("language", "scheme", "window"),
    [("en", "light", DESK), ("es", "dark", DESK), ("en", "dark", PHONE), ("es", "light", PHONE)],
)
def test_no_way_to_sign_in_breaks_a_rule_or_scrolls_sideways(
    browser: Browser, hospital: Hospital, language: str, scheme: Scheme, window: ViewportSize
) -> None:
    context = browser.new_context(locale=language, color_scheme=scheme, viewport=window)
    wide, broken = {}, {}
    for name, page in walk_of_sign_ins(context, hospital):
        assert page.locator("html").get_attribute("lang") == language
        wide[name], broken[name] = overflow(page), violations(page)
    context.close()
    assert len(wide) == SIGN_INS
    assert {name: by for name, by in wide.items() if by > 0} == {}
    assert {name: rules for name, rules in broken.items() if rules} == {}


@pytest.mark.parametrize(
    ("language", "scheme", "window"),
    [("en", "light", DESK), ("es", "dark", DESK), ("en", "dark", PHONE), ("es", "light", PHONE)],
)
def test_no_page_of_an_emergency_breaks_a_rule_or_scrolls_sideways(
    browser: Browser, hospital: Hospital, language: str, scheme: Scheme, window: ViewportSize
) -> None:
    context = browser.new_context(locale=language, color_scheme=scheme, viewport=window)
    wide, broken = {}, {}
    for name, page in walk_of_emergencies(context, hospital):
        assert page.locator("html").get_attribute("lang") == language
        wide[name], broken[name] = overflow(page), violations(page)
    context.close()
    assert len(wide) == EMERGENCIES
    assert {name: by for name, by in wide.items() if by > 0} == {}
    assert {name: rules for name, rules in broken.items() if rules} == {}


def test_the_whole_consent_goes_by_tab_space_and_enter_with_the_focus_always_seen(
    browser: Browser, ground: Ground
) -> None:
    """From the app's link to the app and on to revoking, without a mouse."""
    app = ground.app("Keyboard Diary")
    user = ground.sandbox.user()
    page = browser.new_context(viewport=DESK).new_page()
    page.goto(app.authorize_url())
    assert _tab_to(page, "#content") == 1, "the first stop skips to the content"
    page.keyboard.press("Enter")
    _tab_to(page, "#username")
    page.keyboard.type(user["username"])
    page.keyboard.press("Tab")
    page.keyboard.type(user["password"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/authorize/continue**")
    _tab_to(page, "#category-conditions")
    page.keyboard.press("Space")
    assert not page.locator("#category-conditions").is_checked()
    _tab_to(page, "#category-hiv")
    page.keyboard.press("Space")
    _tab_to(page, "input[name=duration]")
    page.keyboard.press("ArrowLeft")
    _tab_to(page, "button[value=allow]")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{ground.callback}**")
    app.redeem(page.url)
    assert app.read("Condition").status_code == 403
    assert app.read("Observation?category=laboratory&_count=1").status_code == 200

    page.goto(f"{ground.sandbox.issuer}/my")
    section = page.get_by_role("region", name="Keyboard Diary")
    consent = section.locator("form").get_attribute("action")
    _tab_to(page, f"form[action='{consent}'] button")
    page.keyboard.press("Enter")
    page.get_by_text("Keyboard Diary can see nothing more").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_stop_of_the_keyboard_on_the_consent_page_can_be_seen(
    browser: Browser, ground: Ground, scheme: Scheme
) -> None:
    page = browser.new_context(viewport=PHONE, color_scheme=scheme).new_page()
    page.goto(ground.app("Focus Diary").authorize_url())
    sign_in(page, ground.sandbox.user())
    stops = [_press_tab(page)]
    while len(stops) < 80 and (stop := _press_tab(page)) != stops[0]:
        stops.append(stop)
    page.context.close()
    kinds = [stop["what"] for stop in stops]
    assert sum(kind == "checkbox" for kind in kinds) > 15
    assert {"radio", "allow", "deny"} <= set(kinds)
    assert [stop for stop in stops if stop["what"] != "body" and not (stop["marked"] and stop["inside"])] == []


def _overflow_at_twice(page: Page) -> int:
    """With text at twice the size that the pages give it; then it has its size again."""
    page.evaluate("document.documentElement.style.fontSize = '212.5%'")
    by = overflow(page)
    page.evaluate("document.documentElement.style.fontSize = ''")
    return by


def _tab_to(page: Page, selector: str) -> int:
    """Press Tab until the focus is there, or its link is; how often that took."""
    for presses in range(1, 80):
        _press_tab(page)
        there = "wanted => document.activeElement.matches(wanted) || document.activeElement.hash === wanted"
        if page.evaluate(there, selector):
            return presses
    raise AssertionError(f"Tab never came to `{selector}`")


_STOP = """() => {
  const at = document.activeElement, row = at.closest('.row') || at;
  const marked = [at, row].some(one => {
    const style = getComputedStyle(one);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  });
  const box = at.getBoundingClientRect();
  const inside = box.top >= 0 && box.bottom <= innerHeight + 1 && box.left >= 0 && box.right <= innerWidth + 1;
  const name = ['checkbox', 'radio'].includes(at.type) ? at.type : at.value || at.innerText;
  const what = at === document.body ? 'body' : name;
  return {what, id: at.id, marked, inside};
}"""


def _press_tab(page: Page) -> dict[str, object]:
    page.keyboard.press("Tab")
    found: dict[str, object] = page.evaluate(_STOP)
    return found
