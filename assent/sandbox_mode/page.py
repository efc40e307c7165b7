"""A plain page of the sandbox's apps and launcher: no scripts, a little style. Not a page of Assent itself."""

from __future__ import annotations

from typing import Final

from fastapi.responses import HTMLResponse

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE: Final = (
    "body{font:1rem/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre{overflow:auto;padding:1rem;border:1px solid #8886;border-radius:.5rem}table{border-collapse:collapse}"
    "td,th{padding:.25rem 1rem .25rem 0;text-align:left;vertical-align:top}td{overflow-wrap:anywhere}"
    "section{border:1px solid #8886;border-radius:.75rem;padding:0 1.25rem 1.25rem;margin:1.5rem 0}"
    "code{overflow-wrap:anywhere}"
    ".wrapped{white-space:pre-wrap;overflow-wrap:anywhere}"
    "form{display:grid;grid-template-columns:11rem 1fr;gap:.75rem 1rem;align-items:center}"
    "form p{grid-column:1/-1;margin:0}input,select,button{font:inherit;padding:.4rem .6rem;min-width:0}"
    "input[type=checkbox]{justify-self:start;width:1.25rem;height:1.25rem}button{grid-column:2;justify-self:start}"
    "@media(max-width:36rem){form{grid-template-columns:1fr}button{grid-column:1}}"
)
AGAIN: Final = '<p><a href="/sandbox/launcher">Launch again</a> · <a href="/my">My sharing</a></p>'


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A page; `body` is HTML, and what comes from outside is escaped in it."""
    text = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style><main><h1>{title}</h1>{body}</main></html>"
    )
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(text, status, headers)
