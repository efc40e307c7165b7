"""Two worlds that differ only in what is withheld, and the question whether an app sees any difference."""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx

from authz.consents.decisions import Choice, Decisions
from tests.authz.consent_recorder import category
from tests.leaks.manners import Manner
from tests.leaks.service import Service
from tests.leaks.world import App, World

_PAGE = re.compile(r"(?<=_page=)[\w-]+")
_VOLATILE = frozenset({"x-request-id", "date"})


@dataclass(frozen=True, slots=True)
class Seen:
    """All that an app can observe of an answer, but for its timing."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    """Page tokens are random; what is left of them is their length."""


def seen(answer: httpx.Response) -> Seen:
    """What an app sees."""
    headers = tuple(sorted((n, v) for n, v in answer.headers.items() if n not in _VOLATILE))
    return Seen(answer.status_code, headers, _PAGE.sub(lambda found: f"<{len(found[0])}>", answer.text))


@dataclass(frozen=True, slots=True)
class Request:
    """A read or search: by GET, or by POST when there is a form or, for a batch, a body."""

    path: str
    form: str | None = None
    body: str | None = None
    accept: str = "*/*"
    head: bool = False
    known: str = ""
    """What If-None-Match names; empty without it."""

    async def by(self, app: App) -> httpx.Response:
        """Ask it."""
        if self.body is not None:
            return await app.post_bundle(self.body)
        if self.form is None:
            validators = {"If-None-Match": self.known} if self.known else {}
            asked = {"Accept": self.accept, **validators}
            return await (app.send("HEAD", self.path, **asked) if self.head else app.get(self.path, **asked))
        kind, _, query = self.path.partition("?")
        return await app.post_search(kind, self.form, f"?{query}" if query else "")


@dataclass(slots=True)
class Twins:
    """The same app in two worlds."""

    one: App
    other: App
    signed_in: float = field(default_factory=monotonic)
    shared: tuple[str, ...] = ()
    """What ana ticked."""
    consents: dict[str, str] = field(default_factory=dict)
    """The consents behind the tokens, by client, once they were needed."""

    async def stay_signed_in(self) -> None:
        """Before access tokens end, get others: where nothing is open, all worlds are alike."""
        if "refresh_token" in self.one.token and monotonic() - self.signed_in > self.one.token["expires_in"] / 2:
            await gather(self.one.renew(), self.other.renew())
            self.signed_in = monotonic()

    async def share(self, categories: Iterable[str]) -> None:
        """Let ana, who ticked what is shared, decide again, in both worlds."""
        for app in (self.one, self.other):
            if isinstance(app, Service):
                await app.consent("ana", **{"class": category(*categories)})
                continue
            if app.client_id not in self.consents:
                self.consents[app.client_id] = await app.consent_id()
            choice = Choice(tuple(categories), self.shared, None, app.world.text)
            await Decisions(app.world.assent.authz).change(
                self.consents[app.client_id], app.world.account, choice, "test"
            )

    @contextmanager
    def answering(self, manner: Manner) -> Iterator[None]:
        """While the block runs, both upstreams answer in this manner."""
        with self.one.world.upstream.answering(manner), self.other.world.upstream.answering(manner):
            yield

    async def same_seen(self, requests: Iterable[Request | str], pages: int = 0, then: tuple[str, ...] = ()) -> None:
        """Ask both the same, follow up to `pages` next links, and compare every answer.

        `then`: what is shared from the first answer on; empty for no change.
        """
        for given in requests:
            request = Request(given) if isinstance(given, str) else given
            await self._same(request, pages, then)

    async def _same(self, request: Request, pages: int, then: tuple[str, ...]) -> None:
        answers = await gather(request.by(self.one), request.by(self.other))
        for page in range(pages + 1):
            one, other = map(seen, answers)
            assert one == other, f"{request} tells the worlds apart on page {page}"
            links = [next_link(answer) for answer in answers]
            if links[0] is None or links[1] is None:
                return
            if page == 0 and then:
                await self.share(then)
            answers = await gather(self.one.get(links[0]), self.other.get(links[1]))


def next_link(answer: httpx.Response) -> str | None:
    """Where a searchset goes on."""
    if answer.status_code != 200 or "fhir" not in answer.headers["content-type"] or not answer.content:
        return None
    links = answer.json().get("link", ())
    return next((str(link["url"]) for link in links if link["relation"] == "next"), None)


async def twins(one: World, other: World, categories: Iterable[str], purpose: str = "PATRQT", **more: Any) -> Twins:
    """Launch the same app in both worlds; `more` as of `World.app`."""
    ticked = list(categories)
    here, there = [await world.app(ticked, purpose=purpose, **more) for world in (one, other)]
    return Twins(here, there, shared=tuple(ticked))
