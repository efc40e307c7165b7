"""Structured logs: JSON lines, or text on a terminal, on standard error; with no data of patients in them.

What other libraries log passes through the same door, warnings and worse only. An exception is logged by its type
and where it happened; its message is left out, because messages quote values (a database error quotes a row).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MAX_FRAMES = 12


def set_up_logging(log_format: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Direct structlog and the standard library's logging to `stream`; `log_format` as in the settings."""
    as_text = log_format == "text" or (log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if as_text
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    # Straight to the stream: a line is written for each request, and the way through `logging` takes ten times as long.
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=structlog.WriteLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


def access_logger() -> Any:
    """The logger of answered requests, as logging is set up: there is a line for each, so one step makes all of it."""
    config = structlog.get_config()
    steps = config["processors"]

    def line(logger: WrappedLogger, level: str, event: EventDict) -> Any:
        event["level"] = level
        event["timestamp"] = f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z"
        return steps[-1](logger, level, event)  # it renders; who listens to the log may have put another there

    return structlog.wrap_logger(
        config["logger_factory"](), processors=[line], wrapper_class=config["wrapper_class"]
    ).bind()


def _json(event: Any, default: Callable[[Any], Any] | None = None, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=default).decode()


def describe_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by the exception's type and frames; its message may quote data."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        frames = traceback.extract_tb(found.__traceback__)[-MAX_FRAMES:]
        event["exception"] = f"{type(found).__module__}.{type(found).__qualname__}"
        event["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    event.pop("stack_info", None)
    return event
