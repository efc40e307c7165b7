"""What the audit trail is told of one request: who asked, whose data was shown, by which consents, for which purpose.

A record is part of its patient's record and may be shared with others by them. So an access by a service, which can
show data of several patients, leaves one record for each of them that names nothing of the others, and the query,
which may name anybody, in one that is nobody's (docs/decisions/0013-system-scopes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import msgspec

from fhir.audit.event import Action, AuditRecord, Kind, Outcome
from fhir.proxy.request import ProxyRequest
from fhir.proxy.shown import Shown
from fhir.r4.interaction import Interaction
from fhir.r4.own_types import OWN_TYPES
from policies.decide import ReadPlan
from policies.model import Access

_USUAL: Final = ("read", "search-type", "create", "update", "delete")
_WRITTEN: Final[dict[str, Action]] = {"create": "C", "update": "U", "patch": "U", "delete": "D"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What an answer shows, and the plan that opened it."""

    plan: ReadPlan
    shown: Sequence[Shown]


def records_of_answer(
    request: ProxyRequest,
    access: Access,
    interaction: Interaction,
    seen: Seen | None,
    now: datetime,
    upstream_of: Callable[[str], str],
) -> list[AuditRecord]:
    """Everything that must be on record before the answer leaves. `upstream_of`: names the source of a type."""
    if seen is None:
        return []
    if seen.plan.patient is not None:
        consents, upstreams = access.consents, _sources(upstream_of, seen.shown)
        return [_record(request, access, interaction, now, access.patient, seen.shown, consents, upstreams=upstreams)]
    by_patient: dict[str | None, list[Shown]] = {None: []}
    for shown in seen.shown:
        by_patient.setdefault(next(iter(shown.facts.owners), None), []).append(shown)
    nobodys = by_patient.pop(None)
    records = [
        _record(
            *(request, access, interaction, now, patient, own, _consents(seen.plan, patient)),
            with_query=False,
            upstreams=_sources(upstream_of, own),
        )
        for patient, own in by_patient.items()
    ]
    if nobodys or interaction.is_search:
        records.append(_record(request, access, interaction, now, None, nobodys, ()))
    return records


def record_of_refusal(request: ProxyRequest, access: Access, interaction: Interaction, now: datetime) -> AuditRecord:
    """An access that shows nothing."""
    return _record(request, access, interaction, now, access.patient, (), access.consents, outcome="4")


def record_of_write(
    request: ProxyRequest,
    access: Access,
    interaction: Interaction,
    now: datetime,
    *,
    entity: str | None,
    categories: frozenset[str],
    outcome: Outcome,
    description: str,
    upstream: str,
) -> AuditRecord:
    """What a write is about to do, or has done; `entity` is `Type/id`, None before there is one."""
    found = _record(request, access, interaction, now, access.patient, (), access.consents, outcome=outcome)
    return msgspec.structs.replace(
        found,
        entities=() if entity is None else (entity,),
        categories=tuple(sorted(categories)),
        description=description,
        upstreams=(upstream,),
    )


def _sources(upstream_of: Callable[[str], str], shown: Sequence[Shown]) -> tuple[str, ...]:
    """The operator's names for where these came from."""
    types = {one.facts.resource_type for one in shown} - OWN_TYPES
    return tuple(sorted(set(map(upstream_of, types))))


def _consents(plan: ReadPlan, patient: str | None) -> tuple[str, ...]:
    share = plan.shares.get(patient or "")
    return () if share is None else tuple(rule.reference for rule in share.consents)


def _query(request: ProxyRequest, interaction: Interaction) -> str | None:
    """The search as it was asked; None for one that asks for nothing in particular."""
    query = urlencode(request.parameters)
    if query:
        return f"{interaction.path}?{query}"
    return interaction.path if interaction.code == "operation" else None


def _record(
    request: ProxyRequest,
    access: Access,
    interaction: Interaction,
    now: datetime,
    patient: str | None,
    seen: Sequence[Shown],
    consents: tuple[str, ...],
    *,
    outcome: Outcome = "0",
    with_query: bool = True,
    upstreams: tuple[str, ...] = (),
) -> AuditRecord:
    search = interaction.is_search
    kind: Kind = "search" if search else "write" if interaction.is_write else "read"
    return AuditRecord(
        kind=kind,
        action=_WRITTEN.get(interaction.code, "E" if search else "R"),
        outcome=outcome,
        recorded=now,
        request_id=request.request_id,
        client_id=access.client_id,
        client_name=access.client_name,
        user=access.user,
        patient=patient,
        purpose=access.purpose,
        entities=tuple(dict.fromkeys(shown.name for shown in seen)),
        query=_query(request, interaction) if search and with_query else None,
        consents=consents,
        actors=access.actors,
        categories=tuple(sorted(frozenset().union(*(shown.categories for shown in seen)))),
        interaction="" if interaction.code in _USUAL else interaction.code,
        upstreams=upstreams,
    )
