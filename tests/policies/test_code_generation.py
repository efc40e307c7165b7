"""What the committed code sets are made from: choices, checked against releases and check digits."""

from __future__ import annotations

import json

import pytest

from policies.code_sets import read_code_sets
from policies.codes import LOINC_SYSTEM, SNOMED_SYSTEM
from policies.data.generate import (
    CHOICES,
    OUTPUT,
    NotInReleaseError,
    is_loinc_number,
    is_snomed_identifier,
    listed_sets,
    render,
    titled_sets,
    without_covered,
)

RELEASE = {
    "B20": "Human immunodeficiency virus [HIV] disease",
    "T39.1": "Poisoning by 4-Aminophenol derivatives",
    "T39.1X2": "Poisoning by 4-Aminophenol derivatives, intentional self-harm",
    "Z83.0": "Family history of HIV disease",
    "Z83.1": "Family history of other diseases",
}


def _chosen(codes: str, *titles: dict[str, object]) -> list[str]:
    choices = {"by_title": {"icd": {"hiv": {"codes": codes, "titles": list(titles)}}}}
    (made,) = titled_sets(choices, "icd", "http://hl7.org/fhir/sid/icd-10-cm", RELEASE)
    return list(made["codes"])


@pytest.mark.parametrize("code", ["86406008", "77386006", "428171000124102", "731000124108"])
def test_a_snomed_identifier_has_its_check_digit(code: str) -> None:
    assert is_snomed_identifier(code)
    assert not is_snomed_identifier(code[:-1] + str((int(code[-1]) + 1) % 10))


@pytest.mark.parametrize("code", ["20447-9", "44249-1", "5292-8", "2345-7"])
def test_a_loinc_number_has_its_check_digit(code: str) -> None:
    assert is_loinc_number(code)
    assert not is_loinc_number(code[:-1] + str((int(code[-1]) + 1) % 10))


@pytest.mark.parametrize("code", ["", "12345", "x86406008", "86406008 ", "²34567"])
def test_what_is_no_number_is_no_code(code: str) -> None:
    assert not is_snomed_identifier(code)
    assert not is_loinc_number(f"{code}-x")


def test_a_block_takes_in_what_is_below_it() -> None:
    assert without_covered(["B20*", "B20.1", "B20.1*", "B2", "C1", "C1*"]) == ["B2", "B20*", "C1*"]


def test_a_title_chooses_its_code_and_all_below() -> None:
    assert _chosen("B20", {"pattern": "self-harm"}) == ["B20", "T39.1X2*"]
    assert _chosen("B20", {"pattern": "HIV", "except": "family"}) == ["B20*"]
    assert _chosen("B20", {"pattern": "HIV", "within": ["Z"]}) == ["B20", "Z83.0*"]


@pytest.mark.parametrize(
    ("codes", "error"),
    [("B99", "`B99` isn't in this release"), ("T39.1", "`T39.1` has codes below it"), ("T39", "write `T39*`")],
)
def test_a_code_that_the_release_does_not_have_is_refused(codes: str, error: str) -> None:
    with pytest.raises(NotInReleaseError, match=error.replace("*", r"\*")):
        _chosen(codes)


@pytest.mark.parametrize(("system", "code"), [(SNOMED_SYSTEM, "86406009"), (LOINC_SYSTEM, "20447-8")])
def test_a_wrong_check_digit_is_refused(system: str, code: str) -> None:
    choices = {"sets": [{"sensitivity": "hiv", "system": system, "source": "x", "codes": code}]}
    with pytest.raises(NotInReleaseError, match="its check digit is wrong"):
        list(listed_sets(choices, []))


def test_the_committed_sets_are_made_from_the_committed_choices() -> None:
    """Without the releases, as far as that goes: all that is chosen by name is there, from the sources named."""
    choices, made = json.loads(CHOICES.read_text()), json.loads(OUTPUT.read_text())
    assert made["sources"] == choices["sources"]
    assert OUTPUT.read_text() == render(made["sources"], made["sets"])
    by_title = [item for item in made["sets"] if item["source"] in choices["by_title"]]
    assert made["sets"] == [*by_title, *listed_sets(choices, by_title)]
    sets = read_code_sets("assent.json", made, {item["sensitivity"] for item in made["sets"]})
    for item in by_title:
        chosen = choices["by_title"][item["source"]][item["sensitivity"]].get("codes", "").split()
        covered = without_covered([*item["codes"], *chosen])
        assert covered == item["codes"]
    assert len({(s.sensitivity, s.system, s.source) for s in sets}) == len(sets)


def test_the_committed_sets_hold_codes_and_no_words() -> None:
    made = json.loads(OUTPUT.read_text())
    codes = [code for item in made["sets"] for code in item["codes"]]
    assert len(codes) > 3_000
    assert [code for code in codes if len(code) > 18 or " " in code] == []
    assert OUTPUT.stat().st_size < 200_000
