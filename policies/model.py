"""The words in which every floor speaks of access: scopes, requests, facts, decisions.

All values are frozen. Decisions carry their reasons; there is no boolean "allowed" anywhere.
This module imports the standard library only and knows no clock, no web, no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

ScopeContext = Literal["patient", "user", "system"]

PERMISSIONS = {
    "read": "r",
    "vread": "r",
    "history-instance": "r",
    "search-type": "s",
    "search-system": "s",
    "operation": "s",
    "create": "c",
    "update": "u",
    "patch": "u",
    "delete": "d",
}
"""FHIR R4 restful-interaction codes that the proxy lets through, each with the SMART permission that it needs.

SMART 2.2, scopes: a history of one resource is read, what goes across resources is a search. The one operation,
`$everything`, is made of searches. A patch is an update.
"""

READ_ACTIONS = frozenset({"access", "use", "disclose"})
"""Any one of these (HL7 consentaction) in a consent speaks of seeing; so does naming none."""
WRITE_ACTIONS = {"c": "collect", "u": "correct", "d": "correct"}
"""What a consent must permit by name (HL7 consentaction) for each permission that writes."""


class Coding(NamedTuple):
    """A FHIR Coding reduced to what decides: its system (empty when none is given) and its code.

    A tuple, because sets of them are made and asked for every resource that passes.
    """

    system: str
    code: str


@dataclass(frozen=True, slots=True)
class Scope:
    """One SMART 2.2 clinical scope: `patient/Observation.rs?category=http://…|laboratory`.

    `permissions` holds letters of `cruds` in that order. `parameters` are the search parameters after the `?`,
    decoded, in the order given: ("category", "http://…|laboratory").
    """

    context: ScopeContext
    resource_type: str
    """A FHIR resource type, or `*`."""
    permissions: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What a verified access token claims. It opens nothing by itself: consents decide at every use."""

    client_id: str
    grant_id: str
    """Id of the grant on which the token hangs; empty for client_credentials."""
    scopes: tuple[Scope, ...]
    expires_at: int
    """NumericDate, seconds since the epoch."""
    jti: str
    patient: str | None = None
    """Logical id of the patient in context."""
    user: str | None = None
    """fhirUser reference, for example `Patient/p1`, relative to the FHIR base."""
    subject: str = ""
    purpose: str = "PATRQT"
    """A code of v3-PurposeOfUse."""
    consents: tuple[str, ...] = ()
    """Consent references with version at the time of issue; informative."""
    jkt: str | None = None
    """Thumbprint of the key to which the token is bound (RFC 9449 §6.1); None for a bearer token."""
    x5t: str | None = None
    """Thumbprint of the certificate to which the token is bound (RFC 8705 §3.1)."""
    actors: tuple[str, ...] = ()
    """Clients that act with a token of `client_id`, the one that was given this token first (RFC 8693 §4.1)."""
    ancestors: tuple[str, ...] = ()
    """The `jti` of the tokens for which it was exchanged: it ends with each of them."""
    client_name: str = ""
    """As registered, for the record; no claim."""
    within: frozenset[str] | None = None
    """Codes of the data categories beyond which it opens nothing (RFC 9396 `authorization_details`); None: no bound."""

    @property
    def holder(self) -> str:
        """The client to which the token was given."""
        return self.actors[0] if self.actors else self.client_id

    @property
    def is_service(self) -> bool:
        """A backend service's own token (RFC 6749 §4.4): on no grant, for no person and no patient."""
        return not self.grant_id and self.patient is None and self.user is None and self.subject == self.client_id


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a decision: which kind of rule, where it stands, and a sentence for the reader."""

    rule: Literal[
        "token", "scope", "consent", "category", "sensitivity", "compartment", "guard", "mask", "default", "emergency"
    ]
    text: str
    """Lowercase, one sentence, offending value in backticks; never data of a patient."""
    source: str = ""
    """Where the rule stands: `Consent/123/_history/2#provision.provision[0]`, `category/laboratory`, a scope."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The answer is no."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer is yes, and why."""

    reasons: tuple[Reason, ...] = ()


Decision = Permit | Deny


@dataclass(frozen=True, slots=True)
class ResourceFacts:
    """What rules may look at in one resource; extracted by `fhir.minimization.facts` without decoding the rest.

    Everything here is the resource's own content: nothing comes from the request.
    """

    resource_type: str
    id: str
    owners: frozenset[str] = frozenset()
    """Logical ids of the patients whom the resource is about (Patient compartment, subject side)."""
    foreign: bool = False
    """True when a subject element holds something that is not a plain reference to a Patient."""
    tokens: Mapping[str, frozenset[Coding]] = field(default_factory=dict)
    """Token search parameter -> codings found under its official expression."""
    codes: frozenset[Coding] = frozenset()
    """Every coding anywhere in the resource, `meta` apart."""
    labels: frozenset[Coding] = frozenset()
    """`meta.security`, also of contained resources, and a document's own labels."""
    profiles: frozenset[str] = frozenset()
    period: tuple[datetime, datetime] | None = None
    """Clinical date as a closed interval (UTC); None when the resource has none."""
    references: frozenset[str] = frozenset()
    """Literal references anywhere in the resource, without a version: `Type/id` where they are relative."""
    authors: frozenset[str] = frozenset()
    """Who is said to have authored it, `Type/id`; an empty one stands for somebody who can't be told."""
