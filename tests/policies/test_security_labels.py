"""The high-water mark of confidentiality, where several labels meet or one isn't known."""

from __future__ import annotations

import pytest

from assent.policy_files import load_catalogue
from policies.codes import ACT_CODE_SYSTEM, CONFIDENTIALITY_SYSTEM
from policies.model import Coding
from policies.security_labels import deny_reaches, permit_reaches


def _levels(codes: str) -> frozenset[Coding]:
    return frozenset(Coding(CONFIDENTIALITY_SYSTEM, code) for code in codes)


@pytest.mark.parametrize(
    ("wanted", "labels", "permitted", "denied"),
    [
        ("N", "NR", False, True),
        ("R", "NR", True, True),
        ("NR", "R", True, True),
        ("V", "", True, False),
        ("M", "", False, True),
        ("V", "X", True, True),
        ("R", "X", False, True),
        ("X", "U", False, True),
        ("", "U", False, False),
    ],
)
def test_the_highest_level_of_the_data_counts(wanted: str, labels: str, permitted: bool, denied: bool) -> None:
    assert permit_reaches(_levels(wanted), _levels(labels)) == permitted
    assert deny_reaches(_levels(wanted), _levels(labels)) == denied


# v3-ActCode 9.0.0 (HL7 Terminology 7.0.1, CC0): what stands below _InformationSensitivityPolicy, and below what there.
SENSITIVITIES = {
    *("ADOL", "CEL", "DIA", "DRGIS", "EMP", "PDS", "PHY", "PRS", "VIP", "ETH", "GDIS", "HIV", "IDS", "MST", "PREGNANT"),
    *("SCA", "SDV", "SEX", "SICKLE", "SPI", "BH", "COGN", "DVD", "EMOTDIS", "MH", "PSY", "PSYTHPN", "SUD", "ETHUD"),
    *("OPIOIDUD", "STD", "TBOO", "VIO", "DEMO", "DOB", "GENDER", "LIVARG", "MARST", "PATLOC", "RACE", "REL", "B"),
    *("EMPL", "LOCIS", "SSP"),
}
BELOW = {
    "SPI": ("BH", "MH", "PSY", "PSYTHPN", "SUD", "COGN", "DVD", "EMOTDIS", "ETHUD", "OPIOIDUD"),
    "BH": ("COGN", "DVD", "EMOTDIS"),
    "SUD": ("ETHUD", "OPIOIDUD"),
}
# R4's own edition of v3-ActCode has more below behavioural health.
BELOW_IN_R4 = {"BH": ("MH", "PSY", "PSYTHPN", "SUD", "ETHUD", "OPIOIDUD")}
# Two words for one thing: abuse and use disorder, a retired code and its successor, a code defined twice.
ALIKE = (("SUD", "ETH"), ("SCA", "SICKLE"), ("VIP", "CEL"))


def _code(code: str) -> frozenset[Coding]:
    return frozenset({Coding(ACT_CODE_SYSTEM, code)})


@pytest.mark.parametrize(
    ("wanted", "label"),
    [
        *((code, code) for code in sorted(SENSITIVITIES)),
        *((above, code) for table in (BELOW, BELOW_IN_R4) for above, codes in table.items() for code in codes),
        *ALIKE,
        *(pair[::-1] for pair in ALIKE),
    ],
)
def test_a_deny_reaches_all_that_v3_actcode_puts_below(wanted: str, label: str) -> None:
    assert deny_reaches(_code(wanted), _code(label))


@pytest.mark.parametrize(
    ("wanted", "label"),
    [
        ("COGN", "BH"),
        ("PSY", "MH"),
        ("ETHUD", "OPIOIDUD"),
        ("BH", "HIV"),
        ("SEX", "STD"),
        ("STD", "HIV"),
        ("SDV", "VIO"),
    ],
)
def test_a_label_reaches_neither_above_nor_beside(wanted: str, label: str) -> None:
    assert not deny_reaches(_code(wanted), _code(label))
    assert not permit_reaches(_code(wanted), _code(label))


@pytest.mark.parametrize("above", ["BH", "SPI", "SUD"])
def test_a_permit_reaches_less_than_a_deny(above: str) -> None:
    reached = {code for code in SENSITIVITIES if permit_reaches(_code(above), _code(code))}
    assert reached < {code for code in SENSITIVITIES if deny_reaches(_code(above), _code(code))}


def test_every_act_code_label_of_the_catalogue_is_a_sensitivity_of_v3_actcode() -> None:
    named = {x.code for c in load_catalogue().sensitive for x in c.labels if x.system == ACT_CODE_SYSTEM}
    assert named <= SENSITIVITIES
