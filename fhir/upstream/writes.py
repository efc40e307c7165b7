"""Asks the upstream FHIR server to create, update or delete, and makes one of three answers of what it says.

FHIR R4 §3.1.0; RFC 9110 §13.1.1: an update and a delete name the version that they start from. Of the answer nothing
goes further but id and version in its `Location`; error texts may hold what the writer can't see (docs/leaks.md L48).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp

from fhir.upstream.client import UpstreamClient
from fhir.upstream.failure import UpstreamFailure

Outcome = Literal["done", "conflict", "refused"]

_ID: Final = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9.-]{1,64}"
"""Without what would lead to another place."""
_NAME: Final = re.compile(rf"[A-Z][A-Za-z]{{1,63}}(/{_ID})?")
_VERSION: Final = re.compile(_ID)
_CONFLICT: Final = (404, 405, 409, 410, 412)
"""It isn't any more what it was when it was read; 405 is what some say to an update of what is gone."""
_REFUSED: Final = (400, 422)
_UNDERSTOOD: Final = frozenset({200, 201, 202, 204, *_CONFLICT, *_REFUSED})
"""Any other is a failure, which the breaker must hear of."""
_HEADERS: Final = {
    "Accept": "application/fhir+json",
    "Accept-Encoding": "identity",
    "Prefer": "return=minimal",
    "User-Agent": "Assent",
}


@dataclass(frozen=True, slots=True)
class Written:
    """`conflict`: somebody else was faster. `refused`: the upstream doesn't take the content."""

    outcome: Outcome
    id: str = ""
    """Of what was created."""
    version: str = ""
    """Of what was created, where the upstream says it."""


class UpstreamWrites:
    """The writes of one upstream, by its client's connections and credentials. Raises UpstreamFailure."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def create(self, kind: str, body: bytes) -> Written:
        """POST; the upstream gives the id."""
        status, location = await self._ask("POST", kind, body, "")
        if status != 201:
            return Written("refused" if status in (*_REFUSED, 409, 412) else _failed(status))
        found = re.search(rf"(?:^|/){kind}/({_ID})(?:/_history/({_ID}))?\Z", location)
        if found is None:
            raise UpstreamFailure("not-fhir", status=status)  # FHIR R4 §3.1.0.8: a create answers where it is
        return Written("done", found[1], found[2] or "")

    async def update(self, name: str, version: str, body: bytes) -> Written:
        """PUT of `Type/id`, if it is at this version still."""
        status, _ = await self._ask("PUT", name, body, version)
        return Written("done" if status == 200 else _other(status))

    async def delete(self, name: str, version: str) -> Written:
        """DELETE of `Type/id`, if it is at this version still."""
        status, _ = await self._ask("DELETE", name, None, version)
        return Written("done" if status in (200, 202, 204) else _other(status))

    async def _ask(self, method: str, name: str, body: bytes | None, version: str) -> tuple[int, str]:
        if _NAME.fullmatch(name) is None:
            raise ValueError("the path is no FHIR type or instance")
        headers = dict(_HEADERS)
        if body is not None:
            headers["Content-Type"] = "application/fhir+json"
        if method != "POST":
            if _VERSION.fullmatch(version) is None:
                raise ValueError("a change needs the version that it starts from")
            headers["If-Match"] = f'W/"{version}"'
        url = self._client.below(name)

        async def attempt(session: aiohttp.ClientSession, authorization: str | None) -> tuple[int, str]:
            sent = headers if authorization is None else headers | {"Authorization": authorization}
            try:
                async with session.request(
                    method, url, data=body, headers=sent, allow_redirects=False, middlewares=(_once,)
                ) as response:
                    if response.status not in _UNDERSTOOD:
                        _failed(response.status)
                    return response.status, response.headers.get("Location", "")
            except TimeoutError as slow:
                raise UpstreamFailure("timeout") from slow
            except (aiohttp.ClientError, OSError):
                raise UpstreamFailure("unreachable") from None

        return await self._client.signed_in(attempt)


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request. aiohttp would send PUT and DELETE again when their answer is lost (RFC 9110 §9.2.2).

    With the version that it starts from, a change isn't idempotent: one that was done fails the second time, and would
    be told and recorded as not done.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise UpstreamFailure("unreachable") from None


def _other(status: int) -> Outcome:
    if status in _CONFLICT:
        return "conflict"
    return "refused" if status in _REFUSED else _failed(status)


def _failed(status: int) -> Outcome:
    raise UpstreamFailure("redirect" if 300 <= status < 400 else "bad-status", status=status)
