"""What grants open at this moment, for every endpoint that says so or gives tokens for it.

Nothing here is believed for a time: the grant and the consents are those of the moment (`fhir.store.heard_cache`), and
what follows from them is worked out again as soon as one of them is another, or a period in a consent begins or ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import bindparam
from sqlalchemy.ext.asyncio import AsyncEngine

from authz import tables
from authz.tokens.grants import Grant, OpenNow, grant_from_row, grant_rows, open_now
from fhir.consents.directory import Knows
from fhir.consents.register import ConsentRegister, TooManyConsents
from fhir.store.change_bus import Change, ChangeBus
from fhir.store.heard_cache import HeardCache
from fhir.store.prepared_statement import PreparedStatement
from policies.catalogue import Catalogue
from policies.consent_rule import ConsentRule, earliest, unchanged_until
from policies.emergency import emergency_rule

_MAX_GRANTS: Final = 20_000
_MAX_OPENED: Final = 10_000
_FIND: Final = PreparedStatement(grant_rows().where(tables.grant.c.id == bindparam("grant_id")))


class _Hangs(NamedTuple):
    """All of a grant on which it hangs what the patient's consents leave of it."""

    patient_id: str | None
    client_id: str
    fhir_user: str | None
    scope_asked: str
    purpose: str
    consent_id: str | None
    standing: bool
    categories: tuple[str, ...] | None
    ends: datetime | None


class _Opened(NamedTuple):
    rules: tuple[ConsentRule, ...]
    since: datetime
    until: datetime | None
    opened: OpenNow | None

    def holds(self, rules: tuple[ConsentRule, ...], now: datetime) -> bool:
        """Whether it would be worked out the same again."""
        return self.rules == rules and self.since <= now and (self.until is None or now < self.until)


class OpenGrants:
    """Finds grants and what they open."""

    def __init__(
        self,
        engine: AsyncEngine,
        register: ConsentRegister,
        catalogue: Catalogue,
        bus: ChangeBus,
        directory: Knows,
        *,
        writes: bool,
    ) -> None:
        """`writes`: whether this server lets apps write at all."""
        self._engine = engine
        self._register = register
        self._catalogue = catalogue
        self._directory = directory
        self._writes = writes
        self._grants: HeardCache[str, Grant] = HeardCache(bus, _MAX_GRANTS)
        self._opened: OrderedDict[_Hangs, _Opened] = OrderedDict()
        bus.subscribe(self._on_change)

    async def find(self, grant_id: str) -> Grant | None:
        """One grant."""
        return await self._grants.get(grant_id, lambda: self._load(grant_id))

    async def now(self, grant: Grant, now: datetime, *, newest: bool = False) -> OpenNow | None:
        """What the grant opens; None when it is over, or what it hangs on is gone.

        `newest`: by the consents in the database, for what was decided a moment ago, maybe in another process. A no is
        always by them: a decision whose news isn't here yet must not end an app's first request.
        """
        if grant.is_over(now):
            return None
        opened = None if newest else await self._by(await self._rules(grant, self._register.rules), grant, now)
        return opened or await self._by(await self._rules(grant, self._register.newest), grant, now)

    async def _by(self, rules: tuple[ConsentRule, ...], grant: Grant, now: datetime) -> OpenNow | None:
        hangs = _Hangs(*(getattr(grant, name) for name in _Hangs._fields))
        known = self._opened.get(hangs)
        if known is not None and known.holds(rules, now):
            self._opened.move_to_end(hangs)
            return known.opened
        knowledge = await self._directory.knowledge(rules, grant.users)
        opened = open_now(rules, self._catalogue, grant, now, knowledge, writes=self._writes)
        until = earliest((unchanged_until(rules, now), knowledge.until))
        self._opened[hangs] = _Opened(rules, now, until, opened)
        if len(self._opened) > _MAX_OPENED:
            self._opened.popitem(last=False)
        return opened

    async def _rules(
        self, grant: Grant, of: Callable[[str], Awaitable[tuple[ConsentRule, ...]]]
    ) -> tuple[ConsentRule, ...]:
        """Nothing where there are more consents than can be judged: a part could widen."""
        if grant.patient_id is None:
            return ()
        try:
            consents = await of(grant.patient_id)
        except TooManyConsents:
            return ()
        if grant.in_emergency:
            return (*consents, emergency_rule(grant.patient_id, self._catalogue))
        return consents

    async def _load(self, grant_id: str) -> Grant | None:
        for row in await _FIND.rows(self._engine, grant_id=grant_id):
            return grant_from_row(row)
        return None

    def _on_change(self, change: Change) -> None:
        if change.kind == "grant":
            self._grants.forget(change.key)
        elif change.kind == "client":
            self._grants.forget_where(lambda grant: grant.client_id == change.key)
        elif change.kind == "all":
            self._grants.forget_all()
