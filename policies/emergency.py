"""What emergency access opens: one more rule beside the patient's consents, for purpose BTG and nothing else.

The rule is the operator's, so it permits what nobody consented to; a deny that reaches break-glass stays above it, as
above every permit (docs/consent-semantics.md). It denies the categories that the catalogue keeps closed: a sensitive
one unless it says `emergency: true`, another one if it says `emergency: false`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from policies.catalogue import Catalogue
from policies.codes import DATA_CATEGORY_SYSTEM
from policies.consent_rule import ConsentRule, Provision
from policies.model import Access, Coding
from policies.purpose_of_use import BREAK_GLASS, BREAK_GLASS_CODING


def breaks_glass(access: Access) -> bool:
    """Whether the access was given to a clinician in an emergency: such a grant, and one patient in context.

    INVARIANT: never a service's own token, whatever purpose its registration names.
    """
    return access.purpose == BREAK_GLASS and bool(access.grant_id) and access.patient is not None


def emergency_rule(patient: str, catalogue: Catalogue) -> ConsentRule:
    """The operator's rule, about one patient."""
    return replace(_rule(catalogue), patient=patient)


@lru_cache(maxsize=8)
def _rule(catalogue: Catalogue) -> ConsentRule:
    closed = tuple(c.code for c in catalogue.closed_in_emergency)
    denies = tuple(
        Provision(f"category/{code}", False, classes=(Coding(DATA_CATEGORY_SYSTEM, code),)) for code in closed
    )
    root = Provision("provision", True, purposes=(BREAK_GLASS_CODING,), provisions=denies)
    return ConsentRule("emergency-access", "", True, "", root, kind="emergency")
