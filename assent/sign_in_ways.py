"""The ways to sign in that the settings offer, put together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from assent.identity_provider import identity_provider, provider_addresses
from assent.settings import Settings
from authz.mail.notices import Notices
from authz.sign_in.challenges import SignInChallenges
from authz.sign_in.federation import Federation
from authz.sign_in.passkeys import Passkeys, relying_party
from portal.sign_in_ports import SignInWays


def sign_in_ways(
    settings: Settings, engine: AsyncEngine, clock: Callable[[], datetime], notices: Notices
) -> tuple[SignInWays, Federation | None]:
    """What the pages offer, and the identity provider's side, which must be closed. Raises ValueError for a bad key."""
    challenges = SignInChallenges(engine, clock)
    provider = identity_provider(settings)
    federation = None
    if provider is not None:
        federation = Federation(provider, provider_addresses(settings), engine, challenges, clock, notices)
    # None where the operator wants none, or the public URL is no host name.
    party = relying_party(settings.public_url) if settings.passkeys else None
    passkeys = None if party is None else Passkeys(party, engine, challenges, clock, notices)
    return SignInWays(settings.passwords, federation, passkeys), federation
