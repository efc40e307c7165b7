"""An HTML page as a browser without scripts, or a screen reader, takes it: labelled fields, forms, links, sections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

HEADINGS = ("h1", "h2", "h3", "h4")


@dataclass(slots=True)
class Control:
    """An input, a select or a button; `label` is what a person finds it by."""

    kind: str
    name: str
    value: str
    checked: bool = False
    disabled: bool = False
    id: str = ""
    label: str = ""


@dataclass(slots=True)
class Form:
    """A form, and the heading of the section in which it stands."""

    action: str
    method: str
    section: str = ""
    controls: list[Control] = field(default_factory=list)

    def find(self, kind: str, label: str) -> Control:
        """The control of this kind with this label; a missing one fails with what there is."""
        for control in self.controls:
            if control.kind == kind and control.label == label:
                return control
        raise AssertionError(f"there is no {kind} `{label}` among {self.labels(kind)}")

    def labels(self, kind: str) -> list[str]:
        """Labels of the controls of this kind, in the page's order."""
        return [control.label for control in self.controls if control.kind == kind]

    def pressed(self, button: Control) -> list[tuple[str, str]]:
        """What a browser sends when `button` is pressed (HTML, constructing the entry list)."""
        return list(self._entries(button))

    def _entries(self, button: Control) -> Iterator[tuple[str, str]]:
        for control in self.controls:
            if not control.name or control.disabled:
                continue
            if control.kind in ("submit", "button") and control is not button:
                continue
            if control.kind in ("checkbox", "radio") and not control.checked:
                continue
            yield control.name, control.value


@dataclass(slots=True)
class Page:
    """What a page offers."""

    url: str
    status: int
    text: str = ""
    forms: list[Form] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)

    def form_with(self, kind: str, label: str, *, section: str | None = None) -> Form | None:
        """The first form that has such a control, in the section with that heading if one is named."""
        for form in self.forms:
            if label in form.labels(kind) and section in (None, form.section):
                return form
        return None


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=True)
        self._page = page
        self._form: Form | None = None
        self._sections: list[str] = []
        self._collecting: list[tuple[str, list[str], Control | str]] = []
        self._labels: dict[str, str] = {}
        self._select: Control | None = None
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._sections.append("")
        elif tag == "form":
            section = self._sections[-1] if self._sections else ""
            self._form = Form(given.get("action", ""), given.get("method", "get").lower(), section)
            self._page.forms.append(self._form)
        elif tag in ("label", *HEADINGS):
            self._collecting.append((tag, [], given.get("for", "")))
        elif tag in ("input", "button", "select") and self._form is not None:
            self._control(tag, given)
        elif tag == "option" and self._select is not None and (not self._select.checked or "selected" in given):
            # Without a selected option the first is (HTML, the select element's selectedness setting).
            self._select.checked, self._select.value = True, given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "section" and self._sections:
            self._sections.pop()
        elif tag == "form":
            self._form = None
        elif self._collecting and self._collecting[-1][0] == tag:
            self._collected(*self._collecting.pop())

    def handle_data(self, data: str) -> None:
        self._words.append(data)
        for _, words, _ in self._collecting:
            words.append(data)

    def close(self) -> None:
        super().close()
        self._page.text = " ".join("".join(self._words).split())
        for form in self._page.forms:
            for control in form.controls:
                control.label = control.label or self._labels.get(control.id, "")

    def _control(self, tag: str, given: dict[str, str]) -> None:
        assert self._form is not None
        kind = given.get("type", {"button": "submit", "select": "select"}.get(tag, "text"))
        default = "on" if kind in ("checkbox", "radio") else ""
        control = Control(kind, given.get("name", ""), given.get("value", default), "checked" in given)
        control.disabled = "disabled" in given
        control.id = given.get("id", "")
        self._form.controls.append(control)
        self._select = control if tag == "select" else None
        if tag == "button":
            self._collecting.append((tag, [], control))
        elif self._collecting and self._collecting[-1][0] == "label":
            self._collecting[-1] = ("label", self._collecting[-1][1], control)

    def _collected(self, tag: str, words: list[str], what: Control | str) -> None:
        text = " ".join("".join(words).split())
        if isinstance(what, Control):
            what.label = text
        elif tag == "label":
            self._labels[what] = text
        elif self._sections and not self._sections[-1]:
            self._sections[-1] = text
            self._page.sections.append(text)


def read_page(url: str, status: int, html: str) -> Page:
    """Read a page."""
    page = Page(url, status)
    reader = _Reader(page)
    reader.feed(html)
    reader.close()
    return page
