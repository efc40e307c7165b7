"""What the pages for people need from the floors below: who is signed in, what an app asked, what people decided.

The composition root fills these ports. Pages check who may act for whom before they call a port; an implementation
checks it again, because a page is not a boundary.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from authz.clients.app_registry import RegisteredApp
from authz.clients.clients import Client, NewClient
from authz.sign_in.end_session import Ending
from authz.sign_in.methods import SignInMethods
from authz.sign_in.sessions import NewSession, SignedInSession, TooManyAttempts
from fhir.audit.record_use import Use
from fhir.consents.summary import ConsentState
from fhir.consents.writing import PolicyText
from policies.catalogue import Catalogue
from portal.emergency_ports import EmergencyBook
from portal.explain_ports import Explanations
from portal.languages import Languages
from portal.mail_ports import MailBook
from portal.record_ports import PatientRecord
from portal.sign_in_ports import SignInWays

CURRENT_STATES: frozenset[ConsentState] = frozenset({"granted", "limited"})
"""States in which an app can see something now."""


class Sessions(Protocol):
    """Signing in and out; `authz.sign_in.sessions.Sessions` is one."""

    @property
    def absolute(self) -> timedelta:
        """How long a session lasts at most."""
        ...

    async def current(self, cookie: str) -> SignedInSession | None:
        """Return the session that the cookie stands for; None when it is unknown or has ended."""
        ...

    async def sign_in(self, username: str, password: str, address: str) -> NewSession | TooManyAttempts | None:
        """Begin a session; None when name or password is wrong. `address` is the peer's, for counting attempts."""
        ...

    async def may_begin(self, address: str) -> bool:
        """Tell whether this address may begin one more sign-in without a password; counts it."""
        ...

    async def begin(self, account_id: str, auth_time: datetime, methods: SignInMethods) -> NewSession | None:
        """Begin a session of somebody who proved who they are; None when the account is gone."""
        ...

    async def sign_out_elsewhere(self, session: SignedInSession) -> None:
        """End this person's other sessions, here and in every process."""
        ...

    async def sign_out(self, id_hash: str) -> None:
        """End a session, here and in every process."""
        ...


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A validated authorization request that waits for a person's decision."""

    id: str
    """The handle in the page's address."""
    app_name: str
    redirect_uri: str
    purpose: str
    """A code of v3-PurposeOfUse."""
    asked: tuple[str, ...]
    """Codes of the data categories that the scopes asked for touch."""
    writes: str = ""
    """Letters of `cud` that the scopes asked for have; empty where apps may not write."""
    identity: bool = False
    """Asks who the signed-in person is (`openid`, `fhirUser`, `profile`)."""
    offline: bool = False
    """Asks to keep access while the person is away (`offline_access`)."""
    needs_patient: bool = True
    """False when nothing that was asked for needs a patient in context."""
    patient_id: str | None = None
    """Logical id of the patient in context, once chosen or given by a launch."""
    patient_given: bool = False
    """The patient comes from a launch, so another can't be chosen."""
    user: str | None = None
    """The fhirUser for whom the EHR launched the app; nobody else may decide."""
    signed_in_since: datetime | None = None
    """A sign-in before this doesn't count (`prompt=login`, `max_age`)."""
    longest: int | None = None
    """Hours for which it may be allowed at most (`authorization_details`); None for no bound."""
    own_limits: frozenset[str] = frozenset()
    """What it limited by itself (`authorization_details`): of `categories`, `duration` and `purpose`."""
    keeps: frozenset[str] = frozenset()
    """About whom it may keep notes of its own here: `patient`, `user` (SMART 2.2, App State)."""


