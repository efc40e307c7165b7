"""What sandbox mode adds: its users and clients, and `/sandbox/manifest.json`, which says everything about them.

Everything here is public by intent and exists in sandbox mode only: the composition root adds these routes when it is
told to, and nothing else imports them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncConnection

from assent.app import Assent
from assent.data_directory import using
from assent.policy_files import load_policy_text
from assent.sandbox_mode.demo import demo_routes
from assent.sandbox_mode.launcher import launcher_routes
from assent.sandbox_mode.mail import SandboxMailbox
from assent.wiring.site import SandboxExtras
from authz.clients.clients import ClientKind, NewClient, add_client, find_client
from authz.consents.recorded_consents import Decided, record_consent
from authz.context import AuthzContext
from authz.mail.addresses import put_address
from authz.sign_in.accounts import Account, ActsFor, add_account, find_by_username
from authz.sign_in.passwords import Passwords
from policies.catalogue import Category
from portal.settings import DemoUser
from sandbox.brands import sandbox_brands
from sandbox.clients import CLIENTS, SERVICE_CONSENTS, SandboxClient
from sandbox.people import USERS, SandboxUser
from sandbox.records.cohorts import EVERYBODY
from smart.brands import read_brands
from smart.scope_syntax import format_scope


def sandbox_extras(keys: Mapping[str, Any]) -> SandboxExtras:
    """Demo users for the sign-in page, and the sandbox's routes. `keys` are private JWKs by client id."""
    mailbox = SandboxMailbox()
    users = tuple(DemoUser(u.username, u.password, u.role) for u in USERS)
    return SandboxExtras(
        users,
        lambda context: sandbox_routes(context, keys, mailbox),
        lambda issuer: read_brands(sandbox_brands(issuer), f"{issuer}/fhir"),
        mailbox,
    )


def sandbox_routes(context: AuthzContext, keys: Mapping[str, Any], mailbox: SandboxMailbox) -> APIRouter:
    """`/sandbox/…`."""
    router = APIRouter(prefix="/sandbox", tags=["Sandbox"])
    manifest = manifest_of(context, keys)

    @router.get("/manifest.json", summary="Users, clients and categories of the sandbox")
    async def read_manifest() -> JSONResponse:
        return JSONResponse(manifest, headers={"Access-Control-Allow-Origin": "*"})

    router.include_router(launcher_routes(context))
    router.include_router(demo_routes(context))
    router.include_router(mailbox.routes())
    return router


def manifest_of(context: AuthzContext, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The outside contract's manifest."""
    catalogue = context.catalogue
    categories = [c for c in catalogue.categories.values() if not (c.always or c.part_of)]
    return {
        "issuer": context.issuer,
        "fhir_base": context.fhir_base,
        "launcher": f"{context.issuer}/sandbox/launcher",
        "users": [_user(u) for u in USERS],
        "clients": [_client(c, context.issuer, keys) for c in CLIENTS],
        "groups": [EVERYBODY],
        "categories": [
            _category(c) | ({"parts": list(map(_category, parts))} if (parts := catalogue.parts_of(c.code)) else {})
            for c in categories
        ],
    }


def _category(category: Category) -> dict[str, Any]:
    return {"code": category.code, "title": category.title, "scopes": list(map(format_scope, category.scopes))}


def _user(user: SandboxUser) -> dict[str, Any]:
    return {
        "username": user.username,
        "password": user.password,
        "fhirUser": user.fhir_user,
        "patients": [patient_id for patient_id, _, _ in user.patients],
        "role": user.role,
    }


def _client(client: SandboxClient, issuer: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": client.name,
        "client_id": client.client_id,
        "kind": client.kind,
        "redirect_uris": list(redirect_uris(client, issuer)),
        "scope": client.scope,
    }
    if client.client_secret is not None:
        found["client_secret"] = client.client_secret
    if client.client_id in keys:
        found["private_jwks"] = {"keys": [keys[client.client_id]]}
    return found


def redirect_uris(client: SandboxClient, issuer: str) -> tuple[str, ...]:
    """The client's own, and the demo's under this server's address, for clients that redirect at all."""
    if not client.redirect_uris:
        return ()
    return tuple(dict.fromkeys([f"{issuer}/sandbox/callback", *client.redirect_uris]))


def sandbox_keys(data_dir: Path) -> Mapping[str, Any]:
    """Private JWKs of the asymmetric clients, made at the first start and kept."""
    file = data_dir / "sandbox-client-keys.json"
    with using(data_dir):
        if not file.exists():
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as writer:
                json.dump(_new_keys(), writer)
        found: Mapping[str, Any] = json.loads(file.read_text())
    return found


def _new_keys() -> Mapping[str, Any]:
    return {
        c.client_id: ECKey.generate_key(
            "P-384", {"kid": f"{c.client_id}-1", "use": "sig", "alg": "ES384"}, private=True
        ).as_dict(private=True)
        for c in CLIENTS
        if c.kind in ("confidential-asymmetric", "backend")
    }


async def seed(assent: Assent, keys: Mapping[str, Any]) -> None:
    """Register the users and clients that aren't there yet."""
    passwords, now = Passwords(), assent.authz.clock()
    hashes: dict[str, str] = {}
    async with assent.engine.begin() as connection:
        for user in USERS:
            if await find_by_username(connection, user.username) is None:
                if user.password not in hashes:
                    hashes[user.password] = await passwords.hash(user.password)
                await _add_user(connection, user, hashes[user.password], now)
        for client in CLIENTS:
            if await find_client(connection, client.client_id) is None:
                await _add_client(connection, client, assent.authz.issuer, keys, now)
                await _consent_to(connection, client, assent.authz)


async def _add_user(connection: AsyncConnection, user: SandboxUser, password_hash: str, now: datetime) -> None:
    patients = tuple(ActsFor(*patient) for patient in user.patients)
    account = Account("", user.username, user.display_name, user.fhir_user, user.role, patients)
    added = await add_account(connection, account, password_hash, now)
    await put_address(connection, added.id, f"{user.username}@sandbox.example", "en")


async def _add_client(
    connection: AsyncConnection, client: SandboxClient, issuer: str, keys: Mapping[str, Any], now: datetime
) -> None:
    jwks = None
    if client.client_id in keys:
        key = keys[client.client_id]
        jwks = {"keys": [{name: key[name] for name in ("kty", "crv", "x", "y", "kid", "use", "alg")}]}
    new = NewClient(
        name=client.name,
        kind=cast(ClientKind, client.kind),
        redirect_uris=redirect_uris(client, issuer),
        scope=client.scope,
        purposes=client.purposes,
        jwks=jwks,
        client_id=client.client_id,
        client_secret=client.client_secret,
    )
    await add_client(connection, new, now)


async def _consent_to(connection: AsyncConnection, client: SandboxClient, context: AuthzContext) -> None:
    """With a new service come the patients who share with it; who takes that back keeps it so at the next start."""
    service = await find_client(connection, client.client_id)
    text, now = load_policy_text(context.catalogue), context.clock()
    for given in SERVICE_CONSENTS:
        if service is not None and given.client_id == service.client_id:
            decided = Decided(given.patient, given.patient_name, given.categories, None, text)
            await record_consent(connection, context.repository, context.catalogue, service, decided, now)
