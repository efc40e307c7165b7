"""`assent sandbox` of a hospital: sign-in at its identity provider or with passkeys, and emergency access."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from typer.testing import Result

from tests.assent.commands import command
from tests.clients.identity_provider import CLIENT_ID, SECRET, OidcProvider, oidc_provider
from tests.sandbox_server import Sandbox, assent_process, copy_of, environment, free_port

NAME = "Lakeside Hospital"


@dataclass(frozen=True, slots=True)
class Hospital:
    """Both servers. Assent's public URL has a host name, which passkeys need."""

    sandbox: Sandbox
    provider: OidcProvider
    settings: dict[str, str]

    @property
    def callback(self) -> str:
        """Where the provider sends people back to."""
        return f"{self.sandbox.issuer}/sign-in/provider/callback"

    def set_up(self) -> None:
        """Begin the provider anew, with nobody signed in."""
        self.provider.set_up([self.callback])

    def assent(self, *arguments: str) -> Result:
        """Run an `assent` command with the operator's settings, beside the server."""
        return command(arguments, self.settings)


@pytest.fixture(scope="session")
def hospital(prepared_data: Path) -> Iterator[Hospital]:
    """One for all tests that ask for it; each begins the provider anew and takes a person of its own."""
    port = free_port()
    with (
        oidc_provider() as provider,
        tempfile.TemporaryDirectory(prefix="assent-hospital-", ignore_cleanup_errors=True) as directory,
    ):
        place = Path(directory)
        settings = environment(
            copy_of(prepared_data, place / "data"),
            ASSENT_PORT=str(port),
            ASSENT_PUBLIC_URL=f"http://localhost:{port}",
            ASSENT_OIDC_ISSUER=provider.issuer,
            ASSENT_OIDC_NAME=NAME,
            ASSENT_OIDC_CLIENT_ID=CLIENT_ID,
            ASSENT_OIDC_CLIENT_SECRET=SECRET,
            ASSENT_EMERGENCY_ACCESS="true",
        )
        provider.set_up([f"http://localhost:{port}/sign-in/provider/callback"])
        with assent_process(["sandbox"], settings, port, place / "log") as url:
            manifest = httpx.get(f"{url}/sandbox/manifest.json", timeout=30).raise_for_status().json()
            yield Hospital(Sandbox(manifest), provider, settings)