class AuthorizationRequests(Protocol):
    """Authorization requests on their way through the pages."""

    async def find(self, request_id: str, session: SignedInSession | None) -> AuthorizationRequest | None:
        """Return the request; None when unknown, expired, completed, or begun in another person's session."""
        ...

    async def choose_patient(self, request_id: str, session: SignedInSession, patient_id: str) -> None:
        """Put a patient in context."""
        ...

    async def reopen(self, waiting: str, session: SignedInSession) -> str | None:
        """Return a new handle of a request that waits for this person (Waiting.request); the old one opens nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ConsentChoice:
    """What a person ticked, and the text that they saw."""

    categories: tuple[str, ...]
    until: datetime | None
    """None when it lasts until it is taken back."""
    policy: PolicyText
    writes: tuple[str, ...] = ()
    """Codes of consentaction that were allowed besides seeing."""


@dataclass(frozen=True, slots=True)
class SharedWith:
    """One consent as its patient sees it."""

    consent_id: str
    patient_id: str
    client_id: str
    app_name: str
    categories: tuple[str, ...]
    """Codes of the categories that are shared."""
    asked: tuple[str, ...]
    """Codes of the categories that the app asked for."""
    purpose: str
    since: datetime
    until: datetime | None
    state: ConsentState
    is_app: bool = True
    """Else it is about a person or an organization, named by `app_name` if at all."""
    permits: bool = True
    plain: bool = True
    """Whether the categories say all of it; else it has rules that no page here can show."""
    sees: bool = True
    """Whether it is about seeing at all: it can name other actions alone."""
    recorded_by: str = ""
    """The name of who decided."""
    ended: datetime | None = None
    """When it was revoked, denied or ran out."""
    last_used: datetime | None = None
    uses: int = 0
    """How often the app has looked."""
    writes: tuple[str, ...] = ()
    """Codes of consentaction by which the app may change the record."""
    version: int = 0
    can_be_answered: bool = False
    """Whether it was proposed, and a person can decide on it here."""

    @property
    def proposed(self) -> tuple[str, ...]:
        """Codes of the categories that a proposal is about."""
        return self.asked or self.categories

    @property
    def is_own_kind(self) -> bool:
        """Whether it is a decision about an app, the kind that people make on these pages."""
        return self.is_app and (self.permits or self.plain)

    @property
    def can_be_revoked(self) -> bool:
        """To end what only keeps closed could open something, so that isn't done by a button that ends sharing."""
        return self.state in CURRENT_STATES and (self.permits or self.is_own_kind)

    @property
    def can_be_changed(self) -> bool:
        """INVARIANT: a consent is written anew only when the form shows all that it says."""
        return self.can_be_revoked and self.is_own_kind and self.plain and bool(self.asked or self.categories)

    def used(self, use: Use | None) -> SharedWith:
        """The same, with what the app did with it."""
        return self if use is None else replace(self, last_used=use.last, uses=use.times)


class ConsentEnded(Exception):
    """The consent is no longer current, so it can't be changed."""


class NotOffered(Exception):
    """The app of a proposal isn't in use here, or not for that purpose."""


class ConsentBook(Protocol):
    """The decisions of patients: made, changed, taken back, looked up."""

    async def grant(self, request: AuthorizationRequest, session: SignedInSession, choice: ConsentChoice) -> str:
        """Record the decision, complete the request, and return the redirect URI with its code, all in one.

        Raises AlreadyDecided (authz.consents.decisions).
        """
        ...

    async def refuse(self, request: AuthorizationRequest, session: SignedInSession, shown: PolicyText) -> str:
        """Record that the person said no to what they were shown, and return the redirect URI with `access_denied`.

        Raises AlreadyDecided.
        """
        ...

    async def find(self, consent_id: str) -> SharedWith | None:
        """Return one consent, whoever's it is; the pages compare its patient."""
        ...

    async def change(self, consent_id: str, choice: ConsentChoice, by: SignedInSession) -> None:
        """Write a new version of the consent. Raises ConsentEnded."""
        ...

    async def answer(
        self, proposed: SharedWith, choice: ConsentChoice | None, shown: PolicyText, by: SignedInSession
    ) -> None:
        """Decide on a proposal as it was shown: yes to the choice, or no. Raises ConsentEnded, NotOffered."""
        ...

    async def revoke(self, consent_id: str, by: SignedInSession) -> None:
        """End the consent now; to revoke one that has ended is no error. Raises ConsentEnded when it is gone."""
        ...

    async def revoke_all(self, patient_id: str, by: SignedInSession) -> None:
        """End every consent of the patient that lets somebody see something, now."""
        ...

    async def sharing(self, patient_id: str) -> Sequence[SharedWith]:
        """Return the patient's consents: active ones, then others, each newest first."""
        ...


