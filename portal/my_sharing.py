"""`/my`: what is shared with whom, and where it is changed and taken back.

A consent is shown and touched only by somebody who may act for its patient; to anybody else it isn't there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from authz.sign_in.accounts import ActsFor
from authz.sign_in.sessions import SignedInSession
from portal.consent_form import KEEP, Offer, first_offer, read_choice, with_problem
from portal.listing import listing
from portal.ports import CURRENT_STATES, ConsentChoice, ConsentEnded, SharedWith
from portal.visit import Portal, Sent, acting_for, read_sent, see_other, sign_in_first

LOGICAL_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
"""FHIR R4 `id`."""
_OTHER_HOMES = {"developer": "/developer", "operator": "/operator"}
"""Where people begin who are here for something else than a record."""


def my_routes(portal: Portal) -> APIRouter:
    """The patient's own pages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/my")
    async def sharing(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        return sign_in_first("/my") if session is None else await _sharing_page(here, request, session)

    @router.get("/my/revoke-all")
    async def ask_revoke_all(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        return sign_in_first("/my") if session is None else await _ask_revoke_all(here, request, session)

    @router.post("/my/revoke-all")
    async def revoke_all(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _revoke_all(here, sent)

    @router.get("/my/sharing/{consent_id}/change")
    async def change_form(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first(f"/my/sharing/{quote(consent_id, safe='')}/change")
        found = await own_consent(here, session, consent_id)
        return not_there(here, session) if found is None else _change_page(here, session, found)

    @router.post("/my/sharing/{consent_id}/change")
    async def change(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _change(here, sent, consent_id)

    @router.post("/my/sharing/{consent_id}/revoke")
    async def revoke(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _revoke(here, sent, consent_id)

    return router


async def _sharing_page(portal: Portal, request: Request, session: SignedInSession) -> Response:
    if not session.account.acts_for:
        if session.account.role in _OTHER_HOMES:
            return see_other(_OTHER_HOMES[session.account.role])
        return portal.pages.page("nobody.html", session=session)
    patient = chosen_patient(request.query_params.get("patient"), session)
    if patient is None:
        return not_there(portal, session)
    sharing = await portal.ports.consents.sharing(patient.patient_id)
    current, ended = one_section_each(sharing)
    shown = {shared.consent_id: shared for shared in (*current, *ended)}
    found = listing(
        [*sorted(current, key=lambda shared: not shared.is_own_kind), *ended],
        lambda shared: shared.app_name,
        request.query_params,
        "/my",
        {"patient": patient.patient_id},
    )
    here = [shared for shared in found.items if shared.state in CURRENT_STATES]
    return portal.pages.page(
        "my.html",
        session=session,
        patient=patient,
        listed=found,
        nothing=not any(shared.is_own_kind for shared in current),
        revocable=sum(shared.can_be_revoked for shared in current),
        apps=[shared for shared in here if shared.is_own_kind],
        others=[shared for shared in here if not shared.is_own_kind],
        ended=[shared for shared in found.items if shared.state not in CURRENT_STATES],
        waiting=await portal.ports.record.waiting(patient.patient_id, session),
        emergencies=await portal.ports.emergencies.about(patient.patient_id),
        in_emergencies=bool(portal.ports.emergencies.lasts),
        all_revoked=request.query_params.get("revoked") == "all" and not any(c.can_be_revoked for c in current),
        revoked=_done(shown, request.query_params.get("revoked"), now_current=False),
        changed=_done(shown, request.query_params.get("changed"), now_current=True),
    )


def one_section_each(shared: Sequence[SharedWith]) -> tuple[list[SharedWith], list[SharedWith]]:
    """Part what is shared now from what has ended, so that every app is seen once.

    Of ended consents only the newest is shown, and none of an app that can see something now.
    """
    current = [s for s in shared if s.state in CURRENT_STATES]
    seen = {s.client_id for s in current}
    ended: list[SharedWith] = []
    for s in shared:
        over = s.state not in CURRENT_STATES and s.state != "requested" and (s.permits or s.is_own_kind)
        if over and s.client_id not in seen:
            seen.add(s.client_id)
            ended.append(s)
    return current, ended


def _done(shown: dict[str, SharedWith], consent_id: str | None, *, now_current: bool) -> SharedWith | None:
    """What to report as done: only what the record itself shows, whatever the address says."""
    found = shown.get(consent_id or "")
    return found if found is not None and (found.state in CURRENT_STATES) is now_current else None


async def _change(portal: Portal, sent: Sent, consent_id: str) -> Response:
    found = await own_consent(portal, sent.session, consent_id)
    if found is None or (found.state in CURRENT_STATES and not found.can_be_changed):
        return not_there(portal, sent.session)
    offer = _offer(portal, found)
    if sent.form.one("decision") == "review":
        return _change_page(portal, sent.session, found, with_problem(sent.form, offer, "undecided"))
    choice = read_choice(sent.form, offer, portal.ports.languages, portal.now())
    if not isinstance(choice, ConsentChoice):
        return _change_page(portal, sent.session, found, with_problem(sent.form, offer, choice))
    if found.state not in CURRENT_STATES:
        return portal.pages.error("consent-ended", 409, session=sent.session)
    try:
        await portal.ports.consents.change(consent_id, choice, sent.session)
    except ConsentEnded:
        return portal.pages.error("consent-ended", 409, session=sent.session)
    return see_other(_my_address(found, "changed"))


async def _revoke(portal: Portal, sent: Sent, consent_id: str) -> Response:
    found = await own_consent(portal, sent.session, consent_id)
    if found is None or (found.state in CURRENT_STATES and not found.can_be_revoked):
        return not_there(portal, sent.session)
    try:
        await portal.ports.consents.revoke(consent_id, sent.session)
    except ConsentEnded:
        return portal.pages.error("consent-ended", 409, session=sent.session)
    return see_other(_my_address(found, "revoked"))


async def _ask_revoke_all(portal: Portal, request: Request, session: SignedInSession) -> Response:
    patient = acting_for(session, request.query_params.get("patient", ""))
    if patient is None:
        return not_there(portal, session)
    sharing = await portal.ports.consents.sharing(patient.patient_id)
    current = [shared for shared in sharing if shared.can_be_revoked]
    if not current:
        return see_other(f"/my?patient={quote(patient.patient_id, safe='')}")
    return portal.pages.page("revoke_all.html", session=session, patient=patient, current=current)


async def _revoke_all(portal: Portal, sent: Sent) -> Response:
    patient = acting_for(sent.session, sent.form.one("patient"))
    if patient is None:
        return not_there(portal, sent.session)
    await portal.ports.consents.revoke_all(patient.patient_id, sent.session)
    return see_other(f"/my?patient={quote(patient.patient_id, safe='')}&revoked=all")


async def own_consent(portal: Portal, session: SignedInSession, consent_id: str) -> SharedWith | None:
    """The consent, if it is one that this person may see."""
    if LOGICAL_ID.fullmatch(consent_id) is None:
        return None
    found = await portal.ports.consents.find(consent_id)
    return found if found is not None and acting_for(session, found.patient_id) is not None else None


def _change_page(portal: Portal, session: SignedInSession, shared: SharedWith, offer: Offer | None = None) -> Response:
    if shared.state not in CURRENT_STATES:
        return portal.pages.error("consent-ended", 409, session=session)
    if not shared.can_be_changed:
        return not_there(portal, session)
    offered = offer or _offer(portal, shared)
    patient = acting_for(session, shared.patient_id)
    status = 200 if offered.problem is None else 400
    return portal.pages.page(
        "change.html",
        status=status,
        session=session,
        address=f"/my/sharing/{shared.consent_id}/change",
        shared=shared,
        patient=patient,
        offer=offered,
    )


def _offer(portal: Portal, shared: SharedWith) -> Offer:
    """What was asked for, ticked as it is shared now; nothing beyond what the app asked can be added."""
    asked = {*shared.asked, *shared.categories}
    opened = first_offer(asked, portal.pages.language, KEEP, shared.writes)
    return opened.changing(frozenset(shared.categories), shared.until)


def chosen_patient(given: str | None, session: SignedInSession) -> ActsFor | None:
    """The patient whom an address names, else the person's own record or the first; None for somebody else's."""
    if given is None:
        return next((p for p in session.account.acts_for if p.own), session.account.acts_for[0])
    return acting_for(session, given)


def _my_address(shared: SharedWith, what: str) -> str:
    return f"/my?patient={quote(shared.patient_id, safe='')}&{what}={quote(shared.consent_id, safe='')}"


def not_there(portal: Portal, session: SignedInSession) -> Response:
    """The answer for what doesn't exist, and for what is somebody else's."""
    return portal.pages.error("not-found", 404, session=session)
