"""The identity provider that the settings describe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from assent.named_file import NamedFileError
from assent.settings import Settings, variable
from authz.clients.key_addresses import KeyAddresses
from authz.sign_in.identity_provider import ALGORITHMS, IdentityProvider
from authz.sign_in.idp_http import IdpHttp
from authz.sign_in.idp_metadata import ProviderDocuments
from portal.federated_sign_in import CALLBACK


def identity_provider(settings: Settings) -> IdentityProvider | None:
    """It, or None where people sign in here only. Raises NamedFileError."""
    if settings.oidc_issuer is None:
        return None
    secret, file = settings.oidc_client_secret, settings.oidc_private_key_file
    return IdentityProvider(
        issuer=settings.oidc_issuer,
        name=settings.oidc_name or "",
        client_id=settings.oidc_client_id or "",
        redirect_uri=f"{settings.public_url}{CALLBACK}",
        scope=settings.oidc_scope,
        subject_claim=settings.oidc_subject_claim,
        secret=None if secret is None else secret.get_secret_value(),
        private_jwk=None if file is None else _private_jwk(file),
        loopback=settings.public_url.startswith("http:"),
    )


def provider_addresses(settings: Settings) -> KeyAddresses:
    """Where the provider may be asked: on its issuer's host, wherever that is; else where clients' keys may be."""
    parts = urlsplit(settings.oidc_issuer or "")
    own = f"{parts.hostname}:{parts.port or 443}"
    return KeyAddresses((own, *settings.jwks_hosts), loopback=settings.public_url.startswith("http:"))


async def count_provider_keys(provider: IdentityProvider, addresses: KeyAddresses) -> int:
    """Ask the provider for its metadata and keys; how many can verify ID tokens. Raises SignInRefused."""
    http = IdpHttp(addresses)
    documents = ProviderDocuments(provider, addresses, http)
    try:
        metadata = await documents.metadata()
        return len(await documents.keys(metadata.jwks_uri, "", ALGORITHMS[0]))
    finally:
        await documents.close()
        await http.close()


def _private_jwk(file: Path) -> Mapping[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        key = JWKRegistry.import_key(found)
        fits = key.is_private and (key.key_type == "RSA" or found.get("crv") == "P-256")
    except (OSError, ValueError, TypeError, KeyError, JoseError):
        fits = False
    if not fits:
        raise NamedFileError(
            f"`{variable('oidc_private_key_file')}` names `{file}`, which must hold a private JWK: RSA, or EC on P-256"
        ) from None
    return found
