"""Decisions that patients made elsewhere, on paper or by word, and that an operator records as Consents.

A backend service has no launch in which a person could decide about it (docs/decisions/0013-system-scopes.md); people
decide about all other apps themselves (authz.consents.decisions). From then on the Consent is the patient's like any
other: they see it on `/my`, narrow it and take it back there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from authz.authorize.asked_categories import touched_categories
from authz.clients.clients import Client
from authz.consents.decisions import keep_text
from authz.consents.standing_consents import hold_standing
from authz.mail.notices import NO_NOTICES, Notices, SharingKind
from fhir.consents.register import MAX_CONSENTS, StoredConsents
from fhir.consents.writing import ConsentDecision, PolicyText, consent_resource, is_decision_on
from fhir.r4.models import check_consent
from fhir.store.change_bus import announce
from fhir.store.repository import Repository
from policies.catalogue import Catalogue
from policies.parts import with_parts
from smart.scope_syntax import split_scope


class NotRecordable(ValueError):
    """The decision can't be recorded; the text says why."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a patient decided about a service."""

    patient: str
    """Logical id."""
    patient_name: str
    categories: tuple[str, ...]
    ends: datetime | None
    text: PolicyText


@dataclass(frozen=True, slots=True)
class Recorded:
    """The Consent that says so."""

    consent_id: str
    version: int


async def record_consent(
    connection: AsyncConnection,
    repository: Repository,
    catalogue: Catalogue,
    client: Client,
    decided: Decided,
    now: datetime,
    notices: Notices = NO_NOTICES,
) -> Recorded:
    """Write the Consent, or the next version of the current one, and announce it; the caller records who did.

    Raises NotRecordable.
    """
    asked = _asked(client, catalogue)
    _check(client, decided, asked, catalogue, now)
    await hold_standing(connection, decided.patient)
    await keep_text(connection, decided.text, now)
    resource = _resource(client, decided, asked, catalogue, now)
    check_consent(resource)
    current = await _current(connection, repository, client, decided.patient, catalogue)
    if current is None:
        stored = await repository.create(resource, connection=connection)
    else:
        stored = await repository.update({**resource, "id": current}, expected_version=None, connection=connection)
    await announce(connection, "consent", decided.patient)
    kind: SharingKind = "consent-given" if current is None else "consent-changed"
    await notices.about_sharing(connection, decided.patient, kind, client.client_id, now)
    return Recorded(stored.id, stored.version)


def _asked(client: Client, catalogue: Catalogue) -> tuple[str, ...]:
    """Categories that the service's scopes reach; sensitive ones cut across them."""
    _, clinical, _ = split_scope(client.scope)
    return touched_categories([scope for scope in clinical if scope.context == "system"], catalogue)


def _check(client: Client, decided: Decided, asked: tuple[str, ...], catalogue: Catalogue, now: datetime) -> None:
    if client.kind != "backend" or client.disabled:
        raise NotRecordable(f"`{client.client_id}` is no backend service in use; people decide on apps themselves")
    reached = with_parts(asked, catalogue.wholes)
    beyond = [code for code in decided.categories if code not in reached]
    if beyond:
        known = ", ".join(code for code in catalogue.categories if code in reached) or "none"
        raise NotRecordable(f"`{beyond[0]}` is no category that the service's scopes reach; these are: {known}")
    if all(catalogue.categories[code].sensitive for code in decided.categories):
        raise NotRecordable("a sensitive category opens nothing by itself; name an everyday one besides")
    if decided.ends is not None and decided.ends <= now:
        raise NotRecordable("the end lies in the past")


def _resource(
    client: Client, decided: Decided, asked: tuple[str, ...], catalogue: Catalogue, now: datetime
) -> dict[str, Any]:
    decision = ConsentDecision(
        patient=decided.patient,
        performer=f"Patient/{decided.patient}",
        performer_name=decided.patient_name,
        client_id=client.client_id,
        client_name=client.name,
        purpose=next(iter(client.purposes), ""),
        asked=asked,
        granted=decided.categories,
        starts=now,
        ends=decided.ends,
        text=decided.text,
    )
    return consent_resource(decision, catalogue)


async def _current(
    connection: AsyncConnection, repository: Repository, client: Client, patient: str, catalogue: Catalogue
) -> str | None:
    """Id of the active consent of this patient for this service and its purpose."""
    bodies = await StoredConsents(repository).active_consents(patient, MAX_CONSENTS, connection)
    for content in (msgspec.json.decode(body, type=dict[str, Any]) for body in bodies):
        if is_decision_on(content, client.client_id, next(iter(client.purposes), ""), catalogue):
            return str(content["id"])
    return None
