"""The form by which a developer registers an app: what it holds, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from authz.clients.app_registry import OWN_SCOPES, SELF_SERVICE_KINDS
from authz.clients.clients import ClientError, ClientKind, NewClient
from policies.catalogue import Catalogue
from portal.form_reading import Form
from smart.scope_syntax import split_scope

_FIRST_SCOPE: Final = "launch/patient openid fhirUser patient/*.rs"


@dataclass(frozen=True, slots=True)
class AppForm:
    """What the form shows."""

    name: str = ""
    kind: str = "public"
    redirect_uris: str = ""
    """One on each line."""
    scope: str = _FIRST_SCOPE
    purposes: tuple[str, ...] = ("PATRQT",)
    jwks: str = ""
    """Its public keys, a JWK Set as JSON (RFC 7517 §5)."""


def read_app_form(form: Form) -> AppForm:
    """What was sent, as it was sent."""
    texts = {name: form.one(name) for name in ("name", "kind", "redirect_uris", "scope", "jwks")}
    return AppForm(**texts, purposes=form.all("purpose"))


def new_client_of(sent: AppForm, catalogue: Catalogue) -> NewClient:
    """The registration. Raises ClientError, whose text is for the developer."""
    if sent.kind not in SELF_SERVICE_KINDS:
        raise ClientError("choose where the app runs")
    scope = " ".join(sent.scope.split())
    if not scope:
        raise ClientError("name the scopes that the app may ask for")
    unknown = next((text for text in split_scope(scope)[2] if not text.startswith(OWN_SCOPES)), None)
    if unknown is not None:
        raise ClientError(f"there is no scope `{unknown[:100]}`")
    if not sent.purposes or not set(sent.purposes) <= set(catalogue.askable):
        raise ClientError("choose at least one purpose")
    keyed = sent.kind in ("confidential-asymmetric", "backend")
    return NewClient(
        name=sent.name.strip(),
        kind=cast(ClientKind, sent.kind),
        redirect_uris=() if sent.kind == "backend" else tuple(dict.fromkeys(sent.redirect_uris.split())),
        scope=scope,
        purposes=sent.purposes,
        jwks=_jwks(sent.jwks) if keyed else None,
    )


def _jwks(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as broken:
        raise ClientError("the public keys must be a JWK Set: a JSON object with `keys`") from broken
