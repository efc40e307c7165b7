"""Emergency access: the page on which a clinician asks for it, and the operators' list.

A link leads to the page and changes nothing; only our own form, with a reason and a confirmation, opens a record.
"""

from __future__ import annotations

import re
from typing import Final

from fastapi import APIRouter, Request, Response

from authz.consents.decisions import AlreadyDecided
from authz.consents.emergency_access import (
    LONGEST_NOTE,
    LONGEST_REASON,
    SHORTEST_REASON,
    Denied,
    NotOffered,
    UnfitReason,
)
from authz.sign_in.sessions import SignedInSession
from portal.authorize import find_open, launched_by
from portal.clinician import as_clinician, no_access
from portal.form_reading import Form
from portal.ports import AuthorizationRequest
from portal.visit import Portal, Sent, acting_for, address_of, read_sent, see_other, sign_in_first

PATH: Final = "/authorize/emergency"
LIST: Final = "/operator/emergency"
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")


def emergency_routes(portal: Portal) -> APIRouter:
    """`/authorize/emergency` and `/operator/emergency`."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    async def ask(request: Request) -> Response:
        here = portal.seen_by(request)
        session, handle = await here.session_of(request), request.query_params.get("request", "")
        if session is None:
            return sign_in_first(address_of(handle))
        asked = await _asked(here, session, handle)
        return asked if isinstance(asked, Response) else _page(here, session, asked, Form({}))

    @router.post(PATH)
    async def open_record(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        asked = await _asked(here, sent.session, sent.form.one("request"))
        return asked if isinstance(asked, Response) else await _open(here, sent, asked)

    @router.get(LIST)
    async def overview(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        return sign_in_first(LIST) if session is None else await _overview(here, session)

    @router.post(LIST + "/{access_id}/review")
    async def review(request: Request, access_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        try:
            done = _may(sent.session) and await here.ports.emergencies.review(
                access_id, sent.form.one("note"), sent.session
            )
        except UnfitReason:
            return await _overview(here, sent.session, problem=True)
        return see_other(LIST) if done else here.pages.error("not-found", 404, session=sent.session)

    @router.post(LIST + "/{access_id}/end")
    async def end(request: Request, access_id: str) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        done = _may(sent.session) and await here.ports.emergencies.end(access_id, sent.session)
        return see_other(LIST) if done else here.pages.error("not-found", 404, session=sent.session)

    return router


async def _asked(portal: Portal, session: SignedInSession, handle: str) -> AuthorizationRequest | Response:
    """The request, if this person may open a record with it in an emergency; else the page that says otherwise."""
    asked = await find_open(portal, handle, session)
    if asked is None:
        return portal.pages.error("request-expired", 400, session=session)
    if not launched_by(session, asked):
        return no_access(portal, session, asked, "wrong-user")
    if not as_clinician(session, asked) or not await portal.ports.emergencies.may_ask(asked, session):
        return portal.pages.error("not-found", 404, session=session)
    return asked


async def _open(portal: Portal, sent: Sent, asked: AuthorizationRequest) -> Response:
    session, form = sent.session, sent.form
    patient_id = form.one("patient").strip()
    if asked.patient_given and patient_id != asked.patient_id:
        return portal.pages.error("not-yours", 403, session=session)
    if _ID.fullmatch(patient_id) is None:
        return _page(portal, session, asked, form, "record")
    if acting_for(session, patient_id) is not None:
        return portal.pages.error("not-yours", 403, session=session)
    if form.one("confirm") != "yes":
        return _page(portal, session, asked, form, "confirm")
    try:
        return see_other(await portal.ports.emergencies.open(asked, session, patient_id, form.one("reason")))
    except UnfitReason:
        return _page(portal, session, asked, form, "reason")
    except Denied:
        return no_access(portal, session, asked, "denied-too")
    except NotOffered:
        return portal.pages.error("not-found", 404, session=session)
    except AlreadyDecided:
        return portal.pages.error("request-expired", 400, session=session)


def _page(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, form: Form, problem: str | None = None
) -> Response:
    typed = form.one("patient")[:64]
    return portal.pages.page(
        "emergency.html",
        status=200 if problem is None else 400,
        session=session,
        redirect_uri=asked.redirect_uri,
        address=f"{PATH}?request={asked.id}",
        asked=asked,
        given=asked.patient_given,
        patient_id=asked.patient_id if asked.patient_given else typed or asked.patient_id or "",
        reason=form.one("reason")[:LONGEST_REASON],
        confirmed=form.one("confirm") == "yes",
        problem=problem,
        shortest=SHORTEST_REASON,
        longest=LONGEST_REASON,
        minutes=round(portal.ports.emergencies.lasts.total_seconds() / 60),
        closed=[c.code for c in portal.ports.catalogue.closed_in_emergency],
    )


async def _overview(portal: Portal, session: SignedInSession, *, problem: bool = False) -> Response:
    if not _may(session):
        return portal.pages.error("not-found", 404, session=session)
    emergencies = portal.ports.emergencies
    return portal.pages.page(
        "operator_emergency.html",
        status=400 if problem else 200,
        session=session,
        address=LIST,
        accesses=await emergencies.newest(),
        unreviewed=await emergencies.unreviewed(),
        longest=LONGEST_NOTE,
        problem=problem,
    )


def _may(session: SignedInSession) -> bool:
    return session.account.role == "operator"
