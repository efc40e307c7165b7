"""The links of a paged answer: our own, sealed for app, grant, patient and place (docs/leaks.md L20, L22)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from fhir.proxy.page import Page
from fhir.proxy.page_token import PagePayload
from fhir.proxy.parts import Asked, ProxyParts
from fhir.proxy.request import ProxyRefusal

_PAGE: Final = "_page"
"""Parameter of a page link, the only one on it."""

Parameters = tuple[tuple[str, str], ...]


class PageLinks:
    """The links of one answer. `path` is below the base: a link opens where it was made."""

    def __init__(self, parts: ProxyParts, asked: Asked, path: str) -> None:
        """Raises ProxyRefusal for a page link that isn't valid, or not any more."""
        self._parts = parts
        self._url = f"{parts.base}/{path}"
        self._now = asked.now
        self._binding = f"{asked.access.client_id} {asked.access.grant_id} {asked.plan.patient} {path}"
        self._token = next((value for name, value in asked.request.parameters if name == _PAGE), None)
        self.payload = self._opened(asked)
        """Where this page begins; None on a first one."""
        self.query: Parameters = asked.request.parameters if self.payload is None else self.payload.query
        """The parameters of the first request. The guard decides them again, on every page (docs/leaks.md L21)."""
        self._question = ""

    def _opened(self, asked: Asked) -> PagePayload | None:
        if self._token is None:
            return None
        payload = self._parts.sealer.open(self._token, binding=self._binding, now=self._now)
        if payload is None or self._has_moved(payload) or len(asked.request.parameters) != 1:
            raise ProxyRefusal(410, "expired", "the page link is not valid any more, search again")
        return payload

    def _has_moved(self, payload: PagePayload) -> bool:
        """Whether the type belongs to another source than when the link was made."""
        kind = payload.resource_type
        return not self._parts.serves(kind) or self._parts.source_of(kind).place.mark != payload.place

    def begin(self, question: str, resource_type: str = "") -> tuple[str, int, int]:
        """Where this page begins in the source's answer to a question of ours: URL, position, matches before it.

        `resource_type` where several are asked for.
        """
        self._question = question
        if self.payload is None or resource_type not in ("", self.payload.resource_type):
            return question, 0, 0
        return self.payload.upstream_url, self.payload.position, self.payload.passed

    def of(self, page: Page, resource_type: str) -> list[tuple[str, str]]:
        """(relation, URL) pairs; the next page goes on in the source of `resource_type`."""
        own = ((_PAGE, self._token),) if self._token is not None else self.query
        links = [("self", f"{self._url}?{urlencode(own)}" if own else self._url)]
        if page.next_url is not None:
            place = self._parts.source_of(resource_type).place.mark
            payload = PagePayload(
                page.next_url, resource_type, self.query, page.next_position, self._now, place, page.next_passed
            )
            sealed = self._parts.sealer.seal(payload, binding=self._binding, question=self._question)
            links.append(("next", f"{self._url}?{urlencode({_PAGE: sealed})}"))
        return links

    def total(self, page: Page, *, counted: bool) -> int | None:
        """Honest only when all was seen from the first entry to the last (docs/leaks.md L04)."""
        whole = counted and self._token is None and page.next_url is None
        return len(page.matches) if whole else None
