"""What recorders do to consents, each act in one transaction: the version, its Provenance, the audit record, the
announcement, and the end of every grant that hangs on a consent that ends. Either all of it is there or nothing.

Whoever changes the consents of a patient holds `hold_standing` meanwhile, as people do on `/my`; where they don't, the
version that a change starts from tells (VersionConflict).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.consents.decisions import end_grants
from authz.consents.recorders import Recorder
from authz.consents.standing_consents import hold_standing
from authz.context import AuthzContext
from authz.mail.notices import app_named_in, change_told
from fhir.audit.event import Action, AuditRecord
from fhir.consents.check import findings_in, patient_of, provisions_of
from fhir.consents.provenance import Activity, consent_provenance
from fhir.consents.reading import read_consent
from fhir.consents.register import MAX_CONSENTS, StoredConsents
from fhir.r4.operation_outcome import Issue
from fhir.r4.resource_body import stamped, top_level
from fhir.r4.strict_json import decode_once
from fhir.search.query import SearchQuery
from fhir.store.change_bus import Change, announce
from fhir.store.repository import StoredResource, VersionConflict
from policies.decide import grantee_of

_ACTIONS: Final[dict[Activity, Action]] = {"CREATE": "C", "UPDATE": "U", "DELETE": "D"}
MAX_TOGETHER: Final = 1_048_576
"""Bytes of a patient's active consents: all of them are read and asked at a decision."""
_CONDITIONAL: Final = "conditional consents"
Holds = Callable[[int], bool]
"""Whether a version is one that the caller means to change."""


class ConsentRefused(Exception):
    """The act is refused: HTTP status and issues. Nothing was stored."""

    def __init__(self, status: int, *issues: Issue) -> None:
        super().__init__(issues[0].text)
        self.status, self.issues = status, issues


