"""An AuditEvent as its patient reads it: who, and what they did, in plain words of the reader's language.

It reads what `fhir.audit.event` writes. An event says which app by its identifier, and which kinds of data by their
codes; the names are those of the patient's own consents and of the catalogue. Every sentence is translated whole, since
not every language puts the verb behind the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from markupsafe import Markup, escape

from fhir.audit.event import CATEGORY_DETAIL, CLIENT_SYSTEM, DONE, USER_SYSTEM
from fhir.r4.instants import instant_of
from portal import words
from portal.languages import Language
from portal.record_ports import Activity

_Outcome = Literal["done", "refused", "failed"]
_MOST_NAMED: Final = 4
"""Kinds of data that one line names."""
_OUTCOMES: Final[Mapping[str, _Outcome]] = {"0": "done", "4": "refused"}
_WRITES: Final = ("create", "update", "delete")
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAMILY: Final = ("Patient/", "RelatedPerson/", "Person/")
"""Types of people who decide in a patient's place; a clinician acts for themselves."""

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What people call things: the app of a consent by the consent's id, an app by its client_id, a person."""

    patient_id: str
    patient: str
    app_of_consent: Mapping[str, str]
    app: Mapping[str, str]
    person: Mapping[str, str]
    """By fhirUser."""


def user_in(event: Event) -> str | None:
    """The fhirUser who acted, or for whom the app did."""
    return next((a["who"]["reference"] for a in event.get("agent", ()) if "reference" in a.get("who", {})), None)


def consents_in(events: Iterable[Event]) -> set[str]:
    """Ids of the consents that they are about."""
    named = {reference for event in events for reference in _references(event)}
    return {name.removeprefix("Consent/") for name in named if name.startswith("Consent/")}


def in_words(event: Event, names: Names, language: Language) -> Activity:
    """One line of "Who saw what"."""
    outcome: _Outcome = _OUTCOMES.get(str(event.get("outcome")), "failed")
    when = instant_of(event.get("recorded"), end=False) or _NEVER
    return Activity(when, _Line(event, names, language, outcome == "done").sentence(), outcome)


def person_in(event: Event, names: Mapping[str, str], language: Language) -> str:
    """The name of who acted: a person by fhirUser, or the operator; empty when nobody is named."""
    known = names.get(user_in(event) or "", "")
    if known:
        return known
    identifiers = (agent.get("who", {}).get("identifier", {}) for agent in event.get("agent", ()))
    by_command = any(identifier.get("system") == USER_SYSTEM for identifier in identifiers)
    return language.gettext("The operator of this server") if by_command else ""


