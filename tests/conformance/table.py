"""docs/conformance/smart-2.2.md, made from the requirements and the marks: `python -m tests.conformance.table`."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.conformance.collect import ROOT, Proof, collect
from tests.conformance.read_requirements import SPECIFICATION, VERBS, Page, Requirement, load_pages

DOCUMENT: Final = ROOT / "docs" / "conformance" / "smart-2.2.md"
STATUSES: Final = ("tested", "decided", "not yet")
_INTRODUCTION: Final = f"""# SMART App Launch 2.2

What [SMART App Launch 2.2]({SPECIFICATION}) asks of a server,
and how Assent stands to it. The texts are short for what the specification says; the id is the requirement's number in
HL7's list of requirements.

`tested`: the tests named prove it. `decided`: it is optional or binds under a condition only, and Assent doesn't offer
it; the reason stands below the text. `not yet`: no test proves it, whether it works or not.

This page is written by `python -m tests.conformance.table` from `tests/conformance/requirements/` and the tests' marks
`@pytest.mark.smart(…)`; a test keeps it true.
"""


def document(pages: Sequence[Page], proofs: Sequence[Proof]) -> str:
    """The whole page."""
    by_id = _by_requirement(proofs)
    parts = [_INTRODUCTION, _counts(pages, by_id)]
    parts += [_table(page, by_id) for page in pages]
    return "\n".join(parts)


def status_of(requirement: Requirement, proofs: Sequence[Proof]) -> str:
    """`decided` wins over `tested`: a test of what isn't offered proves the refusal, not the requirement."""
    if requirement.decision in ("not offered", "does not apply"):
        return "decided"
    return "tested" if proofs else "not yet"


def _by_requirement(proofs: Sequence[Proof]) -> Mapping[int, list[Proof]]:
    found: defaultdict[int, list[Proof]] = defaultdict(list)
    for proof in proofs:
        for number in dict.fromkeys(proof.requirements):
            found[number].append(proof)
    return found


def _counts(pages: Sequence[Page], proofs: Mapping[int, list[Proof]]) -> str:
    found = Counter((r.verb, status_of(r, proofs.get(r.id, ()))) for page in pages for r in page.requirements)
    lines = [f"| | {' | '.join(STATUSES)} | all |", "| --- | ---: | ---: | ---: | ---: |"]
    for verb in VERBS:
        each = [found[verb, status] for status in STATUSES]
        lines.append(f"| {verb} | {' | '.join(map(str, each))} | {sum(each)} |")
    each = [sum(found[verb, status] for verb in VERBS) for status in STATUSES]
    lines.append(f"| all | {' | '.join(map(str, each))} | {sum(each)} |")
    return "\n".join([*lines, ""])


def _table(page: Page, proofs: Mapping[int, list[Proof]]) -> str:
    lines = [f"## {page.title}", "", "| id | | requirement | test | status |", "| ---: | --- | --- | --- | --- |"]
    lines += [_row(page, requirement, proofs.get(requirement.id, ())) for requirement in page.requirements]
    return "\n".join([*lines, ""])


def _row(page: Page, requirement: Requirement, proofs: Sequence[Proof]) -> str:
    link = f"[{requirement.id}]({SPECIFICATION}{page.file}#{requirement.anchor})"
    tests = "<br>".join(_links(proofs))
    text = "<br>".join(_lines(requirement)).replace("|", "\\|")
    return f"| {link} | {requirement.verb} | {text} | {tests} | {status_of(requirement, proofs)} |"


def _lines(requirement: Requirement) -> Iterator[str]:
    yield requirement.text
    if requirement.capability is not None:
        yield f"*Where `{requirement.capability}` is announced.*"
    if requirement.when is not None:
        yield f"*Where {requirement.when}.*"
    if requirement.decision is not None:
        yield f"**{requirement.decision.capitalize()}**: {requirement.why}"


def _links(proofs: Sequence[Proof]) -> Iterator[str]:
    for proof in proofs:
        yield f"[{proof.name}]({os.path.relpath(ROOT / proof.file, DOCUMENT.parent)})"


def main() -> None:
    """Write the page."""
    DOCUMENT.parent.mkdir(parents=True, exist_ok=True)
    DOCUMENT.write_text(document(load_pages(), collect()), encoding="utf-8")


if __name__ == "__main__":
    main()
