"""Compiles the FHIRPath of a SearchParameter into `SearchPath`s, when the definitions are generated.

R4's search expressions use a small part of FHIRPath: members, unions, `as`, `ofType`, a few forms of `where`,
`extension`, and one `exists`. That part is understood here; anything else raises NotUnderstoodError, so that a
parameter is either compiled in full or listed by hand as special.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fhir.r4.definitions import Definitions, SearchKind, SearchPath

Node = Mapping[str, Any]
"""A node of fhirpathpy's syntax tree: `type`, `text`, `terminalNodeText`, `children`."""

INDEXABLE: Final[Mapping[SearchKind, frozenset[str]]] = {
    # FHIR R4 §3.1.1.4: the datatypes that each kind of search parameter reads.
    "token": frozenset(
        {"Coding", "CodeableConcept", "Identifier", "ContactPoint", "code", "boolean", "string", "id", "uri"}
    ),
    "reference": frozenset({"Reference", "canonical", "uri"}),
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "string": frozenset({"string", "markdown", "HumanName", "Address"}),
    "number": frozenset({"integer", "decimal", "positiveInt", "unsignedInt"}),
    "quantity": frozenset({"Quantity", "Age", "Duration", "Count", "Distance", "Money", "Range"}),
    "uri": frozenset({"uri", "url", "canonical", "oid", "uuid"}),
}
"""What `fhir.search.values` can read. Of an open choice, these types are indexed and the others are not."""

NOT_INDEXED: Final = {
    ("quantity", "SampledData"): "a series of samples has no one quantity to compare with",
}
"""Alternatives that R4 names for a kind of parameter and that are left out, with the reason."""

_SPELLING: Final = {"DateTime": "dateTime"}
"""Type names that R4's expressions misspell."""


class NotUnderstoodError(ValueError):
    """An expression uses FHIRPath that isn't compiled."""


@dataclass(frozen=True, slots=True)
class Walk:
    """How far an expression has come: a path in the making."""

    base: str
    """Type at which the steps start."""
    steps: tuple[str, ...] = ()
    type: str = ""
    choice: tuple[str, tuple[str, ...]] | None = None
    """The last member when it is a choice not yet narrowed: its stem (`value`) and the types left."""
    where: tuple[tuple[int, str, str], ...] = ()
    target: str | None = None
    exists: bool = False


