"""`/my/e-mail`: where a person is told what happens, and whether.

Giving, changing or removing an address needs a fresh sign-in, as adding a passkey does: who finds a browser that is
still signed in must not lead the warnings elsewhere.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from authz.mail.addresses import LONGEST, MailSettings, TooManyCodes, UnfitAddress
from authz.sign_in.sessions import SignedInSession
from portal.mail_ports import MailBook
from portal.visit import Portal, Sent, read_sent, see_other, sign_in_first

PLACE: Final = "/my/e-mail"
OUTCOMES: Final = ("sent", "confirmed", "removed", "saved")


def mail_routes(portal: Portal) -> APIRouter:
    """The page and its forms; none where no e-mail is sent."""
    router = APIRouter(include_in_schema=False)
    book = portal.ports.mail
    if book is None:
        return router

    @router.get(PLACE)
    async def show(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first(PLACE)
        outcome = request.query_params.get("done")
        return await _page(here, book, session, outcome=outcome if outcome in OUTCOMES else None)

    @router.post(PLACE)
    async def ask(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _ask(here, book, sent)

    @router.post(f"{PLACE}/confirm")
    async def confirm(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        if not await book.confirm(sent.session.account.id, sent.form.one("code")):
            return await _page(here, book, sent.session, outcome="wrong-code", status=400)
        return see_other(f"{PLACE}?done=confirmed")

    @router.post(f"{PLACE}/remove")
    async def remove(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        if not _is_fresh(here, sent.session):
            return await _page(here, book, sent.session, status=403)
        await book.remove(sent.session.account.id)
        return see_other(f"{PLACE}?done=removed")

    @router.post(f"{PLACE}/choose")
    async def choose(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _choose(here, book, sent)

    return router


async def _ask(portal: Portal, book: MailBook, sent: Sent) -> Response:
    if not _is_fresh(portal, sent.session):
        return await _page(portal, book, sent.session, status=403)
    user_id, given = sent.session.account.id, sent.form.one("address")
    known = await book.of(user_id)
    # Asked for anew for an address that waits, the code goes to that one.
    address = (known.pending if known is not None and sent.form.one("again") else None) or given
    language = known.language if known is not None else portal.pages.language.tag
    try:
        await book.ask(user_id, address, language)
    except UnfitAddress:
        return await _page(portal, book, sent.session, outcome="unfit", status=400, given=given)
    except TooManyCodes:
        return await _page(portal, book, sent.session, outcome="too-many", status=429)
    return see_other(f"{PLACE}?done=sent")


async def _choose(portal: Portal, book: MailBook, sent: Sent) -> Response:
    language = sent.form.one("language")
    if language not in portal.ports.languages.by_tag:
        return portal.pages.error("unreadable-form", 400, session=sent.session)
    await book.choose(sent.session.account.id, sharing=sent.form.one("sharing") == "yes", language=language)
    return see_other(f"{PLACE}?done=saved")


async def _page(
    portal: Portal,
    book: MailBook,
    session: SignedInSession,
    *,
    outcome: str | None = None,
    status: int = 200,
    given: str = "",
) -> Response:
    nothing = MailSettings(None, None, sharing=True, language=portal.pages.language.tag)
    return portal.pages.page(
        "mail.html",
        status=status,
        session=session,
        address=PLACE,
        mail=await book.of(session.account.id) or nothing,
        fresh=_is_fresh(portal, session),
        outcome=outcome,
        given=given[:LONGEST],
        longest=LONGEST,
    )


def _is_fresh(portal: Portal, session: SignedInSession) -> bool:
    return session.auth_time >= portal.now() - portal.settings.fresh_sign_in
