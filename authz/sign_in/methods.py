"""How somebody signed in, as ID tokens tell it: `amr` (RFC 8176) and `acr` (OpenID Connect Core §2).

INVARIANT: nothing is claimed that wasn't seen here or signed by the identity provider. A password or a passkey reaches
no level of assurance that this server could name, so neither gives an `acr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_REGISTERED: Final = frozenset(
    {
        *("face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop"),
        *("pwd", "rba", "retina", "sc", "sms", "swk", "tel", "user", "vbm", "wia"),
    }
)
"""IANA, Authentication Method Reference Values."""
_MAX_ACR: Final = 200


@dataclass(frozen=True, slots=True)
class SignInMethods:
    """What a session was begun with."""

    amr: tuple[str, ...] = ()
    acr: str | None = None


UNKNOWN: Final = SignInMethods()
PASSWORD: Final = SignInMethods(("pwd",))
PASSKEY: Final = SignInMethods(("mfa", "pop", "user"))
"""Possession of a key, a person's touch, and their finger, face or PIN: user verification is required. Which of these
it was, and whether the key is bound to hardware, isn't known."""


def methods_elsewhere(claims: Mapping[str, Any]) -> SignInMethods:
    """What a verified ID token says; what isn't spelled as the registry does is left out."""
    amr, acr = claims.get("amr"), claims.get("acr")
    known = sorted({text for text in amr if isinstance(text, str)} & _REGISTERED) if isinstance(amr, list) else ()
    usable = isinstance(acr, str) and 0 < len(acr) <= _MAX_ACR and acr.isascii() and acr.isprintable()
    return SignInMethods(tuple(known), acr if usable else None)
