"""Ports kept in memory, and a browser of sorts that speaks to the pages over ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import httpx
from fastapi import FastAPI

from assent.language_files import load_languages
from assent.policy_files import load_catalogue
from authz.clients.app_registry import RegisteredApp
from authz.clients.clients import Client, ClientError, NewClient
from authz.consents.clinician_access import NotShared
from authz.consents.decisions import AlreadyDecided
from authz.consents.emergency_access import UnfitReason, clean_reason
from authz.mail.addresses import MailSettings, TooManyCodes, checked_address
from authz.sign_in.accounts import Account, ActsFor
from authz.sign_in.end_session import Ending
from authz.sign_in.methods import SignInMethods
from authz.sign_in.sessions import NewSession, SignedInSession, TooManyAttempts
from fhir.consents.writing import PolicyText
from portal.emergency_ports import OpenedInEmergency
from portal.explain_ports import AccessNamed, CannotExplain, Why, WhyAsked
from portal.languages import Language
from portal.ports import (
    AuthorizationRequest,
    Check,
    ConsentChoice,
    ConsentEnded,
    NotOffered,
    OpenRecord,
    Ports,
    SharedWith,
)
from portal.record_ports import ActivityAsked, ActivityPage, ConsentVersion, NoSuchPage, Waiting
from portal.router import PortalPages, portal_pages
from portal.settings import PortalSettings
from portal.sign_in_ports import SignInWays

NOW = datetime(2026, 11, 21, 14, 5, tzinfo=UTC)
ADA = ActsFor("ada", "Ada Ito", True)
BEN = ActsFor("ben", "Ben Ito", False)
CATALOGUE = load_catalogue()
LANGUAGES = load_languages(CATALOGUE)
POLICY = LANGUAGES.english.policy
REQUEST = AuthorizationRequest(
    id="req-1",
    app_name="Heart Diary",
    redirect_uri="https://heart.example/callback",
    purpose="PATRQT",
    asked=("conditions", "laboratory", "hiv"),
    offline=True,
)
SHARED = SharedWith(
    consent_id="c1",
    patient_id="ada",
    client_id="heart",
    app_name="Heart Diary",
    categories=("conditions", "laboratory"),
    asked=("conditions", "laboratory", "hiv"),
    purpose="PATRQT",
    since=NOW - timedelta(days=30),
    until=NOW + timedelta(days=60),
    state="limited",
)


def session(*acts_for: ActsFor, id_hash: str = "s1", auth_time: datetime = NOW) -> SignedInSession:
    """Somebody signed in."""
    account = Account("u1", "ada", "Ada Ito", "Patient/ada", "patient", acts_for)
    return SignedInSession(id_hash, account, auth_time, f"secret of {id_hash}")


@dataclass
class FakeSessions:
    """Knows the cookie of each session; the password is always `right`."""

    sessions: dict[str, SignedInSession] = field(default_factory=dict)
    absolute: timedelta = timedelta(hours=8)
    locked: TooManyAttempts | None = None
    acts_for: tuple[ActsFor, ...] = (ADA,)
    signed_out: list[str] = field(default_factory=list)

    async def current(self, cookie: str) -> SignedInSession | None:
        return self.sessions.get(cookie)

    async def sign_in(self, username: str, password: str, address: str) -> NewSession | TooManyAttempts | None:
        if self.locked is not None or password != "right":  # noqa: S105 -- no secret
            return self.locked
        self.sessions["new"] = session(*self.acts_for, id_hash="s-new")
        return NewSession(self.sessions["new"], "new")

    async def may_begin(self, address: str) -> bool:
        return self.locked is None

    async def begin(self, account_id: str, auth_time: datetime, methods: SignInMethods) -> NewSession | None:
        begun = session(*self.acts_for, id_hash="s-new", auth_time=auth_time)
        self.sessions["new"] = replace(begun, methods=methods)
        return NewSession(self.sessions["new"], "new")

    async def sign_out_elsewhere(self, session: SignedInSession) -> None:
        self.signed_out.append(f"not {session.id_hash}")

    async def sign_out(self, id_hash: str) -> None:
        self.signed_out.append(id_hash)


@dataclass
class FakeRequests:
    """Requests by handle."""

    requests: dict[str, AuthorizationRequest] = field(default_factory=lambda: {"req-1": REQUEST})

    async def find(self, request_id: str, session: SignedInSession | None) -> AuthorizationRequest | None:
        return self.requests.get(request_id)

    async def choose_patient(self, request_id: str, session: SignedInSession, patient_id: str) -> None:
        self.requests[request_id] = replace(self.requests[request_id], patient_id=patient_id)

    async def reopen(self, waiting: str, session: SignedInSession) -> str | None:
        return "req-1" if waiting == "waiting-1" else None


@dataclass
class FakeMail:
    """One person's address in memory, whose code is `right`; tests/authz/test_mail_addresses.py has the real ones."""

    settings: MailSettings | None = None
    full: bool = False

    async def of(self, user_id: str) -> MailSettings | None:
        return self.settings

    async def ask(self, user_id: str, address: str, language: str) -> None:
        if self.full:
            raise TooManyCodes
        known = self.settings or MailSettings(None, None, sharing=True, language=language)
        self.settings = replace(known, pending=checked_address(address))

    async def confirm(self, user_id: str, code: str) -> bool:
        if self.settings is None or code != "right":
            return False
        self.settings = replace(self.settings, address=self.settings.pending, pending=None)
        return True

    async def remove(self, user_id: str) -> None:
        if self.settings is not None:
            self.settings = replace(self.settings, address=None, pending=None)

    async def choose(self, user_id: str, *, sharing: bool, language: str) -> None:
        if self.settings is not None:
            self.settings = replace(self.settings, sharing=sharing, language=language)


