"""Reads a search as the app asked it, guards every parameter, and writes the narrower one that the upstream is asked.

FHIR R4 §3.1.1. A parameter that isn't understood is refused, never forwarded. `_elements`, `_summary` and totals are
done here, on what may be seen, because the upstream must send what the rules need to look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhir.r4.definitions import Definitions, SearchParameter, SearchPath
from fhir.search.literals import (
    read_date,
    read_number,
    read_quantity,
    read_string,
    read_token,
    read_uri,
    split_escaped,
)
from policies.model import Deny
from policies.search_guard import ParameterUse, guard_parameter

MAX_PARAMETERS: Final = 40
MAX_VALUE: Final = 2_000
MAX_COUNT: Final = 200
DEFAULT_COUNT: Final = 50
_SORTABLE: Final = frozenset({"date", "string", "token", "number", "quantity", "uri"})
_REFERENCE: Final = re.compile(r"([A-Z][A-Za-z]{1,63}/)?[A-Za-z0-9\-.]{1,64}")
"""What a reference may be searched by: any other one is masked where it is shown (docs/leaks.md L32, L34)."""
_ALWAYS_THERE: Final = frozenset({"_id", "_lastUpdated"})
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_READERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "date": read_date,
    "number": read_number,
    "quantity": read_quantity,
    "string": read_string,
    "token": read_token,
    "uri": read_uri,
}
_REFUSED: Final = frozenset(
    {
        *(
            "_filter",
            "_query",
            "_text",
            "_content",
            "_list",
            "_type",
            "_has",
            "_tag",
            "_security",
            "_source",
            "_contained",
        )
    }
)


class SearchRefused(Exception):
    """The search can't be asked; `status` and the FHIR issue `code` say in which way."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A guarded search."""

    resource_type: str
    criteria: tuple[tuple[str, str], ...]
    """Filters, includes and sorts, as the app wrote them: what goes on to the upstream."""
    count: int
    elements: frozenset[str] | None
    """Top-level elements asked for by `_elements` or `_summary`; None for all."""
    echo: tuple[tuple[str, str], ...]
    """All understood parameters, for the self link."""
    includes: tuple[tuple[str, str], ...] = ()


def read_search(
    resource_type: str,
    pairs: Sequence[tuple[str, str]],
    definitions: Definitions,
    visible: Callable[[str, str], bool],
    openable: Callable[[str], bool],
    *,
    base: str = "",
    max_count: int = MAX_COUNT,
) -> SearchRequest:
    """Parse and guard. `visible(type, path)` asks the mask; `openable(type)` asks the scopes. Raises SearchRefused.

    `base` is the public FHIR base: a reference below it is taken for the relative one (FHIR R4 §3.1.1.4.12).
    A `_count` beyond `max_count` is taken for that (§3.1.1.5.2).
    """
    if len(pairs) > MAX_PARAMETERS:
        raise SearchRefused(400, "too-costly", f"a search may have at most {MAX_PARAMETERS} parameters")
    reader = _Reader(resource_type, definitions, visible, openable, base, max_count)
    for name, value in pairs:
        if len(value) > MAX_VALUE or len(name) > 200:
            raise SearchRefused(400, "too-long", f"a search value may have at most {MAX_VALUE} characters")
        reader.take(name, value)
    return reader.result(tuple(pairs))


