"""The `assent` command. Exit codes: 0 done, 1 the answer is no or it didn't work, 2 misused (also: wrong settings)."""

from __future__ import annotations

import sys

import typer

from assent.commands import audit, client, consent, keys, policy, user
from assent.commands.consent_grant import grant_command
from assent.commands.doctor import doctor_command
from assent.commands.explain import explain_command
from assent.commands.migrate import migrate_command
from assent.commands.output import MISUSED, NO
from assent.commands.sandbox import sandbox_command
from assent.commands.serve import serve_command
from assent.database import DatabaseUnreachableError
from assent.embedded_postgres.account import EmbeddedPostgresError
from assent.load_settings import SettingsError
from assent.migrate import NewerSchemaError
from assent.named_file import NamedFileError
from assent.secret_file import SecretFileError
from assent.server import ListenError
from assent.statement_issuers import StatementIssuersError
from fhir.minimization.mask_plan import MaskError
from policies.catalogue_document import CatalogueError
from smart.brands import BrandError

FAILURES = (
    BrandError,
    CatalogueError,
    DatabaseUnreachableError,
    EmbeddedPostgresError,
    ListenError,
    MaskError,
    NewerSchemaError,
    SecretFileError,
    StatementIssuersError,
)

app = typer.Typer(
    name="assent",
    help="Consent and access authorization in front of a FHIR server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve_command)
app.command("sandbox")(sandbox_command)
app.command("migrate")(migrate_command)
app.command("doctor")(doctor_command)
app.command("explain")(explain_command)
consent.app.command("grant")(grant_command)
for name, noun in (
    ("client", client.app),
    ("user", user.app),
    ("consent", consent.app),
    ("keys", keys.app),
    ("policy", policy.app),
    ("audit", audit.app),
):
    app.add_typer(noun, name=name)


def main() -> None:
    """Run a command; what is known to go wrong ends with a sentence, not with a stack trace."""
    try:
        app()
    except (SettingsError, NamedFileError) as error:
        typer.echo(str(error), err=True)
        sys.exit(MISUSED)
    except FAILURES as error:
        typer.echo(str(error), err=True)
        sys.exit(NO)


if __name__ == "__main__":
    main()
