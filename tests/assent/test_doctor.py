"""`assent doctor`: each check fails for its own reason, says what to do, and changes nothing by looking."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.app import build
from assent.asgi import Receive, Scope, Send
from assent.doctor import examine
from assent.secret_file import SecretFileError, read_secret, secret_for
from assent.server import listen, serving
from assent.settings import Settings
from authz.tokens.signing_keys import SigningKeys
from tests.assent.commands import CommandLine
from tests.clients.key_server import key_server
from tests.fhir.audit_place import audit_place

SECRET = "s" * 40
BEARER = "correct-token"


@pytest.fixture
def assent(database_url: str, tmp_path: Path) -> CommandLine:
    return CommandLine(database_url, tmp_path / "data")


async def _checks(assent: CommandLine, expect: int, **environment: str) -> Mapping[str, tuple[str, str]]:
    result = await assent.run("doctor", "--json", **environment)
    assert result.exit_code == expect, result.output
    return {check["name"]: (check["state"], check["text"]) for check in json.loads(result.stdout)}


@asynccontextmanager
async def _fhir_server(version: str) -> AsyncIterator[str]:
    """An upstream that shows its capability statement to whoever holds the token."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        allowed = (b"authorization", f"Bearer {BEARER}".encode()) in scope["headers"]
        known = scope["path"] == "/metadata"
        headers = [(b"content-type", b"application/fhir+json")]
        status = 401 if not allowed else 200 if known else 404
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = json.dumps({"resourceType": "CapabilityStatement", "fhirVersion": version}).encode()
        await send({"type": "http.response.body", "body": body if status == 200 else b"{}"})

    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with serving(answer, listener):
        yield url


def _upstream(url: str, token: str = BEARER) -> dict[str, str]:
    return {"ASSENT_UPSTREAM_URL": url, "ASSENT_UPSTREAM_AUTH": "bearer", "ASSENT_UPSTREAM_BEARER_TOKEN": token}


async def test_a_fresh_installation_is_in_order_and_stays_untouched(assent: CommandLine) -> None:
    checks = await _checks(assent, 0)
    assert {name: state for name, (state, _) in checks.items()} == {
        "database": "ok",
        "keys": "ok",
        "clock": "ok",
        "audit": "ok",
        "policies": "ok",
        "upstream": "skipped",
        "sign-in": "skipped",
    }
    assert not assent.data_dir.exists()
    table = await assent.run("doctor")
    assert (table.exit_code, "masks compile" in table.stdout) == (0, True)


async def test_the_audit_chain_is_described_and_its_lost_end_fails(
    assent: CommandLine, engine: AsyncEngine, tmp_path: Path
) -> None:
    place = await audit_place(engine)
    await place.add(3)
    await place.checkpoints.write()
    await place.add(2)
    given: dict[str, Any] = {"database_url": SecretStr(assent.database_url), "data_dir": tmp_path}

    async def found() -> tuple[str, str]:
        later = place.now + timedelta(minutes=7)
        checks = [c async for c in examine(Settings.model_validate(given), lambda: later)]
        return next((c.state, c.text) for c in checks if c.name == "audit")

    state, text = await found()
    assert state == "ok"
    assert "the chain has 5 entries, last checkpoint 7 minutes ago, 2 entries since" in text
    await place.execute("DELETE FROM assent.audit_chain WHERE seq > 2")
    state, text = await found()
    assert state == "failed"
    assert "2 entries and a checkpoint says 3; run `assent audit verify`" in text


async def test_keys_are_opened_with_the_secret(assent: CommandLine, engine: AsyncEngine, database_url: str) -> None:
    await SigningKeys(engine, SECRET.encode(), lambda: datetime.now(UTC)).start()
    here = CommandLine(database_url, assent.data_dir)
    state, text = (await _checks(here, 0, ASSENT_SECRET=SECRET))["keys"]
    assert (state, text) == ("ok", "2 signing keys open with the secret")
    state, text = (await _checks(here, 1, ASSENT_SECRET="t" * 40))["keys"]
    assert (state, "check ASSENT_SECRET" in text) == ("failed", True)
    state, text = (await _checks(here, 1))["keys"]
    assert (state, "restore it" in text) == ("failed", True)
    assert not here.data_dir.exists()


async def test_a_lost_secret_is_not_replaced_by_a_new_one(
    assent: CommandLine, engine: AsyncEngine, database_url: str
) -> None:
    await SigningKeys(engine, SECRET.encode(), lambda: datetime.now(UTC)).start()
    here = CommandLine(database_url, assent.data_dir)
    for command in (("keys", "list"), ("keys", "rotate"), ("audit", "checkpoint")):
        with pytest.raises(SecretFileError, match="2 signing keys were encrypted; restore it or set ASSENT_SECRET"):
            raise (await here.run(*command)).exception or AssertionError
    with pytest.raises(SecretFileError):
        await build(Settings.model_validate({"data_dir": here.data_dir}), database_url)
    assert not (here.data_dir / "secret").exists()


