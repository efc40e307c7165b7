"""A Consent, read into the form in which it decides. R4 and R5 Consents both become this.

docs/consent-semantics.md is the specification. What couldn't be understood is kept in `not_understood`, at the
place where it stood: a provision with something in it that isn't understood decides *deny*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from policies.model import Coding


@dataclass(frozen=True, slots=True)
class Period:
    """A FHIR Period as closed bounds in UTC; None means open. `end` is the last instant it covers."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, instant: datetime) -> bool:
        """Whether the instant lies within, both bounds included (FHIR R4 Period)."""
        return (self.start is None or self.start <= instant) and (self.end is None or instant <= self.end)

    def next_bound(self, instant: datetime) -> datetime | None:
        """The bound before which the answer of `holds` stays what it is at the instant; None when it stays for good."""
        if self.start is not None and instant < self.start:
            return self.start
        return self.end if self.end is not None and instant <= self.end else None


@dataclass(frozen=True, slots=True)
class Provision:
    """One `Consent.provision`, at any depth. Empty tuples mean unconstrained."""

    path: str
    """Where it stands in the resource: `provision.provision[1]`."""
    permit: bool | None
    """Its polarity; None when the resource gives none where one is needed (which denies)."""
    period: Period = Period()
    actors: tuple[str, ...] = ()
    """Grantees as `system|value` or `Type/id`. A reference to elsewhere or to a version stands as it was written; a
    provision that denies then has its `Type/id` besides."""
    actions: tuple[str, ...] = ()
    labels: tuple[Coding, ...] = ()
    purposes: tuple[Coding, ...] = ()
    classes: tuple[Coding, ...] = ()
    """R4 `class`, R5 `resourceType`."""
    document_types: tuple[Coding, ...] = ()
    """R5 `documentType`: a condition of its own, told like a class."""
    codes: tuple[Coding, ...] = ()
    data_period: Period | None = None
    data: tuple[tuple[str, str], ...] = ()
    """(meaning, reference) pairs; the four meanings of v3 consent data. References as in `actors`."""
    provisions: tuple[Provision, ...] = ()
    not_understood: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """A whole Consent as a rule."""

    reference: str
    """`Consent/{id}/_history/{version}`."""
    id: str
    active: bool
    """In force by its status, and about the use of data (an advance directive isn't)."""
    patient: str
    """Logical id of the subject of the data; empty when the Consent names none (then it applies to nobody)."""
    root: Provision
    period: Period = Period()
    """R5 `Consent.period`."""
    not_understood: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    """URIs of the policies on which it is built: R4 `policy.uri`, R5 `policyBasis.url`. They decide nothing."""
    kind: Literal["consent", "emergency"] = "consent"
    """Whose rule it is: somebody's consent, or the operator's for emergencies (policies.emergency)."""


def unchanged_until(rules: Iterable[ConsentRule], instant: datetime) -> datetime | None:
    """The moment before which time alone changes nothing of what the rules say at `instant`; None: it never does."""
    return earliest(
        bound for rule in rules for bound in (rule.period.next_bound(instant), *_bounds(rule.root, instant))
    )


def earliest(moments: Iterable[datetime | None]) -> datetime | None:
    """The first of them; None stands for never."""
    return min((moment for moment in moments if moment is not None), default=None)


def _bounds(provision: Provision, instant: datetime) -> Iterator[datetime | None]:
    yield provision.period.next_bound(instant)
    for nested in provision.provisions:
        yield from _bounds(nested, instant)
