"""What a client may ask of an export: by URL, or in a Parameters resource (Bulk Data Access 2.0, kick-off request)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhir.proxy.history import read_since
from fhir.proxy.request import ProxyRefusal
from fhir.r4.decided_types import everything_types
from fhir.r4.own_types import OWN_TYPES
from policies.catalogue import Catalogue
from policies.decide import ReadPlan, plan_read
from policies.model import Access, Deny

MAX_BODY: Final = 65_536
_FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
TAKEN: Final = {"_outputFormat": "valueString", "_type": "valueString", "_since": "valueInstant"}
"""How a Parameters resource holds each parameter."""
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ASYNC: Final = re.compile(rb"\s*respond-async\s*", re.IGNORECASE)

Parameters = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An export that was asked for."""

    types: tuple[str, ...] | None
    """In their order, each once; None for all that there may be."""
    since: str | None
    """A FHIR instant."""


def check_prefer(prefer: bytes) -> None:
    """RFC 7240 §4.1: an export is asynchronous or it isn't. Raises ProxyRefusal."""
    if not any(_ASYNC.fullmatch(part) for part in re.split(rb"[,;]", prefer)):
        raise ProxyRefusal(400, "invalid", "an export needs the header `Prefer: respond-async`")


def read_wanted(parameters: Parameters) -> Wanted:
    """What the parameters ask for. What isn't understood is refused by name. Raises ProxyRefusal."""
    for name, value in parameters:
        if name not in TAKEN:
            known = name if re.fullmatch(r"[A-Za-z_:-]{1,64}", name) else "a parameter"
            text = f"`{known}` is not supported: an export takes `_outputFormat`, `_type` and `_since`"
            raise ProxyRefusal(400, "not-supported", text)
        if name == "_outputFormat" and value not in _FORMATS:
            raise ProxyRefusal(400, "not-supported", "`_outputFormat` is `application/fhir+ndjson`")
    types = [kind for name, value in parameters if name == "_type" for kind in value.split(",")]
    if not all(_TYPE.fullmatch(kind) for kind in types):
        raise ProxyRefusal(400, "invalid", "`_type` is a list of resource types, as in `_type=Condition,Observation`")
    read_since(tuple(parameters))
    since = next((value for name, value in parameters if name == "_since"), None)
    return Wanted(tuple(dict.fromkeys(types)) or None, since)


def exportable(catalogue: Catalogue) -> tuple[str, ...]:
    """The types that an export may hold: what can be shared and is the upstream's."""
    return tuple(sorted(catalogue.scopes_by_type.keys() - OWN_TYPES))


def plan_export(access: Access, kind: str, catalogue: Catalogue) -> ReadPlan | Deny:
    """What the token alone decides of a type. An export reads and searches, so it takes scopes that allow both."""
    both = tuple(scope for scope in access.scopes if {"r", "s"} <= {*scope.permissions})
    return plan_read(replace(access, scopes=both), "operation", kind, catalogue)


def narrowed_types(
    wanted: Wanted, access: Access, catalogue: Catalogue, served: Callable[[str], bool]
) -> tuple[str, ...]:
    """The types that the upstream is asked for. Raises ProxyRefusal when the token opens none, or not one by name.

    Providers and places are among them at every level: they belong to what is about patients, and may come along.
    """
    possible = tuple(filter(served, exportable(catalogue)))
    if wanted.types is not None and not set(wanted.types) <= set(possible):
        raise ProxyRefusal(400, "not-supported", f"`_type` may name, for an export: {', '.join(possible)}")
    decided = {kind: plan_export(access, kind, catalogue) for kind in wanted.types or possible}
    denied = [decision for decision in decided.values() if isinstance(decision, Deny)]
    if denied and (wanted.types is not None or len(denied) == len(decided)):
        raise ProxyRefusal(403, "forbidden", denied[0].reasons[0].text)
    return tuple(kind for kind, decision in decided.items() if isinstance(decision, ReadPlan))


def about_patients(wanted: Wanted, level: str, types: Sequence[str], catalogue: Catalogue) -> Sequence[str]:
    """What to ask an upstream for that refuses the others: many know only what is about patients, below one or a group.

    `level`: what stands before `$export`, in the path. All types where they were asked for by name.
    """
    own = [kind for kind in types if kind in everything_types(catalogue)]
    return own if level and wanted.types is None else types