@dataclass(frozen=True, slots=True)
class Target:
    """The consent that is meant: by its id, or as the only match of a search."""

    id: str = ""
    criteria: SearchQuery | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The version that stands now, and whether this act created the resource."""

    stored: StoredResource
    created: bool


class ConsentTransitions:
    """The use cases behind the writing half of `/fhir/Consent`."""

    def __init__(self, context: AuthzContext) -> None:
        self._context = context

    async def create(self, by: Recorder, body: bytes, request_id: str, unless: SearchQuery | None = None) -> Written:
        """Version 1, or the one consent that matches `unless`. Raises ConsentRefused."""
        content = checked(body)
        _check_not_own(by, content)
        patient, context = patient_of(content), self._context
        async with context.engine.begin() as connection:
            found = None if unless is None else await self._only_match(connection, unless)
            if found is not None:
                return Written(found, created=False)
            await hold_standing(connection, patient)
            await self._check_room(connection, content, body)
            stored = await context.repository.create(body, connection=connection)
            await self._tell_people(connection, None, content, content["status"])
            await self._record(connection, by, stored, content, "CREATE", request_id)
        self._tell(patient, ())
        return Written(stored, created=True)

    async def update(
        self,
        by: Recorder,
        target: Target,
        holds: Holds,
        change: Callable[[StoredResource], bytes],
        request_id: str,
        source: Mapping[str, Any] | None = None,
    ) -> StoredResource | None:
        """The next version, as `change` makes it of the current one; None when there is none. Raises ConsentRefused.

        `source`: a document on which the change rests, kept with its Provenance.
        """
        context = self._context
        async with context.engine.begin() as connection:
            current = await self._held(connection, target, holds)
            if current is None:
                return None
            if current.deleted:
                raise ConsentRefused(410, Issue("deleted", "the consent has been deleted and stays so"))
            before = _content(current)
            body = change(current)
            content = checked(body)
            _check_not_own(by, before, content)
            _check_same(before, content)
            await self._check_room(connection, content, body, current)
            with _one_wins():
                stored = await context.repository.update(body, expected_version=current.version, connection=connection)
            still = content["status"] == "active"
            grants = () if still else await end_grants(connection, before, context.clock())
            await self._tell_people(connection, before["status"], content, content["status"])
            await self._record(connection, by, stored, content, "UPDATE", request_id, source)
        self._tell(patient_of(content), grants)
        return stored

    async def delete(self, by: Recorder, target: Target, holds: Holds, request_id: str) -> StoredResource | None:
        """The deleted version on top; None when there was nothing to delete. Raises ConsentRefused."""
        context = self._context
        async with context.engine.begin() as connection:
            current = await self._held(connection, target, holds)
            if current is None or current.deleted:
                return current
            before = _content(current)
            _check_not_own(by, before)
            with _one_wins():
                stored = await context.repository.delete(
                    "Consent", current.id, expected_version=current.version, connection=connection
                )
            grants = await end_grants(connection, before, context.clock())
            await self._tell_people(connection, before["status"], before, None)
            await self._record(connection, by, stored, before, "DELETE", request_id)
        self._tell(patient_of(before), grants)
        return stored

    async def _held(self, connection: AsyncConnection, target: Target, holds: Holds) -> StoredResource | None:
        """The current version, while nobody else changes consents of its patient. Raises ConsentRefused."""
        repository, id = self._context.repository, target.id
        if target.criteria is not None:
            match = await self._only_match(connection, target.criteria)
            if match is None:
                return None
            id = match.id
        found = await repository.read("Consent", id, connection)
        if found is not None and not found.deleted:
            await hold_standing(connection, patient_of(_content(found)))
            # Who waited for another change starts from what it left.
            if target.criteria is not None and not await self._still_matches(connection, target.criteria, id):
                raise _conflict()
            found = await repository.read("Consent", id, connection)
        if found is not None and not found.deleted and not holds(found.version):
            raise _conflict()
        return found

    async def _only_match(self, connection: AsyncConnection, criteria: SearchQuery) -> StoredResource | None:
        """FHIR R4 §3.1.0.4.3: one match or none, and no other conditional act in between. Raises ConsentRefused."""
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_CONDITIONAL, 0))))
        matches = (await self._context.repository.search(criteria, connection)).matches
        if len(matches) > 1:
            raise ConsentRefused(412, Issue("multiple-matches", "the criteria match more than one consent"))
        return matches[0] if matches else None

    async def _still_matches(self, connection: AsyncConnection, criteria: SearchQuery, id: str) -> bool:
        return [found.id for found in (await self._context.repository.search(criteria, connection)).matches] == [id]

    async def _check_room(
        self, connection: AsyncConnection, content: Mapping[str, Any], body: bytes, before: StoredResource | None = None
    ) -> None:
        """More than can be judged would close the patient's record. `before`: what it replaces. Raises ConsentRefused.

        INVARIANT: what is active and doesn't grow may be changed, so that narrowing is always possible.
        """
        if content["status"] != "active":
            return
        replaced = None
        if before is not None and _content(before)["status"] == "active":
            replaced = len(before.body)
            if len(stamped(top_level(body), before.id, before.version, before.last_updated)) <= replaced:
                return
        number, size = await StoredConsents(self._context.repository).active_size(patient_of(content), connection)
        text = ""
        if replaced is None and number >= MAX_CONSENTS:
            text = f"the patient has {MAX_CONSENTS} active consents; end some first"
        elif size - (replaced or 0) + len(body) > MAX_TOGETHER:
            text = f"the active consents of a patient may have {MAX_TOGETHER} bytes together; end some first"
        if text:
            raise ConsentRefused(422, Issue("too-costly", text, ("Consent.patient",)))

    async def _record(
        self,
        connection: AsyncConnection,
        by: Recorder,
        stored: StoredResource,
        content: Mapping[str, Any],
        activity: Activity,
        request_id: str,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        context, now, patient = self._context, self._context.clock(), patient_of(content)
        provenance = consent_provenance(
            stored, content, activity, client_id=by.client_id, client_name=by.client_name, now=now, source=source
        )
        await context.repository.create(provenance, connection=connection)
        await announce(connection, "consent", patient)
        record = AuditRecord(
            kind="consent",
            action=_ACTIONS[activity],
            outcome="0",
            recorded=now,
            request_id=request_id,
            client_id=by.client_id,
            client_name=by.client_name,
            patient=patient,
            entities=(f"Consent/{stored.id}",),
        )
        await context.audit.record(record, connection)

    async def _tell_people(
        self, connection: AsyncConnection, before: str | None, content: Mapping[str, Any], after: str | None
    ) -> None:
        kind = change_told(before, after)
        if kind is not None:
            app, now = app_named_in(content), self._context.clock()
            await self._context.notices.about_sharing(connection, patient_of(content), kind, app, now)

    def _tell(self, patient: str, grants: tuple[str, ...]) -> None:
        self._context.tell(Change("consent", patient))
        for grant_id in grants:
            self._context.tell(Change("grant", grant_id))


def checked(body: bytes) -> dict[str, Any]:
    """The Consent in a body, if it may be kept. Raises ConsentRefused."""
    try:
        content: dict[str, Any] = decode_once(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        text = "the body is no JSON object in which every member stands once"
        raise ConsentRefused(400, Issue("structure", text)) from broken
    try:
        found = findings_in(content)
    except RecursionError:
        raise ConsentRefused(422, Issue("too-costly", "the resource is nested too deeply")) from None
    if found.issues:
        raise ConsentRefused(400 if found.shapeless else 422, *found.issues)
    return content


def _check_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """A change keeps what a consent is about: its id and its patient. Raises ConsentRefused."""
    if after.get("id") != before["id"]:
        raise ConsentRefused(400, Issue("invalid", "the id must be that of the consent", ("Consent.id",)))
    if patient_of(after) != patient_of(before):
        text = "a consent stays with its patient; end it, and create another"
        raise ConsentRefused(422, Issue("business-rule", text, ("Consent.patient",)))


def _check_not_own(by: Recorder, *consents: Mapping[str, Any]) -> None:
    """Nobody writes a consent that names them, nor ends one (docs/leaks.md L60). Raises ConsentRefused."""
    own = grantee_of(by.client_id).casefold()
    for content in consents:
        for provision in provisions_of(read_consent(content).root):
            if any(actor.casefold() == own for actor in provision.actors):
                place = (f"Consent.{provision.path}.actor",)
                raise ConsentRefused(403, Issue("forbidden", "no client keeps a consent that names itself", place))


@contextmanager
def _one_wins() -> Iterator[None]:
    try:
        yield
    except VersionConflict as conflict:
        raise _conflict() from conflict


def _conflict() -> ConsentRefused:
    return ConsentRefused(412, Issue("conflict", "the consent is at another version; read it again"))


def _content(stored: StoredResource) -> dict[str, Any]:
    return msgspec.json.decode(stored.body, type=dict[str, Any])
