"""Whom the store knows to share with an app: every patient with a consent that names it, none of anybody else's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from fhir.consents.sharing_patients import SharingPatients
from fhir.r4.definitions import load_definitions
from fhir.store.repository import Repository

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
APP = "urn:assent:client|the-app"


def _actor(system: str, value: str) -> dict[str, Any]:
    return {"role": {"text": "x"}, "reference": {"identifier": {"system": system, "value": value}}}


def _consent(patient: str, *actors: dict[str, Any], status: str = "active", **provision: object) -> dict[str, Any]:
    named = {"actor": list(actors)} if actors else {}
    return {
        "resourceType": "Consent",
        "status": status,
        "patient": {"reference": f"Patient/{patient}"},
        "provision": {"type": "permit", **named, **provision},
    }


ME = _actor("urn:assent:client", "the-app")
OTHER = _actor("urn:assent:client", "other")


async def _found(engine: AsyncEngine, *consents: dict[str, Any], limit: int = 10) -> list[str]:
    repository = Repository(engine, load_definitions(), schema="assent", clock=lambda: NOW)
    await repository.load(consents)
    return list(await SharingPatients(engine, schema="assent").naming(APP, NOW, limit))


@pytest.mark.parametrize(
    "consent",
    [
        _consent("a", ME),
        _consent("a", OTHER, ME),
        _consent("a", ME, period={"start": "2026-01-01"}),
        _consent("a", ME, period={"end": "2026-06-01"}),
        _consent("a", ME, period={"end": "2026-06"}),
        _consent("a", ME, purpose=[{"system": "x", "code": "y"}]),
    ],
)
async def test_a_consent_in_force_that_names_the_app_is_found(engine: AsyncEngine, consent: dict[str, Any]) -> None:
    assert await _found(engine, consent) == ["a"]


@pytest.mark.parametrize(
    "consent",
    [
        _consent("a"),
        _consent("a", OTHER),
        _consent("a", _actor("urn:other", "the-app")),
        _consent("a", ME, status="inactive"),
        _consent("a", ME, status="rejected"),
        _consent("a", ME, period={"end": "2026-05-31"}),
        _consent("a", OTHER, provision=[{"type": "permit", "actor": [ME]}]),
    ],
)
async def test_any_other_consent_is_not(engine: AsyncEngine, consent: dict[str, Any]) -> None:
    assert await _found(engine, consent) == []


async def test_patients_stand_once_in_order_and_at_most_as_many_as_asked_for(engine: AsyncEngine) -> None:
    consents = [_consent(patient, ME) for patient in ("c", "a", "b", "a", "c")]
    assert await _found(engine, *consents) == ["a", "b", "c"]
    assert await SharingPatients(engine, schema="assent").naming(APP, NOW, 2) == ["a", "b"]


async def test_a_consent_that_has_changed_is_found_as_it_is_now(engine: AsyncEngine) -> None:
    repository = Repository(engine, load_definitions(), schema="assent", clock=lambda: NOW)
    sharing = SharingPatients(engine, schema="assent")
    stored = await repository.create(_consent("a", ME))
    await repository.update({**_consent("a", ME, status="inactive"), "id": stored.id}, expected_version=1)
    assert await sharing.naming(APP, NOW, 10) == []
    await repository.update({**_consent("a", ME), "id": stored.id}, expected_version=2)
    assert await sharing.naming(APP, NOW, 10) == ["a"]
    await repository.delete("Consent", stored.id)
    assert await sharing.naming(APP, NOW, 10) == []


async def test_an_index_leads_to_the_consents_of_an_app(engine: AsyncEngine) -> None:
    others = (_consent(f"p{n}", _actor("urn:assent:client", f"app-{n}")) for n in range(2_000))
    await _found(engine, *others, _consent("a", ME))
    asked = (
        "EXPLAIN SELECT pk FROM assent.fhir_reference WHERE resource_type = 'Consent' AND param = 'actor'"
        " AND identifier_value = 'the-app'"
    )
    async with engine.connect() as connection:
        await connection.execute(text("ANALYZE assent.fhir_reference"))
        plan = "\n".join(row[0] for row in await connection.execute(text(asked)))
    assert "ix_fhir_reference_consent_actor" in plan
