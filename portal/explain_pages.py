"""`/my/sharing/{id}/explain` and `/operator/explain`: what an app can see, and why, link by link. Never the data.

Questions are posted: neither a record's name nor a token belongs into an address.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from authz.sign_in.sessions import SignedInSession
from fhir.r4.asked_interaction import NAMES, OF_ONE
from fhir.r4.interaction import WRITES
from policies.catalogue import Catalogue
from portal.explain_ports import LONGEST_TOKEN, AccessNamed, CannotAskNow, CannotExplain, Why, WhyAsked
from portal.explain_words import Step, steps
from portal.form_reading import Form
from portal.my_sharing import not_there, own_consent
from portal.ports import SharedWith
from portal.visit import Portal, Sent, acting_for, read_sent, sign_in_first

OPERATORS: Final = "/operator/explain"
INTERACTIONS: Final = tuple(name for name in NAMES if name != "vread")
"""What is asked by a page; a version is told as the history is."""
_RECORD: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})")
_HANDLE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Told:
    """A decision, ready to be shown, once for all types that it is the same for."""

    types: Sequence[str]
    why: Why
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class _Outcome:
    asked: WhyAsked
    told: Sequence[Told] = ()
    problem: str = ""
    """`kind`, `record`, `one`, `access`, `nothing` or `later`."""

    @property
    def status(self) -> int:
        return {"": 200, "later": 503}.get(self.problem, 400)


def explain_routes(portal: Portal) -> APIRouter:
    """For people about their own sharing, and for operators."""
    router = APIRouter(include_in_schema=False)
    _add_own(router, portal)
    _add_operators(router, portal)
    return router


def _add_own(router: APIRouter, portal: Portal) -> None:
    path = "/my/sharing/{consent_id}/explain"

    @router.get(path)
    async def form(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first(f"/my/sharing/{quote(consent_id, safe='')}/explain")
        found = await _about_app(here, session, consent_id)
        return not_there(here, session) if found is None else await _own_page(here, session, found, None)

    @router.post(path)
    async def ask(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        found = await _about_app(here, sent.session, consent_id)
        if found is None:
            return not_there(here, sent.session)
        return await _own_page(here, sent.session, found, await _own_outcome(here, sent, found))


def _add_operators(router: APIRouter, portal: Portal) -> None:
    @router.get(OPERATORS)
    async def form(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first(OPERATORS)
        return _operators_page(here, session) if _may(session) else not_there(here, session)

    @router.post(OPERATORS)
    async def ask(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        if not _may(sent.session):
            return not_there(here, sent.session)
        named = AccessNamed(*(sent.form.one(name).strip() for name in ("id", "token", "patient")))
        return _operators_page(here, sent.session, named, await _operators_outcome(here, sent, named))


def _may(session: SignedInSession) -> bool:
    return session.account.role == "operator"


async def _about_app(portal: Portal, session: SignedInSession, consent_id: str) -> SharedWith | None:
    found = await own_consent(portal, session, consent_id)
    return found if found is not None and found.is_app else None


async def _own_outcome(portal: Portal, sent: Sent, found: SharedWith) -> _Outcome:
    purposes = await portal.ports.explanations.purposes(found.client_id)
    asked = _asked(sent.form, portal.ports.catalogue, purposes)
    if isinstance(asked, _Outcome):
        return asked
    return await _told(portal, asked, portal.ports.explanations.of_consent(found.consent_id, asked, sent.session))


async def _operators_outcome(portal: Portal, sent: Sent, named: AccessNamed) -> _Outcome:
    asked = _asked(sent.form, portal.ports.catalogue, tuple(portal.ports.catalogue.purposes), records=False)
    if isinstance(asked, _Outcome):
        return asked
    one = bool(named.id) != bool(named.token)
    fit = all(not text or _HANDLE.fullmatch(text) for text in (named.id, named.patient))
    if not one or not fit or len(named.token) > LONGEST_TOKEN:
        return _Outcome(asked, problem="access")
    return await _told(portal, asked, portal.ports.explanations.of_access(named, asked, sent.session))


def _asked(form: Form, catalogue: Catalogue, purposes: Sequence[str], *, records: bool = True) -> WhyAsked | _Outcome:
    """The question; with a problem where it isn't well put."""
    given, kind = form.one("interaction"), form.one("kind")
    record, purpose = form.one("record").strip() if records else "", form.one("purpose")
    asked = WhyAsked(
        category=kind if kind in {c.code for c in (*catalogue.everyday, *catalogue.sensitive)} else "",
        interaction=given if given in INTERACTIONS else "read",
        purpose=purpose if purpose in purposes else "",
    )
    if not record:
        return asked if asked.category else _Outcome(asked, problem="kind")
    found = _RECORD.fullmatch(record)
    shared = {scope.resource_type for category in catalogue.everyday for scope in category.scopes}
    if found is None or found[1] not in shared:
        return _Outcome(asked, problem="record")
    if asked.interaction not in OF_ONE:
        return _Outcome(asked, problem="one")
    return WhyAsked(resource_type=found[1], id=found[2], interaction=asked.interaction, purpose=asked.purpose)


async def _told(portal: Portal, asked: WhyAsked, answer: Awaitable[Sequence[Why]]) -> _Outcome:
    try:
        found = await answer
    except CannotExplain:
        return _Outcome(asked, problem="nothing")
    except CannotAskNow:
        return _Outcome(asked, problem="later")
    alike: dict[Why, list[str]] = {}
    for why in found:
        alike.setdefault(replace(why, resource_type=""), []).append(why.resource_type)
    language = portal.pages.language
    return _Outcome(asked, [Told(types, why, steps(why.reasons, language)) for why, types in alike.items()])


async def _own_page(portal: Portal, session: SignedInSession, shared: SharedWith, outcome: _Outcome | None) -> Response:
    shown = outcome or _Outcome(WhyAsked(purpose=shared.purpose))
    purposes = await portal.ports.explanations.purposes(shared.client_id)
    return portal.pages.page(
        "explain.html",
        status=shown.status,
        session=session,
        address=f"/my/sharing/{shared.consent_id}/explain",
        shared=shared,
        patient=acting_for(session, shared.patient_id),
        purposes=purposes,
        shown=_shown(portal, shown),
    )


def _operators_page(
    portal: Portal, session: SignedInSession, named: AccessNamed | None = None, outcome: _Outcome | None = None
) -> Response:
    """INVARIANT: the token isn't shown again: a page is kept and printed more easily than a form."""
    shown = outcome or _Outcome(WhyAsked())
    given = named or AccessNamed()
    return portal.pages.page(
        "operator_explain.html",
        status=shown.status,
        session=session,
        address=OPERATORS,
        id=given.id[:64],
        patient_id=given.patient[:64],
        purposes=tuple(portal.ports.catalogue.purposes),
        shown=_shown(portal, shown),
    )


def _shown(portal: Portal, outcome: _Outcome) -> dict[str, object]:
    catalogue, permitted = portal.pages.language.catalogue, [told.why.permitted for told in outcome.told]
    kind = catalogue.categories.get(outcome.asked.category)
    return {
        "asked": outcome.asked,
        "kind": "" if kind is None else kind.title,
        "does": "write" if outcome.asked.interaction in WRITES else "see",
        "told": outcome.told,
        "problem": outcome.problem,
        "everyday": catalogue.everyday,
        "sensitive": catalogue.sensitive,
        "overall": "all" if all(permitted) else "part" if any(permitted) else "none",
    }
