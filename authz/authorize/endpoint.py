"""`/authorize`: RFC 6749 §3.1 with requests that are pushed (RFC 9126) or signed (RFC 9101).

Client and redirect URI first: only then may an error be sent there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from authz.authorize.pushed_requests import REFERENCE, take_pushed
from authz.authorize.request_objects import read_request_object
from authz.authorize.requests import (
    NotRedirectable,
    check_request,
    client_of,
    keep_request,
    redirect_with,
    with_launch,
    with_sign_in,
)
from authz.authorize.sent_requests import SentRequest, check_pushed, check_signed
from authz.clients.clients import Client
from authz.context import AuthzContext
from authz.form_parameters import read_form, read_query
from authz.oauth_errors import NO_STORE, OAuthError

ErrorPage = Callable[[Request, str], Response]
"""A page for a person, in their language: status 400, with the text for the app's developer."""
_MAX_STATE: Final = 2_000
_GONE: Final = "This request was used before, or has waited too long. Go back to the app and start again."


class AuthorizationEndpoint:
    """Answers `GET` and `POST /authorize`."""

    def __init__(self, context: AuthzContext, error_page: ErrorPage) -> None:
        self._context = context
        self._error_page = error_page

    async def __call__(self, request: Request) -> Response:
        """On to the pages, back to the app with an error, or a page that says what is wrong."""
        try:
            if request.method == "POST":
                given = await read_form(request)
            else:
                given = read_query(request.scope["query_string"])
        except OAuthError as error:
            return self._error_page(request, error.description)
        try:
            return await self._answer(given)
        except NotRedirectable as wrong:
            return self._error_page(request, str(wrong))

    async def _answer(self, given: Mapping[str, str]) -> Response:
        context, refused = self._context, None
        try:
            sent = await self._sent(given)
        except OAuthError as error:
            # What can't be read is told to the address that stands outside, if it is one of the client's.
            sent, refused = SentRequest(given), error
        async with context.engine.begin() as connection:
            client, uri = await client_of(connection, sent.parameters)
            try:
                if refused is not None:
                    raise refused
                handle = await self._keep(connection, client, uri, sent)
            except OAuthError as error:
                answer = {"error": error.error, "error_description": error.description}
                state = sent.parameters.get("state")
                state = state if state is None or len(state) <= _MAX_STATE else None
                return _redirect(redirect_with(uri, state, context.issuer, answer))
        return _redirect(f"{context.issuer}/authorize/continue?request={handle}")

    async def _sent(self, given: Mapping[str, str]) -> SentRequest:
        """The request that counts. Raises OAuthError, and NotRedirectable for a reference that is none any more."""
        context, client_id = self._context, given.get("client_id", "")
        if "request" in given and "request_uri" in given:  # RFC 9101 §5
            raise OAuthError("invalid_request", "send `request` or `request_uri`, not both")
        if "request" in given:
            return SentRequest(await read_request_object(context, client_id, given["request"]), signed=True)
        if "request_uri" not in given:
            return SentRequest(given)
        if not given["request_uri"].startswith(REFERENCE):
            raise OAuthError("request_uri_not_supported", "`request_uri` must be one that `/par` gave")
        # Its own transaction: a reference is used up even if what follows fails.
        async with context.engine.begin() as connection:
            taken = await take_pushed(connection, given["request_uri"], client_id, context.clock())
        if taken is None:
            raise NotRedirectable(_GONE)
        return taken

    async def _keep(self, connection: AsyncConnection, client: Client, uri: str, sent: SentRequest) -> str:
        """The handle under which the request waits for a decision. Raises OAuthError."""
        context, now, parameters = self._context, self._context.clock(), sent.parameters
        check_pushed(client, sent)
        check_signed(client, sent)
        checked = check_request(client, uri, parameters, audience=context.fhir_base, catalogue=context.catalogue)
        checked = with_sign_in(checked, parameters, now, context.lifetimes.sign_in)
        checked = await with_launch(connection, checked, parameters.get("launch"), now)
        return await keep_request(connection, checked, now, context.lifetimes.request)


def _redirect(url: str) -> Response:
    return RedirectResponse(url, 303, {**NO_STORE, "Referrer-Policy": "no-referrer"})
