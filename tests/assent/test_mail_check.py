"""`assent doctor` on the mail server: it is spoken to, signs in, and no letter is sent."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from assent.feature_checks import feature_checks
from assent.settings import Settings
from tests.assent.test_mail_delivery import _certificate
from tests.clients.mail_server import mail_server

SIGNED_IN = {"mail_username": "assent", "mail_password": "right"}


async def _found(url: str, **given: object) -> tuple[str, str]:
    settings = Settings.model_validate({"mail_url": url, "mail_from": "no-reply@share.example", **given})
    ((_, look),) = feature_checks(settings)
    return await look()


async def test_a_server_that_answers_is_well_and_gets_no_letter() -> None:
    async with mail_server() as server:
        url = f"smtp://127.0.0.1:{server.port}"
        state, text = await _found(url)
        assert (state, f"`{url}` answers;" in text, "no-reply@share.example" in text) == ("ok", True, True)
        assert (server.messages, server.recipients) == ([], [])


async def test_a_password_that_is_wrong_is_told_with_its_setting() -> None:
    async with mail_server(sign_in=True) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        assert (await _found(url, **SIGNED_IN))[0] == "ok"
        state, text = await _found(url, **SIGNED_IN | {"mail_password": "not-this"})
        assert (state, "ASSENT_MAIL_USERNAME" in text, "not-this" in text) == ("failed", True, False)


async def test_a_server_that_isnt_there_is_told_with_its_setting() -> None:
    async with mail_server() as gone:
        url = f"smtp://127.0.0.1:{gone.port}"
    state, text = await _found(url)
    assert (state, "can't be reached" in text, "ASSENT_MAIL_URL" in text) == ("failed", True, True)


@pytest.mark.parametrize(
    ("scheme", "host", "says"),
    [
        ("smtp", "0.0.0.0", "offers no STARTTLS"),  # noqa: S104 - it leads here, and isn't loopback
        ("smtps", "127.0.0.1", "doesn't speak TLS there"),
    ],
)
async def test_a_server_without_tls_is_told_apart(scheme: str, host: str, says: str) -> None:
    async with mail_server() as server:
        state, text = await _found(f"{scheme}://{host}:{server.port}")
    assert (state, says in text) == ("failed", True), text


@pytest.mark.parametrize("how", ["smtps", "starttls"])
async def test_a_certificate_that_isnt_trusted_is_told_apart(tmp_path: Path, how: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    at_once, later = (context, None) if how == "smtps" else (None, context)
    async with mail_server(tls=at_once, start_tls=later) as server:
        url = f"smtps://127.0.0.1:{server.port}" if how == "smtps" else f"smtp://0.0.0.0:{server.port}"
        state, text = await _found(url)
    assert (state, "isn't trusted here" in text) == ("failed", True), text


@pytest.mark.parametrize(
    ("content", "says"), [(None, "can't be read"), (b"", "is empty"), (b"\xff\xfe", "isn't text")], ids=str
)
async def test_a_password_file_that_cant_be_used_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=says) as told:
        await _found("smtp://127.0.0.1:9", mail_username="assent", mail_password_file=file)
    assert "ASSENT_MAIL_PASSWORD_FILE" in str(told.value)
