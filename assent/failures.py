"""What is known to go wrong ends a command, or a server process, with a sentence and not with a stack trace."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from assent.commands.output import MISUSED, NO
from assent.data_directory import DataDirectoryError
from assent.database import DatabaseUnreachableError
from assent.embedded_postgres.account import EmbeddedPostgresError
from assent.load_settings import SettingsError
from assent.migrate import NewerSchemaError
from assent.named_file import NamedFileError
from assent.secret_file import SecretFileError
from assent.server import ListenError
from assent.statement_issuers import StatementIssuersError
from fhir.minimization.mask_plan import MaskError
from fhir.store.passing_failures import passing_failure
from policies.catalogue_document import CatalogueError
from smart.brands import BrandError


class WorkerFailed(Exception):
    """A server process ended before it could answer; why stands above, in its own words."""


FAILURES = (
    BrandError,
    CatalogueError,
    DataDirectoryError,
    DatabaseUnreachableError,
    EmbeddedPostgresError,
    ListenError,
    MaskError,
    NewerSchemaError,
    SecretFileError,
    StatementIssuersError,
    WorkerFailed,
)


@contextmanager
def told() -> Iterator[None]:
    """Ends the process with an exit code: 2 for wrong settings, 1 for what doesn't work."""
    try:
        yield
    except (SettingsError, NamedFileError) as error:
        typer.echo(str(error), err=True)
        sys.exit(MISUSED)
    except FAILURES as error:
        typer.echo(str(error), err=True)
        sys.exit(NO)
    except Exception as error:
        if (passing := passing_failure(error)) is None:
            raise
        typer.echo(f"the database can't do this now (`{passing}`); its own log says why", err=True)
        sys.exit(NO)
