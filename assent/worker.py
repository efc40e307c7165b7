"""Several server processes on one socket: a parent that keeps them running, and what each of them does.

The parent owns the database and the socket; a worker gets the socket by inheritance and the settings by its
environment, so it needs nothing from the parent's memory. A worker that dies is replaced; one that dies before it ever
answered ends the start, since its successors would do the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import structlog

from assent.app import build
from assent.failures import WorkerFailed, told
from assent.load_settings import load_settings
from assent.log_setup import set_up_logging
from assent.server import run_until_signal, serve_until
from assent.settings import Settings, variable

RESTART_SECONDS = 1.0
STOP_SECONDS = 20.0

log = structlog.get_logger("assent.worker")


async def supervise(
    settings: Settings, database_url: str, listener: socket.socket, stop: asyncio.Event, serve: Callable[[], None]
) -> None:
    """Keep `settings.workers` processes on `listener` until `stop` is set. `serve` is told once all of them answer.

    Raises WorkerFailed.
    """
    environment = os.environ | {
        variable("database_url"): database_url,
        variable("public_url"): settings.public_url,
        variable("workers"): "1",
    }
    answering = [asyncio.Event() for _ in range(settings.workers)]
    keepers = [asyncio.create_task(_keep(listener, environment, event)) for event in answering]
    stopping = asyncio.create_task(stop.wait())
    tasks: list[asyncio.Task[Any]] = [stopping, asyncio.create_task(_when_all(answering, serve)), *keepers]
    try:
        await asyncio.wait([stopping, *keepers], return_when=asyncio.FIRST_COMPLETED)
        for keeper in keepers:
            if keeper.done():
                keeper.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _when_all(events: Sequence[asyncio.Event], tell: Callable[[], None]) -> None:
    for event in events:
        await event.wait()
    tell()


async def _keep(listener: socket.socket, environment: dict[str, str], answers: asyncio.Event) -> NoReturn:
    while True:
        heard, said = os.pipe()
        hearing = asyncio.create_task(_hear(heard, answers))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "assent.worker",
                *map(str, (listener.fileno(), said)),
                env=environment,
                pass_fds=(listener.fileno(), said),
                start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
            )
        finally:
            os.close(said)
        try:
            code = await process.wait()
            log.error("worker ended", code=code)
            if not answers.is_set():
                raise WorkerFailed("a server process ended before it could answer; what it said stands above")
            await asyncio.sleep(RESTART_SECONDS)
        finally:
            hearing.cancel()
            await _end(process)


async def _hear(pipe: int, answers: asyncio.Event) -> None:
    """A worker writes into its pipe once it answers; one that dies before closes it."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        if await reader.read(1):
            answers.set()
    finally:
        transport.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def work(handle: int, pipe: int) -> None:
    """Serve on an inherited socket until SIGTERM, and say so in the inherited pipe."""
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)
    listener = socket.socket(fileno=handle)
    listener.setblocking(False)

    async def main(stop: asyncio.Event) -> None:
        if settings.database_url is None:
            raise SystemExit("a worker is started by `assent serve --workers`, not by hand")
        assent = await build(settings, settings.database_url.get_secret_value())
        parent_gone = asyncio.create_task(_watch_parent(os.getppid(), stop))
        try:
            await serve_until(stop, assent.asgi, listener, settings, lambda: _say(pipe))
        finally:
            parent_gone.cancel()
            await assent.aclose()

    run_until_signal(main)


def _say(pipe: int) -> None:
    with os.fdopen(pipe, "wb") as said:
        said.write(b".")


async def _watch_parent(parent: int, stop: asyncio.Event) -> None:
    """End when the parent was killed: the socket must not be kept from its successor."""
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel tells nobody of a changed parent
        await asyncio.sleep(0.5)
    stop.set()


if __name__ == "__main__":
    with told():
        work(*map(int, sys.argv[1:3]))