@dataclass(frozen=True, slots=True)
class _Line:
    event: Event
    names: Names
    language: Language
    done: bool

    def sentence(self) -> Markup:
        say = self.language.gettext
        app, person = self._app() or say("An app"), self._person() or say("Somebody")
        writer = self._person() or self._app() or say("Somebody")  # a recorder of consents may act for nobody
        if _is_of_state(self.event):
            told = say("%(who)s used notes of its own") if self.done else say("%(who)s tried to use notes of its own")
            return self._said(told, app)
        act = next((str(coding.get("code")) for coding in self.event.get("subtype", ())), "")
        if act in _WRITES and self._app() and not any(name.startswith("Consent/") for name in _concerned(self.event)):
            return self._wrote(act)
        match act:
            case "read" | "search":
                return self._looked()
            case "authorize" if self.done:
                return self._in_place(self._said(say("%(who)s was allowed in by %(person)s"), app, person=person))
            case "authorize":
                return self._in_place(self._said(say("%(who)s was turned away by %(person)s"), app, person=person))
            case "token":
                return self._said(say("%(who)s connected"), app)
            case "create":
                return self._in_place(self._said(say("%(who)s recorded what %(app)s may see"), writer, app=self._of()))
            case "delete":
                return self._in_place(self._said(say("%(who)s deleted what %(app)s may see"), writer, app=self._of()))
            case "update":
                return self._in_place(self._said(say("%(who)s changed what %(app)s may see"), writer, app=self._of()))
            case "revoke":
                return self._in_place(self._said(say("%(who)s ended the sharing with %(app)s"), person, app=self._of()))
            case "operation":
                return self._in_place(self._said(say("%(who)s asked what %(app)s may see"), writer, app=self._of()))
            case "110127":
                return self._opened(app, person)
            case "110138":
                return self._said(say("%(who)s ended an emergency access with %(app)s"), person, app=app)
            case "emergency-review":
                return self._said(say("%(who)s reviewed an emergency access with %(app)s"), person, app=app)
            case "export":
                return self._in_place(self._said(say("%(who)s downloaded this sharing and access record"), person))
            case _:
                who = self._app() or person
                return self._in_place(self._said(say("%(who)s used the sharing settings"), who))

    def _opened(self, app: str, person: str) -> Markup:
        say = self.language.gettext
        reason = next((str(p["text"]) for p in self.event.get("purposeOfEvent", ()) if "text" in p), "")
        if not self.done:
            told = say("%(who)s asked to open the record with %(app)s in an emergency, which was denied: “%(reason)s”")
        else:
            told = say("%(who)s opened the record with %(app)s in an emergency: “%(reason)s”")
        return self._said(told, person, app=app, reason=reason)

    def _looked(self) -> Markup:
        app, person = self._app(), self._person()
        told = self._seen(app or person or self.language.gettext("Somebody"))
        if not app or not person or user_in(self.event) in _references(self.event):
            return told
        return self._said(self.language.gettext("%(what)s, for %(person)s"), "", what=told, person=person)

    def _seen(self, who: str) -> Markup:
        say = self.language.gettext
        if not self.done:
            return self._said(say("%(who)s tried to look at the record"), who)
        if not any(_role(entity) == "4" for entity in self.event.get("entity", ())):
            return self._said(say("%(who)s searched the record and found nothing"), who)
        kinds = self._kinds()
        more = len(kinds) - _MOST_NAMED
        if not kinds:
            return self._said(say("%(who)s looked at the record"), who)
        if more <= 0:
            listed = words.listed(kinds, self.language.locale)
            return self._said(say("%(who)s looked at %(kinds)s"), who, kinds=listed)
        counted = self.language.ngettext(
            "%(who)s looked at %(kinds)s and %(more)s more kind of data",
            "%(who)s looked at %(kinds)s and %(more)s more kinds of data",
            more,
        )
        return self._said(counted, who, kinds=", ".join(kinds[:_MOST_NAMED]), more=more)

    def _wrote(self, act: str) -> Markup:
        say = self.language.gettext
        app, kinds = self._app(), self._kinds()[:_MOST_NAMED]
        if not self.done:
            return self._said(say("%(who)s tried to change the record"), app)
        match act if self.event.get("outcomeDesc") == DONE else "":
            case "create" if kinds:
                message = say("%(who)s added to %(kinds)s in the record")
            case "create":
                message = say("%(who)s added to the record")
            case "update" if kinds:
                message = say("%(who)s changed %(kinds)s in the record")
            case "update":
                message = say("%(who)s changed the record")
            case "delete" if kinds:
                message = say("%(who)s deleted %(kinds)s in the record")
            case "delete":
                message = say("%(who)s deleted a part of the record")
            case _ if kinds:
                message = say("%(who)s began to change %(kinds)s in the record")
            case _:
                message = say("%(who)s began to change the record")
        return self._said(message, app, kinds=words.listed(kinds, self.language.locale))

    def _kinds(self) -> list[str]:
        details = (detail for entity in self.event.get("entity", ()) for detail in entity.get("detail", ()))
        codes = (d.get("valueString", "") for d in details if d.get("type") == CATEGORY_DETAIL)
        return words.titles(codes, self.language.catalogue)

    def _in_place(self, told: Markup) -> Markup:
        """With whom somebody acted for, if that isn't themselves."""
        user = user_in(self.event) or ""
        if user not in self.names.person or not user.startswith(_FAMILY) or user == f"Patient/{self.names.patient_id}":
            return told
        message = self.language.gettext("%(what)s, on behalf of %(patient)s")
        return self._said(message, "", what=told, patient=self.names.patient)

    def _said(self, message: str, who: str, **values: object) -> Markup:
        return escape(message) % {"who": Markup("<strong>{}</strong>").format(who), **values}

    def _app(self) -> str:
        """The app as the patient knows it, else as the event names it; empty when no app took part."""
        for agent in self.event.get("agent", ()):
            who = agent.get("who", {})
            identifier = who.get("identifier", {})
            if identifier.get("system") == CLIENT_SYSTEM:
                client_id = str(identifier.get("value", ""))
                return self.names.app.get(client_id) or str(who.get("display") or client_id)
        return ""

    def _person(self) -> str:
        return person_in(self.event, self.names.person, self.language)

    def _of(self) -> str:
        """The app of the consent that the event is about."""
        known = self.names.app_of_consent
        ids = (reference.removeprefix("Consent/") for reference in _references(self.event))
        return next((known[id] for id in ids if id in known), self.language.gettext("an app"))


def _references(event: Event) -> list[str]:
    return [str(entity.get("what", {}).get("reference", "")) for entity in event.get("entity", ())]


def _is_of_state(event: Event) -> bool:
    """Whether it is about App State (authz.app_state.app); a refusal may name the type alone."""
    asked = (entity.get("what", {}) for entity in event.get("entity", ()))
    return any(str(what.get("reference", "")).startswith("Basic/") or what.get("display") == "Basic" for what in asked)


def _concerned(event: Event) -> list[str]:
    """What the event is about, without the consents by which it was allowed."""
    about = (entity for entity in event.get("entity", ()) if _role(entity) == "4")
    return [str(entity.get("what", {}).get("reference", "")) for entity in about]


def _role(entity: Mapping[str, Any]) -> str:
    return str(entity.get("role", {}).get("code", ""))
