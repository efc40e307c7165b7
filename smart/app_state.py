"""App State scopes: SMART App Launch 2.2, "App State (Experimental)", security and access controls.

A scope is one of App State only where it names `Basic`: `patient/*.cruds` was granted by people who thought of records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from policies.model import Scope

CAPABILITY: Final = "smart-app-state"
_TYPE: Final = "Basic"
_CONTEXTS: Final = ("patient", "user")


def is_state(scope: Scope) -> bool:
    """Whether it opens an app's own state. A parameter other than `code` narrows to nothing."""
    names = {name for name, _ in scope.parameters}
    return scope.resource_type == _TYPE and scope.context in _CONTEXTS and names <= {"code"}


def apart(scopes: Iterable[Scope]) -> tuple[tuple[Scope, ...], tuple[Scope, ...]]:
    """Clinical scopes, and those of App State."""
    given = tuple(scopes)
    return tuple(s for s in given if not is_state(s)), tuple(s for s in given if is_state(s))


def opens(scope: Scope, letter: str, code: str) -> bool:
    """Whether a state scope allows `letter` of `cruds` on a state code, `system|code` (exactly, as in a query)."""
    return letter in scope.permissions and all(code in value.split(",") for _, value in scope.parameters)
