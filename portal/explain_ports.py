"""Why an app can see something or can't, as the pages ask it and tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authz.sign_in.sessions import SignedInSession
from policies.model import Reason

LONGEST_TOKEN = 16_384
"""Characters of a token that are looked at."""


@dataclass(frozen=True, slots=True)
class WhyAsked:
    """About which data, and by which interaction."""

    category: str = ""
    """Code of a data category; empty where a record is asked about."""
    resource_type: str = ""
    id: str = ""
    """Of one record."""
    interaction: str = "read"
    """A name of `fhir.r4.asked_interaction`."""
    purpose: str = ""
    """Empty: the consent's, or the token's."""


@dataclass(frozen=True, slots=True)
class Why:
    """The decision about one type of resource, and the chain of its reasons. It holds no data."""

    resource_type: str
    permitted: bool
    reasons: tuple[Reason, ...]
    removed: tuple[str, ...] = ()
    """Elements of it that the mask takes away."""
    masked: tuple[str, ...] = ()
    """Elements of which it lets a part through, or says that they are masked."""
    kept: tuple[str, ...] = ()
    """Codes of sensitive categories that stay closed within the category."""
    detailed: bool = False
    """Single records in the category may be decided otherwise."""


@dataclass(frozen=True, slots=True)
class AccessNamed:
    """Whose access an operator asks about: by one of these."""

    id: str = ""
    """Of a consent or a grant."""
    token: str = ""
    patient: str = ""
    """For a service's token."""


class CannotExplain(Exception):
    """There is no such access, or nothing that could be said of it."""


class CannotAskNow(Exception):
    """What holds the data, or the record of who asked, doesn't answer."""


class Explanations(Protocol):
    """Asks the rules of this server; each question is recorded."""

    async def purposes(self, client_id: str) -> Sequence[str]:
        """Return the purposes of use for which the app is registered."""
        ...

    async def of_consent(self, consent_id: str, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        """Say what the app that the consent names may see. Raises CannotExplain, CannotAskNow."""
        ...

    async def of_access(self, named: AccessNamed, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        """As `of_consent`, for an operator, who may ask about kinds of data only. Raises the same."""
        ...
