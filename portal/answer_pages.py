"""`/my`, what waits: a person answers an app's request that they left open, or a consent that somebody proposed.

An app's request goes on where it stopped, on the pages of `portal.authorize` with all their checks. A proposal is
answered here with the same form: nothing sensitive is ticked, nothing counts that wasn't proposed, and the sign-in must
be as fresh as for an app's request.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from authz.sign_in.sessions import SignedInSession
from portal.consent_form import Offer, first_offer, read_choice, with_problem
from portal.my_sharing import not_there, own_consent
from portal.ports import ConsentChoice, ConsentEnded, NotOffered, SharedWith
from portal.visit import Portal, Sent, acting_for, address_of, read_sent, see_other, shown_policy, sign_in_first

_Kind = Literal["consent-ended", "app-not-used"]


def answer_routes(portal: Portal) -> APIRouter:
    """Going on with a request, and the form for a proposal."""
    router = APIRouter(include_in_schema=False)

    @router.post("/my/requests")
    async def go_on(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        handle = await here.ports.requests.reopen(sent.form.one("request"), sent.session)
        if handle is None:
            return here.pages.error("request-expired", 400, session=sent.session)
        return see_other(address_of(handle))

    @router.get("/my/proposals/{consent_id}")
    async def show(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None or not _is_fresh(here, session):
            return sign_in_first(f"/my/proposals/{quote(consent_id, safe='')}")
        found = await _proposal(here, session, consent_id)
        return found if isinstance(found, Response) else _page(here, session, found, _offer(here, found))

    @router.post("/my/proposals/{consent_id}")
    async def answer(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        if not _is_fresh(here, sent.session):
            return sign_in_first(f"/my/proposals/{quote(consent_id, safe='')}")
        return await _answer(here, sent, consent_id)

    return router


async def _answer(portal: Portal, sent: Sent, consent_id: str) -> Response:
    found = await _proposal(portal, sent.session, consent_id)
    if isinstance(found, Response):
        return found
    offer, choice = _offer(portal, found), None
    if sent.form.one("version") != str(found.version):
        # What is answered is what was shown.
        return _page(portal, sent.session, found, with_problem(sent.form, offer, "broken"))
    if sent.form.one("decision") == "allow":
        read = read_choice(sent.form, offer, portal.ports.languages, portal.now())
        if not isinstance(read, ConsentChoice):
            return _page(portal, sent.session, found, with_problem(sent.form, offer, read))
        choice = read
    elif sent.form.one("decision") != "deny":
        return _page(portal, sent.session, found, with_problem(sent.form, offer, "undecided"))
    try:
        await portal.ports.consents.answer(found, choice, shown_policy(portal, sent.form), sent.session)
    except ConsentEnded:
        return _error(portal, sent.session, "consent-ended")
    except NotOffered:
        return _error(portal, sent.session, "app-not-used")
    done = f"&changed={quote(consent_id, safe='')}" if choice is not None else ""
    return see_other(f"/my?patient={quote(found.patient_id, safe='')}{done}")


async def _proposal(portal: Portal, session: SignedInSession, consent_id: str) -> SharedWith | Response:
    found = await own_consent(portal, session, consent_id)
    if found is None:
        return not_there(portal, session)
    return found if found.can_be_answered else _error(portal, session, "consent-ended")


def _error(portal: Portal, session: SignedInSession, kind: _Kind) -> Response:
    return portal.pages.error(kind, 409, session=session)


def _offer(portal: Portal, proposed: SharedWith) -> Offer:
    opened = first_offer(proposed.proposed, portal.pages.language, portal.settings.default_duration, proposed.writes)
    return opened if proposed.until is None else opened.as_asked(proposed.until)


def _page(portal: Portal, session: SignedInSession, proposed: SharedWith, offer: Offer) -> Response:
    return portal.pages.page(
        "answer.html",
        status=200 if offer.problem is None else 400,
        session=session,
        address=f"/my/proposals/{proposed.consent_id}",
        proposed=proposed,
        patient=acting_for(session, proposed.patient_id),
        offer=offer,
    )


def _is_fresh(portal: Portal, session: SignedInSession) -> bool:
    return session.auth_time >= portal.now() - portal.settings.fresh_sign_in