@dataclass(frozen=True, slots=True)
class OpenRecord:
    """A patient's record as it is open to an app for treatment."""

    patient_id: str
    patient_name: str
    categories: tuple[str, ...]
    """Codes of the categories that the patient shares, of those that the app asked for."""


class ClinicianRecords(Protocol):
    """What clinicians may use an app for: records whose patients share with that app (docs/decisions/0008)."""

    async def record(
        self, request: AuthorizationRequest, session: SignedInSession, patient_id: str
    ) -> OpenRecord | None:
        """Return the patient's record; None when nothing of it is open to this app and person."""
        ...

    async def records(self, request: AuthorizationRequest, session: SignedInSession, name: str) -> Sequence[OpenRecord]:
        """Return the records that are open, by patient's name, a bounded number."""
        ...

    async def choose(self, request: AuthorizationRequest, session: SignedInSession, patient_id: str) -> None:
        """Put a patient in context. Raises NotShared (authz.consents.clinician_access)."""
        ...

    async def grant(self, request: AuthorizationRequest, session: SignedInSession) -> str:
        """Complete the request, and return the redirect URI with its code. Raises AlreadyDecided, NotShared."""
        ...


class Apps(Protocol):
    """Apps that developers register, and the operator's review of them."""

    async def mine(self, by: SignedInSession) -> Sequence[RegisteredApp]:
        """Return the apps that this person registered, newest first."""
        ...

    async def register(self, new: NewClient, by: SignedInSession) -> tuple[Client, str | None]:
        """Register an app, which then waits for review; return it and its secret.

        Raises authz.clients.clients.ClientError.
        """
        ...

    async def new_secret(self, client_id: str, by: SignedInSession) -> str | None:
        """Replace the secret of one of this person's apps; None when there is none such."""
        ...

    async def disable(self, client_id: str, by: SignedInSession) -> bool:
        """End one of this person's apps, for an operator any; False when there is none such."""
        ...

    async def all(self, name: str = "") -> Sequence[RegisteredApp]:
        """Return the apps that wait, then those in whose name or id `name` stands, newest first, a bounded number."""
        ...

    async def approve(self, client_id: str, by: SignedInSession) -> bool:
        """Let an app live; False when it doesn't wait for review, or the person is no operator."""
        ...


class Check(Protocol):
    """One thing that was looked at in the server."""

    @property
    def name(self) -> str:
        """What was looked at."""
        ...

    @property
    def state(self) -> str:
        """`ok`, `failed` or `skipped`."""
        ...

    @property
    def text(self) -> str:
        """What was found, or what to do."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the pages are given."""

    sessions: Sessions
    requests: AuthorizationRequests
    consents: ConsentBook
    record: PatientRecord
    clinicians: ClinicianRecords
    apps: Apps
    ending: Callable[[Mapping[str, str]], Awaitable[Ending]]
    """Checks an app's request that its user be signed out. Raises OAuthError (authz.oauth_errors)."""
    examine: Callable[[], AsyncIterator[Check]]
    """Looks whether the server is well, one check after the other."""
    languages: Languages
    emergencies: EmergencyBook
    explanations: Explanations
    ways: SignInWays = field(default_factory=SignInWays)
    """How people sign in beside a password."""
    mail: MailBook | None = None
    """People's e-mail addresses; None where no e-mail is sent."""

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue, in English: for what is decided and recorded."""
        return self.languages.english.catalogue
