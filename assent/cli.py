"""The `assent` command. Exit codes: 0 done, 1 the answer is no or it didn't work, 2 misused (also: wrong settings)."""

from __future__ import annotations

import typer

from assent.commands import audit, client, consent, keys, policy, user
from assent.commands.consent_grant import grant_command
from assent.commands.doctor import doctor_command
from assent.commands.explain import explain_command
from assent.commands.migrate import migrate_command
from assent.commands.sandbox import sandbox_command
from assent.commands.serve import serve_command
from assent.failures import told

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
    with told():
        app()


if __name__ == "__main__":
    main()
