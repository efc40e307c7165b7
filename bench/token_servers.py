"""The servers of `python -m bench.tokens`: each begins with clients and codes of its own, on the same PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from assent.migrate import migrate
from assent.wiring.ground import system_clock
from authz.clients.assertion import ASSERTION_TYPE
from authz.clients.clients import NewClient, add_client
from authz.opaque_secret import hash_of
from bench.__main__ import PASSWORD, assent
from tests.clients.app import REDIRECT_URI, App
from tests.clients.node_modules_folder import installed
from tests.clients.person import Person
from tests.sandbox_server import assent_process, environment, free_port

HERE = Path(__file__).parent
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SECRET = secrets.token_urlsafe(32)
KEY = ECKey.generate_key("P-384", {"kid": "bench", "use": "sig", "alg": "ES384"})
_SCOPE = "launch/patient offline_access patient/*.rs"
_THREADS = "16"


@dataclass(frozen=True, slots=True)
class TokenServer:
    """Where it is, who asks it, and the codes that wait there."""

    name: str
    token: str
    introspect: str
    service: str
    service_scope: str
    by_key: bool
    """Whether the service signs assertions; by secret otherwise."""
    audience: str
    app: str
    gateway: tuple[str, str]
    codes: list[str]


@contextmanager
def assent_server(database: str, folder: Path, codes: int) -> Iterator[TokenServer]:
    """Assent, with one consent that all grants hang on, as all launches of one app by one patient do."""
    port = free_port()
    asyncio.run(migrate(database))
    known = {"ASSENT_PORT": str(port), "ASSENT_DATABASE_URL": database, "ASSENT_UPSTREAM_URL": "http://127.0.0.1:9"}
    settings = environment(folder / "data", **known)
    who = ["--fhir-user", "Patient/p1", "--patient", "p1=Bench Mark"]
    assent(settings, "user", "add", "bench", *who, typed=f"{PASSWORD}\n")
    app = assent(settings, "client", "add", "Bench", "--redirect-uri", REDIRECT_URI, "--scope", _SCOPE)["client_id"]
    service, gateway = asyncio.run(service_and_gateway(database))
    with assent_process(["serve"], settings, port, folder / "assent.log") as issuer:
        with Person("bench", PASSWORD) as person:
            person.authorize(App(f"{issuer}/fhir", app, _SCOPE).authorize_url(), {"Lab results"})
        made = asyncio.run(copied_codes(database, codes, REDIRECT_URI))
        yield TokenServer(
            name="assent",
            token=f"{issuer}/token",
            introspect=f"{issuer}/introspect",
            service=service,
            service_scope="system/Observation.rs",
            by_key=True,
            audience=f"{issuer}/token",
            app=app,
            gateway=gateway,
            codes=made,
        )


async def service_and_gateway(database: str) -> tuple[str, tuple[str, str]]:
    """Registers both; the id of the one, id and secret of the other."""
    engine = create_async_engine(database)
    async with engine.begin() as connection:
        jwks = {"keys": [KEY.as_dict(private=False)]}
        of_service = NewClient("Service", "backend", scope="system/*.rs", purposes=("TREAT",), jwks=jwks)
        service, _ = await add_client(connection, of_service, system_clock())
        gateway, secret = await add_client(connection, NewClient("Gateway", "gateway"), system_clock())
    await engine.dispose()
    return service.client_id, (gateway.client_id, secret or "")


async def copied_codes(database: str, count: int, redirect_uri: str) -> list[str]:
    """Grants like the one that the person made, each with a code."""
    engine, codes = create_async_engine(database), [secrets.token_urlsafe(32) for _ in range(count)]
    async with engine.begin() as connection:
        row = (await connection.execute(text('SELECT * FROM assent."grant"'))).mappings().one()
        names = ", ".join(name for name in row if name != "id")
        copies = f'INSERT INTO assent."grant" (id, {names}) SELECT :id, {names} FROM assent."grant" WHERE id = :first'  # noqa: S608 - names of columns
        grants = [{"id": f"bench-{n}", "first": row["id"]} for n in range(count)]
        await connection.execute(text(copies), grants)
        code = (
            "INSERT INTO assent.authorization_code (code_hash, grant_id, redirect_uri, code_challenge, expires_at) "
            "VALUES (:hash, :id, :uri, :challenge, now() + interval '1 hour')"
        )
        about = {"uri": redirect_uri, "challenge": CHALLENGE}
        values = [{"hash": hash_of(c), "id": f"bench-{n}", **about} for n, c in enumerate(codes)]
        await connection.execute(text(code), values)
    await engine.dispose()
    return codes


def service_form(service: str, scope: str, audience: str) -> dict[str, str]:
    """A service's request for a token, with an assertion that is good for four minutes."""
    claims = {"iss": service, "sub": service, "aud": audience, "exp": int(time.time()) + 240}
    assertion = jwt.encode({"alg": "ES384", "kid": "bench"}, {**claims, "jti": secrets.token_hex(16)}, KEY, ["ES384"])
    asked = {"grant_type": "client_credentials", "scope": scope, "client_assertion_type": ASSERTION_TYPE}
    return {**asked, "client_assertion": assertion}