class _Reader:
    def __init__(
        self,
        resource_type: str,
        definitions: Definitions,
        visible: Callable[[str, str], bool],
        openable: Callable[[str], bool],
        base: str,
        max_count: int,
    ) -> None:
        self._type = resource_type
        self._definitions = definitions
        self._parameters = definitions.search_parameters(resource_type)
        self._visible = visible
        self._openable = openable
        self._base = f"{base}/" if base else ""
        self._criteria: list[tuple[str, str]] = []
        self._includes: list[tuple[str, str]] = []
        self._max_count = max_count
        self._count = min(DEFAULT_COUNT, max_count)
        self._elements: frozenset[str] | None = None
        self._single: set[str] = set()

    def take(self, name: str, value: str) -> None:
        controls: dict[str, Callable[[str], None]] = {
            "_count": self._take_count,
            "_elements": self._take_elements,
            "_summary": self._take_summary,
            "_total": self._take_total,
            "_format": self._take_format,
            "_sort": self._take_sort,
        }
        if name in controls:
            if name in self._single:
                raise SearchRefused(400, "invalid", f"`{name}` may stand once")
            self._single.add(name)
            controls[name](value)
        elif name in ("_include", "_revinclude"):
            self._take_include(name, value)
        elif name.startswith(("_include", "_revinclude")):
            raise SearchRefused(400, "not-supported", "`:iterate` is not supported, ask again for what was included")
        else:
            self._take_filter(name, value)

    def _take_filter(self, name: str, value: str) -> None:
        base, _, modifier = name.partition(":")
        if "." in name or base in _REFUSED:
            raise SearchRefused(400, "not-supported", f"`{base}` searches beyond the resource and is not supported")
        if not value:
            raise SearchRefused(400, "invalid", f"`{base}` has no value")
        self._guard(base, modifier)
        if modifier == "missing":
            if base in _ALWAYS_THERE:
                raise SearchRefused(400, "not-supported", f"no resource is without `{base}`")
            if value not in ("true", "false"):
                raise SearchRefused(400, "value", f"`{base}:missing` is `true` or `false`")
        else:
            value = self._literal_reference(base, value)
            # A value that no server can read is refused here, whatever this upstream would make of it.
            read = _READERS.get(self._parameters[base].kind)
            if read is not None:
                for part in split_escaped(base, value, ","):
                    read(base, part)
            if base == "_id" and not all(_ID.fullmatch(part) for part in value.split(",")):
                raise SearchRefused(400, "value", "`_id` is searched by ids only")
        self._criteria.append((name, value))

    def _literal_reference(self, name: str, value: str) -> str:
        """The value, of a Reference as the upstream is asked for it: our address says nothing to it."""
        found = self._parameters[name]
        if found.kind != "reference" or not any(path.type == "Reference" for path in found.paths):
            return value
        parts = [self._relative(part) for part in value.split(",")]
        if not all(_REFERENCE.fullmatch(part) for part in parts):
            raise SearchRefused(400, "not-supported", f"`{name}` is searched by `Type/id` or `id` only")
        return ",".join(parts)

    def _relative(self, reference: str) -> str:
        below = reference.removeprefix(self._base)
        return below if "/" in below else reference

    def _guard(self, name: str, modifier: str) -> None:
        found = self._parameters.get(name)
        if found is None:
            raise SearchRefused(400, "not-supported", f"`{_shown(name)}` is not a search parameter of `{self._type}`")
        use = ParameterUse(name, modifier, found.kind, touched(found))
        decision = guard_parameter(use, self._type, lambda path: self._visible(self._type, path))
        if isinstance(decision, Deny):
            raise SearchRefused(403, "suppressed", decision.reasons[0].text)

    def _take_sort(self, value: str) -> None:
        for part in value.split(","):
            name = part.removeprefix("-")
            found = self._parameters.get(name)
            if found is not None and found.kind not in _SORTABLE:
                raise SearchRefused(400, "not-supported", f"can't sort by `{name}`")
            self._guard(name, "")
        self._criteria.append(("_sort", value))

    def _take_include(self, kind: str, value: str) -> None:
        source, _, rest = value.partition(":")
        name, _, target = rest.partition(":")
        if source == "*" or name in ("", "*") or ":" in target:
            raise SearchRefused(400, "not-supported", f"`{kind}` must name a type and a parameter, as in `Type:param`")
        known = source in self._definitions.types
        found = self._definitions.search_parameters(source).get(name) if known else None
        if found is None or found.kind != "reference":
            raise SearchRefused(400, "not-supported", f"`{kind}` can't follow `{_shown(value)}`")
        if kind == "_include" and source != self._type:
            raise SearchRefused(400, "not-supported", f"`_include` must start at `{self._type}`")
        if kind == "_revinclude" and (self._type not in found.targets or target not in ("", self._type)):
            raise SearchRefused(400, "not-supported", f"`{source}:{name}` never refers to `{self._type}`")
        if not all(self._visible(source, path) for path in touched(found)):
            raise SearchRefused(403, "suppressed", f"`{source}:{name}` would follow what is not shown for this purpose")
        reached = [target] if target else ([source] if kind == "_revinclude" else [*found.targets])
        if not any(self._openable(t) for t in reached):
            raise SearchRefused(403, "forbidden", f"`{kind}` of `{_shown(value)}` leads to nothing the token opens")
        self._includes.append((kind, value))

    def _take_count(self, value: str) -> None:
        if not value.isascii() or not value.isdigit() or len(value) > 9 or int(value) < 1:
            raise SearchRefused(400, "invalid", "`_count` must be a whole number from 1")
        self._count = min(int(value), self._max_count)

    def _take_elements(self, value: str) -> None:
        names = [part.removeprefix(self._type + ".") for part in value.split(",")]
        known = self._definitions.children(self._type, "")
        for name in names:
            if name not in known and f"{name}[x]" not in known and name not in ("id", "meta", "resourceType"):
                raise SearchRefused(400, "invalid", f"`{_shown(name)}` is not an element of `{self._type}`")
        self._restrict(frozenset(f"{n}[x]" if f"{n}[x]" in known else n for n in names))

    def _take_summary(self, value: str) -> None:
        if value == "true":
            children = self._definitions.children(self._type, "")
            self._restrict(frozenset(name for name, element in children.items() if element.summary))
        elif value != "false":
            raise SearchRefused(
                400, "not-supported", f"`_summary` can be `true` or `false` here, not `{_shown(value)}`"
            )

    def _restrict(self, names: frozenset[str]) -> None:
        self._elements = names if self._elements is None else self._elements & names

    def _take_total(self, value: str) -> None:
        if value not in ("none", "estimate", "accurate"):
            raise SearchRefused(400, "invalid", "`_total` must be `none`, `estimate` or `accurate`")

    def _take_format(self, value: str) -> None:
        if value not in ("json", "application/json", "application/fhir+json"):
            raise SearchRefused(406, "not-supported", "only JSON is served")

    def result(self, pairs: tuple[tuple[str, str], ...]) -> SearchRequest:
        return SearchRequest(
            self._type,
            (*self._criteria, *self._includes),
            self._count,
            self._elements,
            pairs,
            tuple(self._includes),
        )


