"""Settings: where they come from, and what stops the start."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from assent.load_settings import SettingsError, load_settings
from assent.secret_file import SecretFileError, read_secret
from assent.settings_lists import by_type
from assent.settings_reference import settings_table


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ASSENT_"):
            monkeypatch.delenv(name)


def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    file = tmp_path / "assent.toml"
    file.write_text(text)
    monkeypatch.setenv("ASSENT_CONFIG", str(file))


def test_defaults_serve_on_loopback() -> None:
    settings = load_settings()
    assert settings.public_url == "http://127.0.0.1:8000"
    assert settings.upstream_url is None
    assert settings.trusted_proxies == ()


def test_public_url_follows_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_PORT", "9000")
    assert load_settings().public_url == "http://127.0.0.1:9000"


def test_command_line_wins_over_environment_wins_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(monkeypatch, tmp_path, 'port = 1111\nworkers = 2\naccess_token_seconds = 60\ntrusted_proxies = ["::1"]\n')
    monkeypatch.setenv("ASSENT_PORT", "2222")
    monkeypatch.setenv("ASSENT_WORKERS", "3")
    settings = load_settings(port=3333, host=None)
    assert (settings.port, settings.workers, settings.access_token_seconds) == (3333, 3, 60)
    assert [str(network) for network in settings.trusted_proxies] == ["::1/128"]


def test_lists_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")
    assert [str(network) for network in load_settings().trusted_proxies] == ["10.0.0.0/8", "127.0.0.1/32"]


def test_profiles_are_told_apart_by_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    named = "Patient=http://a.example/p, Observation=http://a.example/o|1.0, Observation=http://a.example/v?x=1"
    monkeypatch.setenv("ASSENT_SUPPORTED_PROFILES", named)
    assert by_type(load_settings().supported_profiles) == {
        "Patient": ["http://a.example/p"],
        "Observation": ["http://a.example/o|1.0", "http://a.example/v?x=1"],
    }


def test_database_url_is_spelled_for_the_driver_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_DATABASE_URL", "postgres://u:hunter2@db/assent")
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://u:hunter2@db/assent"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "ASSENT_PUBLIC_URI",
            "https://a.example",
            "`ASSENT_PUBLIC_URI` isn't a setting; did you mean `ASSENT_PUBLIC_URL`",
        ),
        ("ASSENT_ZZZZZZZZZ", "1", "allowed are `ASSENT_"),
        ("ASSENT_PORT", "eight", "`ASSENT_PORT` isn't valid"),
        ("ASSENT_PORT", "0", "`ASSENT_PORT`"),
        ("ASSENT_MAIL_URL", "http://mail.example", "`ASSENT_MAIL_URL` must be a URL like `smtp://"),
        ("ASSENT_MAIL_URL", "smtp://mail.example/x", "`ASSENT_MAIL_URL` must be a URL like `smtp://"),
        ("ASSENT_MAIL_URL", "smtp://me:hunter2@mail.example", "`ASSENT_MAIL_URL` must have no credentials"),
        ("ASSENT_MAIL_URL", "smtp://mail.example:0", "`ASSENT_MAIL_URL` must name a host"),
        ("ASSENT_MAIL_URL", "smtp://mail.example", "`ASSENT_MAIL_FROM` is missing"),
        ("ASSENT_MAIL_FROM", "no-reply@share.example", "`ASSENT_MAIL_FROM` is set but `ASSENT_MAIL_URL` isn't"),
        ("ASSENT_MAIL_FROM", "x\r\nBcc: y@z.example", "`ASSENT_MAIL_FROM` must be an address"),
        ("ASSENT_MAIL_PASSWORD", "hunter2", "`ASSENT_MAIL_PASSWORD` is set but `ASSENT_MAIL_URL` isn't"),
        ("ASSENT_PORT", "65536", "`ASSENT_PORT`"),
        ("ASSENT_PUBLIC_URL", "http://assent.example", "`ASSENT_PUBLIC_URL` must begin with `https://`"),
        ("ASSENT_PUBLIC_URL", "http://127.0.0.1.evil.example", "`ASSENT_PUBLIC_URL` must begin with `https://`"),
        ("ASSENT_PUBLIC_URL", "https://assent.example/?x=1", "no query"),
        ("ASSENT_PUBLIC_URL", "https://hospital.example/assent", "`ASSENT_PUBLIC_URL` must have no path"),
        ("ASSENT_PUBLIC_URL", "https://user@assent.example", "credentials"),
        ("ASSENT_PUBLIC_URL", "ftp://assent.example", "must be a URL"),
        ("ASSENT_PUBLIC_URL", "https://assent.example:99999", "valid host and port"),
        ("ASSENT_UPSTREAM_URL", "http://fhir.example", "`ASSENT_UPSTREAM_URL` must begin with `https://`"),
        ("ASSENT_DATABASE_URL", "mysql://hunter2@db/x", "`ASSENT_DATABASE_URL` must be a URL like"),
        ("ASSENT_SECRET", "hunter2", "`ASSENT_SECRET` must have at least 32 characters"),
        ("ASSENT_ACCESS_TOKEN_SECONDS", "86400", "`ASSENT_ACCESS_TOKEN_SECONDS`"),
        ("ASSENT_UPSTREAM_TIMEOUT_SECONDS", "nan", "`ASSENT_UPSTREAM_TIMEOUT_SECONDS`"),
        ("ASSENT_TRUSTED_PROXIES", "everyone", "`ASSENT_TRUSTED_PROXIES`"),
        ("ASSENT_CLIENT_CERTIFICATE_HEADER", "Client-Cert", "`ASSENT_TRUSTED_PROXIES` is missing"),
        ("ASSENT_CLIENT_CERTIFICATE_HEADER", "Client Cert", "must be the name of a header"),
        ("ASSENT_CLIENT_CERTIFICATE_HEADER", "Authorization", "must be the name of a header"),
        ("ASSENT_UPSTREAM_AUTH", "magic", "`ASSENT_UPSTREAM_AUTH`"),
        ("ASSENT_UPSTREAM_AUTH", "bearer", "`ASSENT_UPSTREAM_BEARER_TOKEN` is missing"),
        ("ASSENT_UPSTREAM_BEARER_TOKEN", "hunter2\n", "`ASSENT_UPSTREAM_BEARER_TOKEN` must be a token"),
        ("ASSENT_UPSTREAM_BEARER_TOKEN", "Bearer hunter2", "`ASSENT_UPSTREAM_BEARER_TOKEN` must be a token"),
        (
            "ASSENT_UPSTREAM_PASSWORD",
            "hunter2",
            "`ASSENT_UPSTREAM_PASSWORD` is set but `ASSENT_UPSTREAM_AUTH` is `none`",
        ),
        ("ASSENT_INSTANTIATES", "us-core", "`ASSENT_INSTANTIATES` must be canonical URLs"),
        ("ASSENT_INSTANTIATES", "https://a.example/x|1|2", "`ASSENT_INSTANTIATES` must be canonical URLs"),
        ("ASSENT_SUPPORTED_PROFILES", "http://a.example/p", "`ASSENT_SUPPORTED_PROFILES` must be `Type=canonical URL`"),
        ("ASSENT_SUPPORTED_PROFILES", "patient=http://a.example/p", "must be `Type=canonical URL`"),
        ("ASSENT_CONFIG", "/nowhere/assent.toml", "which can't be read"),
    ],
)
@pytest.mark.smart(231)
def test_wrong_setting_stops_the_start_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "`prot` in the file that `ASSENT_CONFIG` names isn't a setting; did you mean `port`?"),
        ("port = ", "isn't valid TOML"),
        ("[port]\nx = 1", "`ASSENT_PORT` isn't valid"),
    ],
)
def test_wrong_file_stops_the_start_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    configure(monkeypatch, tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert message in str(caught.value)


def test_generated_secret_is_kept_and_private(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / ".assent")
    first = read_secret(settings)
    assert len(first) >= 32
    assert read_secret(settings) == first
    assert stat.S_IMODE((tmp_path / ".assent" / "secret").stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / ".assent").iterdir()] == ["secret"]


def test_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    read_secret(settings)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(SecretFileError, match="others may read"):
        read_secret(settings)


WHOLE = {
    "ASSENT_OIDC_ISSUER": "https://idp.example/realms/one/",
    "ASSENT_OIDC_NAME": "the hospital",
    "ASSENT_OIDC_CLIENT_ID": "assent",
    "ASSENT_OIDC_CLIENT_SECRET": "hunter2",
}


def test_an_issuer_stays_as_it_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    assert load_settings().oidc_issuer == "https://idp.example/realms/one/"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ASSENT_OIDC_ISSUER": None}, "`ASSENT_OIDC_NAME` is set but `ASSENT_OIDC_ISSUER` isn't"),
        ({"ASSENT_OIDC_NAME": None}, "`ASSENT_OIDC_NAME` is missing"),
        ({"ASSENT_OIDC_CLIENT_ID": None}, "`ASSENT_OIDC_CLIENT_ID` is missing"),
        ({"ASSENT_OIDC_CLIENT_SECRET": None}, "exactly one of `ASSENT_OIDC_CLIENT_SECRET` and"),
        ({"ASSENT_OIDC_PRIVATE_KEY_FILE": "/key.json"}, "exactly one of `ASSENT_OIDC_CLIENT_SECRET` and"),
        ({"ASSENT_OIDC_ISSUER": "http://idp.example"}, "must begin with `https://`"),
        (
            {"ASSENT_OIDC_ISSUER": "http://127.0.0.1:1", "ASSENT_PUBLIC_URL": "https://assent.example"},
            "`ASSENT_OIDC_ISSUER` must begin with `https://`",
        ),
        ({"ASSENT_OIDC_ISSUER": "https://idp.example?x"}, "no query"),
        ({"ASSENT_OIDC_SCOPE": "profile"}, "must contain `openid`"),
        ({"ASSENT_OIDC_SUBJECT_CLAIM": "email"}, "must be a claim that stays one person's"),
        ({"ASSENT_OIDC_SUBJECT_CLAIM": "preferred_username"}, "must be a claim that stays one person's"),
    ],
)
def test_half_an_identity_provider_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], message: str
) -> None:
    for name, value in (WHOLE | change).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_passwords_there_must_be_an_identity_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_PASSWORDS", "false")
    with pytest.raises(SettingsError, match="which needs `ASSENT_OIDC_ISSUER`"):
        load_settings()


def test_page_of_settings_lists_exactly_the_settings() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert settings_table() in page
