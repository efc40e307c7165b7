"""A person who goes through Assent's pages by plain HTTP: forms, cookies and redirects, no scripts.

They find everything by its label, as docs and contract name it, and follow redirects until one leaves Assent: that
address, with the code or the error in it, is what the app gets.
"""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx

from tests.clients.html_page import Form, Page, read_page

MAX_REDIRECTS = 10


class Person:
    """One person in one browser."""

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self._password = password
        self._browser = httpx.Client(timeout=30)
        self.page = Page("", 0)
        self.returned_to: str | None = None
        """Where the last redirect that left Assent went."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.close()

    def open(self, url: str) -> Page:
        """Follow a link."""
        return self._shown(self._browser.get(url))

    def sign_in(self, button: str = "Sign in") -> Page:
        """Sign in, on the page that asks for it."""
        form = self._form("submit", button)
        form.find("text", "Username").value = self.username
        form.find("password", "Password").value = self._password
        return self._press(form, button)

    def cookie(self, name: str) -> str | None:
        """A cookie of the browser."""
        return self._browser.cookies.get(name)

    def plant(self, name: str, value: str, url: str) -> None:
        """Have a cookie there, as somebody might who got at the browser."""
        self._browser.cookies.clear()
        self._browser.cookies.set(name, value, domain=f"{urlsplit(url).hostname}.local", path="/")

    def choose_patient(self, name: str | None = None) -> Page:
        """Choose a patient by name, or the first; nothing happens when there is nobody to choose."""
        form = self.page.form_with("submit", "Continue")
        if form is None:
            return self.page
        (form.find("radio", name) if name else form.controls[_first_radio(form)]).checked = True
        return self._press(form, "Continue")

    def offered(self) -> list[str]:
        """Titles of the categories on the consent page."""
        return self._form("submit", "Allow").labels("checkbox")

    def decide(
        self, allow: Collection[str] | None = None, *, deny: bool = False, duration: str | None = None
    ) -> str | None:
        """Allow exactly the categories with these titles (None: as ticked), or deny; answers where the app is told."""
        form = self._form("submit", "Allow")
        if allow is not None:
            unknown = set(allow) - set(form.labels("checkbox"))
            if unknown:
                raise AssertionError(f"not offered: {sorted(unknown)}; offered: {form.labels('checkbox')}")
            for control in form.controls:
                if control.kind == "checkbox":
                    control.checked = control.label in allow
        if duration is not None:
            _choose(form, duration)
        self._press(form, "Deny" if deny else "Allow")
        return self.returned_to

    def authorize(
        self, url: str, allow: Collection[str] | None = None, *, patient: str | None = None, deny: bool = False
    ) -> str:
        """Everything from an app's link to the address to which the app is sent back."""
        self.open(url)
        if self.page.form_with("submit", "Sign in"):
            self.sign_in()
        if self.returned_to is None:
            self.choose_patient(patient)
        returned = self.returned_to or self.decide(allow, deny=deny)
        if returned is None:
            raise AssertionError(f"the app wasn't sent back; the page says: {self.page.text[:400]}")
        return returned

    def revoke(self, issuer: str, app_name: str) -> Page:
        """Take back, on `/my`, what an app was allowed."""
        self.open(f"{issuer}/my")
        if self.page.form_with("submit", "Sign in"):
            self.sign_in()
        form = self.page.form_with("submit", "Revoke", section=app_name)
        if form is None:
            raise AssertionError(f"nothing to revoke for `{app_name}`; sections: {self.page.sections}")
        return self._press(form, "Revoke")

    def press(self, label: str) -> Page:
        """Press a button."""
        return self._press(self._form("submit", label), label)

    def fill(self, label: str, **fields: str) -> Page:
        """Fill in text fields and selects by their labels, with `_` for a space, and press a button."""
        form = self._form("submit", label)
        for name, value in fields.items():
            label_of = name.replace("_", " ")
            kind = "select" if label_of in form.labels("select") else "text"
            form.find(kind, label_of).value = value
        return self._press(form, label)

    def _form(self, kind: str, label: str) -> Form:
        form = self.page.form_with(kind, label)
        if form is None:
            raise AssertionError(f"no `{label}` at {self.page.url} ({self.page.status}): {self.page.text[:400]}")
        return form

    def _press(self, form: Form, label: str) -> Page:
        entries = form.pressed(form.find("submit", label))
        url = urljoin(self.page.url, form.action or self.page.url)
        sent: dict[str, str | list[str]] = {}
        for name, _ in entries:
            sent[name] = [value for other, value in entries if other == name]
        headers = {"Origin": _origin(url), "Referer": self.page.url}
        return self._shown(self._browser.request(form.method.upper(), url, data=sent, headers=headers))

    def _shown(self, response: httpx.Response) -> Page:
        self.returned_to = None
        for _ in range(MAX_REDIRECTS):
            if response.next_request is None:
                self.page = read_page(str(response.url), response.status_code, response.text)
                return self.page
            target = str(response.next_request.url)
            if _origin(target) != _origin(str(response.url)):
                self.returned_to = target
                return self.page
            response = self._browser.send(response.next_request)
        raise AssertionError(f"more than {MAX_REDIRECTS} redirects, the last to {response.url}")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _first_radio(form: Form) -> int:
    return next(place for place, control in enumerate(form.controls) if control.kind == "radio")


def _choose(form: Form, label: str) -> None:
    chosen = form.find("radio", label)
    for control in form.controls:
        if control.kind == "radio" and control.name == chosen.name:
            control.checked = control is chosen