def touched(parameter: SearchParameter) -> tuple[str, ...]:
    """The member paths below the type that the official expression reads."""
    return tuple(sorted(set(map(_touch, parameter.paths))))


def _touch(path: SearchPath) -> str:
    """An extension of the resource itself is named by its URL, as masks name it: `extension(http://…)`."""
    url = next((value for step, name, value in path.where if (step, name) == (0, "url")), None)
    return ".".join(path.steps) if url is None else f"extension({url})"


def _shown(text: str) -> str:
    """A caller's text, fit to stand in a message."""
    return "".join(c for c in text[:60] if c.isprintable() and c != "`")


def narrowed(
    request: SearchRequest, patients: Iterable[str], owner_parameter: str | None, categories: Iterable[str]
) -> list[tuple[str, str]]:
    """What the upstream is asked: the app's criteria, held to these patients and to what is open.

    `categories` are values of the `category` parameter of which one must hold; empty for no such bound.
    """
    asked = list(request.criteria)
    if owner_parameter is not None:
        asked.append((owner_parameter, ",".join(patients)))
    bound = ",".join(sorted(set(categories)))
    if bound and len(bound) <= MAX_VALUE:
        asked.append(("category", bound))
    # Small pages are cut from larger ones, so that a row of withheld resources doesn't end an app's page early (L04).
    asked.append(("_count", str(max(request.count, DEFAULT_COUNT) + 1)))
    return asked
