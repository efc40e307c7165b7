"""Whether a provision's security labels speak of data with these labels.

Confidentiality is a high-water mark. Sensitivities go by tables of what counts as what: one for permits, and a wider
one for denies (docs/consent-semantics.md, "Matching"; codes of v3-ActCode, HL7 Terminology 7.0.1, CC0).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.model import Coding

LEVELS: Final = {"U": 0, "L": 1, "M": 2, "N": 3, "R": 4, "V": 5}
"""v3-Confidentiality, from unrestricted to very restricted."""


def _table(rows: Mapping[str, str]) -> dict[Coding, frozenset[Coding]]:
    return {
        Coding(ACT_CODE_SYSTEM, code): frozenset(Coding(ACT_CODE_SYSTEM, other) for other in (code, *others.split()))
        for code, others in rows.items()
    }


_SAME: Final = {"SCA": "SICKLE", "SICKLE": "SCA", "VIP": "CEL", "CEL": "VIP"}
"""Two codes for one thing: a retired one and its successor, and one defined twice."""
_PERMITTED: Final = _table({"SUD": "ETHUD OPIOIDUD", "ETH": "ETHUD OPIOIDUD", "MH": "PSY"} | _SAME)
_BEHAVIOURAL: Final = "COGN DVD EMOTDIS MH PSY PSYTHPN SUD ETH ETHUD OPIOIDUD"
DENIED: Final = _table(
    {
        # Abuse (ETH) and use disorder (SUD) are two words for what 42 CFR Part 2 protects; data may carry either.
        "SUD": "ETH ETHUD OPIOIDUD",
        "ETH": "SUD ETHUD OPIOIDUD",
        "MH": "PSY PSYTHPN",
        # Editions of v3-ActCode differ in what stands below these two; a deny takes in all of it.
        "BH": _BEHAVIOURAL,
        "SPI": f"BH {_BEHAVIOURAL}",
    }
    | _SAME
)
"""What counts as a label that is denied."""


def confidentiality_of(labels: Iterable[Coding]) -> int:
    """The highest level among the labels, as in `LEVELS`; unlabelled is normal, a code that isn't known the highest."""
    levels = [LEVELS.get(code, LEVELS["V"]) for system, code in labels if system == CONFIDENTIALITY_SYSTEM]
    return max(levels, default=LEVELS["N"])


def permit_reaches(wanted: Iterable[Coding], own: frozenset[Coding]) -> bool:
    """Whether a permit for `wanted` reaches data that itself carries the labels `own`."""
    for label in wanted:
        if label.system == CONFIDENTIALITY_SYSTEM:
            if confidentiality_of(own) <= LEVELS.get(label.code, -1):
                return True
        elif label in own or not own.isdisjoint(_PERMITTED.get(label, ())):
            return True
    return False


def deny_reaches(wanted: Iterable[Coding], labels: frozenset[Coding]) -> bool:
    """Whether a deny of `wanted` reaches data with these labels, its own and those that its codes imply."""
    for label in wanted:
        if label.system == CONFIDENTIALITY_SYSTEM:
            if confidentiality_of(labels) >= LEVELS.get(label.code, -1):
                return True
        elif label in labels or not labels.isdisjoint(DENIED.get(label, ())):
            return True
    return False
