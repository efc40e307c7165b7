"""Renders the policy text for reading: headings, paragraphs, lists and `**bold**`; all else of Markdown stays text.

INVARIANT: everything is escaped; the text can't bring markup of its own onto the consent page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from markupsafe import Markup, escape

BOLD: Final = re.compile(r"\*\*([^*]+)\*\*")


def policy_html(text: str) -> Markup:
    """Return HTML of `# heading`, `- item` and paragraphs parted by empty lines."""
    return Markup("\n").join(_blocks(text))


def _blocks(text: str) -> Iterator[Markup]:
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line.strip() for line in block.strip().split("\n") if line.strip()]
        if lines and lines[0].startswith("#"):
            yield _heading(lines.pop(0))
        if not lines:
            continue
        if lines[0].startswith("- "):
            yield Markup("<ul>{}</ul>").format(Markup("").join(_items(lines)))
        else:
            yield Markup("<p>{}</p>").format(_inline(" ".join(lines)))


def _heading(line: str) -> Markup:
    # The page's own headings are h1 and h2, so the text's begin at h3.
    level = min(len(line) - len(line.lstrip("#")) + 2, 6)
    return Markup("<h{0}>{1}</h{0}>").format(level, _inline(line.lstrip("#").strip()))


def _items(lines: list[str]) -> Iterator[Markup]:
    items: list[str] = []
    for line in lines:
        if line.startswith("- "):
            items.append(line[2:])
        else:
            items[-1] += f" {line}"
    for item in items:
        yield Markup("<li>{}</li>").format(_inline(item))


def _inline(text: str) -> Markup:
    return Markup(BOLD.sub(r"<strong>\1</strong>", str(escape(text))))  # noqa: S704 -- escaped just before
