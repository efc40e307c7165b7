"""What the upstream is asked for a search: as little as the decision leaves (docs/leaks.md, narrowing).

It only saves work and keeps data where it is; every resource that comes is decided again on its own content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from fhir.proxy.search_request import SearchRequest, narrowed
from fhir.r4.definitions import Definitions
from policies.catalogue import Catalogue
from policies.decide import ReadPlan
from policies.open_categories import open_categories

_PATIENT: Final = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")


def upstream_search(search: SearchRequest, plan: ReadPlan, catalogue: Catalogue, definitions: Definitions) -> str:
    """`Type?query`: the search, held to the patients of the plan and to the categories that are open."""
    kind = search.resource_type
    known = definitions.search_parameters(kind)
    owner = "_id" if kind == "Patient" else "patient" if "patient" in known else None
    if is_about_nobody(kind, catalogue) or _asks_for_origins(search):
        owner = None
    return f"{kind}?{urlencode(narrowed(search, sorted(plan.shares), owner, category_bound(kind, plan, catalogue)))}"


def _asks_for_origins(search: SearchRequest) -> bool:
    """Whether it looks for certain Provenances: they need to name no patient by whom they could be found."""
    return search.resource_type == "Provenance" and any(name in ("_id", "target") for name, _ in search.criteria)


def is_about_nobody(kind: str, catalogue: Catalogue) -> bool:
    """Whether resources of the type belong to no patient: providers, places, products."""
    return any(category.always for category, _ in catalogue.scopes_by_type.get(kind, ()))


def opened(plan: ReadPlan, kind: str, catalogue: Catalogue) -> Mapping[str, frozenset[str]]:
    """Of the patients of whom something of this type is open, the codes of the categories in which it is."""
    found = plan.opened.get(kind)
    if found is None:
        among = dict.fromkeys(category for category, _ in catalogue.scopes_by_type.get(kind, ()))
        by_patient = {
            patient: frozenset(c.code for c in open_categories(share.consents, share.circumstances, catalogue, among))
            for patient, share in plan.shares.items()
        }
        found = {patient: codes for patient, codes in by_patient.items() if codes}
        if kind in catalogue.scopes_by_type:
            # INVARIANT: only the catalogue's types are kept, so that hostile input can't grow this
            plan.opened[kind] = found
    return found


def opening(plan: ReadPlan, kind: str, catalogue: Catalogue) -> ReadPlan:
    """The plan for a search of this type: of patients who open nothing of it, nothing is asked for.

    Else it would be looked for page by page, and where that ends tells how much there is (L04).
    """
    shares = {patient: plan.shares[patient] for patient in opened(plan, kind, catalogue)}
    return plan if len(shares) == len(plan.shares) else plan.sharing(shares)


def category_bound(kind: str, plan: ReadPlan, catalogue: Catalogue) -> list[str]:
    """Values of `category` outside of which nothing of this type is open; empty when there is no such bound."""
    pairs = catalogue.scopes_by_type.get(kind, ())
    found = frozenset[str]().union(*opened(plan, kind, catalogue).values())
    bound: list[str] = []
    for category, scope in pairs:
        if category.code not in found:
            continue
        values = [value for name, value in scope.parameters if name == "category"]
        if not values:
            return []
        bound.extend(values[0].split(","))
    return bound


def named_patients(search: SearchRequest) -> tuple[str, ...] | None:
    """Ids of the patients to whom the search holds itself; None when it names none."""
    names = ("_id",) if search.resource_type == "Patient" else ("patient", "subject")
    for name, value in search.criteria:
        found = [_PATIENT.fullmatch(part) for part in value.split(",")] if name in names else []
        if found and all(found):
            return tuple(dict.fromkeys(match[1] for match in found if match is not None))
    return None
