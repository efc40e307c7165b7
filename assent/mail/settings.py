"""What the settings of the mail server may look like, and whether they fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from assent.settings_urls import check_host
from authz.mail.addresses import UnfitAddress, checked_address

_NEED_URL = ("mail_from", "mail_username", "mail_password", "mail_password_file")


def check_mail_url(value: str) -> str:
    """`smtp://host[:port]` or `smtps://host[:port]`, without credentials: these are settings of their own."""
    parts = urlsplit(value)
    if parts.scheme not in ("smtp", "smtps") or f"{parts.scheme}://{parts.netloc}" != value.rstrip("/"):
        raise ValueError("must be a URL like `smtp://mail.example.org:587` or `smtps://mail.example.org`")
    if "@" in parts.netloc:
        raise ValueError("must have no credentials; there are settings for them")
    try:
        check_host(parts.netloc)
    except ValueError:
        raise ValueError("must name a host like `mail.example.org`, with a port or without") from None
    return value.rstrip("/")


def check_mail_address(value: str) -> str:
    """An address that letters can come from."""
    try:
        return checked_address(value)
    except UnfitAddress:
        raise ValueError("must be an address like `no-reply@share.example.org`") from None


def mail_misfits(given: Callable[[str], bool], named: Callable[[str], str]) -> Iterator[str]:
    """What is missing or too much; `named` spells a setting as the operator knows it."""
    if not given("mail_url"):
        for name in filter(given, _NEED_URL):
            yield f"`{named(name)}` is set but `{named('mail_url')}` isn't"
        return
    if not given("mail_from"):
        yield f"`{named('mail_from')}` is missing, which `{named('mail_url')}` needs"
    passwords = sum(given(name) for name in ("mail_password", "mail_password_file"))
    if passwords > 1:
        yield f"`{named('mail_password')}` and `{named('mail_password_file')}` are both set; keep one"
    if bool(passwords) != given("mail_username"):
        yield f"`{named('mail_username')}` and a password belong together; one of them is missing"
