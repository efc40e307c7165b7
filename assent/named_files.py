"""The files that settings name, read once before anything is started: a start that can't succeed says so at once.

Otherwise a server of several processes would start, and each process fail by itself, again and again.
"""

from __future__ import annotations

from assent.brands import load_brands
from assent.identity_provider import identity_provider
from assent.language_files import load_languages
from assent.mail.transport import smtp_transport
from assent.policy_files import load_catalogue
from assent.settings import Settings
from assent.statement_issuers import load_statements
from assent.upstream_settings import credentials
from fhir.minimization.masks import Masks
from fhir.r4.definitions import load_definitions


def read_named_files(settings: Settings) -> None:
    """Read them and forget them. Raises what its readers raise, which `assent.cli` turns into a sentence."""
    catalogue = load_catalogue(settings.policy_dir)
    load_languages(catalogue, settings.policy_dir)
    Masks(catalogue, load_definitions())
    for name, table in settings.upstream_tables().items():
        credentials(name, table)
    identity_provider(settings)
    load_statements(settings)
    load_brands(settings)
    smtp_transport(settings)
