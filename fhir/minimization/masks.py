"""The masks of a catalogue, compiled against R4 and kept: one per (profile of masks, resource type)."""

from __future__ import annotations

from fhir.minimization.mask_plan import MaskCompiler, MaskError, MaskNode
from fhir.r4.definitions import Definitions, json_members
from policies.catalogue import Catalogue
from policies.search_guard import is_visible


class Masks:
    """Compiles everything at once, so that a wrong allow-list stops the start. Raises mask_plan.MaskError."""

    def __init__(self, catalogue: Catalogue, definitions: Definitions) -> None:
        self._catalogue = catalogue
        self._definitions = definitions
        _check_types(catalogue, definitions)
        self._nodes: dict[tuple[str, str], MaskNode] = {}
        self._members: dict[tuple[str, str], frozenset[str]] = {}
        for profile, types in catalogue.masks.items():
            whole = profile in catalogue.whole_elements
            compiler = MaskCompiler(definitions, catalogue.extensions[profile], whole=whole)
            for resource_type, allowed in types.items():
                self._nodes[profile, resource_type] = compiler.compile(resource_type, allowed)
                urls = {f"extension({url})" for url in catalogue.extensions[profile]}
                self._members[profile, resource_type] = self._as_members(resource_type, allowed) | urls

    def node(self, purpose: str, resource_type: str) -> MaskNode | None:
        """The compiled mask; None when nothing of the type may be seen for this purpose."""
        known = self._catalogue.purposes.get(purpose)
        return None if known is None else self._nodes.get((known.mask, resource_type))

    def visible(self, purpose: str, resource_type: str, path: str) -> bool:
        """Whether a JSON member path (`valueQuantity`, `name.family`, `extension(http://…)`) lies within the mask."""
        known = self._catalogue.purposes.get(purpose)
        allowed = None if known is None else self._members.get((known.mask, resource_type))
        return allowed is not None and is_visible(allowed, path)

    def _as_members(self, resource_type: str, allowed: frozenset[str]) -> frozenset[str]:
        children = self._definitions.children(resource_type, "")
        found = {"id", "meta.lastUpdated", "meta.profile"}
        for entry in allowed:
            if entry.endswith("[x]") and entry in children:
                found |= {member for member, _ in json_members(entry, children[entry])}
            else:
                found.add(entry)
        return frozenset(found)


def _check_types(catalogue: Catalogue, definitions: Definitions) -> None:
    """A type that isn't of R4, or that no mask shows, would be asked for on the consent page and never be seen."""
    shown = frozenset().union(*catalogue.masks.values())
    for category in catalogue.categories.values():
        for resource_type in sorted({scope.resource_type for scope in category.scopes}):
            if resource_type not in definitions.resource_types:
                raise MaskError(f"categories.{category.code}: R4 has no resource type `{resource_type}`")
            if resource_type not in shown:
                raise MaskError(
                    f"categories.{category.code}: no mask of `masks.yaml` names `{resource_type}`, "
                    "so nothing of it could be seen"
                )


def restricted(
    node: MaskNode, elements: frozenset[str] | None, definitions: Definitions, resource_type: str
) -> MaskNode:
    """The mask held to the elements that the app asked for; required elements stay (FHIR R4 §3.1.1.5.9)."""
    if elements is None:
        return node
    wanted = {"resourceType", "id", "meta", "contained"}
    for name, element in definitions.children(resource_type, "").items():
        if name in elements or element.min > 0:
            for member, _ in json_members(name, element):
                wanted |= {member, "_" + member}
    kept = {name: inside for name, inside in node.members.items() if name in wanted}
    stand_ins = {name: value for name, value in node.stand_ins.items() if name in elements}
    return MaskNode(kept, replacements=node.replacements, stand_ins=stand_ins)
