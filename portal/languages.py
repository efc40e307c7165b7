"""The languages that the pages speak, and which of them a visitor gets.

English is what the templates are written in and what stands in for anything that another language lacks. A visitor
gets the language that they chose (a cookie), else the first that their browser asks for and the pages speak (RFC 9110
§12.5.4, with the lookup of RFC 4647 §3.4: `es-MX` is content with `es`), else English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from gettext import NullTranslations
from io import BytesIO
from typing import Final

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.support import Translations
from fastapi import Request

from fhir.consents.writing import PolicyText
from policies.catalogue import Catalogue

ENGLISH: Final = "en"
TAG: Final = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-[A-Z]{2})?")
"""Tags that a language can be offered under: language, script, region (BCP 47), as they are usually written."""
_ENGLISH_DATES: Final = "en_GB"
"""Locale of English dates: the day before the month spelled out, and 24 hours."""
_LONGEST_HEADER: Final = 500
_WEIGHT: Final = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Language:
    """A language with everything that is said in it."""

    tag: str
    """BCP 47; the `lang` of the page."""
    locale: Locale
    messages: NullTranslations
    catalogue: Catalogue
    """The catalogue with its titles in this language where it has them."""
    policy: PolicyText
    """The text that people agree to, in this language if there is one, else in English."""

    @property
    def name(self) -> str:
        """What the language calls itself."""
        name = str(Locale.parse(self.tag, sep="-").display_name)
        return name[:1].upper() + name[1:]

    @property
    def direction(self) -> str:
        """HTML's `dir`."""
        return "rtl" if self.locale.character_order == "right-to-left" else "ltr"

    def gettext(self, message: str) -> str:
        """The message in this language."""
        return self.messages.gettext(message)

    def ngettext(self, one: str, many: str, number: int) -> str:
        """The form that this language uses for so many."""
        return self.messages.ngettext(one, many, number)


def language(tag: str, pages: Catalog | None, catalogue: Catalogue, policy: PolicyText) -> Language:
    """Put a language together; `pages` translates the pages' texts, and None leaves them English.

    Raises babel.UnknownLocaleError for a tag that has no locale data.
    """
    locale = Locale.parse(_ENGLISH_DATES if tag == ENGLISH else tag, sep="_" if tag == ENGLISH else "-")
    return Language(tag, locale, NullTranslations() if pages is None else _compiled(pages), catalogue, policy)


def _compiled(pages: Catalog) -> NullTranslations:
    """The catalogue as gettext reads it; made at start, so that no compiled file can be older than its source."""
    content = BytesIO()
    write_mo(content, pages)
    content.seek(0)
    return Translations(content)


@dataclass(frozen=True, slots=True)
class Languages:
    """Every language that is spoken, by tag; INVARIANT: English is the first."""

    by_tag: Mapping[str, Language]

    @property
    def english(self) -> Language:
        """The language of whoever asks for none."""
        return self.by_tag[ENGLISH]

    @property
    def texts(self) -> Mapping[str, PolicyText]:
        """The texts that people can be shown now, by hash."""
        return {spoken.policy.sha256: spoken.policy for spoken in self.by_tag.values()}

    def of(self, request: Request, cookie: str) -> Language:
        """The visitor's. `cookie` names the one that holds their choice."""
        chosen = self.by_tag.get(request.cookies.get(cookie, ""))
        return chosen or self.accepted(request.headers.get("accept-language", ""))

    def accepted(self, header: str) -> Language:
        """The best for an `Accept-Language` header."""
        for wanted in _by_weight(header[:_LONGEST_HEADER]):
            for tag in _broader(wanted):
                if tag in (known := {each.casefold(): each for each in self.by_tag}):
                    return self.by_tag[known[tag]]
        return self.english


def _by_weight(header: str) -> Sequence[str]:
    """The language ranges that are asked for, best first, in lower case; what can't be read is left out."""
    found: list[tuple[float, str]] = []
    for part in header.split(","):
        tag, semicolon, weight = part.partition(";")
        read = _WEIGHT.fullmatch(weight) if semicolon else None
        if semicolon and read is None:
            continue
        quality = float(read[1]) if read is not None else 1.0
        if quality > 0:
            found.append((quality, tag.strip().casefold()))
    return [tag for _, tag in sorted(found, key=lambda pair: -pair[0])]


def _broader(tag: str) -> Sequence[str]:
    """`zh-hant-tw`, `zh-hant`, `zh`."""
    parts = tag.split("-")
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
