"""A Consent as people see it: what it shares, with whom, until when, and where it stands in its life.

Reads what `fhir.consents.writing` writes, and of consents that others wrote what can be said in the same words; `plain`
tells whether that is all. It tells and never decides: decisions are made from `fhir.consents.reading`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from fhir.consents.writing import ASKED_EXTENSION, POLICY_TEXT_EXTENSION, is_own_shape
from fhir.r4.instants import instant_of
from policies.catalogue import Catalogue
from policies.codes import CLIENT_SYSTEM, DATA_CATEGORY_SYSTEM
from policies.model import READ_ACTIONS, WRITE_ACTIONS
from policies.parts import joined, with_parts

_ELEMENTS: Final = frozenset(
    {"resourceType", "id", "meta", "extension", "status", "scope", "category", "patient", "dateTime", "performer"}
    | {"organization", "policy", "provision"}
)
"""Elements of the consents that Assent writes."""

_IN_PROPOSALS: Final = _ELEMENTS | {"identifier", "text"}
"""What a proposal may have besides: what it is called elsewhere, which an answer keeps, and its narrative."""

ConsentState = Literal["requested", "granted", "limited", "denied", "expired", "revoked"]
"""docs/consent-semantics.md, "The life of a consent"."""


@dataclass(frozen=True, slots=True)
class ConsentSummary:
    """One version of a consent."""

    patient: str
    """Logical id."""
    grantee: str
    """The app's client_id; for a consent about anyone else, however that one is named."""
    grantee_name: str
    is_app: bool
    permits: bool
    """Whether it opens anything; else it only keeps closed."""
    plain: bool
    """Whether these words are all that it says; else it has rules that they leave out."""
    recorded_by: str
    """The name of who decided, as the consent gives it."""
    categories: tuple[str, ...]
    asked: tuple[str, ...]
    purpose: str
    until: datetime | None
    state: ConsentState
    sees: bool = True
    """Whether what it permits is seeing; a permit can name other actions alone, and then nothing is shown by it."""
    writes: tuple[str, ...] = ()
    """Codes of consentaction by which the grantee may change what is there."""


def summary_of(consent: Mapping[str, Any], catalogue: Catalogue, now: datetime) -> ConsentSummary:
    """Sensitive categories are open unless one is denied by name; a part isn't named beside its whole."""
    given = consent.get("provision")
    provision: Mapping[str, Any] = given if isinstance(given, dict) else {}  # in R5 it is a list
    until = instant_of(provision.get("period", {}).get("end"), end=True)
    sees = _sees(provision)
    sensitive = [category.code for category in catalogue.sensitive]
    categories = joined(_granted(provision, sensitive) if sees else (), catalogue.wholes)
    codings = (e.get("valueCoding", {}) for e in consent.get("extension", ()) if e.get("url") == ASKED_EXTENSION)
    asked = tuple(coding["code"] for coding in codings if "code" in coding)
    limited = bool(set(asked) - with_parts(categories, catalogue.wholes))
    grantees = [actor.get("reference", {}) for actor in provision.get("actor", ())]
    names = [g.get("identifier", {}).get("value") or g.get("reference") or g.get("display") or "?" for g in grantees]
    return ConsentSummary(
        patient=consent.get("patient", {}).get("reference", "").removeprefix("Patient/"),
        grantee=", ".join(names),
        grantee_name=grantees[0].get("display", names[0]) if grantees else "",
        is_app=bool(grantees) and grantees[0].get("identifier", {}).get("system") == CLIENT_SYSTEM,
        permits=provision.get("type") == "permit",
        plain=_plain(consent, provision, catalogue),
        recorded_by=next((str(who["display"]) for who in _recorders(consent) if "display" in who), ""),
        categories=categories,
        asked=asked,
        purpose=next((p["code"] for p in provision.get("purpose", ()) if "code" in p), ""),
        until=until,
        state=_state(consent.get("status", ""), until, now, limited=limited),
        sees=sees,
        writes=_writes(provision),
    )


def _recorders(consent: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from consent.get("performer", ())
    yield from consent.get("organization", ())


def _plain(consent: Mapping[str, Any], provision: Mapping[str, Any], catalogue: Catalogue) -> bool:
    """Whether it has the shape that `fhir.consents.writing` gives, and no element that the words leave out."""
    return (
        is_own_shape(consent, catalogue)
        and consent.keys() <= _ELEMENTS
        and all(e.get("url") == ASKED_EXTENSION for e in consent.get("extension", ()))
        and (provision.get("type") != "permit" or bool(provision.get("class")))
    )


def can_be_answered(consent: Mapping[str, Any], catalogue: Catalogue, now: datetime) -> bool:
    """Whether a person can decide on a proposal: one app, one purpose, and nothing in it that their form leaves out."""
    provision = consent.get("provision", {})
    if (
        consent.get("status") != "proposed"
        or not is_own_shape(consent, catalogue)
        or not consent.keys() <= _IN_PROPOSALS
    ):
        return False
    until = instant_of(provision.get("period", {}).get("end"), end=True)
    return (
        provision.get("type") == "permit"
        and bool(provision.get("class"))
        and all(extension.get("url") == ASKED_EXTENSION for extension in consent.get("extension", ()))
        and (until is None or until > now)
    )


def shown_text(consent: Mapping[str, Any]) -> str | None:
    """SHA-256 of the text that was shown with the decision; None when the consent names none."""
    extensions = (e for policy in consent.get("policy", ()) for e in policy.get("extension", ()))
    parts = (part for e in extensions if e.get("url") == POLICY_TEXT_EXTENSION for part in e.get("extension", ()))
    return next((str(part.get("valueString")) for part in parts if part.get("url") == "sha256"), None)


def _granted(provision: Mapping[str, Any], sensitive: Sequence[str]) -> tuple[str, ...]:
    """What is permitted, and of the sensitive categories those that no exception denies."""
    if provision.get("type") != "permit":
        return ()
    denied = {code for nested in provision.get("provision", ()) for code in _categories(nested)}
    return (*_categories(provision), *(code for code in sensitive if code not in denied))


def _actions(provision: Mapping[str, Any]) -> set[Any]:
    return {coding.get("code") for action in provision.get("action", ()) for coding in action.get("coding", ())}


def _sees(provision: Mapping[str, Any]) -> bool:
    return "action" not in provision or not READ_ACTIONS.isdisjoint(_actions(provision))


def _writes(provision: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(_actions(provision) & set(WRITE_ACTIONS.values()))) if provision.get("type") == "permit" else ()


def _categories(provision: Mapping[str, Any]) -> list[str]:
    return [c["code"] for c in provision.get("class", ()) if c.get("system") == DATA_CATEGORY_SYSTEM]


def _state(status: str, until: datetime | None, now: datetime, *, limited: bool) -> ConsentState:
    if status == "active":
        if until is not None and until < now:
            return "expired"
        return "limited" if limited else "granted"
    names: dict[str, ConsentState] = {"proposed": "requested", "draft": "requested", "rejected": "denied"}
    return names.get(status, "revoked")
