"""The pages on which a clinician opens a patient's record with an app: choose a patient, see what is open, decide.

A clinician never decides for the patient (docs/decisions/0008-clinician-launch.md). A name that is searched for is sent
by form, so that it stands in no address.
"""

from __future__ import annotations

from fastapi import Response

from authz.consents.clinician_access import NotShared
from authz.consents.decisions import AlreadyDecided
from authz.sign_in.sessions import SignedInSession
from portal.form_reading import Form
from portal.ports import AuthorizationRequest
from portal.visit import Portal, acting_for, address_of, see_other

_LONGEST_NAME = 100


def as_clinician(session: SignedInSession, asked: AuthorizationRequest) -> bool:
    """Whether the person is here as a clinician; in a record that they may decide for they are not."""
    if not session.account.is_clinician:
        return False
    return not session.account.acts_for if asked.patient_id is None else acting_for(session, asked.patient_id) is None


async def show_record(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, *, again: bool
) -> Response:
    """The step that comes next: the choice of a patient, or the decision about the one in context."""
    if asked.patient_id is None or (again and not asked.patient_given):
        return await _choice(portal, session, asked)
    record = await portal.ports.clinicians.record(asked, session, asked.patient_id)
    if record is None:
        return await _not_shared(portal, session, asked)
    return portal.pages.page(
        "open_record.html",
        session=session,
        redirect_uri=asked.redirect_uri,
        asked=asked,
        record=record,
        emergency=await portal.ports.emergencies.may_ask(asked, session),
    )


async def choose_record(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, form: Form, address: str
) -> Response:
    """The form of the choice: a search by name, or a patient."""
    if form.one("step") == "search":
        return await _choice(portal, session, asked, form.one("name")[:_LONGEST_NAME])
    if not form.one("patient"):
        return await _choice(portal, session, asked, problem=True)
    try:
        await portal.ports.clinicians.choose(asked, session, form.one("patient"))
    except NotShared:
        return await _not_shared(portal, session, asked)
    return see_other(address)


async def decide_on_record(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, form: Form
) -> Response:
    """The form of the decision, when it isn't `deny`."""
    if form.one("decision") != "allow":
        return await show_record(portal, session, asked, again=False)
    if asked.patient_id is None or form.one("patient") != asked.patient_id:
        # Another tab may have chosen another patient since this form was shown.
        return portal.pages.error("not-yours", 403, session=session)
    try:
        return see_other(await portal.ports.clinicians.grant(asked, session))
    except NotShared:
        return await _not_shared(portal, session, asked)
    except AlreadyDecided:
        return portal.pages.error("request-expired", 400, session=session)


def no_access(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, why: str, *, emergency: bool = False
) -> Response:
    """A page from which only the way back to the app leads on, with `access_denied`, or an emergency.

    `why` is one of its kinds.
    """
    return portal.pages.page(
        "no_access.html",
        status=403,
        session=session,
        redirect_uri=asked.redirect_uri,
        address=address_of(asked.id),
        asked=asked,
        why=why,
        emergency=emergency,
    )


async def _not_shared(portal: Portal, session: SignedInSession, asked: AuthorizationRequest) -> Response:
    emergency = await portal.ports.emergencies.may_ask(asked, session)
    return no_access(portal, session, asked, "not-shared", emergency=emergency)


async def _choice(
    portal: Portal, session: SignedInSession, asked: AuthorizationRequest, name: str = "", *, problem: bool = False
) -> Response:
    return portal.pages.page(
        "choose_record.html",
        status=400 if problem else 200,
        session=session,
        redirect_uri=asked.redirect_uri,
        asked=asked,
        records=await portal.ports.clinicians.records(asked, session, name.strip()),
        name=name,
        problem=problem,
        emergency=await portal.ports.emergencies.may_ask(asked, session),
    )
