"""`python -m bench.tokens`: tokens a second, beside npm's `oidc-provider` and PyPI's `django-oauth-toolkit`.

The method stands in bench/README.md. One PostgreSQL, loopback only, bounded; prints a table, and with `--save` keeps it
in bench/tokens.json. It installs the other two where they aren't there yet, so it needs npm and a package index.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from assent.embedded_postgres.server import EmbeddedPostgres
from bench.token_servers import (
    SECRET,
    VERIFIER,
    TokenServer,
    assent_server,
    django_server,
    new_database,
    node_server,
    service_form,
)
from tests.clients.app import REDIRECT_URI

ROUNDS = 3
REQUESTS = 150
"""Of each operation in one round."""
CONNECTIONS = 8
_Form = dict[str, str]


async def ask(url: str, forms: Sequence[_Form], auth: tuple[str, str] | None) -> tuple[float, list[dict[str, Any]]]:
    """Requests a second over kept-alive connections, and the answers."""
    answers: list[dict[str, Any]] = []
    left = iter(forms)
    headers = {} if auth is None else {"Authorization": aiohttp.encode_basic_auth(*auth)}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=headers) as session:

        async def worker() -> None:
            for form in left:
                async with session.post(url, data=form) as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"{url}: status {answer.status}: {(await answer.text())[:300]}")
                    answers.append(await answer.json())

        begun = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
        return len(answers) / (time.perf_counter() - begun), answers


def service_forms(server: TokenServer) -> list[_Form]:
    """Requests of a backend service; assertions are signed before the clock starts."""
    if server.by_key:
        return [service_form(server.service, server.service_scope, server.audience) for _ in range(REQUESTS)]
    form = {"grant_type": "client_credentials", "scope": server.service_scope}
    return [{**form, "client_id": server.service, "client_secret": SECRET}] * REQUESTS


class Run:
    """One server's part of a round: each operation goes on from what the one before it gave."""

    def __init__(self, server: TokenServer) -> None:
        self.server = server
        self._answers: list[dict[str, Any]] = []
        self.operations: dict[str, Callable[[], float]] = {
            "client_credentials": self._service,
            "authorization_code": self._exchange,
            "refresh_token": self._refresh,
            "introspection": self._introspect,
        }

    def _service(self) -> float:
        return self._ask(service_forms(self.server))[0]

    def _exchange(self) -> float:
        codes, self.server.codes[:REQUESTS] = self.server.codes[:REQUESTS], []
        form = {"grant_type": "authorization_code", "client_id": self.server.app, "redirect_uri": REDIRECT_URI}
        found, self._answers = self._ask([{**form, "code": code, "code_verifier": VERIFIER} for code in codes])
        return found

    def _refresh(self) -> float:
        form = {"grant_type": "refresh_token", "client_id": self.server.app}
        forms = [{**form, "refresh_token": answer["refresh_token"]} for answer in self._answers]
        found, self._answers = self._ask(forms)
        return found

    def _introspect(self) -> float:
        forms = [{"token": answer["access_token"]} for answer in self._answers]
        found, answers = asyncio.run(ask(self.server.introspect, forms, self.server.gateway))
        if not all(answer["active"] for answer in answers):
            raise RuntimeError(f"{self.server.name}: a token isn't active")
        return found

    def _ask(self, forms: Sequence[_Form]) -> tuple[float, list[dict[str, Any]]]:
        return asyncio.run(ask(self.server.token, forms, None))


def compared(servers: Sequence[TokenServer]) -> list[dict[str, Any]]:
    """Medians of the rounds; the servers take turns at every operation, so that they meet the same machine."""
    runs = [Run(server) for server in servers]
    rates: dict[str, dict[str, list[float]]] = {}
    for round_number in range(ROUNDS + 1):
        for operation in runs[0].operations:
            for run in runs:
                found = run.operations[operation]()
                if round_number:  # the first round warms up
                    rates.setdefault(operation, {}).setdefault(run.server.name, []).append(found)
    return [_row(operation, by_server) for operation, by_server in rates.items()]


def _row(operation: str, rates: dict[str, list[float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"what": operation}
    for name, found in rates.items():
        row[f"{name}/s"] = round(statistics.median(found))
    mine = rates.pop("assent")
    for name, found in rates.items():
        row[f"to {name}"] = round(statistics.median(a / b for a, b in zip(mine, found, strict=True)), 2)
    return row


def main() -> None:
    """Run everything and print it."""
    codes = REQUESTS * (ROUNDS + 1)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        postgres = EmbeddedPostgres(folder / "postgres")
        url = postgres.start_blocking()
        stack.callback(postgres.stop_blocking)
        servers = [
            stack.enter_context(start(asyncio.run(new_database(url, name)), folder, codes))
            for name, start in (("assent_bench", assent_server), ("node", node_server), ("django", django_server))
        ]
        rows = compared(servers)
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))  # noqa: T201 - the command's output
    if "--save" in sys.argv:
        Path(__file__).with_name("tokens.json").write_text(json.dumps({"rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
