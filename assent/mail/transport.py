"""Hands a letter to a mail server (SMTP, RFC 5321), and makes the letter (RFC 5322): plain text, bounded, no surprises.

TLS is from the first byte (`smtps`, RFC 8314) or by STARTTLS (`smtp`, RFC 3207), and then required; only a server on
this machine itself is spoken to without. The server's certificate is checked.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiosmtplib

from assent.settings import Settings
from assent.settings_urls import is_loopback

SECONDS: Final = 60.0
"""For a whole delivery. INVARIANT: less than a letter is held (authz.mail.outbox.HELD)."""
LONGEST: Final = 10_000
"""Characters of a body; a longer one is never made."""
_PORTS: Final = {"smtp": 587, "smtps": 465}


class Undeliverable(Exception):
    """The server doesn't take this letter now; `for_good`: nor later."""

    def __init__(self, *, for_good: bool) -> None:
        super().__init__("undeliverable")
        self.for_good = for_good


class Transport(Protocol):
    """Where letters go."""

    async def send(self, message: EmailMessage) -> None:
        """Hand it over. Raises Undeliverable."""
        ...


@dataclass(frozen=True, slots=True)
class Sender:
    """Who letters come from."""

    address: str
    issuer: str

    def message(self, *, to: str, subject: str, body: str, language: str, about: str, now: datetime) -> EmailMessage:
        """The letter. `about` names it: sent twice, it has one Message-ID, so that readers see one."""
        if len(body) > LONGEST:
            raise ValueError("the letter is too long")
        message = EmailMessage(policy=SMTP)
        # Structured addresses: a line end in one is an error here, not a header there (RFC 5322 §2.2).
        message["From"] = Address("Assent", addr_spec=self.address)
        message["To"] = Address(addr_spec=to)
        message["Subject"] = subject
        message["Date"] = format_datetime(now)
        named = hashlib.sha256(f"{self.issuer} {about}".encode()).hexdigest()[:32]
        message["Message-ID"] = f"<{named}@{self.address.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: nobody's holiday notice answers it
        message.set_content(body, cte="quoted-printable")
        message["Content-Language"] = language
        return message


class SmtpTransport:
    """Speaks to one mail server; a connection for each letter."""

    def __init__(
        self, url: str, username: str | None, password: str | None, *, step_seconds: float = SECONDS / 4
    ) -> None:
        """`url`: `smtp://host[:port]` or `smtps://host[:port]`. Raises ValueError."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._tls = parts.scheme == "smtps"
        self._start_tls = not self._tls and not is_loopback(self._host)
        self._username, self._password = username, password
        self._step_seconds = step_seconds
        self._context: Callable[[], ssl.SSLContext] = ssl.create_default_context

    async def send(self, message: EmailMessage) -> None:
        """As the port."""
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                username=self._username,
                password=self._password,
                use_tls=self._tls,
                start_tls=self._start_tls,
                tls_context=self._context() if self._tls or self._start_tls else None,
                timeout=self._step_seconds,
            )
        except aiosmtplib.SMTPRecipientsRefused as refused:
            for_good = all(500 <= one.code < 600 for one in refused.recipients)
            raise Undeliverable(for_good=for_good) from None
        except aiosmtplib.SMTPDataError as refused:
            raise Undeliverable(for_good=500 <= refused.code < 600) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as broken:
            # Its text may quote the server, which may quote the address.
            raise Undeliverable(for_good=False) from broken


def smtp_transport(settings: Settings) -> SmtpTransport | None:
    """The mail server of the settings; None where none is set."""
    if settings.mail_url is None:
        return None
    password = settings.mail_password.get_secret_value() if settings.mail_password is not None else None
    if settings.mail_password_file is not None:
        password = settings.mail_password_file.read_text(encoding="utf-8").strip()
    return SmtpTransport(settings.mail_url, settings.mail_username, password)
