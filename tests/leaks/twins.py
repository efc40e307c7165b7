"""Two worlds that differ only in what is withheld, and the question whether an app sees any difference."""

from __future__ import annotations

import re
from asyncio import gather
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic

import httpx

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

    async def by(self, app: App) -> httpx.Response:
        """Ask it."""
        if self.body is not None:
            return await app.post_bundle(self.body)
        if self.form is None:
            return await app.get(self.path, Accept=self.accept)
        kind, _, query = self.path.partition("?")
        return await app.post_search(kind, self.form, f"?{query}" if query else "")


@dataclass(slots=True)
class Twins:
    """The same app in two worlds."""

    one: App
    other: App
    signed_in: float = field(default_factory=monotonic)

    async def stay_signed_in(self) -> None:
        """Before access tokens end, get others: where nothing is open, all worlds are alike."""
        if "refresh_token" in self.one.token and monotonic() - self.signed_in > self.one.token["expires_in"] / 2:
            await gather(self.one.renew(), self.other.renew())
            self.signed_in = monotonic()

    async def same_seen(self, requests: Iterable[Request | str], pages: int = 0) -> None:
        """Ask both the same, follow up to `pages` next links, and compare every answer."""
        for given in requests:
            request = Request(given) if isinstance(given, str) else given
            await self._same(request, pages)

    async def _same(self, request: Request, pages: int) -> None:
        answers = await gather(request.by(self.one), request.by(self.other))
        for page in range(pages + 1):
            one, other = map(seen, answers)
            assert one == other, f"{request} tells the worlds apart on page {page}"
            links = [next_link(answer) for answer in answers]
            if links[0] is None or links[1] is None:
                return
            answers = await gather(self.one.get(links[0]), self.other.get(links[1]))


def next_link(answer: httpx.Response) -> str | None:
    """Where a searchset goes on."""
    if answer.status_code != 200 or "fhir" not in answer.headers["content-type"]:
        return None
    links = answer.json().get("link", ())
    return next((str(link["url"]) for link in links if link["relation"] == "next"), None)


async def twins(one: World, other: World, categories: Iterable[str], purpose: str = "PATRQT") -> Twins:
    """Launch the same app in both worlds."""
    ticked = list(categories)
    return Twins(await one.app(ticked, purpose=purpose), await other.app(ticked, purpose=purpose))
