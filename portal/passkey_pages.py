"""`/my/passkeys`: a person adds and removes passkeys.

Adding one needs a fresh sign-in: who finds a browser that is still signed in must not get a key of their own. Removing
one ends the person's other sessions, since a lost device may hold one.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from authz.sign_in.passkeys import MAX_NAME, MOST, PasskeyRefused
from authz.sign_in.sessions import SignedInSession
from portal.new_session import PASSKEYS
from portal.passkey_sign_in import as_json
from portal.sign_in_ports import PasskeyBook
from portal.visit import Portal, Sent, read_sent, see_other, sign_in_first

OUTCOMES = ("added", "removed")


def passkey_routes(portal: Portal) -> APIRouter:
    """The page and its forms; none where passkeys aren't offered."""
    router = APIRouter(include_in_schema=False)
    passkeys = portal.ports.ways.passkeys
    if passkeys is None:
        return router

    @router.get(PASSKEYS)
    async def show(request: Request) -> Response:
        here = portal.seen_by(request)
        session = await here.session_of(request)
        if session is None:
            return sign_in_first(PASSKEYS)
        outcome = request.query_params.get("done")
        return await _page(here, passkeys, session, outcome=outcome if outcome in OUTCOMES else None)

    @router.post(f"{PASSKEYS}/options")
    async def options(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        if not _is_fresh(here, sent.session):
            return await _page(here, passkeys, sent.session, status=403)
        return as_json(await passkeys.offer(sent.session))

    @router.post(PASSKEYS)
    async def add(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        return sent if isinstance(sent, Response) else await _add(here, passkeys, sent)

    @router.post(f"{PASSKEYS}/remove")
    async def remove(request: Request) -> Response:
        here = portal.seen_by(request)
        sent = await read_sent(here, request)
        if isinstance(sent, Response):
            return sent
        if await passkeys.remove(sent.session.account.id, sent.form.one("passkey")):
            await here.ports.sessions.sign_out_elsewhere(sent.session)
        return see_other(f"{PASSKEYS}?done=removed")

    return router


async def _add(portal: Portal, passkeys: PasskeyBook, sent: Sent) -> Response:
    if not _is_fresh(portal, sent.session):
        return await _page(portal, passkeys, sent.session, status=403)
    name = " ".join(sent.form.one("name").split())[:MAX_NAME]
    try:
        await passkeys.add(sent.session, sent.form.one("credential"), name or "Passkey")
    except PasskeyRefused:
        return await _page(portal, passkeys, sent.session, outcome="refused", status=400)
    return see_other(f"{PASSKEYS}?done=added")


async def _page(
    portal: Portal, passkeys: PasskeyBook, session: SignedInSession, *, outcome: str | None = None, status: int = 200
) -> Response:
    mine = await passkeys.mine(session.account.id)
    return portal.pages.page(
        "passkeys.html",
        status=status,
        session=session,
        scripts=True,
        passkeys=mine,
        full=len(mine) >= MOST,
        fresh=_is_fresh(portal, session),
        outcome=outcome,
        longest=MAX_NAME,
    )


def _is_fresh(portal: Portal, session: SignedInSession) -> bool:
    return session.auth_time >= portal.now() - portal.settings.fresh_sign_in
