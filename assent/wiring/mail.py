"""What people are told by e-mail, put together: whether at all, through which server, and who sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from assent.mail.transport import Sender, Transport, smtp_transport
from assent.mail.worker import MailWorker, Post
from assent.settings import Settings
from assent.wiring.ground import Ground
from assent.wiring.site import SandboxExtras
from authz.context import AuthzContext
from authz.mail.addresses import MailAddresses
from authz.mail.ending_notices import tell_of_endings
from authz.mail.notices import NO_NOTICES, Notices
from authz.mail.outbox import Outbox

SANDBOX_SENDER = "no-reply@sandbox.example"
_SANDBOX_IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Mail:
    """The parts of it."""

    ground: Ground
    notices: Notices
    transport: Transport | None
    """None: no e-mail is sent."""
    in_sandbox: bool

    @property
    def addresses(self) -> MailAddresses | None:
        """People's addresses; None where they aren't asked for one."""
        ground = self.ground
        return None if self.transport is None else MailAddresses(ground.engine, ground.clock, self.notices)

    def worker(self, context: AuthzContext) -> MailWorker | None:
        """What sends, not started; None where nothing is sent."""
        if self.transport is None:
            return None
        ground, settings = self.ground, self.ground.settings
        post = Post(
            Outbox(ground.engine, ground.clock),
            self.transport,
            Sender(settings.mail_from or SANDBOX_SENDER, settings.public_url),
            ground.languages,
            ground.clock,
            partial(tell_of_endings, context),
        )
        return MailWorker(post, idle_seconds=_SANDBOX_IDLE_SECONDS) if self.in_sandbox else MailWorker(post)


def mail_of(ground: Ground, sandbox: SandboxExtras | None) -> Mail:
    """As the settings say; a sandbox shows its letters and sends none, and without delay. Raises OSError."""
    transport = smtp_transport(ground.settings) if sandbox is None else sandbox.mail
    if sandbox is not None:
        return Mail(ground, Notices(on=True, settle=timedelta(0)), transport, in_sandbox=True)
    return Mail(ground, notices_of(ground.settings), transport, in_sandbox=False)


def notices_of(settings: Settings) -> Notices:
    """For commands, which write letters that a server sends."""
    return NO_NOTICES if settings.mail_url is None else Notices(on=True)
