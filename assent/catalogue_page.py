"""The catalogue as a page (Markdown): what people are asked, what is sensitive, who may see which elements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from policies.catalogue import Catalogue, Category
from policies.code_sets import Source
from policies.codes import ACT_CODE_SYSTEM
from policies.model import Coding, Scope

_HEAD = """# The catalogue

Data categories, sensitivities, purposes and masks of catalogue {version}, as `assent policy docs` prints them.
[labels.md](labels.md) says how sensitive data is recognised, [masks.md](masks.md) what a mask does."""


def catalogue_page(catalogue: Catalogue) -> str:
    """The whole page."""
    sections = (
        [_HEAD.format(version=catalogue.version)],
        _categories("Everyday categories", [c for c in catalogue.everyday if not c.part_of]),
        _parts(catalogue),
        _sensitive(catalogue),
        _categories("Never asked about", [c for c in catalogue.categories.values() if c.always]),
        _sources(catalogue),
        _purposes(catalogue),
        _masks(catalogue),
    )
    return "\n\n".join(text for section in sections if (text := "\n".join(section))) + "\n"


def _categories(heading: str, categories: Iterable[Category]) -> Iterator[str]:
    yield from _table(
        f"## {heading}",
        ("code", "title", "what it means", "what belongs to it"),
        ((f"`{c.code}`", c.title, c.description, ", ".join(map(_scope, c.scopes))) for c in categories),
    )


def _parts(catalogue: Catalogue) -> Iterator[str]:
    """For who shares not all of a category."""
    parts = [c for c in catalogue.everyday if c.part_of]
    if not parts:
        return
    yield from _table(
        "## Parts of everyday categories",
        ("code", "part of", "title", "what it means", "what belongs to it"),
        ((f"`{c.code}`", f"`{c.part_of}`", c.title, c.description, ", ".join(map(_scope, c.scopes))) for c in parts),
    )


def _sensitive(catalogue: Catalogue) -> Iterator[str]:
    yield from _table(
        "## Sensitive categories",
        ("code", "title", "what it means", "security labels", "in an emergency"),
        (
            (
                f"`{c.code}`",
                c.title,
                c.description,
                _labels(c.labels),
                "open" if c.emergency else "closed",
            )
            for c in catalogue.sensitive
        ),
    )
    yield ""
    yield f"Labels that say nothing about it: {_labels(catalogue.harmless_labels)}."


def _sources(catalogue: Catalogue) -> Iterator[str]:
    """Each source once, with how many codes of each sensitive category come from it."""
    counts: dict[Source, dict[str, int]] = {source: {} for source in catalogue.label_sources}
    for code_set in catalogue.code_sets:
        found = counts.setdefault(code_set.source, {})
        found[code_set.sensitivity] = found.get(code_set.sensitivity, 0) + len(code_set.codes)
    yield from _table(
        "## Where labels and codes come from",
        ("source", "publisher", "version", "licence", "codes and blocks"),
        (
            (
                s.name,
                s.publisher,
                s.version,
                s.licence,
                ", ".join(f"{n} {code}" for code, n in found.items()) or "labels",
            )
            for s, found in counts.items()
        ),
    )


def _purposes(catalogue: Catalogue) -> Iterator[str]:
    yield from _table(
        "## Purposes of use",
        ("code", "title", "mask"),
        ((f"`{p.code}`", p.title, f"`{p.mask}`") for p in catalogue.purposes.values()),
    )


def _masks(catalogue: Catalogue) -> Iterator[str]:
    for profile, types in catalogue.masks.items():
        yield from _table(
            f"## Mask `{profile}`",
            ("type", "elements that stay"),
            ((kind, ", ".join(f"`{path}`" for path in sorted(types[kind]))) for kind in sorted(types)),
        )
        where = "of the resource itself" if profile in catalogue.whole_elements else "at any depth"
        yield from ("", f"Extensions {where} that stay:", "")
        yield from (f"- `{url}`" for url in sorted(catalogue.extensions[profile]))
        yield ""
    yield "## In every mask"
    yield ""
    yield f"- Contained resources that stay: {', '.join(sorted(catalogue.contained))}."
    yield f"- References that keep their display: to {', '.join(sorted(catalogue.named_references))}."


def _table(heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from (heading, "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}")
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _scope(scope: Scope) -> str:
    conditions = " ".join(f"{name}={value.rpartition('|')[2]}" for name, value in scope.parameters)
    return f"{scope.resource_type} ({conditions})" if conditions else scope.resource_type


def _labels(labels: Iterable[Coding]) -> str:
    return ", ".join(sorted(map(_label, labels)))


def _label(label: Coding) -> str:
    return label.code if label.system == ACT_CODE_SYSTEM else f"{label.system.rpartition('/')[2]} {label.code}"
