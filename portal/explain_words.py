"""The chain of reasons of a decision, as people read it: each reason in plain words of the reader's language.

The rules say their reasons in English, lowercase, with what they speak of between backticks. A reason that isn't known
here is shown as the rule says it, marked as English: a page never leaves a reason out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from policies.model import Reason
from portal import words
from portal.languages import Language

_VALUE: Final = re.compile(r"`([^`]*)`")
_NUMBER: Final = re.compile(r"\b\d+\b")


def say(message: str) -> str:
    """Mark a message for the catalogues; it is translated when it is shown."""
    return message


_ASIDE: Final = "for another app, purpose or time: not asked"
_HEADINGS: Final[Mapping[str, str]] = {
    "token": say("The app's key"),
    "scope": say("What the key covers"),
    "consent": say("What was decided"),
    "emergency": say("Emergency access"),
    "category": say("Kind of information"),
    "sensitivity": say("Sensitive information"),
    "compartment": say("Whose record it is"),
    "guard": say("What is searched by"),
    "mask": say("What is left out"),
    "default": say("Rule of this server"),
}

_PLAIN: Final[Mapping[str, str]] = {
    "app `*`, patient `*`, purpose `*`": say("It is asked for the app `%(a)s`, record `%(b)s`, purpose `%(c)s`."),
    "the token is valid until `*`": say("The key is valid until `%(a)s`."),
    "the token counts for nothing here: it has expired or was revoked, or this server didn't make it": say(
        "The key counts for nothing: it has run out, was taken back, or isn't from this server."
    ),
    "asked with the scope of this grant": say("The key is as wide as it was asked for when the app was let in."),
    "asked with the scope of the newest grant on the consent": say(
        "The key is as wide as it was asked for when the app was last let in."
    ),
    "asked with the scope for which the app is registered": say("The key is as wide as the app is registered for."),
    "the app is registered for any scope; asked with the widest": say("The key is taken to be as wide as can be."),
    "no grant hangs on the consent any more; asked as if a token had the widest scope": say(
        "The app holds no key by this decision now. This is what it could see with the widest one."
    ),
    "the app is disabled or gone: none of its tokens counts": say("The app is switched off: none of its keys counts."),
    "the app waits for review: it gets no token": say("The app waits for review: it gets no key."),
    "the app is not registered for the purpose `*`": say("The app can't ask for this purpose (`%(a)s`)."),
    "the consent has ended, or isn't in force yet: nothing is opened by it": say("This decision counts no more."),
    "the grant has ended": say("The app's access has ended."),
    "the token is for the purpose `*` alone": say("The key is for another purpose (`%(a)s`)."),
    "bulk export is for backend services, each in a request of its own": say("Only services export."),
    "`*` is in no export": say("No export holds `%(a)s`."),
    "this server is read-only for apps": say("Apps change nothing here."),
    "apps don't create `*`": say("No app adds `%(a)s`."),
    "apps don't update `*`": say("No app replaces `%(a)s`."),
    "apps don't patch `*`": say("No app changes `%(a)s`."),
    "apps don't delete `*`": say("No app deletes `%(a)s`."),
    "apps write nothing of `*`": say("Apps write nothing of `%(a)s`."),
    "a token for an emergency writes nothing": say("In an emergency nothing is changed."),
    "what is about no patient isn't written by apps": say("What is about nobody isn't changed by apps."),
    "no category in which a `*` may be is open": say("Nothing of which `%(a)s` could be is open."),
    "each version is decided again, on its own content": say("Each earlier version is decided again by itself."),
    "parts of the resource are withheld from this app, so it can't delete it": say(
        "The app sees only a part of it, so it can't delete it."
    ),
    "a resource of which parts are withheld isn't deleted": say("What the app sees only in part it can't delete."),
    "what is withheld from the app stays as it is": say("What the app doesn't see stays as it is."),
    "a backend service's token writes nothing": say("A service may change nothing."),
    "the token has no patient in context, so patient data stays closed": say("The key is for nobody's record."),
    "the purpose of use `*` is not in the catalogue": say("The purpose `%(a)s` isn't known here."),
    "no scope of the token allows `*` on `*`": say("The key doesn't cover this (`%(a)s` on `%(b)s`)."),
    "no scope of the token covers the resource": say("The key doesn't cover this."),
    "the scope covers the resource": say("The key covers this."),
    "the scope names the type": say("The key covers searching for this type."),
    "its status is `*`": say("The state of this decision is `%(a)s`."),
    "in force for this app and purpose": say("This decision counts for this app and purpose now."),
    "in force, doesn't name the app itself: a service is denied by it but not permitted": say(
        "This decision doesn't name the app itself: a service is denied by it, but not let in."
    ),
    _ASIDE: say("This decision is about another app, purpose or time."),
    "and `*` more that aren't asked": say("And `%(a)s` more decisions that are about something else."),
    "opened in an emergency: the operator's rule beside the patient's consents": say(
        "Opened in an emergency, by the rule of those who run this site."
    ),
    "the consent permits this": say("This decision allows it."),
    "the consent denies this": say("This decision forbids it."),
    "emergency access permits this": say("Emergency access allows it."),
    "emergency access denies this": say("Emergency access doesn't open this."),
    "no consent in force permits this": say("No decision allows it, so the answer is no."),
    "no consent of the patient for this app and purpose is in force": say(
        "No decision counts for this app and purpose now, so the answer is no."
    ),
    "the patient has more consents than can be judged": say("There are more decisions than can be judged."),
    "the resource is in `*`": say("It belongs to “%(titles)s”."),
    "the resource is `*`": say("It is sensitive: “%(titles)s”."),
    "the resource is sensitive: *": say("What is sensitive needs to be allowed by name as well."),
    "the resource is about no patient": say("It is about nobody."),
    "the resource belongs to no category that can be shared": say("It is of no kind that can be shared."),
    "`*` belongs to no category that can be shared for this purpose": say(
        "`%(a)s` is of no kind that can be shared for this purpose."
    ),
    "the resource is not about the patient in context alone": say("It isn't about this person alone."),
    "the resource is not about one patient alone who shares with this app": say(
        "It isn't about one person alone who shares with this app."
    ),
    "the resource is not about the patient asked about alone": say("It isn't about this person alone."),
    "the server that holds the data has no such resource": say("There is no such record of this person."),
    "this server has no resources of that type": say("There are no records of this type here."),
    "only `*` values of what is open are asked for: *": say("Only what is open is searched for."),
    "every parameter looks only at what this purpose may see": say("Nothing that is left out can be searched by."),
    "each resource found is decided again, on its own content": say("Each record found is decided again by itself."),
    "a service's search is told for the patient asked about alone": say("This is about this person's record alone."),
    "# top-level elements are removed, # are masked": say(
        "Of what each record can hold, %(a)s parts are left out and %(b)s come through in part."
    ),
    "no mask for `*` and this purpose": say("Nothing of `%(a)s` may be seen for this purpose."),
    "the content is not shaped as FHIR JSON": say("The record is broken, so nothing of it comes through."),
}
"""By what the rules say, with `*` for each value between backticks and `#` for each number."""

_TAILS: Final = ("the resource is sensitive: ", "only `*` values of what is open are asked for: ")
"""What ends in a list that isn't between backticks."""


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain."""

    heading: str
    text: str
    """With what it speaks of between backticks."""
    source: str
    """Where the rule stands, for who looks it up; empty where it stands nowhere."""
    plain: bool
    """In the reader's language; else as the rule says it, in English."""