class ExpressionCompiler:
    """Compiles expressions against the types; `parse`, the bindings and the extensions' types are handed in."""

    def __init__(
        self,
        definitions: Definitions,
        parse: Callable[[str], Node],
        code_systems: Mapping[tuple[str, str], str],
        extension_types: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._definitions = definitions
        self._parse = parse
        self._code_systems = code_systems
        self._extension_types = extension_types

    def paths(self, expression: str, base: str, kind: SearchKind) -> tuple[SearchPath, ...]:
        """Paths of the alternatives that start at the base type. Raises NotUnderstoodError."""
        ends = [walk for node in self._alternatives(expression) if (walk := self._walk(node, base, None))]
        if not ends:
            raise NotUnderstoodError(f"no alternative of `{expression}` starts at {base}")
        return self._finish(ends, kind)

    def component_paths(
        self, expression: str, base: str, focus: SearchPath, kind: SearchKind
    ) -> tuple[SearchPath, ...]:
        """Paths of a composite's component, from the composite's own path on. Raises NotUnderstoodError."""
        start = Walk(base, focus.steps, focus.type)
        ends = [walk for node in self._alternatives(expression) if (walk := self._walk(node, base, start))]
        return tuple(replace(path, steps=path.steps[len(focus.steps) :]) for path in self._finish(ends, kind))

    def _alternatives(self, expression: str) -> Iterator[Node]:
        root = self._parse(expression)["children"][0]
        pending = [root]
        while pending:
            node = pending.pop()
            if node["type"] == "UnionExpression":
                pending.extend(reversed(node["children"]))
            else:
                yield node

    def _walk(self, node: Node, base: str, focus: Walk | None) -> Walk | None:
        """The walk of one expression without unions, or None when it starts at another type."""
        children: Sequence[Node] = node.get("children", ())
        match node["type"]:
            case "TermExpression" | "InvocationTerm" | "ParenthesizedTerm" if len(children) == 1:
                return self._walk(children[0], base, focus)
            case "MemberInvocation":
                return self._start(_identifier(node), base, focus)
            case "InvocationExpression":
                walk = self._walk(children[0], base, focus)
                return walk and self._invoke(walk, children[1])
            case "TypeExpression" if node["terminalNodeText"] == ["as"]:
                walk = self._walk(children[0], base, focus)
                return walk and _narrow(walk, _text(children[1]))
            case "AndExpression":
                return self._exists_and_not_false(children, base, focus)
        raise NotUnderstoodError(f"`{_text(node)}` ({node['type']})")

    def _start(self, name: str, base: str, focus: Walk | None) -> Walk | None:
        if focus is not None:
            return self._member(focus, name)
        if name == base:
            return Walk(base, type=base)
        if name[0].isupper() and name in self._definitions.types:
            return None
        # A bare member, as in InsurancePlan's `name | alias`: the expression starts below the base type.
        return self._member(Walk(base), name)

    def _invoke(self, walk: Walk, node: Node) -> Walk:
        if walk.target or walk.exists:
            raise NotUnderstoodError(f"`{_text(node)}` after a filter that must come last")
        if node["type"] == "MemberInvocation":
            return self._member(walk, _identifier(node))
        if node["type"] != "FunctionInvocation":
            raise NotUnderstoodError(f"`{_text(node)}` ({node['type']})")
        name, parameter = _call(node)
        match name:
            case "as" | "ofType" if parameter is not None:
                return _narrow(walk, _text(parameter))
            case "where" if parameter is not None:
                return _filter(walk, parameter)
            case "extension" if parameter is not None:
                return self._extension(walk, _string(parameter))
        raise NotUnderstoodError(f"function `{name}`")

    def _member(self, walk: Walk, name: str) -> Walk:
        if walk.choice is not None:
            raise NotUnderstoodError(f"`{name}` below a choice that isn't narrowed")
        children = self._definitions.children(walk.base, ".".join(walk.steps))
        name = name.strip("`")
        if name in children:
            return replace(walk, steps=(*walk.steps, name), type=children[name].types[0])
        choice = children.get(name + "[x]")
        if choice is None:
            raise NotUnderstoodError(f"R4 has no element `{name}` below {walk.base} {walk.steps}")
        return replace(walk, choice=(name, choice.types), type="")

    def _extension(self, walk: Walk, url: str) -> Walk:
        types = self._extension_types.get(url)
        if types is None:
            raise NotUnderstoodError(f"extension `{url}` isn't defined in the package")
        steps = (*walk.steps, "extension")
        return replace(walk, steps=steps, where=(*walk.where, (len(steps) - 1, "url", url)), choice=("value", types))

    def _exists_and_not_false(self, children: Sequence[Node], base: str, focus: Walk | None) -> Walk | None:
        """`X.exists() and X != false`: the one boolean expression that R4 has (Patient-deceased)."""
        left, right = children
        same = (
            left["type"] == "InvocationExpression"
            and _text(left["children"][1]) == "exists()"
            and right["type"] == "EqualityExpression"
            and right["terminalNodeText"] == ["!="]
            and _text(right["children"][1]) == "false"
            and _text(left["children"][0]) == _text(right["children"][0])
        )
        if not same:
            raise NotUnderstoodError("`and` in another form than `X.exists() and X != false`")
        walk = self._walk(left["children"][0], base, focus)
        return walk and replace(walk, exists=True)

    def _finish(self, ends: Sequence[Walk], kind: SearchKind) -> tuple[SearchPath, ...]:
        found = dict.fromkeys(path for end in ends for path in self._end(end, kind))
        return tuple(found)

    def _end(self, walk: Walk, kind: SearchKind) -> Iterator[SearchPath]:
        indexable = INDEXABLE.get(kind)
        if (kind, walk.type) in NOT_INDEXED:
            return
        if walk.choice is None:
            if indexable is not None and walk.type not in indexable and not walk.exists:
                raise NotUnderstoodError(f"{kind} parameter over {walk.type}")
            yield self._path(walk)
            return
        _, types = walk.choice
        narrowed = [_narrow(walk, t) for t in types if walk.exists or indexable is None or t in indexable]
        if not narrowed:
            raise NotUnderstoodError(f"{kind} parameter over none of {types}")
        yield from map(self._path, narrowed)

    def _path(self, walk: Walk) -> SearchPath:
        system = ""
        if walk.type == "code":
            type_name, path = self._definitions.locate(walk.base, ".".join(walk.steps[:-1]))
            system = self._code_systems.get((type_name, f"{path}.{walk.steps[-1]}".lstrip(".")), "")
        return SearchPath(walk.steps, walk.type, walk.where, walk.target, system, walk.exists)


def _narrow(walk: Walk, type_name: str) -> Walk:
    type_name = _SPELLING.get(type_name, type_name)
    if walk.choice is None:
        if walk.type != type_name:
            raise NotUnderstoodError(f"{walk.type} as {type_name}")
        return walk
    stem, types = walk.choice
    if type_name not in types:
        raise NotUnderstoodError(f"{stem}[x] as {type_name}")
    steps = (*walk.steps, stem + type_name[0].upper() + type_name[1:])
    return replace(walk, steps=steps, type=type_name, choice=None)


def _filter(walk: Walk, condition: Node) -> Walk:
    """`where(resolve() is X)`, `where(member = 'value')` and `where(hasExtension('url'))`."""
    children = condition.get("children", ())
    if condition["type"] == "TypeExpression" and condition["terminalNodeText"] == ["is"]:
        if _text(children[0]) == "resolve()" and walk.type == "Reference":
            return replace(walk, target=_text(children[1]))
    elif condition["type"] == "EqualityExpression" and condition["terminalNodeText"] == ["="] and walk.steps:
        name, value = _text(children[0]), _string(children[1])
        if name.isidentifier() and walk.choice is None:
            return replace(walk, where=(*walk.where, (len(walk.steps) - 1, name, value)))
    elif (url := _has_extension(condition)) and walk.steps:
        return replace(walk, where=(*walk.where, (len(walk.steps) - 1, "extension.url", url)))
    raise NotUnderstoodError(f"where({_text(condition)})")


def _has_extension(condition: Node) -> str:
    """The url of `hasExtension('url')`, or nothing."""
    node = condition
    while node["type"] in ("TermExpression", "InvocationTerm"):
        node = node["children"][0]
    name, parameter = _call(node) if node["type"] == "FunctionInvocation" else ("", None)
    return _string(parameter) if name == "hasExtension" and parameter is not None else ""


def _call(node: Node) -> tuple[str, Node | None]:
    """Name and only parameter of a FunctionInvocation."""
    parts = node["children"][0]["children"]
    parameters = parts[1]["children"] if len(parts) > 1 else []
    if len(parameters) > 1:
        raise NotUnderstoodError(f"function `{_text(parts[0])}` with {len(parameters)} parameters")
    return _text(parts[0]), parameters[0] if parameters else None


def _identifier(node: Node) -> str:
    return _text(node["children"][0])


def _string(node: Node) -> str:
    text = _text(node)
    if len(text) < 2 or text[0] != "'" or text[-1] != "'" or "\\" in text:
        raise NotUnderstoodError(f"`{text}` where a plain string literal is expected")
    return text[1:-1]


def _text(node: Node) -> str:
    """The source text of a node, without its white space."""
    own = node.get("text")
    if own is not None:
        return str(own)
    children = node.get("children", ())
    if len(children) == 1 and not node.get("terminalNodeText"):
        return _text(children[0])
    if node["type"] == "Functn":
        return _text(children[0]) + "(" + "".join(map(_text, children[1:])) + ")"
    if node["type"] in ("FunctionInvocation", "ParamList"):
        return ",".join(map(_text, children))
    return "".join(map(_text, children)) or "".join(node.get("terminalNodeText") or ())
