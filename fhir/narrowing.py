"""What the upstream is asked for a search: as little as the decision leaves (docs/leaks.md, narrowing).

It only saves work and keeps data where it is; every resource that comes is decided again on its own content.
"""

from __future__ import annotations

from urllib.parse import urlencode

from fhir.definitions import Definitions
from fhir.search_request import SearchRequest, narrowed
from policies.catalogue import Catalogue
from policies.decide import ReadPlan, open_categories


def upstream_search(search: SearchRequest, plan: ReadPlan, catalogue: Catalogue, definitions: Definitions) -> str:
    """`Type?query`: the search, held to the patient in context and to the categories that are open."""
    kind = search.resource_type
    known = definitions.search_parameters(kind)
    owner = "_id" if kind == "Patient" else "patient" if "patient" in known else None
    if kind in {s.resource_type for c in catalogue.categories.values() if c.always for s in c.scopes}:
        owner = None
    return f"{kind}?{urlencode(narrowed(search, plan.patient, owner, category_bound(kind, plan, catalogue)))}"


def category_bound(kind: str, plan: ReadPlan, catalogue: Catalogue) -> list[str]:
    """Values of `category` outside of which nothing of this type is open; empty when there is no such bound."""
    opened = {c.code for c in open_categories(plan.consents, plan.circumstances, catalogue)}
    bound: list[str] = []
    for category, scope in catalogue.scopes_by_type.get(kind, ()):
        if category.code not in opened:
            continue
        values = [value for name, value in scope.parameters if name == "category"]
        if not values:
            return []
        bound.extend(values[0].split(","))
    return bound
