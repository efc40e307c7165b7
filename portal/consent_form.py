"""The form on which a person chooses what to share and for how long: what it offers, and what came back.

Everyday categories are ticked as the app asked for them; sensitive ones never are until a person ticks them. A
sensitive category cuts across the everyday ones (policies.catalogue), so on its own it would share nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, Literal

from fhir.consents.writing import PolicyText
from policies.catalogue import Catalogue, Category, Duration
from policies.model import WRITE_ACTIONS
from policies.parts import joined
from portal.form_reading import Form
from portal.languages import Language, Languages
from portal.ports import ConsentChoice

Problem = Literal["nothing", "only-sensitive", "duration", "undecided", "text-changed", "broken"]
KEEP: Final = "keep"
"""The duration that leaves the end as it is; offered when a decision is changed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the form offers, with what is ticked."""

    everyday: tuple[Category, ...]
    sensitive: tuple[Category, ...]
    ticked: frozenset[str]
    parts: Mapping[str, tuple[Category, ...]]
    """By code of an everyday category, its parts: for who shares not all of it."""
    durations: tuple[tuple[str, str], ...]
    """Code and title of each."""
    duration: str
    policy: PolicyText
    problem: Problem | None = None
    keep_until: datetime | None = None
    """The end that the duration `keep` stands for."""
    writes: tuple[str, ...] = ()
    """Codes of consentaction (`collect`, `correct`) of which one checkbox is made; none without."""
    may_write: bool = False
    """Whether that checkbox is ticked."""

    def changing(self, shared: frozenset[str], until: datetime | None) -> Offer:
        """Return the form for a decision made before: ticked as it is shared now, its end kept at first."""
        durations = ((KEEP, KEEP), *self.durations)
        return replace(
            self, ticked=shared, durations=durations, duration=KEEP, keep_until=until, may_write=bool(self.writes)
        )

    def as_asked(self, until: datetime) -> Offer:
        """Return the form for a proposal that has an end: that end at first."""
        return replace(self, durations=((KEEP, KEEP), *self.durations), duration=KEEP, keep_until=until)


def asked_categories(asked: Collection[str], catalogue: Catalogue) -> tuple[tuple[Category, ...], tuple[Category, ...]]:
    """Everyday and sensitive categories that a person is asked about, in the catalogue's order.

    Parts of which the whole is asked for stand below it, not among them.
    """
    named = joined(asked, catalogue.wholes)
    everyday = tuple(c for c in catalogue.everyday if c.code in named)
    return everyday, tuple(c for c in catalogue.sensitive if c.code in asked)


def writes_of(letters: str) -> tuple[str, ...]:
    """What a consent must name for these letters of `cud`."""
    return tuple(dict.fromkeys(action for letter, action in WRITE_ACTIONS.items() if letter in letters))


def first_offer(
    asked: Collection[str],
    language: Language,
    duration: str,
    writes: tuple[str, ...] = (),
    longest: int | None = None,
) -> Offer:
    """Return the form as an app's request opens it, in the reader's language.

    That it may write is never ticked until a person ticks it. `longest`: hours of the longest duration that is offered;
    it is chosen at first where `duration` is longer.
    """
    catalogue = language.catalogue
    everyday, sensitive = asked_categories(asked, catalogue)
    fitting = {d.code: d for d in catalogue.durations.values() if _fits(d, longest)}
    durations = tuple((d.code, d.title) for d in fitting.values())
    first = durations[0][0] if longest is None else max(fitting, key=lambda code: fitting[code].hours or 0)
    chosen = duration if duration in fitting else first
    ticked = frozenset(c.code for c in everyday)
    parts = {c.code: found for c in everyday if (found := catalogue.parts_of(c.code))}
    return Offer(everyday, sensitive, ticked, parts, durations, chosen, language.policy, writes=writes)


def read_choice(form: Form, offer: Offer, languages: Languages, now: datetime) -> ConsentChoice | Problem:
    """Read what was chosen. Nothing counts that wasn't offered.

    The text is the one that stood in the form, in whatever language: it is what the person agreed to.
    """
    shown = languages.texts.get(form.one("policy"))
    if shown is None:
        return "text-changed"
    ticked = frozenset(form.all("category"))
    offered = (*offer.everyday, *chain.from_iterable(offer.parts.values()))
    everyday = [c.code for c in offered if c.code in ticked]
    sensitive = [c.code for c in offer.sensitive if c.code in ticked]
    if len(everyday) + len(sensitive) != len(ticked):
        return "broken"
    if not everyday and (offer.everyday or offer.sensitive):
        return "only-sensitive" if sensitive else "nothing"
    code = form.one("duration")
    if code not in {known for known, _ in offer.durations}:
        return "duration"
    until = offer.keep_until if code == KEEP else _end(code, languages.english.catalogue, now)
    told = form.one("writes")
    if told not in ("", "yes") or (told and not offer.writes):
        return "broken"
    return ConsentChoice((*everyday, *sensitive), until, shown, offer.writes if told else ())


def with_problem(form: Form, offer: Offer, problem: Problem) -> Offer:
    """Return the form as it was sent, with what is wrong."""
    chosen = form.one("duration")
    return replace(
        offer,
        ticked=frozenset(form.all("category")),
        duration=chosen if chosen in dict(offer.durations) else offer.duration,
        problem=problem,
        may_write=form.one("writes") == "yes",
    )


def _fits(duration: Duration, longest: int | None) -> bool:
    return longest is None or (duration.hours is not None and duration.hours <= longest)


def _end(code: str, catalogue: Catalogue, now: datetime) -> datetime | None:
    hours = catalogue.durations[code].hours
    return None if hours is None else now + timedelta(hours=hours)