async def test_a_secret_that_another_process_makes_meanwhile_is_not_taken_for_lost(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path})

    class FirstStart:
        """By the time it is asked, another process has made the secret and the keys."""

        def connect(self) -> Any:
            read_secret(settings)
            return engine.connect()

    await SigningKeys(engine, SECRET.encode(), lambda: datetime.now(UTC)).start()
    assert await secret_for(settings, cast(AsyncEngine, FirstStart())) == read_secret(settings)


async def test_a_secret_that_others_may_read_fails(assent: CommandLine) -> None:
    assent.data_dir.mkdir()
    (assent.data_dir / "secret").write_text("x" * 40)
    (assent.data_dir / "secret").chmod(0o644)
    state, text = (await _checks(assent, 1))["keys"]
    assert (state, "chmod 600" in text) == ("failed", True)


@pytest.mark.parametrize(("version", "state"), [("4.0.1", "ok"), ("4.0", "ok"), ("5.0.0", "failed"), ("", "failed")])
async def test_the_upstream_must_speak_r4(assent: CommandLine, version: str, state: str) -> None:
    async with _fhir_server(version) as url:
        checks = await _checks(assent, 0 if state == "ok" else 1, **_upstream(url))
    assert checks["upstream"][0] == state


async def test_the_upstream_is_asked_with_the_credentials(assent: CommandLine) -> None:
    async with _fhir_server("4.0.1") as url:
        state, text = (await _checks(assent, 1, **_upstream(url, "wrong-token")))["upstream"]
    assert state == "failed"
    assert "ASSENT_UPSTREAM_AUTH" in text
    assert "wrong-token" not in text


async def test_a_url_that_is_no_fhir_base_and_one_where_nobody_is_fail(assent: CommandLine) -> None:
    async with _fhir_server("4.0.1") as url:
        state, text = (await _checks(assent, 1, **_upstream(f"{url}/elsewhere")))["upstream"]
    assert (state, "`404`" in text) == ("failed", True)
    state, text = (await _checks(assent, 1, **_upstream("http://127.0.0.1:9")))["upstream"]
    assert (state, "ASSENT_UPSTREAM_URL" in text) == ("failed", True)


async def test_a_catalogue_whose_masks_do_not_fit_r4_fails(assent: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    state, text = (await _checks(assent, 1, ASSENT_POLICY_DIR=str(folder)))["policies"]
    assert (state, "categories.yaml" in text) == ("failed", True)


async def test_a_database_that_is_not_there_leaves_its_checks_out(tmp_path: Path) -> None:
    here = CommandLine("postgresql://assent:hunter2@127.0.0.1:9/assent", tmp_path)
    checks = await _checks(here, 1)
    states = {name: state for name, (state, _) in checks.items()}
    assert states == {
        "database": "failed",
        "keys": "skipped",
        "clock": "skipped",
        "audit": "skipped",
        "policies": "ok",
        "upstream": "skipped",
        "sign-in": "skipped",
    }
    assert "hunter2" not in json.dumps(checks)


async def test_a_database_that_is_not_migrated_fails(empty_database_url: str, tmp_path: Path) -> None:
    checks = await _checks(CommandLine(empty_database_url, tmp_path), 1)
    assert "assent migrate" in checks["database"][1]
    assert (checks["keys"][0], checks["clock"][0]) == ("skipped", "ok")


@pytest.mark.parametrize(("seconds", "state"), [(-60, "failed"), (0, "ok"), (60, "failed")])
async def test_a_clock_that_is_wrong_fails(database_url: str, tmp_path: Path, seconds: int, state: str) -> None:
    given: dict[str, Any] = {"database_url": SecretStr(database_url), "data_dir": tmp_path}
    settings = Settings.model_validate(given)
    skewed = [c async for c in examine(settings, lambda: datetime.now(UTC) + timedelta(seconds=seconds))]
    assert next(c.state for c in skewed if c.name == "clock") == state


_PROVIDER = {"ASSENT_OIDC_NAME": "IdP", "ASSENT_OIDC_CLIENT_ID": "assent", "ASSENT_OIDC_CLIENT_SECRET": "s"}


async def test_an_identity_provider_is_asked_for_its_metadata_and_keys(assent: CommandLine) -> None:
    key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}).as_dict(private=False)
    async with key_server() as server:
        issuer = f"http://127.0.0.1:{server.port}"
        endpoints = {name: f"{issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        # The server answers everything alike: one document is both the metadata and the key set.
        server.body = json.dumps({"issuer": issuer, **endpoints, "keys": [key]}).encode()
        checks = await _checks(assent, 0, ASSENT_OIDC_ISSUER=issuer, **_PROVIDER)
        assert checks["sign-in"] == (
            "ok",
            f"`{issuer}` answers, 1 of its keys can verify ID tokens; it must know the redirect URI "
            "`http://127.0.0.1:8000/sign-in/provider/callback`",
        )
        other = {"ASSENT_OIDC_ISSUER": f"{issuer}/"}
        state, text = (await _checks(assent, 1, **other, **_PROVIDER))["sign-in"]
        assert (state, "(`metadata-issuer`)" in text) == ("failed", True)
    state, text = (await _checks(assent, 1, ASSENT_OIDC_ISSUER=issuer, **_PROVIDER))["sign-in"]
    assert (state, "(`connection`)" in text) == ("failed", True)
