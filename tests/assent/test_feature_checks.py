"""`assent doctor` on what the operator switched on: writes, emergency access, software statements."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from assent.asgi import Receive, Scope, Send
from assent.doctor import examine
from assent.feature_checks import feature_checks
from assent.policy_files import policy_folder
from assent.server import listen, serving
from assent.settings import Settings
from tests.clients.key_server import key_server


async def _found(**given: object) -> dict[str, tuple[str, str]]:
    settings = Settings.model_validate(given)
    found: dict[str, tuple[str, str]] = {}
    for name, look in feature_checks(settings):
        try:
            found[name] = await look()
        except ValueError as error:
            found[name] = ("failed", str(error))
    return found


@asynccontextmanager
async def _server(*versioning: tuple[str, str | None], mode: str = "server") -> AsyncIterator[tuple[str, list[str]]]:
    """An upstream that says this of its types, and the methods by which it was asked."""
    asked: list[str] = []
    said = [{"type": kind} | ({} if how is None else {"versioning": how}) for kind, how in versioning]
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": mode, "resource": said}],
    }

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["method"])
        headers = [(b"content-type", b"application/fhir+json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(statement).encode()})

    listener = listen("127.0.0.1", 0)
    async with serving(answer, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked


async def test_what_is_off_is_not_looked_at() -> None:
    assert await _found(upstream_url="http://127.0.0.1:9") == {}


@pytest.mark.parametrize(
    ("versioning", "state", "says"),
    [
        (
            [("Observation", "versioned-update")],
            "ok",
            "of 1 types that it heeds `If-Match`.*can't be known without writing",
        ),
        ([("Observation", "versioned-update"), ("Condition", "versioned")], "ok", "doesn't say of `Condition`"),
        ([("Observation", "versioned-update"), ("Condition", None)], "ok", "doesn't say of `Condition`"),
        ([("Observation", "no-version"), ("Condition", "versioned-update")], "failed", "no versions of `Observation`"),
        ([("Observation", None)], "ok", "doesn't say whether it heeds"),
        ([], "ok", "doesn't say whether it heeds"),
        ([("Binary", "no-version"), ("Consent", "no-version"), ("x<y", "no-version")], "ok", "doesn't say whether"),
    ],
    ids=str,
)
async def test_what_an_upstream_says_of_if_match_is_told(
    versioning: list[tuple[str, str | None]], state: str, says: str
) -> None:
    async with _server(*versioning) as (url, asked):
        found = await _found(upstream_url=url, upstream_writes=True)
    assert found["writes"][0] == state
    assert re.search(says, found["writes"][1]), found
    assert set(asked) == {"GET"}, "nothing is written to find out"


async def test_what_a_server_says_of_itself_as_a_client_is_not_heeded() -> None:
    async with _server(("Observation", "no-version"), mode="client") as (url, _):
        assert (await _found(upstream_url=url, upstream_writes=True))["writes"][0] == "ok"


async def test_an_upstream_is_asked_of_its_own_types_and_named() -> None:
    async with _server(("Observation", "no-version"), ("Condition", "versioned-update")) as (url, _):
        tables: dict[str, dict[str, Any]] = {
            "ehr": {"url": f"{url}/ehr", "types": ["Condition", "Patient"]},
            "lab": {"url": f"{url}/lab"},
        }
        found = await _found(upstreams=tables, upstream_writes=True)
        tables["ehr"]["types"] = ["Observation", "Patient"]
        turned = await _found(upstreams=tables, upstream_writes=True)
    assert [state for state, _ in turned.values()] == ["failed", "ok"]
    assert {name: state for name, (state, _) in found.items()} == {"writes ehr": "ok", "writes lab": "failed"}


@pytest.mark.parametrize(
    ("scope", "failed"),
    [
        ("system/*.rs", True),
        ("system/*.read", True),
        ("", True),
        ("system/*.cruds", False),
        ("system/*.rs system/Observation.c", False),
        ("system/*.write", False),
    ],
)
async def test_a_scope_that_only_reads_is_told_before_an_app_finds_out(
    tmp_path: Path, scope: str, failed: bool
) -> None:
    key = tmp_path / "key.jwk"
    key.write_text(json.dumps(ECKey.generate_key("P-384", {"kid": "k"}).as_dict(private=True)))
    backend = {
        "upstream_url": "http://127.0.0.1:9",
        "upstream_auth": "backend-services",
        "upstream_token_url": "http://127.0.0.1:9/token",
        "upstream_client_id": "assent",
        "upstream_private_key_file": key,
        "upstream_scope": scope,
        "upstream_writes": True,
    }
    state, text = (await _found(**backend))["writes"]
    assert state == "failed", "nobody answers there"
    assert ("ASSENT_UPSTREAM_SCOPE" in text and "system/*.cruds" in text) is failed


async def test_emergency_access_needs_its_purpose_in_the_policy_folder(tmp_path: Path) -> None:
    state, text = (await _found(emergency_access=True))["emergency"]
    assert (state, "`BTG`" in text) == ("ok", True)
    folder = tmp_path / "policies"
    shutil.copytree(str(policy_folder()), folder)
    file = folder / "categories.yaml"
    lines = file.read_text(encoding="utf-8")
    assert "{code: BTG," in lines
    file.write_text(re.sub(r"\n.*\{code: BTG,.*", "", lines), encoding="utf-8")
    state, text = (await _found(emergency_access=True, policy_dir=folder))["emergency"]
    assert (state, "no purpose `BTG`" in text) == ("failed", True)


def _issuers(folder: Path, *issuers: dict[str, Any]) -> Path:
    file = folder / "issuers.json"
    file.write_text(json.dumps({"issuers": issuers}))
    return file


async def test_the_file_of_statement_issuers_is_read_and_their_keys_are_asked_for(tmp_path: Path) -> None:
    public = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}).as_dict(private=False)
    async with key_server() as server:
        address = f"http://127.0.0.1:{server.port}/jwks"
        file = _issuers(tmp_path, {"issuer": "https://a.example", "jwks_uri": address})
        server.body = json.dumps({"keys": [public]}).encode()
        state, text = (await _found(statement_issuers_file=file))["statements"]
        assert (state, "`https://a.example`" in text) == ("ok", True)
        server.body = b"no keys"
        state, text = (await _found(statement_issuers_file=file))["statements"]
        assert (state, "can't be had" in text, "https://a.example" in text) == ("failed", True, True)
    state, text = (await _found(statement_issuers_file=file))["statements"]
    assert (state, "(`unreachable`)" in text) == ("failed", True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read"),
        ("nonsense", "not a JSON object"),
        ('{"issuers": [{"issuer": "https://a.example"}]}', "`jwks` or `jwks_uri`"),
        ('{"issuers": [{"issuer": "https://a.example", "jwks": {"keys": []}}]}', "https://a.example"),
    ],
)
async def test_a_file_of_issuers_that_can_not_be_used_fails(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "issuers.json"
    if content is not None:
        file.write_text(content)
    state, text = (await _found(statement_issuers_file=file))["statements"]
    assert (state, says in text) == ("failed", True), text


async def test_doctor_goes_on_after_a_feature_that_is_broken(tmp_path: Path) -> None:
    given: dict[str, Any] = {"statement_issuers_file": tmp_path / "gone", "database_url": "postgresql://127.0.0.1:9/x"}
    settings = Settings.model_validate(given)
    states = {check.name: check.state async for check in examine(settings, lambda: datetime.now(UTC))}
    assert (states["statements"], states["sign-in"]) == ("failed", "skipped")
