"""The data directory as something that can fail: unreadable, read-only, full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataDirectoryError(Exception):
    """A file in the data directory can't be read or made; the text says which, why, and what to do."""


@contextmanager
def using(data_dir: Path) -> Iterator[None]:
    """Around what reads and writes there."""
    try:
        yield
    except OSError as error:
        raise DataDirectoryError(
            f"the data directory `{data_dir}` can't be used: {error.strerror}: `{error.filename or data_dir}`; "
            "mend that, or name another directory (ASSENT_DATA_DIR)"
        ) from error