@contextmanager
def node_server(database: str, folder: Path, codes: int) -> Iterator[TokenServer]:
    """npm's `oidc-provider`, one process."""
    installed("oidc-provider")
    issuer = f"http://127.0.0.1:{free_port()}"
    none: dict[str, Any] = {"redirect_uris": [], "response_types": [], "grant_types": ["client_credentials"]}
    by_key = {"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES384"}
    clients = [
        {"client_id": "service", "scope": "read", "jwks": {"keys": [KEY.as_dict(private=False)]}, **by_key, **none},
        {"client_id": "gateway", "client_secret": SECRET, **none},
        {
            "client_id": "app",
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "redirect_uris": [REDIRECT_URI],
            "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "read offline_access",
        },
    ]
    told = {"issuer": issuer, "port": int(issuer.rpartition(":")[2]), "clients": clients, "codes": codes}
    told |= {"database": _plain(database), "redirect": REDIRECT_URI, "challenge": CHALLENGE}
    command = ["node", str(HERE / "node" / "oidc_provider.mjs"), json.dumps(told)]
    with (
        (folder / "node.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=_production(), text=True) as process,  # noqa: S603 - ours
    ):
        try:
            made = json.loads(process.stdout.readline() if process.stdout else "")
            yield TokenServer(
                name="oidc-provider",
                token=f"{issuer}/token",
                introspect=f"{issuer}/token/introspection",
                service="service",
                service_scope="read",
                by_key=True,
                audience=issuer,
                app="app",
                gateway=("gateway", SECRET),
                codes=made,
            )
        finally:
            process.terminate()


@contextmanager
def django_server(database: str, folder: Path, codes: int) -> Iterator[TokenServer]:
    """PyPI's `django-oauth-toolkit`, one process of gunicorn with threads, in an environment that goes with the run."""
    place = folder / "django"
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    wanted = ["django-oauth-toolkit", "gunicorn", "psycopg[binary]"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True, timeout=600)  # noqa: S603 - fixed
    url = make_url(database)
    reached = {"HOST": url.host, "PORT": url.port, "NAME": url.database, "USER": url.username, "PASSWORD": url.password}
    told = {"database": reached, "secret": SECRET, "redirect": REDIRECT_URI, "challenge": CHALLENGE, "codes": codes}
    known = {**os.environ, "BENCH_DJANGO": json.dumps(told)}
    at, issuer = HERE / "django", f"127.0.0.1:{free_port()}"
    seeded = subprocess.run([python, "bench_site.py"], cwd=at, env=known, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    command = [python, "-m", "gunicorn", "--bind", issuer, "--threads", _THREADS, "bench_site:application"]
    with (folder / "django.log").open("w") as log:
        process = subprocess.Popen(command, cwd=at, env=known, stdout=log, stderr=log)  # noqa: S603 - ours
        try:
            _await(f"http://{issuer}/token")
            yield TokenServer(
                name="django-oauth-toolkit",
                token=f"http://{issuer}/token",
                introspect=f"http://{issuer}/introspect",
                service="service",
                service_scope="read",
                by_key=False,
                audience="",
                app="app",
                gateway=("gateway", SECRET),
                codes=json.loads(seeded.stdout),
            )
        finally:
            process.terminate()
            process.wait(timeout=20)


async def new_database(server: str, name: str) -> str:
    """A database of its own on the same PostgreSQL; its URL."""
    connection = await asyncpg.connect(_plain(server))
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _production() -> dict[str, str]:
    return {**os.environ, "NODE_ENV": "production"}


def _await(url: str) -> None:
    for _ in range(100):
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"nothing listens at {url}")
