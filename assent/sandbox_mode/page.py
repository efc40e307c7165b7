"""A page of the sandbox's apps and launcher, in the look of the pages for people. It says that it isn't one of them."""

from __future__ import annotations

from functools import cache
from typing import Final

from fastapi.responses import HTMLResponse

from portal.static_files import load_static_files

_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'"
AGAIN: Final = (
    '<p class="actions"><a class="button" href="/sandbox/launcher">Launch again</a> '
    '<a class="button" href="/my">My sharing</a></p>'
)
_PLACES: Final = {"/sandbox/launcher": "Try it", "/sandbox/mail": "Letters", "/my": "My sharing"}


@cache
def _addresses() -> tuple[str, str]:
    files = load_static_files()
    return files["portal.css"].address, files["mark.svg"].address


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A page; `body` is HTML, and what comes from outside is escaped in it."""
    stylesheet, mark = _addresses()
    places = "".join(
        f'<li><a href="{address}"{" aria-current=page" if name == title else ""}>{name}</a></li>'
        for address, name in _PLACES.items()
    )
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title} | Assent sandbox</title>'
        f'<link rel="stylesheet" href="{stylesheet}"><link rel="icon" type="image/svg+xml" href="{mark}"></head>'
        '<body><a class="skip" href="#content">Skip to content</a>'
        '<header class="top"><div class="top-inner">'
        f'<a class="brand" href="/"><img src="{mark}" alt="" width="32" height="32">Assent</a>'
        f'<nav aria-label="Sandbox"><ul>{places}</ul></nav></div></header>'
        f'<main id="content" tabindex="-1"><div class="reading"><h1>{title}</h1>{body}</div></main>'
        '<footer class="foot"><div class="foot-inner"><p>Everybody here is made up. This page is no part of Assent: '
        "it plays an app, an EHR or a mailbox.</p></div></footer></body></html>"
    )
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(text, status, headers)
