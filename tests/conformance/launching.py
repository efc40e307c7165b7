"""A SMART app step by step against the server in process: each answer can be looked at, each parameter changed."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from jose import jwt
from joserfc.jwk import ECKey, RSAKey

from authz.authorize.asked_categories import asked_categories
from authz.authorize.requests import PendingRequest, choose_patient, find_request
from authz.clients.clients import PUBLIC_ONLY, NewClient, add_client
from authz.clients.key_addresses import KeyAddresses
from authz.consents.decisions import Choice, Decisions
from authz.sign_in.accounts import Account
from tests.leaks.world import ISSUER, REDIRECT, App, World

FHIR_BASE = f"{ISSUER}/fhir"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
STATE = "st&te=ä"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass(slots=True)
class Launch:
    """One registered app on its way to a token."""

    world: World
    client_id: str
    secret: str | None
    scope: str = "launch/patient patient/*.rs"
    account: Account | None = None
    """Who decides; None: `ana`."""
    authentication: Mapping[str, str] = field(default_factory=dict)
    """Form fields that authenticate the client; None of them: its secret by Basic, or its name alone."""
    headers: Callable[[], Mapping[str, str]] = dict
    """What else is sent with each request to the token endpoint."""

    @property
    def request(self) -> dict[str, str]:
        """The authorization request that it sends."""
        return {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": self.scope,
            "state": STATE,
            "aud": FHIR_BASE,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }

    async def push(self, **form: str) -> httpx.Response:
        """Push the authorization request (RFC 9126)."""
        return await self.post("/par", **{**self.request, **form})

    async def follow(self, request_uri: str, **more: str) -> httpx.Response:
        """Send the browser with the reference to a pushed request."""
        query = {"client_id": self.client_id, "request_uri": request_uri, **more}
        return await self.world.http.get("/authorize", params=query)

    async def authorize(self, method: str = "GET", **change: str) -> httpx.Response:
        """Send the authorization request."""
        query = {**self.request, **change}
        if method == "POST":
            return await self.world.http.post("/authorize", data=query)
        return await self.world.http.get("/authorize", params=query)

    async def allow(self, answer: httpx.Response, categories: Sequence[str]) -> str:
        """The person shares these categories; answers where the browser is sent."""
        context, now = self.world.assent.authz, self.world.assent.authz.clock()
        asked = asked_categories(self.scope, context.catalogue)
        choice = Choice(tuple(categories), asked, now + timedelta(days=1), self.world.text)
        return await Decisions(context).allow(await self._pending(answer), self._who, now, choice, "test")

    async def refuse(self, answer: httpx.Response) -> str:
        """The person says no; answers where the browser is sent."""
        pending = await self._pending(answer)
        return await Decisions(self.world.assent.authz).refuse(pending, self._who, (), self.world.text, "test")

    async def exchange(self, returned_to: str, **change: str) -> httpx.Response:
        """Exchange the code."""
        code = parse_qs(urlsplit(returned_to).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return await self.token(**{**form, **change})

    async def token(self, **form: str) -> httpx.Response:
        """Ask the token endpoint, authenticated as the app is."""
        return await self.post("/token", **form)

    async def post(self, path: str, **form: str) -> httpx.Response:
        """Ask an endpoint that wants to know the client."""
        http, headers = self.world.http, dict(self.headers())
        if self.authentication:
            return await http.post(path, data={**self.authentication, **form}, headers=headers)
        if self.secret is not None:
            return await http.post(path, data=form, auth=(self.client_id, self.secret), headers=headers)
        return await http.post(path, data={"client_id": self.client_id, **form}, headers=headers)

    async def app(self, categories: Sequence[str]) -> App:
        """All of it."""
        answer = await self.exchange(await self.allow(await self.authorize(), categories))
        assert answer.status_code == 200, answer.text
        return App(self.world, self.client_id, answer.json())

    @property
    def _who(self) -> Account:
        return self.account or self.world.account

    async def _pending(self, answer: httpx.Response) -> PendingRequest:
        handle = parse_qs(urlsplit(answer.headers["location"]).query)["request"][0]
        context = self.world.assent.authz
        async with self.world.assent.engine.begin() as connection:
            pending = await find_request(connection, handle, self._who.id, context.clock())
            assert pending is not None
            if any("patient" in part for part in pending.scope.split(" ")):
                await choose_patient(connection, pending, "ana")
                pending = await find_request(connection, handle, self._who.id, context.clock())
                assert pending is not None
        return pending


async def launch(world: World, scope: str = "launch/patient patient/*.rs", **client: Any) -> Launch:
    """Register an app (public unless told otherwise) that will ask for this scope."""
    client_id, secret = await register(world, **client)
    return Launch(world, client_id, secret, scope)


async def register(world: World, *, addresses: KeyAddresses = PUBLIC_ONLY, **more: Any) -> tuple[str, str | None]:
    """Register a client as the operator does; answers its id and its secret."""
    new = NewClient(**{"name": "App", "kind": "public", "redirect_uris": (REDIRECT,), **more})
    async with world.assent.engine.begin() as connection:
        client, secret = await add_client(connection, new, world.assent.authz.clock(), addresses=addresses)
    return client.client_id, secret


def key_pair(algorithm: str, kid: str = "k1") -> tuple[dict[str, Any], bytes]:
    """A public JWK and the private key as PEM."""
    curves = {"ES384": "P-384", "ES256": "P-256"}
    pair = ECKey.generate_key(curves[algorithm]) if algorithm in curves else RSAKey.generate_key(2048)
    public = {**pair.as_dict(private=False), "kid": kid, "use": "sig", "alg": algorithm}
    return public, pair.as_pem(private=True)


def assertion(
    client_id: str,
    key: bytes,
    algorithm: str,
    *,
    jti: str,
    headers: Mapping[str, str] | None = None,
    aud: str = f"{ISSUER}/token",
) -> str:
    """A client assertion that is right, but for what `headers` and `aud` change."""
    expires = int(time.time()) + 200
    claims = {"iss": client_id, "sub": client_id, "aud": aud, "exp": expires, "jti": jti}
    return jwt.encode(claims, key.decode(), algorithm=algorithm, headers={"kid": "k1", **(headers or {})})
