"""The pages between an app's authorization request and its answer: sign in, choose a patient, decide.

The request itself was validated before (authz); a page knows it by a handle only. The steps stand in order in
`_continue`; a clinician's are in `portal.clinician`. Whether the person may decide for the patient is checked at every
step, not only where it is chosen.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from authz.consents.decisions import AlreadyDecided
from authz.sign_in.accounts import ActsFor
from authz.sign_in.sessions import SignedInSession
from portal.clinician import as_clinician, choose_record, decide_on_record, no_access, show_record
from portal.consent_form import Offer, first_offer, read_choice, with_problem, writes_of
from portal.content_policy import LOOPBACK
from portal.form_reading import Form
from portal.ports import AuthorizationRequest, ConsentChoice
from portal.visit import (
    CONTINUE,
    Portal,
    Sent,
    acting_for,
    address_of,
    read_sent,
    see_other,
    shown_policy,
    sign_in_first,
)

HANDLE = re.compile(r"[A-Za-z0-9._~-]{1,256}")


def authorize_routes(portal: Portal) -> APIRouter:
    """`/authorize/continue` and the two forms that it shows."""
    router = APIRouter(include_in_schema=False)

    @router.get(CONTINUE)
    async def show(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        again = request.query_params.get("choose") == "patient"
        return await _continue(here, request.query_params.get("request", ""), session, again=again)

    @router.post("/authorize/patient")
    async def choose(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _choose(here, sent.session, sent.form)

    @router.post("/authorize/decision")
    async def decide(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _decide(here, sent)

    return router


async def _continue(portal: Portal, handle: str, session: SignedInSession | None, *, again: bool) -> Response:
    if session is None and HANDLE.fullmatch(handle):
        return sign_in_first(address_of(handle))
    asked = await _find(portal, handle, session) if session is not None else None
    if session is None or asked is None:
        return portal.pages.error("request-expired", 400, session=session)
    if not _signed_in_lately(asked, session):
        return sign_in_first(address_of(handle))
    if not launched_by(session, asked):
        return no_access(portal, session, asked, "wrong-user")
    if not asked.needs_patient:
        return _consent_page(portal, session, asked, None, _first_offer(portal, asked))
    if as_clinician(session, asked):
        return await show_record(portal, session, asked, again=again)
    patients = session.account.acts_for
    if asked.patient_id is None and len(patients) == 1:
        await portal.ports.requests.choose_patient(handle, session, patients[0].patient_id)
        patient: ActsFor | None = patients[0]
    elif asked.patient_id is None or (again and not asked.patient_given):
        return _patient_page(portal, session, asked)
    else:
        patient = acting_for(session, asked.patient_id)
    if patient is None:
        return no_access(portal, session, asked, "not-yours")
    return _consent_page(portal, session, asked, patient, _first_offer(portal, asked))


async def _choose(portal: Portal, session: SignedInSession, form: Form) -> Response:
    handle = form.one("request")
    asked = await find_open(portal, handle, session)
    if asked is None:
        return portal.pages.error("request-expired", 400, session=session)
    if asked.patient_given or not asked.needs_patient or not launched_by(session, asked):
        return portal.pages.error("request-expired", 400, session=session)
    if as_clinician(session, asked):
        return await choose_record(portal, session, asked, form, address_of(handle))
    chosen = form.one("patient")
    if not chosen:
        return _patient_page(portal, session, asked, problem=True)
    if acting_for(session, chosen) is None:
        return portal.pages.error("not-yours", 403, session=session)
    await portal.ports.requests.choose_patient(handle, session, chosen)
    return see_other(address_of(handle))


async def _decide(portal: Portal, sent: Sent) -> Response:
    session, form = sent.session, sent.form
    asked = await find_open(portal, form.one("request"), session)
    if asked is None:
        return portal.pages.error("request-expired", 400, session=session)
    if form.one("decision") == "deny":
        return await _refuse(portal, sent, asked)
    if not launched_by(session, asked):
        return no_access(portal, session, asked, "wrong-user")
    if asked.needs_patient and as_clinician(session, asked):
        return await decide_on_record(portal, session, asked, form)
    patient = acting_for(session, asked.patient_id) if asked.patient_id is not None else None
    if asked.needs_patient and (patient is None or form.one("patient") != patient.patient_id):
        # Another tab may have chosen another patient since this form was shown.
        return portal.pages.error("not-yours", 403, session=session)
    offer = _first_offer(portal, asked)
    if form.one("decision") != "allow":
        return _consent_page(portal, session, asked, patient, with_problem(form, offer, "undecided"))
    choice = read_choice(form, offer, portal.ports.languages, portal.now())
    if isinstance(choice, ConsentChoice):
        return await _grant(portal, sent, asked, choice)
    return _consent_page(portal, session, asked, patient, with_problem(form, offer, choice))


async def _grant(portal: Portal, sent: Sent, asked: AuthorizationRequest, choice: ConsentChoice) -> Response:
    try:
        return see_other(await portal.ports.consents.grant(asked, sent.session, choice))
    except AlreadyDecided:
        return portal.pages.error("request-expired", 400, session=sent.session)


async def _refuse(portal: Portal, sent: Sent, asked: AuthorizationRequest) -> Response:
    try:
        return see_other(await portal.ports.consents.refuse(asked, sent.session, shown_policy(portal, sent.form)))
    except AlreadyDecided:
        return portal.pages.error("request-expired", 400, session=sent.session)


async def _find(portal: Portal, handle: str, session: SignedInSession) -> AuthorizationRequest | None:
    if HANDLE.fullmatch(handle) is None:
        return None
    return await portal.ports.requests.find(handle, session)


async def find_open(portal: Portal, handle: str, session: SignedInSession) -> AuthorizationRequest | None:
    """The request, if this person may go on with it; None when it is over, or their sign-in is too old for it."""
    asked = await _find(portal, handle, session)
    return None if asked is None or not _signed_in_lately(asked, session) else asked


def _signed_in_lately(asked: AuthorizationRequest, session: SignedInSession) -> bool:
    return asked.signed_in_since is None or session.auth_time >= asked.signed_in_since


def launched_by(session: SignedInSession, asked: AuthorizationRequest) -> bool:
    """Whether it isn't a launch for another person (SMART 2.2, EHR launch: the app joins the EHR's session)."""
    return asked.user in (None, session.account.fhir_user)


def _first_offer(portal: Portal, asked: AuthorizationRequest) -> Offer:
    language, duration = portal.pages.language, portal.settings.default_duration
    return first_offer(asked.asked, language, duration, writes_of(asked.writes), asked.longest)


def _patient_page(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, *, problem: bool = False
) -> Response:
    template = "choose_patient.html" if session.account.acts_for else "no_patient.html"
    status = 400 if problem else 200
    return portal.pages.page(
        template,
        status=status,
        session=session,
        redirect_uri=asked.redirect_uri,
        address=address_of(asked.id),
        asked=asked,
        problem=problem,
    )


def _consent_page(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, patient: ActsFor | None, offer: Offer
) -> Response:
    return portal.pages.page(
        "consent.html",
        status=200 if offer.problem is None else 400,
        session=session,
        redirect_uri=asked.redirect_uri,
        address=address_of(asked.id),
        asked=asked,
        patient=patient,
        offer=offer,
        several=len(session.account.acts_for) > 1 and not asked.patient_given,
        returns_to=_host(asked.redirect_uri),
    )


def _host(redirect_uri: str) -> str | None:
    """The web site to which the person returns; None for an app on their own device."""
    parts = urlsplit(redirect_uri)
    return parts.hostname if parts.scheme in ("http", "https") and parts.hostname not in LOOPBACK else None
