"""Which purposes of use a named one covers: v3-PurposeOfUse, HL7 Terminology 7.0.1 (CC0).

Break-glass (BTG) stands below emergency treatment. Only an explicit BTG permits it: whoever consents to treatment
hasn't consented to have the glass broken. But whoever denies treatment has denied that too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from policies.codes import ACT_REASON_SYSTEM
from policies.model import Coding

BREAK_GLASS: Final = "BTG"
BREAK_GLASS_CODING: Final = Coding(ACT_REASON_SYSTEM, BREAK_GLASS)

_ROOT: Final = "PurposeOfUse"
_BELOW: Final = {
    _ROOT: "HMARKT HOPERAT HPAYMT HRESCH PATRQT PUBHLTH TREAT",
    "HOPERAT": (
        "CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN MEMADMIN"
        " MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN MLTRAINING"
    ),
    "HSYSADMIN": "LABELING METAMGT",
    "SYSDEV": "HTEST",
    "HPAYMT": "CLMATTCH COVAUTH COVERAGE REMITADV PMTDS",
    "COVERAGE": "ELIGDTRM ELIGVER ENROLLM MILDCRG",
    "HRESCH": "BIORCH CLINTRCH DSRCH POARCH TRANSRCH",
    "CLINTRCH": "CLINTRCHNPC CLINTRCHPC PRECLINTRCH",
    "PATRQT": "FAMRQT PWATRNY SUPNWK",
    "PUBHLTH": "DISASTER THREAT",
    "TREAT": "CLINTRL COC ETREAT POPHLTH TREATDS",
    "ETREAT": "BTG ERTREAT",
}
_PARENT: Final = {child: parent for parent, children in _BELOW.items() for child in children.split()}
PURPOSES_OF_USE: Final = frozenset({_ROOT, *_PARENT})
"""Every code of v3-PurposeOfUse."""


@lru_cache(maxsize=1_000)
def covering(asked: str, *, permit: bool) -> frozenset[Coding]:
    """The purposes that cover the one asked for, in a permit or in a deny: itself and all above it.

    `asked` is a code of v3-PurposeOfUse, or `system|code` for a purpose from elsewhere, which only itself covers.
    """
    system, bar, code = asked.rpartition("|")
    if bar and system != ACT_REASON_SYSTEM:
        return frozenset({Coding(system, code)})
    found = [code]
    while not (permit and code == BREAK_GLASS) and (parent := _PARENT.get(code)) is not None:
        found.append(code := parent)
    return frozenset(Coding(ACT_REASON_SYSTEM, code) for code in found)
