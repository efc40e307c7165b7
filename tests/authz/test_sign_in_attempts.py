"""Wrong passwords are counted by name and address, in every process together where they share a Valkey."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from authz.sign_in.attempts import SignInAttempts
from tests.sandbox_server import free_port

HERE, THERE = "192.0.2.1", "192.0.2.2"
_SERVERS = ("valkey-server", "redis-server")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server that keeps nothing on disk."""
    binary = next((found for name in _SERVERS if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    port, folder = free_port(), tmp_path_factory.mktemp("valkey")
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)  # noqa: S603 - found above
    try:
        _wait_for(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server doesn't listen")


async def _fail(attempts: SignInAttempts, name: str, address: str, times: int) -> None:
    for _ in range(times):
        await attempts.failed(name, address)


async def test_five_wrong_passwords_close_a_name_at_one_address_only() -> None:
    attempts = SignInAttempts()
    await _fail(attempts, "ada", HERE, 4)
    assert await attempts.allowed("ada", HERE)
    await _fail(attempts, "ada", HERE, 1)
    assert not await attempts.allowed("ada", HERE)
    assert await attempts.allowed("ada", THERE)
    assert await attempts.allowed("bob", HERE)


async def test_the_right_password_begins_anew() -> None:
    attempts = SignInAttempts()
    await _fail(attempts, "ada", HERE, 4)
    await attempts.succeeded("ada", HERE)
    await _fail(attempts, "ada", HERE, 4)
    assert await attempts.allowed("ada", HERE)


async def test_an_address_that_tries_many_names_is_closed_for_all() -> None:
    attempts = SignInAttempts()
    for number in range(60):
        await attempts.failed(f"name{number}", HERE)
    assert not await attempts.allowed("another", HERE)


async def test_processes_that_share_a_valkey_count_together(valkey: str) -> None:
    one, other, late = (SignInAttempts(valkey) for _ in range(3))
    await _fail(one, "eve", HERE, 3)
    await _fail(other, "eve", HERE, 2)
    assert [await process.allowed("eve", HERE) for process in (one, other, late)] == [False] * 3
    for process in (one, other, late):
        await process.close()


async def test_without_its_valkey_a_process_goes_on_with_its_own_counts() -> None:
    attempts = SignInAttempts(f"redis://127.0.0.1:{free_port()}")
    assert await attempts.allowed("ada", HERE)
    await _fail(attempts, "ada", HERE, 5)
    assert not await attempts.allowed("ada", HERE)
    await attempts.close()