@dataclass
class FakeConsents:
    """Consents in memory, and what was called."""

    consents: list[SharedWith] = field(default_factory=lambda: [SHARED])
    granted: list[ConsentChoice] = field(default_factory=list)
    refused: list[PolicyText] = field(default_factory=list)
    decided: bool = False
    changed: list[ConsentChoice] = field(default_factory=list)
    answered: list[ConsentChoice | None] = field(default_factory=list)
    unusable: bool = False

    async def grant(self, request: AuthorizationRequest, session: SignedInSession, choice: ConsentChoice) -> str:
        if self.decided:
            raise AlreadyDecided
        self.granted.append(choice)
        return f"{request.redirect_uri}?code=c"

    async def refuse(self, request: AuthorizationRequest, session: SignedInSession, shown: PolicyText) -> str:
        if self.decided:
            raise AlreadyDecided
        self.refused.append(shown)
        return f"{request.redirect_uri}?error=access_denied"

    async def find(self, consent_id: str) -> SharedWith | None:
        return next((c for c in self.consents if c.consent_id == consent_id), None)

    async def change(self, consent_id: str, choice: ConsentChoice, by: SignedInSession) -> None:
        found = await self.find(consent_id)
        if found is None or found.state == "revoked":
            raise ConsentEnded
        self.changed.append(choice)

    async def answer(
        self, proposed: SharedWith, choice: ConsentChoice | None, shown: PolicyText, by: SignedInSession
    ) -> None:
        if self.decided:
            raise ConsentEnded
        if self.unusable:
            raise NotOffered
        self.answered.append(choice)

    async def revoke(self, consent_id: str, by: SignedInSession) -> None:
        self.consents = [replace(c, state="revoked") if c.consent_id == consent_id else c for c in self.consents]

    async def sharing(self, patient_id: str) -> Sequence[SharedWith]:
        return [c for c in self.consents if c.patient_id == patient_id]

    async def revoke_all(self, patient_id: str, by: SignedInSession) -> None:
        for consent in await self.sharing(patient_id):
            if consent.can_be_revoked:
                await self.revoke(consent.consent_id, by)


