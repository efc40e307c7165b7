"""`python -m bench.token_cost`: processor time that a request to `/token` or `/introspect` takes Assent's process.

The whole server in this process, without a socket; PostgreSQL is a process of its own and isn't counted. What other
work does to the machine changes this figure far less than a rate. With `--profile` it also prints where the time goes.
"""

from __future__ import annotations

import asyncio
import base64
import cProfile
import io
import json
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import uvloop

from assent.asgi import App
from assent.embedded_postgres.server import EmbeddedPostgres
from assent.log_setup import set_up_logging
from assent.migrate import migrate
from bench.token_servers import VERIFIER, copied_codes, service_and_gateway, service_form
from tests.leaks.world import REDIRECT, patient, world

REQUESTS = 400
ROUNDS = 3
AT_ONCE = 8
_SCOPE = "launch/patient offline_access patient/*.rs"
_RECORDED = ("client_credentials", "authorization_code", "refresh_token")
"""What is given out is recorded first; that the record becomes an AuditEvent later is counted apart."""
_INTROSPECTIONS = ("introspection, new token", "introspection, again")
_Answer = dict[str, Any]


async def ask(app: App, path: str, form: dict[str, str], authorization: str | None) -> _Answer:
    """One request, answered with status 200."""
    sent: list[Any] = []
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-www-form-urlencoded")]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode()))
    body = urlencode(form).encode()
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "scheme": "http"}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**scope, "http_version": "1.1", "asgi": {"version": "3.0"}}, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(f"{path}: {sent[0]['status']} {sent[1]['body'][:300]!r}")
    answer: _Answer = json.loads(sent[1]["body"])
    return answer


async def cost(
    app: App, path: str, forms: Sequence[dict[str, str]], authorization: str | None = None
) -> tuple[float, list[_Answer]]:
    """Microseconds of processor time for a request, and the answers. Making and reading them is counted too."""
    answers: list[_Answer] = []
    left = iter(forms)

    async def worker() -> None:
        answers.extend([await ask(app, path, form, authorization) for form in left])

    begun = time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (time.process_time() - begun) / len(forms) * 1e6, answers


async def measured(url: str, folder: Path, profiles: dict[str, cProfile.Profile]) -> dict[str, float]:
    """Medians of the rounds, by operation."""
    found: dict[str, list[float]] = {}
    async with world(url, folder, [patient("ana")]) as running:
        app = running.assent.asgi
        first = await running.app(["laboratory"], scope=_SCOPE)
        service, gateway = await service_and_gateway(url)
        codes = await copied_codes(url, REQUESTS * (ROUNDS + 1), REDIRECT)
        basic = "Basic " + base64.b64encode(":".join(gateway).encode()).decode()
        audience = f"{running.assent.authz.issuer}/token"
        public = {"client_id": first.client_id}

        async def take(name: str, path: str, forms: Sequence[dict[str, str]], who: str | None = None) -> list[_Answer]:
            profile = profiles.get(name) if found.get(name) else None
            if profile is not None:
                profile.enable()
            figure, answers = await cost(app, path, forms, who)
            if profile is not None:
                profile.disable()
            begun = time.process_time()
            await running.assent.audit.settle()
            found.setdefault(name, []).append(figure)
            if name in _RECORDED:
                later = (time.process_time() - begun) / len(forms) * 1e6
                found.setdefault(f"{name}, its record becomes an AuditEvent", []).append(later)
            return answers

        for _ in range(ROUNDS + 1):
            services = [service_form(service, "system/Observation.rs", audience) for _ in range(REQUESTS)]
            await take("client_credentials", "/token", services)
            now, codes = codes[:REQUESTS], codes[REQUESTS:]
            same = {**public, "grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
            given = await take("authorization_code", "/token", [{**same, "code": code} for code in now])
            same = {**public, "grant_type": "refresh_token"}
            renewals = [{**same, "refresh_token": answer["refresh_token"]} for answer in given]
            given = await take("refresh_token", "/token", renewals)
            tokens = [{"token": answer["access_token"]} for answer in given]
            for name in _INTROSPECTIONS:
                await take(name, "/introspect", tokens, basic)
    return {name: statistics.median(rounds[1:]) for name, rounds in found.items()}  # the first round warms up


def main() -> None:
    """Run everything and print it."""
    set_up_logging("json", "info", io.StringIO())
    names = (*_RECORDED, *_INTROSPECTIONS) if "--profile" in sys.argv else ()
    profiles = {name: cProfile.Profile() for name in names}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        url = postgres.start_blocking()
        try:
            asyncio.run(migrate(url))
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(measured(url, folder, profiles))
        finally:
            postgres.stop_blocking()
    for name, profile in profiles.items():
        print(f"== {name}")  # noqa: T201 - the command's output
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    for name, figure in found.items():
        print(f"{name}: {figure:.0f} µs")  # noqa: T201 - the command's output


if __name__ == "__main__":
    main()
