"""One request of a recorder, and what is answered: what the use cases behind `authz.consents.api` share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from authz.consents.api_reads import Asked
from authz.consents.api_requests import ConsentInteraction
from authz.consents.recorders import Recorder
from fhir.proxy.request import ProxyRefusal, ProxyRequest
from fhir.proxy.responses import Headers, Receive
from fhir.writes.request import WriteHeaders

_INSUFFICIENT: Final = ((b"www-authenticate", b'Bearer realm="fhir", error="insufficient_scope"'),)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back: status, body, headers."""

    status: int
    body: bytes = b""
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a recorder."""

    asked: Asked
    interaction: ConsentInteraction
    request: ProxyRequest
    headers: WriteHeaders
    receive: Receive

    @property
    def by(self) -> Recorder:
        """Who asks."""
        return self.asked.by

    @property
    def may_read(self) -> bool:
        """Whether it may be shown what others wrote."""
        return "r" in self.by.letters

    def needs(self, letter: str) -> None:
        """Raises ProxyRefusal without it."""
        if letter not in self.by.letters:
            text = f"the token needs scope `assent/consents.{letter}`"
            raise ProxyRefusal(403, "forbidden", text, headers=_INSUFFICIENT)