@dataclass
class FakeRecord:
    """What is looked up, in memory, and what was asked for."""

    versions: list[ConsentVersion] = field(default_factory=list)
    found: ActivityPage = field(default_factory=lambda: ActivityPage([], None, [("heart", "Heart Diary")]))
    asked: list[ActivityAsked] = field(default_factory=list)
    waits: list[Waiting] = field(default_factory=list)

    async def history(self, consent_id: str, language: Language) -> Sequence[ConsentVersion]:
        return self.versions

    async def activity(self, patient: ActsFor, asked: ActivityAsked, language: Language) -> ActivityPage:
        if asked.older == "unfit":
            raise NoSuchPage
        self.asked.append(asked)
        return self.found if patient == ADA else ActivityPage([], None, [])

    async def waiting(self, patient_id: str, by: SignedInSession) -> Sequence[Waiting]:
        return self.waits

    async def archive(self, patient_id: str, by: SignedInSession, language: Language) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"PK of ", patient_id.encode()):
                yield piece

        return pieces()


@dataclass
class FakeClinicians:
    """No record is open to any clinician; tests/authz/test_ehr_launch.py has the real ones."""

    async def record(
        self, request: AuthorizationRequest, session: SignedInSession, patient_id: str
    ) -> OpenRecord | None:
        return None

    async def records(self, request: AuthorizationRequest, session: SignedInSession, name: str) -> Sequence[OpenRecord]:
        return ()

    async def choose(self, request: AuthorizationRequest, session: SignedInSession, patient_id: str) -> None:
        raise NotShared

    async def grant(self, request: AuthorizationRequest, session: SignedInSession) -> str:
        raise NotShared


@dataclass
class FakeEmergencies:
    """Accesses in memory; tests/authz/test_emergency_access.py has the real ones."""

    lasts: timedelta = timedelta()
    found: list[OpenedInEmergency] = field(default_factory=list)
    opened: list[tuple[str, str]] = field(default_factory=list)
    done: list[tuple[str, ...]] = field(default_factory=list)

    async def may_ask(self, request: AuthorizationRequest, session: SignedInSession) -> bool:
        return bool(self.lasts)

    async def open(self, request: AuthorizationRequest, session: SignedInSession, patient_id: str, reason: str) -> str:
        self.opened.append((patient_id, clean_reason(reason)))
        return f"{request.redirect_uri}?code=c"

    async def about(self, patient_id: str) -> Sequence[OpenedInEmergency]:
        return [access for access in self.found if access.patient_id == patient_id]

    async def newest(self) -> Sequence[OpenedInEmergency]:
        return self.found

    async def unreviewed(self) -> int:
        return sum(access.reviewed_at is None for access in self.found)

    async def review(self, access_id: str, note: str, by: SignedInSession) -> bool:
        if not note:
            raise UnfitReason
        self.done.append(("review", access_id, note))
        return any(access.id == access_id for access in self.found)

    async def end(self, access_id: str, by: SignedInSession) -> bool:
        self.done.append(("end", access_id))
        return any(access.id == access_id for access in self.found)


