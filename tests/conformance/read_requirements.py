"""The requirements of SMART App Launch 2.2 on a server, in our words, one file for each page of the specification.

A file holds `page`, `title` and `sections`: anchor → id → requirement. A requirement has a `verb` and a `text`, and
where it binds under a condition only: `when` (in words) or `capability` (one that the server would have to announce).
Whatever isn't simply required has a `decision` with its `why`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assent.read_yaml import read_yaml

FOLDER: Final = Path(__file__).with_name("requirements")
SPECIFICATION: Final = "https://hl7.org/fhir/smart-app-launch/STU2.2/"
VERBS: Final = ("SHALL", "SHALL NOT", "SHOULD", "SHOULD NOT", "MAY", "DEPRECATED")
DECISIONS: Final = ("supported", "not offered", "does not apply")
_PAGE: Final = frozenset({"page", "title", "sections"})
_REQUIREMENT: Final = frozenset({"verb", "text", "when", "capability", "decision", "why"})


class BrokenRequirements(ValueError):
    """A file isn't shaped as the docstring says."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement."""

    id: int
    verb: str
    anchor: str
    text: str
    when: str | None = None
    capability: str | None = None
    decision: str | None = None
    why: str | None = None

    @property
    def conditional(self) -> bool:
        """Whether it binds some servers only."""
        return self.when is not None or self.capability is not None

    @property
    def binding(self) -> bool:
        """SHALL or SHALL NOT, without a condition: there is nothing to decide."""
        return self.verb.startswith("SHALL") and not self.conditional


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the specification."""

    file: str
    title: str
    requirements: tuple[Requirement, ...]


def load_pages(folder: Path = FOLDER) -> tuple[Page, ...]:
    """All pages, in the order of their file names. Raises BrokenRequirements."""
    return tuple(_page(path) for path in sorted(folder.glob("*.yaml")))


def _page(path: Path) -> Page:
    found = read_yaml(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or set(found) != _PAGE:
        raise BrokenRequirements(f"`{path.name}` must have `page`, `title` and `sections`")
    requirements = tuple(_requirements(path.name, found["sections"]))
    return Page(str(found["page"]), str(found["title"]), requirements)


def _requirements(name: str, sections: dict[str, dict[int, dict[str, Any]]]) -> Iterator[Requirement]:
    for anchor, entries in sections.items():
        for number, entry in entries.items():
            unknown = set(entry) - _REQUIREMENT
            if unknown or type(number) is not int or not {"verb", "text"} <= set(entry):
                raise BrokenRequirements(f"requirement `{number}` of `{name}` is malformed: {sorted(unknown)}")
            yield Requirement(number, anchor=anchor, **entry)
