"""JWTs as no library writes them: signed over exactly these bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jose import jwk

from tests.authz.proofs import base64url

_Members = Mapping[str, Any]


def raw_jwt(header: bytes, claims: bytes, key: bytes, alg: str = "ES384") -> str:
    """The two parts and a signature by `key` (PEM) that is right."""
    text = f"{base64url(header)}.{base64url(claims)}"
    return f"{text}.{base64url(jwk.construct(key.decode(), alg).sign(text.encode()))}"


def twice(members: _Members, name: str, other: object, *, last: bool = False) -> bytes:
    """The object as JSON, with `name` once more: before what is right, or after it."""
    right, wrong = json.dumps(members)[1:-1], json.dumps({name: other})[1:-1]
    return f"{{{right}, {wrong}}}".encode() if last else f"{{{wrong}, {right}}}".encode()
