"""The table of conformance says what the tests prove, no more and no less."""

from __future__ import annotations

from collections import Counter

import pytest

from smart.discovery import CAPABILITIES
from tests.conformance.collect import collect, proofs_in
from tests.conformance.read_requirements import DECISIONS, VERBS, Requirement, load_pages
from tests.conformance.table import DOCUMENT, document, status_of

PAGES = load_pages()
REQUIREMENTS = [requirement for page in PAGES for requirement in page.requirements]


def test_the_document_is_what_the_requirements_and_the_marks_say() -> None:
    fresh = document(PAGES, collect())
    assert DOCUMENT.read_text(encoding="utf-8") == fresh, "run `python -m tests.conformance.table`"


def test_every_mark_names_a_requirement_that_exists() -> None:
    known = {requirement.id for requirement in REQUIREMENTS}
    unknown = {f"{p.file}::{p.name}": set(p.requirements) - known for p in collect()}
    assert {test: numbers for test, numbers in unknown.items() if numbers} == {}


def test_every_requirement_stands_once_and_has_a_verb_and_one_line_of_text() -> None:
    assert [number for number, times in Counter(r.id for r in REQUIREMENTS).items() if times > 1] == []
    assert len(REQUIREMENTS) == 265
    for r in REQUIREMENTS:
        assert r.verb in VERBS, r.id
        assert r.text.strip(), r.id
        assert "\n" not in r.text, r.id


def test_whatever_is_optional_or_conditional_is_decided_with_a_reason() -> None:
    for r in REQUIREMENTS:
        if r.verb in ("MAY", "DEPRECATED") or r.conditional:
            assert r.decision is not None, r.id
        if r.decision is not None:
            assert r.decision in DECISIONS, r.id
            assert r.why, r.id


def test_what_every_server_must_do_is_never_decided_away() -> None:
    assert [r.id for r in REQUIREMENTS if r.binding and r.decision not in (None, "supported")] == []


def test_no_capability_is_announced_and_called_not_offered() -> None:
    declined = [r for r in REQUIREMENTS if r.capability is not None and r.decision != "supported"]
    assert [r.id for r in declined if r.capability in CAPABILITIES] == []


def test_what_is_not_offered_stays_decided_even_when_its_refusal_is_tested() -> None:
    (proof,) = proofs_in("@pytest.mark.smart(1)\ndef test_refused(): ...", "tests/test_x.py")
    assert status_of(Requirement(1, "MAY", "x", "text", decision="not offered", why="so"), [proof]) == "decided"
    assert status_of(Requirement(1, "MAY", "x", "text", decision="supported", why="so"), [proof]) == "tested"
    assert status_of(Requirement(1, "MAY", "x", "text", decision="supported", why="so"), []) == "not yet"


@pytest.mark.parametrize("mark", ["", "()", "('14')", "(*NUMBERS)", "(1, why='x')", "(True)"])
def test_a_mark_that_is_not_plain_numbers_is_an_error(mark: str) -> None:
    with pytest.raises(ValueError, match="must"):
        list(proofs_in(f"@pytest.mark.smart{mark}\ndef test_x(): ...", "tests/test_x.py"))
