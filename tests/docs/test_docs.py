"""What the documents say can be done: links lead somewhere, commands exist, and the request shown works."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from assent.cli import app
from assent.policy_files import load_catalogue
from assent.settings import Settings
from sandbox.clients import SERVICE_CONSENTS, ServiceConsent
from tests.clients.app import App, register
from tests.clients.person import Person
from tests.sandbox_server import Sandbox

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)")
NO_COMMANDS = ("python", "nginx", "json", "toml", "yaml", "text")
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _commands(page: Path) -> list[str]:
    blocks = (text for language, text in BLOCK.findall(page.read_text()) if language not in NO_COMMANDS)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bASSENT_([A-Z_]+)\b", page.read_text())) - {"CONFIG"}
    assert {n for n in named if n.lower() not in Settings.model_fields} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in _commands(page):
        words = shlex.split(line)
        if words[0] == "make":
            assert words[1] in targets
        elif words[0].endswith("assent"):
            named = [word for word in words[1:] if not word.startswith("-")][:2]
            outcome = CliRunner().invoke(app, [*named, "--help"])
            assert outcome.exit_code == 0, line
        else:
            assert words[0] in ("echo", "export", "curl"), line


def test_the_parts_shown_to_operators_make_a_catalogue(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "conformance" / "kits.md").read_text()
    (shown,) = [text for language, text in BLOCK.findall(page) if language == "yaml"]
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies" / "catalogue_files", folder)
    categories = folder / "categories.yaml"
    before = "  - code: family-history\n"
    categories.write_text(categories.read_text().replace(before, f"{shown}\n{before}"))
    outcome = CliRunner().invoke(app, ["policy", "check", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    parts = load_catalogue(folder).parts_of("social-history")
    assert [part.code for part in parts] == ["habits", "social-needs", "questionnaires"]


@pytest.mark.smart(19)
def test_the_registration_shown_to_app_developers_works(sandbox: Sandbox) -> None:
    line = next(c for c in _commands(ROOT / "docs" / "apps.md") if c.startswith("curl"))
    words = shlex.split(line.replace("http://127.0.0.1:8000", sandbox.issuer))
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own document
    registered = json.loads(done.stdout)
    assert "client_secret" not in registered
    reading = next(c for c in _commands(ROOT / "docs" / "apps.md") if "$REGISTRATION_CLIENT_URI" in c)
    for name in ("registration_client_uri", "registration_access_token"):
        reading = reading.replace(f"${name.upper()}", registered[name])
    done = subprocess.run(shlex.split(reading), capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - as above
    assert json.loads(done.stdout) == registered


def test_the_ehr_launch_shown_to_app_developers_works(sandbox: Sandbox) -> None:
    shown = [line for line in _commands(ROOT / "docs" / "apps.md") if "/token" in line or "/launch-contexts" in line]
    token = ""
    for line in shown:
        words = shlex.split(line.replace("http://127.0.0.1:8000", sandbox.issuer).replace("$TOKEN", token))
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - as above
        answer = json.loads(done.stdout)
        token = answer.get("access_token", token)
    assert (len(shown), answer["expires_in"]) == (2, 300)
    assert answer["launch"]


def test_the_service_and_its_export_shown_to_app_developers_work(sandbox: Sandbox) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "apps.md").read_text())
    searching, exporting = [text for language, text in blocks if language == "python"]
    program = f"{searching}\n{exporting}".replace("http://127.0.0.1:8000", sandbox.issuer)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - as above
    expected = [f"Patient/{given.patient}" for given in _sharing_observations()]
    assert [ast.literal_eval(line) for line in done.stdout.splitlines()] == [expected, expected]


def _sharing_observations() -> list[ServiceConsent]:
    shares = {"laboratory", "vital-signs"}
    return sorted(
        (c for c in SERVICE_CONSENTS if c.client_id == "sandbox-backend" and shares & {*c.categories}),
        key=lambda c: c.patient,
    )


def test_the_security_profile_shown_works(sandbox: Sandbox) -> None:
    page = ROOT / "docs" / "security-profile.md"
    (program,) = [text for language, text in BLOCK.findall(page.read_text()) if language == "python"]
    words = [sys.executable, "-c", program.replace("http://127.0.0.1:8000", sandbox.issuer)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own document
    answer = httpx.get(done.stdout.strip())
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{sandbox.issuer}/authorize/continue?request=")


def test_the_token_exchange_shown_works(sandbox: Sandbox) -> None:
    scope, user = "launch/patient patient/*.rs", sandbox.user()
    client_id = register(sandbox.issuer, "Behind a gateway", scope)["client_id"]
    theirs = App(sandbox.fhir_base, client_id, scope)
    with Person(user["username"], user["password"]) as person:
        theirs.redeem(person.authorize(theirs.authorize_url(), {"Demographics"}))
    (line,) = [c for c in _commands(ROOT / "docs" / "security-profile.md") if c.startswith("curl")]
    token = str(theirs.tokens["access_token"])
    words = shlex.split(line.replace("http://127.0.0.1:8000", sandbox.issuer).replace("$TOKEN", token))
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - as above
    assert json.loads(done.stdout)["scope"] == "patient/Patient.rs"


def test_the_consent_shown_to_recorders_is_recorded_and_ended(sandbox: Sandbox) -> None:
    page = (ROOT / "docs" / "consents-api.md").read_text()
    (program,) = [text for language, text in BLOCK.findall(page) if language == "python"]
    words = [sys.executable, "-c", program.replace("http://127.0.0.1:8000", sandbox.issuer)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - as above
    for line in done.stdout.splitlines():
        assert f"`{line}`" in page.replace("\n", " ")
    assert len(done.stdout.splitlines()) == 5


def test_discovery_is_where_the_documents_say(sandbox: Sandbox) -> None:
    found = httpx.get(f"{sandbox.issuer}/fhir/.well-known/smart-configuration").json()
    assert found["token_endpoint"] == f"{sandbox.issuer}/token"
    assert httpx.get(f"{sandbox.issuer}/docs").status_code == 200
