"""Who may keep consents at `/fhir/Consent`: a backend service that the operator registered with `assent/consents.…`.

Whoever keeps consents gains nothing by them. A recorder has no clinical scope: authz.clients.clients registers none
with one, and a token with one is no recorder's. None writes a consent that names it (authz.consents.transitions).
The letters are SMART's `cruds` (create, read, update and patch, delete, search and history of the type), in that order.
It is a power over this server itself, so nobody registers for it (authz.clients.metadata) and no person can grant it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from policies.model import Access

_SCOPE: Final = re.compile(r"assent/consents\.(?=.)(c?r?u?d?s?)")


@dataclass(frozen=True, slots=True)
class Recorder:
    """Who keeps consents by a token of its own."""

    client_id: str
    client_name: str
    letters: frozenset[str]
    """Of `cruds`; none of them for a gateway, which may ask for explanations only."""


def letters_of(scope: str) -> frozenset[str]:
    """What the scopes of a token allow of `cruds`."""
    found = (_SCOPE.fullmatch(part) for part in scope.split(" "))
    return frozenset().union(*(match[1] for match in found if match is not None))


def recorder_of(access: Access, claims: Mapping[str, Any]) -> Recorder | None:
    """The recorder whose token it is; None for an app's or a person's, whatever its scopes say."""
    letters = letters_of(str(claims["scope"]))
    if not letters or not access.is_service or access.scopes:
        return None
    return Recorder(access.client_id, access.client_name, letters)
