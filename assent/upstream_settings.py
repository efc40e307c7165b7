"""The clients of the upstream that the settings describe."""

from __future__ import annotations

import json

from assent.settings import Settings
from fhir.export_upstream import ExportUpstream
from fhir.upstream_client import UpstreamClient
from fhir.upstream_credentials import BackendServices, Basic, Bearer, Credentials, NoCredentials


def upstream_client(settings: Settings) -> UpstreamClient:
    """Made, not yet connected. Raises ValueError when a key file can't be used."""
    return UpstreamClient(
        settings.upstream_url or "http://127.0.0.1:9",
        credentials=_credentials(settings),
        timeout=settings.upstream_timeout_seconds,
        max_body=settings.upstream_max_body_bytes,
        connections=settings.upstream_connections,
    )


def export_upstream(settings: Settings) -> ExportUpstream:
    """The same server's bulk exports, likewise."""
    return ExportUpstream(
        settings.upstream_url or "http://127.0.0.1:9",
        credentials=_credentials(settings),
        hosts=settings.export_hosts,
        timeout=settings.upstream_timeout_seconds,
    )


def _credentials(settings: Settings) -> Credentials:
    if settings.upstream_auth == "basic" and settings.upstream_username and settings.upstream_password:
        return Basic(settings.upstream_username, settings.upstream_password.get_secret_value())
    if settings.upstream_auth == "bearer" and settings.upstream_bearer_token:
        return Bearer(settings.upstream_bearer_token.get_secret_value())
    if settings.upstream_auth == "backend-services" and settings.upstream_private_key_file:
        try:
            key = json.loads(settings.upstream_private_key_file.read_text())
        except (OSError, ValueError) as broken:
            raise ValueError("`ASSENT_UPSTREAM_PRIVATE_KEY_FILE` can't be read as a JWK") from broken
        return BackendServices(
            settings.upstream_token_url or "", settings.upstream_client_id or "", key, settings.upstream_scope
        )
    return NoCredentials()
