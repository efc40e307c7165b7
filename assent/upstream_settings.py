"""The upstreams that the settings describe."""

from __future__ import annotations

import json

from assent.named_file import NamedFileError
from assent.settings import SINGLE_UPSTREAM, Settings, variable
from assent.upstream_table import UpstreamTable
from fhir.export.upstream import ExportUpstream
from fhir.r4.definitions import Definitions
from fhir.upstream.circuit_breaker import CircuitBreaker
from fhir.upstream.client import UpstreamClient
from fhir.upstream.credentials import BackendServices, Basic, Bearer, Credentials, NoCredentials
from fhir.upstream.schema_drift import SchemaDrift
from fhir.upstream.upstreams import Upstream, Upstreams

_NOBODY = UpstreamTable.model_validate({"url": "http://127.0.0.1:9"})
"""Stands for an upstream where none is set: port 9 discards."""


def upstreams(settings: Settings, definitions: Definitions | None = None) -> Upstreams:
    """Made, not yet connected. Raises ValueError when a key file can't be used.

    With `definitions`, what they send is held against them now and then.
    """
    tables = settings.upstream_tables() or {SINGLE_UPSTREAM: _NOBODY}
    return Upstreams([_upstream(name, table, definitions) for name, table in tables.items()])


def _upstream(name: str, table: UpstreamTable, definitions: Definitions | None) -> Upstream:
    client = UpstreamClient(
        table.url,
        credentials=credentials(name, table),
        timeout=table.timeout_seconds,
        connect_timeout=table.connect_seconds,
        max_body=table.max_body_bytes,
        connections=table.connections,
        breaker=CircuitBreaker(name, failures=table.failures, pause=table.pause_seconds),
        drift=None if definitions is None else SchemaDrift(definitions),
    )
    return Upstream(name, table.url, None if table.types is None else frozenset(table.types), client)


def export_upstream(settings: Settings) -> ExportUpstream:
    """The bulk exports of the upstream that has the patients, likewise: there, an export is about them."""
    tables = settings.upstream_tables() or {SINGLE_UPSTREAM: _NOBODY}
    named = next((name for name, table in tables.items() if "Patient" in (table.types or ())), None)
    name = named or next(name for name, table in tables.items() if table.types is None)
    table = tables[name]
    return ExportUpstream(
        table.url,
        credentials=credentials(name, table),
        hosts=settings.export_hosts,
        timeout=table.timeout_seconds,
    )


def _spelled(name: str, key: str) -> str:
    """A setting as the operator knows it."""
    return f"`{variable(f'upstream_{key}')}`" if name == SINGLE_UPSTREAM else f"`{key}` of `[upstreams.{name}]`"


def credentials(name: str, table: UpstreamTable) -> Credentials:
    """How Assent signs in at an upstream. Raises NamedFileError."""
    if table.auth == "basic" and table.username and table.password:
        return Basic(table.username, table.password.get_secret_value())
    if table.auth == "bearer" and table.bearer_token:
        return Bearer(table.bearer_token.get_secret_value())
    if table.auth == "backend-services" and table.private_key_file:
        try:
            key = json.loads(table.private_key_file.read_text())
        except (OSError, ValueError) as broken:
            why = broken.strerror if isinstance(broken, OSError) else "it isn't JSON"
            raise NamedFileError(
                f"{_spelled(name, 'private_key_file')} names `{table.private_key_file}`, "
                f"which can't be read as a private JWK: {why}"
            ) from broken
        return BackendServices(table.token_url or "", table.client_id or "", key, table.scope)
    return NoCredentials()
