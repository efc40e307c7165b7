"""Step 4 of a request: every parameter held against masks and scopes. Asked by the proxy and by explanations of it."""

from __future__ import annotations

from collections.abc import Sequence

from fhir.minimization.masks import Masks
from fhir.proxy.search_request import MAX_COUNT, SearchRequest, read_search
from fhir.r4.definitions import Definitions
from policies.decide import ReadPlan
from policies.scope_match import names_type


def guard_search(
    kind: str,
    parameters: Sequence[tuple[str, str]],
    plan: ReadPlan,
    masks: Masks,
    definitions: Definitions,
    *,
    base: str,
    max_count: int = MAX_COUNT,
) -> SearchRequest:
    """The search that this plan may ask, below the public FHIR base. Raises SearchRefused and SearchError."""

    def openable(resource_type: str) -> bool:
        named = any(names_type(scope, resource_type) for scope in plan.scopes)
        return named and masks.node(plan.purpose, resource_type) is not None

    def visible(resource_type: str, path: str) -> bool:
        return masks.visible(plan.purpose, resource_type, path)

    return read_search(kind, parameters, definitions, visible, openable, base=base, max_count=max_count)
