"""Whether a narrative is what R4 lets one be: XHTML that formats and does nothing (FHIR R4 §2.4, txt-1 and txt-2).

Whoever shows a narrative shows it as it stands. So what could run, load or lead astray is no narrative.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

XHTML: Final = "http://www.w3.org/1999/xhtml"
# fmt: off
_ELEMENTS: Final = frozenset({
    "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "dfn",
    "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "q", "samp",
    "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var",
})
_ATTRIBUTES: Final = frozenset({
    "abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding", "cellspacing",
    "cellvalign", "char", "charoff", "charset", "cite", "class", "colspan", "compact", "coords", "dir", "frame",
    "headers", "height", "href", "hreflang", "hspace", "id", "lang", "longdesc", "name", "nowrap", "rel", "rev",
    "rowspan", "rules", "scope", "shape", "span", "src", "start", "style", "summary", "tabindex", "title", "type",
    "valign", "value", "vspace", "width", "xml:lang", "xmlns",
})
# fmt: on
_ADDRESSES: Final = ("href", "src", "cite", "longdesc")
_LEADS_OUT: Final = re.compile(r"(https?:|mailto:|tel:|#|data:image/(png|jpeg|gif);)", re.ASCII | re.IGNORECASE)


class _NoNarrative(ValueError):
    """Something in it isn't allowed."""


def is_narrative(div: object) -> bool:
    """Whether the text of `Narrative.div` may be kept."""
    if not isinstance(div, str):
        return False
    parser = expat.ParserCreate()
    names: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        root_fits = bool(names) or (name == "div" and attributes.get("xmlns") == XHTML)
        if not root_fits or name not in _ELEMENTS or not all(_is_allowed(*pair) for pair in attributes.items()):
            raise _NoNarrative
        names.append(name)

    def refuse(*_: object) -> None:
        raise _NoNarrative

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    parser.ProcessingInstructionHandler = refuse
    # Read as HTML, both end elsewhere than they do in XML, and what stands in them comes to life.
    parser.CommentHandler = refuse
    parser.StartCdataSectionHandler = refuse
    try:
        parser.Parse(div, True)
    except (expat.ExpatError, ValueError):
        return False
    return True


def _is_allowed(name: str, value: str) -> bool:
    if name == "xmlns":
        return value == XHTML
    if name in _ADDRESSES:
        return _LEADS_OUT.match(value) is not None
    return name in _ATTRIBUTES and not (name == "style" and _loads(value))


def _loads(style: str) -> bool:
    return "(" in style or "\\" in style or "@" in style
