"""Runs HTTP servers inside this process's event loop, and ends in order on SIGTERM or SIGINT.

uvicorn's own signal handling is left out: it would raise the signal again after the shutdown, before PostgreSQL and
the rest are stopped. A second signal doesn't hurry anything; SIGKILL does, and loses nothing either.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
import uvloop
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from assent.asgi import App
from assent.client_certificate import ClientCertificate
from assent.http_protocol import BoundedProtocol
from assent.settings import Settings

BACKLOG = 2048
GRACE_SECONDS = 10
"""How long requests in flight may take to finish after the signal."""


class ListenError(Exception):
    """The address to listen on can't be had; the text says what to do."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the caller's."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 means any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that asyncio (uvloop does anyway) turns Nagle's algorithm off: it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ListenError(
            f"can't listen on `{host}` port `{port}`: {reason}; "
            "stop what uses it, or choose another (ASSENT_HOST, ASSENT_PORT)"
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def serving(app: App, listener: socket.socket) -> AsyncIterator[None]:
    """Serve `app` on `listener` while the block runs; at its end requests in flight are finished first."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield  # the socket already listens: early connections wait in its backlog
    finally:
        server.should_exit = True
        await task
        listener.close()


async def serve_until(
    stop: asyncio.Event,
    app: App,
    listener: socket.socket,
    settings: Settings,
    serves: Callable[[], None] = lambda: None,
) -> None:
    """Serve until `stop` is set. `serves` is told once it answers."""
    # What was made at start stays: collecting garbage needn't look at it again and again, which takes 50 ms each time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    async with serving(behind_proxies(app, settings), listener):
        serves()
        await stop.wait()


def behind_proxies(app: App, settings: Settings) -> App:
    """The application with what trusted proxies say of who is connected, and of nobody else."""
    proxies = settings.trusted_proxies
    if proxies:
        app = cast("App", ProxyHeadersMiddleware(cast("Any", app), [str(network) for network in proxies]))
    if settings.client_certificate_header is not None:
        app = ClientCertificate(app, settings.client_certificate_header, proxies)
    return app


def run_until_signal(main: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> None:
    """Run `main` on uvloop. The first SIGTERM or SIGINT sets its event; before it listens to that, it is cancelled.

    `main` shows that it is serving by waiting for the event: until then a signal interrupts whatever step it is at,
    and its `finally` blocks stop what it started.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_signal(main))


async def _until_signal(main: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> None:
    stop = _StopEvent()
    task = asyncio.create_task(main(stop))

    def on_signal() -> None:
        if stop.awaited or stop.is_set():
            stop.set()
        else:
            stop.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await task
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _StopEvent(asyncio.Event):
    """An event that knows whether somebody is waiting for it."""

    awaited = False

    async def wait(self) -> bool:  # type: ignore[override]  # typeshed says Literal[True]
        """As `asyncio.Event.wait`."""
        self.awaited = True
        return await super().wait()
