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
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiosmtplib

from assent.named_file import NamedFileError
from assent.settings import Settings, variable
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


class MailServerUnusable(Exception):
    """The mail server can't be spoken to; the text says why, and which setting to look at."""


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
            async with self._connection() as connection:
                await connection.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            for_good = all(500 <= one.code < 600 for one in refused.recipients)
            raise Undeliverable(for_good=for_good) from None
        except aiosmtplib.SMTPDataError as refused:
            raise Undeliverable(for_good=500 <= refused.code < 600) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as broken:
            # Its text may quote the server, which may quote the address.
            raise Undeliverable(for_good=False) from broken

    async def check(self) -> None:
        """Connect, sign in and take leave, and send nothing. Raises MailServerUnusable."""
        try:
            async with self._connection() as connection:
                await connection.noop()
        except aiosmtplib.SMTPAuthenticationError:
            raise MailServerUnusable(
                f"refuses the user name or the password; check {variable('mail_username')} and the password"
            ) from None
        except aiosmtplib.SMTPNotSupported:
            raise MailServerUnusable("takes no password on this connection; remove it, or use TLS") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as broken:
            raise MailServerUnusable(self._why_not(broken)) from None

    def _connection(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            use_tls=self._tls,
            start_tls=self._start_tls,
            tls_context=self._context() if self._tls or self._start_tls else None,
            timeout=self._step_seconds,
        )

    def _why_not(self, broken: BaseException) -> str:
        """In words of our own: the server's may quote anything."""
        causes = (broken, broken.__cause__, broken.__context__)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return "shows a certificate that isn't trusted here or is another's; SSL_CERT_FILE names authorities"
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return "doesn't speak TLS there; `smtp://` is for STARTTLS, `smtps://` for TLS from the first byte"
        if self._start_tls and isinstance(broken, aiosmtplib.SMTPException) and "STARTTLS" in str(broken):
            return "offers no STARTTLS, without which nothing is sent to it"
        return f"can't be reached (`{type(broken).__name__}`); check {variable('mail_url')} and the way there"


def smtp_transport(settings: Settings) -> SmtpTransport | None:
    """The mail server of the settings; None where none is set. Raises NamedFileError."""
    if settings.mail_url is None:
        return None
    password = settings.mail_password.get_secret_value() if settings.mail_password is not None else None
    if settings.mail_password_file is not None:
        password = _password_in(settings.mail_password_file)
    return SmtpTransport(settings.mail_url, settings.mail_username, password)


def _password_in(file: Path) -> str:
    named = variable("mail_password_file")
    try:
        password = file.read_text(encoding="utf-8").strip()
    except OSError as broken:
        raise NamedFileError(f"`{named}` names `{file}`, which can't be read: {broken.strerror}") from None
    except UnicodeDecodeError:
        raise NamedFileError(f"`{named}` names `{file}`, which isn't text") from None
    if not password:
        raise NamedFileError(f"`{named}` names `{file}`, which is empty")
    return password
