"""A real mail server for tests: SMTP on a loopback socket, in plain, by STARTTLS or TLS, that answers as it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from warnings import catch_warnings

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

ACCEPTED = "250 OK"


@dataclass(slots=True)
class MailServer:
    """What it got, and what it says."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    to_recipient: Callable[[str], str] = lambda _: ACCEPTED
    """The answer to `RCPT TO`."""
    to_data: str = ACCEPTED
    gate: asyncio.Event | None = None
    """Whoever delivers waits for it."""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a letter was taken."""

    def to(self, recipient: str) -> list[EmailMessage]:
        """The letters of one person."""
        return [m for m, to in zip(self.messages, self.recipients, strict=True) if to == recipient]

    async def handle_RCPT(  # noqa: N802 - the library calls it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.to_recipient(address)
        if answer == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.gate is not None:
            await self.gate.wait()
        if self.to_data == ACCEPTED:
            content = envelope.content
            assert isinstance(content, bytes)
            message = message_from_bytes(content, policy=default)
            assert isinstance(message, EmailMessage)
            self.raw.append(content)
            self.messages.append(message)
            self.recipients += envelope.rcpt_tos
            self.senders.append(str(envelope.mail_from))
            assert server.transport is not None
            self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
            self.came.set()
        return self.to_data

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, how: str, data: object) -> AuthResult:
        """Takes the password `right`."""
        assert isinstance(data, LoginPassword)
        right = data.password == b"right"
        if right:
            self.users.append(data.login.decode())
        return AuthResult(success=right, handled=right)  # what isn't handled is answered with 535


@asynccontextmanager
async def mail_server(
    *, port: int = 0, tls: ssl.SSLContext | None = None, start_tls: ssl.SSLContext | None = None, sign_in: bool = False
) -> AsyncIterator[MailServer]:
    """Listen while the block runs. `sign_in`: nobody delivers without a password."""
    server = MailServer()

    def protocol() -> SMTP:
        with catch_warnings(action="ignore"):  # it doesn't see that TLS was there from the first byte
            return SMTP(
                server,
                hostname="mail.test",
                tls_context=start_tls,
                require_starttls=start_tls is not None,
                authenticator=server.authenticate if sign_in else None,
                auth_required=sign_in,
                auth_require_tls=start_tls is not None,
            )

    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
