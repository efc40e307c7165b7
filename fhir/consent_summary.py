"""A Consent about an app as people see it: what it shares, with whom, until when, and where it stands in its life.

Reads what `fhir.consent_writing` writes. It tells and never decides: decisions are made from `fhir.consent_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fhir.consent_elements import instant_of
from fhir.consent_writing import ASKED_EXTENSION
from policies.codes import DATA_CATEGORY_SYSTEM
from policies.decide import CLIENT_SYSTEM
from policies.model import WRITE_ACTIONS

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
    categories: tuple[str, ...]
    asked: tuple[str, ...]
    purpose: str
    until: datetime | None
    state: ConsentState
    writes: tuple[str, ...] = ()
    """Codes of consentaction by which the grantee may change what is there."""


def summary_of(consent: Mapping[str, Any], sensitive: Sequence[str], now: datetime) -> ConsentSummary:
    """`sensitive`: codes of the categories that are open unless one is denied by name."""
    given = consent.get("provision")
    provision: Mapping[str, Any] = given if isinstance(given, dict) else {}  # in R5 it is a list
    until = instant_of(provision.get("period", {}).get("end"), end=True)
    categories = _granted(provision, sensitive)
    codings = (e.get("valueCoding", {}) for e in consent.get("extension", ()) if e.get("url") == ASKED_EXTENSION)
    asked = tuple(coding["code"] for coding in codings if "code" in coding)
    limited = bool(set(asked) - set(categories))
    grantees = [actor.get("reference", {}) for actor in provision.get("actor", ())]
    names = [g.get("identifier", {}).get("value") or g.get("reference") or g.get("display") or "?" for g in grantees]
    return ConsentSummary(
        patient=consent.get("patient", {}).get("reference", "").removeprefix("Patient/"),
        grantee=", ".join(names),
        grantee_name=grantees[0].get("display", names[0]) if grantees else "",
        is_app=bool(grantees) and grantees[0].get("identifier", {}).get("system") == CLIENT_SYSTEM,
        categories=categories,
        asked=asked,
        purpose=next((p["code"] for p in provision.get("purpose", ()) if "code" in p), ""),
        until=until,
        state=_state(consent.get("status", ""), until, now, limited=limited),
        writes=_writes(provision),
    )


def _granted(provision: Mapping[str, Any], sensitive: Sequence[str]) -> tuple[str, ...]:
    """What is permitted, and of the sensitive categories those that no exception denies."""
    if provision.get("type") != "permit":
        return ()
    denied = {code for nested in provision.get("provision", ()) for code in _categories(nested)}
    return (*_categories(provision), *(code for code in sensitive if code not in denied))


def _writes(provision: Mapping[str, Any]) -> tuple[str, ...]:
    named = {coding.get("code") for action in provision.get("action", ()) for coding in action.get("coding", ())}
    return tuple(sorted(named & set(WRITE_ACTIONS.values()))) if provision.get("type") == "permit" else ()


def _categories(provision: Mapping[str, Any]) -> list[str]:
    return [c["code"] for c in provision.get("class", ()) if c.get("system") == DATA_CATEGORY_SYSTEM]


def _state(status: str, until: datetime | None, now: datetime, *, limited: bool) -> ConsentState:
    if status == "active":
        if until is not None and until < now:
            return "expired"
        return "limited" if limited else "granted"
    names: dict[str, ConsentState] = {"proposed": "requested", "draft": "requested", "rejected": "denied"}
    return names.get(status, "revoked")
