"""The high-water mark of confidentiality, where several labels meet or one isn't known."""

from __future__ import annotations

import pytest

from policies.codes import CONFIDENTIALITY_SYSTEM
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
