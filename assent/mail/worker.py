"""Sends the letters that wait, one after the other, and looks now and then for sharing that ends soon.

Every server process has one; the table sees to it that a letter is one process's. Where the mail server doesn't answer
the worker asks less and less often, and no letter is lost by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Final

import structlog

from assent.mail.transport import SECONDS, Sender, Transport, Undeliverable
from authz.mail.outbox import Letter, Outbox
from portal.languages import Languages
from portal.mail_text import Told, letter_text

_IDLE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 120.0
_HOUSEKEEPING_SECONDS: Final = 600.0
_CLOSE_AGAIN_SECONDS: Final = 0.5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """What the worker works with."""

    outbox: Outbox
    transport: Transport
    sender: Sender
    languages: Languages
    clock: Callable[[], datetime]
    endings: Callable[[], Awaitable[object]]
    """Writes the letters about sharing that ends soon."""


class MailWorker:
    """One task, from `start` to `close`."""

    def __init__(self, post: Post, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._post = post
        self._idle = idle_seconds
        self._task: asyncio.Task[None] | None = None

    @property
    def outbox(self) -> Outbox:
        """Where it takes letters from."""
        return self._post.outbox

    def start(self) -> None:
        """Start, in the running event loop; first with what an earlier process left."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="mail")

    async def close(self) -> None:
        """Stop. A letter that is on its way is sent again by the next process, if it didn't arrive."""
        task, self._task = self._task, None
        # aiosmtplib swallows a cancellation that reaches it while it takes leave of the server.
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_AGAIN_SECONDS)

    async def deliver(self) -> bool | None:
        """Send the letter that is due longest: whether the mail server works; None when no letter is due."""
        letter = await self._post.outbox.take()
        if letter is None:
            return None
        try:
            async with asyncio.timeout(SECONDS):
                await self._post.transport.send(self._message(letter))
        except (Undeliverable, TimeoutError) as failed:
            for_good = isinstance(failed, Undeliverable) and failed.for_good
            reason = type(failed.__cause__ or failed).__name__
            _log.warning("mail_not_sent", kind=letter.kind, tries=letter.tries, reason=reason)
            await self._post.outbox.failed(letter, for_good=for_good)
            return for_good  # the server works, if it refuses one letter for good
        await self._post.outbox.sent(letter)
        _log.info("mail_sent", kind=letter.kind, tries=letter.tries)
        return True

    async def look_around(self) -> None:
        """Tell of what ends soon, and take out what is old."""
        await self._post.endings()
        await self._post.outbox.tidy()

    def _message(self, letter: Letter) -> EmailMessage:
        spoken = self._post.languages
        language = spoken.by_tag.get(letter.language, spoken.english)  # the operator may have taken one away
        told = Told(letter.kind, letter.app_name, letter.own, letter.code)
        text = letter_text(told, self._post.sender.issuer, language)
        return self._post.sender.message(
            to=letter.recipient,
            subject=text.subject,
            body=text.body,
            language=language.tag,
            # A letter with a new code is another letter.
            about=f"{letter.id} {letter.tries if letter.code else 0}",
            now=self._post.clock(),
        )

    async def _run(self) -> None:
        loop, pause, housekeeping = asyncio.get_running_loop(), self._idle, 0.0
        while True:
            try:
                if loop.time() >= housekeeping:
                    housekeeping = loop.time() + _HOUSEKEEPING_SECONDS
                    await self.look_around()
                outcome = await self.deliver()
            except Exception as broken:  # the database is away, most likely: the letters stay where they are
                _log.error("mail_worker_failed", reason=type(broken).__name__)
                outcome = False
            if outcome is False:
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
            elif outcome is None:
                pause = self._idle
                await asyncio.sleep(self._idle)
            else:
                pause = self._idle
