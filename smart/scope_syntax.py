"""The SMART scope language: SMART App Launch 2.2, "Scopes and Launch Context"; v1 scopes are read as their v2 meaning.

`patient/Observation.rs?category=http://…|laboratory` is read into `policies.model.Scope`; anything that the grammar
doesn't allow is no scope (None), never a wider one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, cast
from urllib.parse import parse_qsl, quote

from policies.model import Scope, ScopeContext

SESSION_SCOPES: Final = frozenset(
    {"openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access"}
)
"""Scopes that open no resource by themselves."""

_CLINICAL: Final = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,63})\.([a-z*]{1,6})(?:\?(.{1,1000}))?", re.ASCII
)
_PERMISSIONS: Final = re.compile(r"c?r?u?d?s?")
_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}


def parse_scope(text: str) -> Scope | None:
    """Read one clinical scope, v1 or v2; None when it isn't one."""
    found = _CLINICAL.fullmatch(text)
    if found is None:
        return None
    context, resource_type, letters, query = found.groups()
    if letters in _V1:
        if query is not None:
            return None
        return Scope(cast(ScopeContext, context), resource_type, _V1[letters])
    if not _PERMISSIONS.fullmatch(letters):
        return None
    parameters = _parameters(query)
    return None if parameters is None else Scope(cast(ScopeContext, context), resource_type, letters, parameters)


def _parameters(query: str | None) -> tuple[tuple[str, str], ...] | None:
    if query is None:
        return ()
    try:
        pairs = parse_qsl(query, strict_parsing=True, max_num_fields=10, errors="strict")
    except (ValueError, UnicodeDecodeError):
        return None
    if any(not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-_]*", name, re.ASCII) for name, _ in pairs):
        return None
    return tuple(pairs)


def format_scope(scope: Scope) -> str:
    """Write a scope in v2 syntax."""
    text = f"{scope.context}/{scope.resource_type}.{scope.permissions}"
    if scope.parameters:
        text += "?" + "&".join(f"{name}={quote(value, safe=':/|,.-_')}" for name, value in scope.parameters)
    return text


def format_scopes(scopes: Iterable[Scope]) -> str:
    """Write several, separated by spaces."""
    return " ".join(format_scope(scope) for scope in scopes)


def format_like(scope: Scope, asked: str) -> str:
    """Write a part of the scope `asked`: in v1 syntax if that is, and v1 can say it."""
    if "?" not in asked and asked.rpartition(".")[2] in _V1 and not scope.parameters:
        v1 = next((word for word, letters in _V1.items() if letters == scope.permissions), scope.permissions)
        return f"{scope.context}/{scope.resource_type}.{v1}"
    return format_scope(scope)


def format_as_asked(scopes: Iterable[Scope], asked: str) -> str:
    """As `format_scopes`, but what `asked` has in v1 syntax stays in v1 syntax (SMART 2.2: who asks in v1 gets v1)."""
    v1 = {scope: text for text in asked.split(" ") if "?" not in text and (scope := parse_scope(text)) is not None}
    return " ".join(v1.get(scope) or format_scope(scope) for scope in scopes)


@lru_cache(maxsize=1_000)
def split_scope(text: str) -> tuple[tuple[str, ...], tuple[Scope, ...], tuple[str, ...]]:
    """Split a `scope` parameter into session scopes, clinical scopes and what is unknown; duplicates go."""
    session: list[str] = []
    clinical: list[Scope] = []
    unknown: list[str] = []
    for part in dict.fromkeys(text.split(" ")):
        if part in SESSION_SCOPES:
            session.append(part)
        elif (scope := parse_scope(part)) is not None:
            if scope not in clinical:
                clinical.append(scope)
        elif part:
            unknown.append(part)
    return tuple(session), tuple(clinical), tuple(unknown)
