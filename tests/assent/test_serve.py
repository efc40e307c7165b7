"""`assent serve` as an operator meets it: a process, its socket, its signals, its exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from assent.embedded_postgres.server import running_url

Start = Callable[..., subprocess.Popen[str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSENT_")}
    return kept | {
        "ASSENT_DATA_DIR": str(tmp_path / ".assent"),
        "ASSENT_PORT": str(free_port()),
        "ASSENT_UPSTREAM_URL": "http://127.0.0.1:9",
        "ASSENT_LOG_FORMAT": "json",
    }


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start `assent serve …` and wait until it answers."""
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
            [sys.executable, "-m", "assent", "serve", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        await_health(environment, process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.terminate()  # not SIGKILL, which would leave PostgreSQL behind
        process.communicate(timeout=20)


def url(environment: dict[str, str], path: str) -> str:
    return f"http://127.0.0.1:{environment['ASSENT_PORT']}{path}"


def await_health(environment: dict[str, str], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url(environment, "/healthz")).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError("assent serve didn't come up")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_server_and_postgres_in_order(
    start: Start, environment: dict[str, str], number: signal.Signals
) -> None:
    process = start()
    assert httpx.get(url(environment, "/readyz")).status_code == 200
    assert running_url(Path(environment["ASSENT_DATA_DIR"])) is not None
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert running_url(Path(environment["ASSENT_DATA_DIR"])) is None
    assert "stopped" in output.splitlines()[-1]
    assert "Traceback" not in output


def test_signal_during_the_start_stops_postgres_too(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "assent", "serve"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert "starting PostgreSQL" in process.stderr.readline()
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert running_url(Path(environment["ASSENT_DATA_DIR"])) is None


def test_killed_server_starts_again(start: Start, environment: dict[str, str]) -> None:
    process = start()
    process.kill()
    process.wait()
    assert start().poll() is None
    assert httpx.get(url(environment, "/readyz")).status_code == 200


@pytest.mark.slow
def test_workers_share_the_port_and_end_together(start: Start, environment: dict[str, str]) -> None:
    process = start("--workers", "2")
    assert httpx.get(url(environment, "/readyz")).status_code == 200
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in output
    with pytest.raises(httpx.ConnectError):
        httpx.get(url(environment, "/healthz"))


@pytest.mark.slow
def test_serving_is_said_once_all_workers_answer(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "assent", "serve", "--workers", "2"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        said = next(line for line in process.stderr if "serving http" in line)
        assert "with 2 processes" in said
        # Each worker takes longer than this to start; one that isn't there yet would leave its requests waiting.
        for _ in range(8):
            assert httpx.get(url(environment, "/healthz"), timeout=1).status_code == 200
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.slow
def test_workers_that_cant_start_end_the_start_with_a_sentence(start: Start, environment: dict[str, str]) -> None:
    process = start()
    process.terminate()
    process.communicate(timeout=20)
    (Path(environment["ASSENT_DATA_DIR"]) / "secret").unlink()
    ended = subprocess.run(
        [sys.executable, "-m", "assent", "serve", "--workers", "2"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "signing keys were encrypted; restore it or set ASSENT_SECRET" in ended.stderr
    assert "a server process ended before it could answer" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert running_url(Path(environment["ASSENT_DATA_DIR"])) is None


@pytest.mark.slow
def test_without_its_database_it_asks_to_try_again(start: Start, environment: dict[str, str]) -> None:
    process = start()
    postmaster = Path(environment["ASSENT_DATA_DIR"]) / "postgres" / "cluster" / "postmaster.pid"
    os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGQUIT)
    for _ in range(400):  # it takes a moment to end
        if httpx.get(url(environment, "/readyz")).status_code == 503:
            break
        time.sleep(0.05)
    for _ in range(3):
        answer = httpx.post(url(environment, "/token"), data={"grant_type": "refresh_token", "client_id": "a"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert httpx.get(url(environment, "/readyz")).status_code == 503
    assert httpx.get(url(environment, "/healthz")).status_code == 200
    process.terminate()
    output, _ = process.communicate(timeout=20)
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("serve",), ("sandbox",), ("client", "list")])
def test_a_data_directory_that_cant_be_used_is_said_and_exits_1(
    environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    ended = subprocess.run(  # noqa: S603 - this interpreter, our module
        [sys.executable, "-m", "assent", *arguments],
        env=environment | {"ASSENT_DATA_DIR": str(tmp_path / "file" / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert f"the data directory `{tmp_path}/file/data` can't be used: Not a directory" in ended.stderr.splitlines()[-1]


def test_port_in_use_is_said_and_exits_1(environment: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(environment["ASSENT_PORT"])))
        other.listen()
        ended = subprocess.run(
            [sys.executable, "-m", "assent", "serve"], env=environment, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 1
    assert f"can't listen on `127.0.0.1` port `{environment['ASSENT_PORT']}`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unknown_setting_exits_2_by_name(environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "assent", "serve"],
        env=environment | {"ASSENT_PUBLIK_URL": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "`ASSENT_PUBLIK_URL` isn't a setting" in ended.stderr


BACKEND = {
    "ASSENT_UPSTREAM_AUTH": "backend-services",
    "ASSENT_UPSTREAM_TOKEN_URL": "http://127.0.0.1:9/token",
    "ASSENT_UPSTREAM_CLIENT_ID": "assent",
}
PROVIDER = {"ASSENT_OIDC_ISSUER": "http://127.0.0.1:9", "ASSENT_OIDC_NAME": "x", "ASSENT_OIDC_CLIENT_ID": "y"}
MAIL = {
    "ASSENT_MAIL_URL": "smtp://127.0.0.1:9",
    "ASSENT_MAIL_FROM": "no-reply@share.example",
    "ASSENT_MAIL_USERNAME": "assent",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "others"),
    [
        ("ASSENT_UPSTREAM_PRIVATE_KEY_FILE", BACKEND),
        ("ASSENT_OIDC_PRIVATE_KEY_FILE", PROVIDER),
        ("ASSENT_MAIL_PASSWORD_FILE", MAIL),
        ("ASSENT_POLICY_DIR", {}),
        ("ASSENT_STATEMENT_ISSUERS_FILE", {}),
        ("ASSENT_BRANDS_FILE", {}),
        ("ASSENT_DATA_DIR", {}),
    ],
)
def test_a_file_that_cant_be_used_ends_the_start_with_a_sentence_that_names_its_setting(
    environment: dict[str, str], setting: str, others: dict[str, str]
) -> None:
    given = environment | others | {setting: "/proc/nowhere", "ASSENT_WORKERS": "2"}
    ended = subprocess.run(
        [sys.executable, "-m", "assent", "serve"], env=given, capture_output=True, text=True, timeout=60, check=False
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode in (1, 2)
    assert setting in said
    assert "/proc/nowhere" in said
    assert "Traceback" not in said
