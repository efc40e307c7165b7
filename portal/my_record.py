"""`/my`, the record: how a consent came about, who saw what, and all of it to take along."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from authz.sign_in.accounts import ActsFor
from authz.sign_in.sessions import SignedInSession
from portal.my_sharing import chosen_patient, not_there, own_consent
from portal.pages import HEADERS
from portal.record_ports import ActivityAsked, NoSuchPage
from portal.visit import Portal, acting_for, sign_in_first

_LONGEST: Final = 4_096
"""Characters of a cursor or a client_id that are looked at."""


def record_routes(portal: Portal) -> APIRouter:
    """History, activity, download."""
    router = APIRouter(include_in_schema=False)

    @router.get("/my/activity")
    async def activity(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first("/my/activity")
        if not session.account.acts_for:
            return here.pages.page("nobody.html", session=session)
        patient = chosen_patient(request.query_params.get("patient"), session)
        return not_there(here, session) if patient is None else await _activity(here, request, session, patient)

    @router.get("/my/download")
    async def download(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first("/my")
        # A download names its patient: nobody's record is taken along by a link that left it out.
        patient = acting_for(session, request.query_params.get("patient", ""))
        return not_there(here, session) if patient is None else await _download(here, session, patient)

    @router.get("/my/sharing/{consent_id}/history")
    async def history(request: Request, consent_id: str) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first(f"/my/sharing/{quote(consent_id, safe='')}/history")
        return await _history(here, session, consent_id)

    return router


async def _activity(portal: Portal, request: Request, session: SignedInSession, patient: ActsFor) -> Response:
    given = {name: request.query_params.get(name, "")[:_LONGEST] for name in ("app", "until", "older")}
    until = _day(given["until"])
    if given["until"] and until is None:
        return not_there(portal, session)
    asked = ActivityAsked(given["app"], until, given["older"])
    try:
        page = await portal.ports.record.activity(patient, asked, portal.pages.language)
    except NoSuchPage:
        return not_there(portal, session)
    kept = {"patient": patient.patient_id, "app": asked.app, "until": given["until"]}
    return portal.pages.page(
        "activity.html",
        session=session,
        patient=patient,
        asked=asked,
        found=page,
        newest=_activity_address(kept),
        older=_activity_address({**kept, "older": page.older}) if page.older is not None else None,
    )


async def _history(portal: Portal, session: SignedInSession, consent_id: str) -> Response:
    found = await own_consent(portal, session, consent_id)
    if found is None:
        return not_there(portal, session)
    versions = await portal.ports.record.history(consent_id, portal.pages.language)
    patient = acting_for(session, found.patient_id)
    return portal.pages.page("history.html", session=session, patient=patient, shared=found, versions=versions)


async def _download(portal: Portal, session: SignedInSession, patient: ActsFor) -> Response:
    pieces = await portal.ports.record.archive(patient.patient_id, session, portal.pages.language)
    # The name says nothing about whose record it is: it stays in the list of downloads.
    name = f"assent-{portal.now().astimezone(UTC):%Y-%m-%d}.zip"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def _activity_address(parameters: dict[str, str]) -> str:
    return f"/my/activity?{urlencode({name: value for name, value in parameters.items() if value})}"


def _day(text: str) -> date | None:
    """A day as a date field sends it; None for anything else, and for a day that no calendar here has."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
