"""What the pages of `/my` look up in a patient's record: how a consent came about, who saw what, what waits, all of it.

The pages check who may act for whom before they call this port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

from markupsafe import Markup

from authz.sign_in.accounts import ActsFor
from authz.sign_in.sessions import SignedInSession
from fhir.consents.summary import ConsentState
from fhir.consents.writing import PolicyText
from portal.languages import Language


@dataclass(frozen=True, slots=True)
class ConsentVersion:
    """One version of a consent: a decision, or its end."""

    version: int
    when: datetime
    who: str
    """The name of the person who decided."""
    state: ConsentState
    """Where the consent stood while this was its newest version."""
    permits: bool
    plain: bool
    """As in SharedWith."""
    categories: tuple[str, ...]
    asked: tuple[str, ...]
    purpose: str
    until: datetime | None
    policy: PolicyText | None
    """The text as it was shown; None when it isn't kept."""
    sees: bool = True
    writes: tuple[str, ...] = ()
    """As in SharedWith."""


@dataclass(frozen=True, slots=True)
class Activity:
    """One line of who saw what, from an AuditEvent."""

    when: datetime
    sentence: Markup
    """Who did what, in plain words, with the name marked: "Heart Diary looked at Lab results"."""
    outcome: Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class ActivityAsked:
    """Which lines are asked for."""

    app: str = ""
    """A client_id; empty for everybody."""
    until: date | None = None
    """The newest day, UTC."""
    older: str = ""
    """Where the page before this one ended."""


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """Some lines, newest first."""

    lines: Sequence[Activity]
    older: str | None
    """Where the next page begins; None at the end."""
    apps: Sequence[tuple[str, str]]
    """client_id and name of the apps that can be asked for."""


class NoSuchPage(Exception):
    """`ActivityAsked.older` isn't of this search."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An app that asked, and has no answer yet."""

    app_name: str
    asked: tuple[str, ...]
    """Codes of the categories."""
    since: datetime
    until: datetime | None
    """When it can no longer be answered; None when it stays open."""
    request: str = ""
    """By which it goes on, if an app asked here."""
    consent_id: str = ""
    """The proposed consent, if it can be answered on a page."""


class PatientRecord(Protocol):
    """Looks things up in a patient's record; nothing here decides anything."""

    async def history(self, consent_id: str, language: Language) -> Sequence[ConsentVersion]:
        """Return every version of a consent, newest first."""
        ...

    async def activity(self, patient: ActsFor, asked: ActivityAsked, language: Language) -> ActivityPage:
        """Return uses of the patient's record. Raises NoSuchPage."""
        ...

    async def waiting(self, patient_id: str, by: SignedInSession) -> Sequence[Waiting]:
        """Return what this person hasn't answered yet, newest first."""
        ...

    async def archive(self, patient_id: str, by: SignedInSession, language: Language) -> AsyncIterator[bytes]:
        """Record that the archive was taken, and return it: a ZIP file, in pieces, never held whole."""
        ...