def steps(reasons: Iterable[Reason], language: Language) -> list[Step]:
    """Each reason once, in the order in which the rules were asked; what wasn't asked is counted."""
    told: list[Step] = []
    for aside, run in groupby(dict.fromkeys(reasons), lambda reason: reason.text == _ASIDE):
        alike = [_step(reason, language) for reason in run]
        told += [_counted(alike, language)] if aside and len(alike) > 1 else alike
    return told


def _counted(alike: list[Step], language: Language) -> Step:
    """One step for many decisions that weren't asked: who shares with forty apps looks for the one that was."""
    message = language.gettext("%(count)s decisions are about another app, purpose or time.")
    return Step(alike[0].heading, message % {"count": len(alike)}, "", plain=True)


def _step(reason: Reason, language: Language) -> Step:
    heading = language.gettext(_HEADINGS[reason.rule])
    values = _VALUE.findall(reason.text)
    shape = _shape(reason.text)
    if shape.startswith("#"):
        values = _NUMBER.findall(reason.text)
    message = _PLAIN.get(shape)
    if message is None:
        return Step(heading, reason.text, reason.source, plain=False)
    named = dict(zip("abc", values, strict=False)) | {"titles": _titles(values, language)}
    return Step(heading, language.gettext(message) % named, reason.source, plain=True)


def _shape(text: str) -> str:
    shape = _VALUE.sub("`*`", text)
    if shape[:1].isdigit():
        shape = _NUMBER.sub("#", shape)
    return next((f"{tail}*" for tail in _TAILS if shape.startswith(tail)), shape)


def _titles(codes: Iterable[str], language: Language) -> str:
    return words.listed(words.titles(codes, language.catalogue), language.locale)
