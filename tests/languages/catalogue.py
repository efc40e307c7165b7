"""The messages of the pages, taken from the templates and the code: `python -m tests.languages.catalogue`.

It writes `portal/messages/pages.pot`, from which a new language begins, and brings the catalogues beside it up to date:
what is new stands there without a translation, which a test finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

PORTAL: Final = Path(__file__).resolve().parents[2] / "portal"
MESSAGES: Final = PORTAL / "messages"
TEMPLATE: Final = MESSAGES / "pages.pot"
_METHODS: Final = [("templates/**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
_OPTIONS: Final = {"templates/**.html": {"trimmed": "true", "trim_blocks": "true", "lstrip_blocks": "true"}}
_KEYWORDS: Final = {"_": None, "gettext": None, "ngettext": (1, 2), "say": None}
_WIDTH: Final = 120


def extracted() -> Catalog:
    """Every message that a page can show."""
    found = Catalog(project="Assent", charset="utf-8", fuzzy=False)
    for file, _, message, _, _ in extract_from_dir(PORTAL, _METHODS, _OPTIONS, keywords=_KEYWORDS):
        found.add(message, locations=[(f"portal/{file}", 0)])
    return found


def translated() -> Iterator[tuple[Path, Catalog]]:
    """The catalogues that come with Assent."""
    for file in sorted(MESSAGES.glob("pages.*.po")):
        yield file, read_po(file.read_text(encoding="utf-8").splitlines(keepends=True), abort_invalid=True)


def written(catalogue: Catalog) -> bytes:
    """A catalogue as it stands in its file: without dates and line numbers, which change when nothing has."""
    content = BytesIO()
    write_po(
        content, catalogue, width=_WIDTH, omit_header=True, sort_output=True, ignore_obsolete=True, include_lineno=False
    )
    return _header(catalogue).encode() + content.getvalue()


def _header(catalogue: Catalog) -> str:
    lines = ["Content-Type: text/plain; charset=utf-8"]
    if catalogue.locale_identifier is not None:
        lines += [f"Language: {catalogue.locale_identifier}", f"Plural-Forms: {catalogue.plural_forms}"]
    return "\n".join(['msgid ""', 'msgstr ""', *(f'"{line}\\n"' for line in lines), "", ""])


def main() -> None:
    """Write the template, and bring every catalogue up to date."""
    now = extracted()
    TEMPLATE.write_bytes(written(now))
    for file, catalogue in translated():
        catalogue.update(now, no_fuzzy_matching=True)
        file.write_bytes(written(catalogue))


if __name__ == "__main__":
    main()