@dataclass
class FakeExplanations:
    """Nothing can be explained; tests/portal/test_explain_pages.py has the real ones."""

    raised: type[Exception] = CannotExplain

    async def purposes(self, client_id: str) -> Sequence[str]:
        return ()

    async def of_consent(self, consent_id: str, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        raise self.raised

    async def of_access(self, named: AccessNamed, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        raise self.raised


@dataclass
class FakeApps:
    """Nobody registered any app; tests/portal/test_developer_pages.py has the real ones."""

    async def mine(self, by: SignedInSession) -> Sequence[RegisteredApp]:
        return ()

    async def register(self, new: NewClient, by: SignedInSession) -> tuple[Client, str | None]:
        raise ClientError("no app is registered here")

    async def new_secret(self, client_id: str, by: SignedInSession) -> str | None:
        return None

    async def disable(self, client_id: str, by: SignedInSession) -> bool:
        return False

    async def all(self, name: str = "") -> Sequence[RegisteredApp]:
        return ()

    async def approve(self, client_id: str, by: SignedInSession) -> bool:
        return False


async def no_ending(parameters: Mapping[str, str]) -> Ending:
    return Ending()


async def nothing_examined() -> AsyncIterator[Check]:
    nothing: tuple[Check, ...] = ()
    for check in nothing:
        yield check


@dataclass
class Place:
    """The pages with their fakes, and a client that keeps cookies."""

    sessions: FakeSessions
    requests: FakeRequests
    consents: FakeConsents
    record: FakeRecord
    emergencies: FakeEmergencies
    mail: FakeMail
    explanations: FakeExplanations
    settings: PortalSettings
    pages: PortalPages
    client: httpx.AsyncClient

    def sign_in(self, *acts_for: ActsFor, auth_time: datetime = NOW) -> None:
        """Give the browser a session."""
        self.sessions.sessions["c"] = session(*acts_for, auth_time=auth_time)
        self.client.cookies.set(self.settings.session_cookie_name, "c")

    async def fields(self, address: str) -> dict[str, str]:
        """Hidden fields of the page at an address."""
        return page_of(await self.client.get(address)).hidden


def place(settings: PortalSettings | None = None, ways: SignInWays | None = None, *, mails: bool = True) -> Place:
    """Build the pages on fakes."""
    chosen = settings or PortalSettings(https=False)
    sessions, requests, consents, record = FakeSessions(), FakeRequests(), FakeConsents(), FakeRecord()
    emergencies, mail, explanations = FakeEmergencies(), FakeMail(), FakeExplanations()
    pages = portal_pages(
        Ports(
            sessions,
            requests,
            consents,
            record,
            FakeClinicians(),
            FakeApps(),
            no_ending,
            nothing_examined,
            LANGUAGES,
            emergencies,
            explanations,
            ways or SignInWays(),
            mail if mails else None,
        ),
        chosen,
        lambda: NOW,
    )
    app = FastAPI(openapi_url=None)
    app.include_router(pages.router)
    origin = "https://assent.example" if chosen.https else "http://127.0.0.1:8000"
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=origin)
    return Place(sessions, requests, consents, record, emergencies, mail, explanations, chosen, pages, client)


class Page(HTMLParser):
    """What a person or a screen reader finds on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.inputs: dict[str, dict[str, str | None]] = {}
        self.labels: dict[str, str] = {}
        self.headings: list[str] = []
        self.buttons: list[str] = []
        self.texts: dict[str, str] = {}
        self.tags: set[str] = set()
        self._open: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        if tag == "input" and given.get("type") == "hidden":
            self.hidden[given.get("name") or ""] = given.get("value") or ""
        elif tag == "input":
            self.inputs[given.get("id") or ""] = given
        elif tag in ("label", "h1", "h2", "button", "p"):
            self._open.append((tag, given.get("for") or given.get("id") or ""))
            if tag == "label":
                self.labels[given.get("for") or ""] = ""
            elif tag in ("h1", "h2"):
                self.headings.append("")
            elif tag == "button":
                self.buttons.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open:
            return
        tag, key = self._open[-1]
        if tag == "label":
            self.labels[key] += data
        elif tag in ("h1", "h2"):
            self.headings[-1] += data
        elif tag == "button":
            self.buttons[-1] += data
        elif key:
            self.texts[key] = self.texts.get(key, "") + data

    def named(self, kind: str) -> dict[str, bool]:
        """Inputs of a kind by their accessible name, with whether each is ticked."""
        found = {key: given for key, given in self.inputs.items() if given.get("type") == kind}
        return {self.labels[key]: "checked" in given for key, given in found.items()}


def page_of(response: httpx.Response) -> Page:
    """Read a page."""
    page = Page()
    page.feed(response.text)
    return page
