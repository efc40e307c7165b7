"""An AuditEvent as its patient reads it: who, and what they did, in plain words.

It reads what `fhir.audit_event` writes. An event says which app by its identifier, and which kinds of data by their
codes; the names are those of the patient's own consents and of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from fhir.audit_event import CATEGORY_DETAIL, CLIENT_SYSTEM, DONE, USER_SYSTEM
from fhir.consent_elements import instant_of
from policies.catalogue import Catalogue
from portal import words
from portal.ports import Activity

_Outcome = Literal["done", "refused", "failed"]
_MOST_NAMED: Final = 4
"""Kinds of data that one line names."""
_OUTCOMES: Final[Mapping[str, _Outcome]] = {"0": "done", "4": "refused"}
_WRITES: Final = ("create", "update", "delete")
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What people call things: the app of a consent by the consent's id, an app by its client_id, a person."""

    app_of_consent: Mapping[str, str]
    app: Mapping[str, str]
    person: Mapping[str, str]
    """By fhirUser."""


def user_in(event: Event) -> str | None:
    """The fhirUser who acted, or for whom the app did."""
    return next((a["who"]["reference"] for a in event.get("agent", ()) if "reference" in a.get("who", {})), None)


def in_words(event: Event, names: Names, catalogue: Catalogue) -> Activity:
    """One line of "Who saw what"."""
    outcome: _Outcome = _OUTCOMES.get(str(event.get("outcome")), "failed")
    who, what = _sentence(event, names, catalogue, done=outcome == "done")
    when = instant_of(event.get("recorded"), end=False) or _NEVER
    return Activity(when=when, who=who, what=what, outcome=outcome)


def _sentence(event: Event, names: Names, catalogue: Catalogue, *, done: bool) -> tuple[str, str]:
    """Who did what; the verb follows the name."""
    app, user = _app(event, names), user_in(event)
    person = names.person.get(user or "", "") or _operator(event)
    act = next((str(coding.get("code")) for coding in event.get("subtype", ())), "")
    if act in _WRITES and app and not any(name.startswith("Consent/") for name in _concerned(event)):
        return app, _wrote(event, act, _titles(event, catalogue), done=done)
    match act:
        case "read" | "search":
            behalf = f", for {person}" if app and person and user not in _references(event) else ""
            return app or person or "Somebody", _looked(event, _titles(event, catalogue), done=done) + behalf
        case "authorize":
            return app or "An app", f"was {'allowed in' if done else 'turned away'} by {person or 'somebody'}"
        case "token":
            return app or "An app", "connected"
        case "update":
            return person or app or "Somebody", f"changed what {_app_of_consent(event, names)} may see"
        case "create" | "delete":
            verb = "recorded" if act == "create" else "deleted"
            return person or app or "Somebody", f"{verb} what {_app_of_consent(event, names)} may see"
        case "revoke":
            return person or "Somebody", f"ended the sharing with {_app_of_consent(event, names)}"
        case _:
            return app or person or "Somebody", "used the sharing settings"


def _looked(event: Event, kinds: Sequence[str], *, done: bool) -> str:
    if not done:
        return "tried to look at the record"
    if not any(_role(entity) == "4" for entity in event.get("entity", ())):
        return "searched the record and found nothing"
    if not kinds:
        return "looked at the record"
    if len(kinds) <= _MOST_NAMED:
        return f"looked at {words.listed(kinds)}"
    more = len(kinds) - _MOST_NAMED
    return f"looked at {', '.join(kinds[:_MOST_NAMED])} and {more} more kind{'' if more == 1 else 's'} of data"


def _wrote(event: Event, act: str, kinds: Sequence[str], *, done: bool) -> str:
    what = f"{words.listed(kinds[:_MOST_NAMED])} in the record" if kinds else "the record"
    if not done:
        return "tried to change the record"
    told = str(event.get("outcomeDesc", ""))
    if told != DONE:
        return f"began to change {what}"
    return {"create": f"added to {what}", "update": f"changed {what}", "delete": f"deleted {what}"}[act]


def _titles(event: Event, catalogue: Catalogue) -> list[str]:
    details = (detail for entity in event.get("entity", ()) for detail in entity.get("detail", ()))
    return words.titles((d.get("valueString", "") for d in details if d.get("type") == CATEGORY_DETAIL), catalogue)


def _app(event: Event, names: Names) -> str:
    """The app as the patient knows it, else as the event names it; empty when no app took part."""
    for agent in event.get("agent", ()):
        who = agent.get("who", {})
        identifier = who.get("identifier", {})
        if identifier.get("system") == CLIENT_SYSTEM:
            client_id = str(identifier.get("value", ""))
            return names.app.get(client_id) or str(who.get("display") or client_id)
    return ""


def _operator(event: Event) -> str:
    """Who acted by the command line; empty when nobody did."""
    identifiers = (agent.get("who", {}).get("identifier", {}) for agent in event.get("agent", ()))
    return "The operator of this server" if any(i.get("system") == USER_SYSTEM for i in identifiers) else ""


def _app_of_consent(event: Event, names: Names) -> str:
    ids = (reference.removeprefix("Consent/") for reference in _references(event))
    return next((names.app_of_consent[id] for id in ids if id in names.app_of_consent), "an app")


def _references(event: Event) -> list[str]:
    return [str(entity.get("what", {}).get("reference", "")) for entity in event.get("entity", ())]


def _concerned(event: Event) -> list[str]:
    """What the event is about, without the consents by which it was allowed."""
    about = (entity for entity in event.get("entity", ()) if _role(entity) == "4")
    return [str(entity.get("what", {}).get("reference", "")) for entity in about]


def _role(entity: Mapping[str, Any]) -> str:
    return str(entity.get("role", {}).get("code", ""))
