"""The scope of a request: what it asks for, within what the app is registered for (RFC 6749 §3.3, SMART 2.2).

A scope that is wider than the registration is answered with the common part: an app registered for single types may
ask for `patient/*.rs` and gets these types. What has no common part, or none that scopes can say, isn't granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from authz.clients.clients import Client
from authz.oauth_errors import OAuthError
from policies.model import Scope
from smart.app_state import apart, is_state
from smart.scope_intersection import within
from smart.scope_syntax import SESSION_SCOPES, format_like, parse_scope, split_scope

_OF_A_LAUNCH: Final = frozenset({"launch", "launch/encounter"})
"""Scopes that mean something only with a `launch`: this server offers no choice of encounters."""
_MOST: Final = 1_000
"""How many scopes are granted at most: granular ones on both sides would multiply."""


def scope_within_registration(client: Client, parameters: Mapping[str, str]) -> str:
    """The scope that is put before a person; unknown scopes go.

    Raises OAuthError when nothing is left.
    """
    asked = dict.fromkeys(_without_role(text) for text in parameters.get("scope", "").split(" "))
    if "launch" not in parameters:
        asked = {text: None for text in asked if text not in _OF_A_LAUNCH}
    texts = _without_lone_state(list(dict.fromkeys(islice(_granted(client, asked), _MOST))))
    if not texts:
        raise OAuthError("invalid_scope", "no scope was asked for that this app may have")
    return " ".join(texts)


def _granted(client: Client, asked: Iterable[str]) -> Iterator[str]:
    registered, clinical, _ = split_scope(client.scope)
    for text in asked:
        scope = parse_scope(text)
        if scope is not None:
            yield from _clinical(text, scope, clinical if client.scope else None)
        elif text in SESSION_SCOPES and (not client.scope or text in registered):
            yield text


def _clinical(text: str, asked: Scope, registered: Sequence[Scope] | None) -> list[str]:
    """Scopes for what the asked one and the registered ones have in common; None is registered for everything."""
    if asked.context == "system":
        return []
    if registered is None:
        return [text]
    # What an app keeps about people it asks for by its name, never by `*`.
    parts = [part for part in within(asked, registered) if is_state(part) == is_state(asked)]
    return [text] if asked in parts else [format_like(part, text) for part in parts]


def _without_lone_state(texts: Sequence[str]) -> list[str]:
    """What an app keeps about a patient goes along with what they share; with nothing to share, it isn't granted."""
    clinical, state = apart(split_scope(" ".join(texts))[1])
    lone = () if clinical else tuple(scope for scope in state if scope.context == "patient")
    return [text for text in texts if parse_scope(text) not in lone]


def _without_role(text: str) -> str:
    """No role is supported: who asks for one gets the launch context of that type (SMART 2.2, context scopes)."""
    kind, _, _ = text.partition("?role=")
    return kind if kind.startswith("launch/") else text
