"""The sandbox's mailbox: letters are kept for a while and shown at `/sandbox/mail`; none leaves this machine.

INVARIANT: in sandbox mode only. Anybody reads everybody's letters there; the people are made up.
"""

from __future__ import annotations

import html
from collections import deque
from email.message import EmailMessage
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from assent.sandbox_mode.page import page

_MOST: Final = 100


class SandboxMailbox:
    """The newest letters, in memory."""

    def __init__(self) -> None:
        self._letters: deque[EmailMessage] = deque(maxlen=_MOST)

    async def send(self, message: EmailMessage) -> None:
        """Keep it."""
        self._letters.appendleft(message)

    def routes(self) -> APIRouter:
        """`/mail`."""
        router = APIRouter(include_in_schema=False)

        @router.get("/mail")
        async def show() -> Response:
            letters = "".join(_shown(letter) for letter in self._letters)
            about = f'<p class="lead">Here are the newest {_MOST} letters. No letter leaves the sandbox.</p>'
            nothing = (
                '<p class="card">There are none yet. Share something, and <a href="/sandbox/mail">look again</a>.</p>'
            )
            links = '<p><a href="/my/e-mail">E-mail settings</a> · <a href="/my">My sharing</a></p>'
            return page("Letters", about + (letters or nothing) + links)

        return router


def _shown(letter: EmailMessage) -> str:
    rows = (f"<tr><th scope='row'>{name}</th><td>{html.escape(str(letter[name]))}</td></tr>" for name in _HEADERS)
    subject = html.escape(str(letter["Subject"]))
    body = html.escape(letter.get_content().replace("\r\n", "\n"))
    language = html.escape(str(letter["Content-Language"]))
    text = f"<h2 lang='{language}'>{subject}</h2><table>{''.join(rows)}</table>"
    return f"<section class='card'>{text}<pre class='letter' tabindex='0' lang='{language}'>{body}</pre></section>"


_HEADERS: Final = ("To", "From", "Date")
