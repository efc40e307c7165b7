"""Less than what a grant opens: what a client asks for of it, and what of a token is open still."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from authz.oauth_errors import OAuthError
from authz.tokens.grants import OpenNow
from policies.model import Scope
from smart.scope_intersection import intersection
from smart.scope_syntax import format_as_asked, split_scope

_MAX_KNOWN: Final = 1_000
"""Pairs of texts and what is open, whose common part is known: gateways ask about the same ones again and again."""


def narrowed(opened: OpenNow, asked: str | None) -> str:
    """RFC 6749 §6: a client may ask for less than it has. Raises OAuthError when it asks for anything else."""
    if asked is None:
        return opened.scope
    session, clinical, unknown = split_scope(asked)
    mine, _, _ = split_scope(opened.scope)
    kept = [s for s in session if s in mine]
    parts = dict.fromkeys(_parts(clinical, opened))
    text = " ".join(part for part in (*kept, format_as_asked(parts, asked)) if part)
    if unknown or not text:
        raise OAuthError("invalid_scope", "`scope` must lie within what was granted")
    return text


@lru_cache(maxsize=_MAX_KNOWN)
def still_open(claimed: str, opened: OpenNow) -> str:
    """What the token claims and the consent of this moment both have."""
    session, clinical, _ = split_scope(claimed)
    whole = [scope for scope in clinical if scope in opened.clinical]
    parts = [part for part in _parts(clinical, opened) if not any(_within(part, scope) for scope in whole)]
    return " ".join(part for part in (*session, format_as_asked(dict.fromkeys([*whole, *parts]), claimed)) if part)


def _parts(scopes: Iterable[Scope], opened: OpenNow) -> list[Scope]:
    """What the scopes have in common with what is open: `user/` and `system/` are never a part of `patient/`."""
    pairs = ((scope, own) for scope in scopes for own in opened.clinical if scope.context == own.context)
    return [part for scope, own in pairs if (part := intersection(scope, own)) is not None]


def _within(part: Scope, whole: Scope) -> bool:
    return part.context == whole.context and intersection(whole, part) == part
