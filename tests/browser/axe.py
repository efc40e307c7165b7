"""axe-core in a page: what it finds against WCAG 2.2 A and AA, and its own best practices."""

from __future__ import annotations

from typing import Any, Final

from playwright.sync_api import Page

from tests.clients.node_modules_folder import installed

_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RUN: Final = "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})"


def violations(page: Page) -> list[str]:
    """Each rule that the page breaks, with where. Run from outside the page, whose own policy allows no script."""
    page.evaluate((installed("axe-core") / "axe.min.js").read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate(_RUN, _RULES)
    return [f"{broken['id']}: {node['html'][:200]}" for broken in found["violations"] for node in broken["nodes"]]


def overflow(page: Page) -> int:
    """CSS pixels by which the page is wider than its window (WCAG 2.2, 1.4.10 Reflow)."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
