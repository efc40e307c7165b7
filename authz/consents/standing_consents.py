"""A patient's standing consents: what they have decided for an app already, on which a clinician's use of it hangs.

A clinician can't consent for a patient (docs/decisions/0008-clinician-launch.md). Which of the consents speak about
the app, the purpose and the moment is for policies.consent_evaluation to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.consents.register import MAX_CONSENTS, StoredConsents, rule_of
from fhir.store.repository import Repository
from policies.catalogue import Catalogue, Category
from policies.consent_evaluation import Circumstances, applicable
from policies.consent_rule import ConsentRule
from policies.decide import grantee_of
from policies.memberships import Knowledge
from policies.open_categories import open_categories

TREATMENT: Final = "TREAT"
"""The purpose for which clinicians use apps (v3-PurposeOfUse)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a patient's consents open to an app for treatment."""

    categories: tuple[Category, ...]
    consents: tuple[str, ...]
    """References with version."""


async def hold_standing(connection: AsyncConnection, patient_id: str) -> None:
    """Until the transaction ends, let no consent of the patient end, nor a grant be made that hangs on one, elsewhere.

    INVARIANT: held by both, so that a grant can't slip in between the end of a consent and that of its grants.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"standing {patient_id}", 0))))


async def standing_rules(
    connection: AsyncConnection, repository: Repository, patient_id: str
) -> tuple[ConsentRule, ...] | None:
    """The patient's active consents; None when there are more than can be judged, since a part could widen."""
    bodies = await StoredConsents(repository).active_consents(patient_id, MAX_CONSENTS + 1, connection)
    if len(bodies) > MAX_CONSENTS:
        return None
    return tuple(map(rule_of, bodies))


def standing_for_treatment(
    rules: Sequence[ConsentRule],
    knowledge: Knowledge,
    catalogue: Catalogue,
    *,
    client_id: str,
    clinician: str | None,
    patient_id: str,
    now: datetime,
) -> Standing | None:
    """What is open to the app for treatment in a clinician's hands; None when the patient shares nothing with them.

    `clinician`: their name in FHIR, as in `Grant.fhir_user`.
    """
    around = Circumstances(
        patient_id,
        frozenset({grantee_of(client_id)}),
        TREATMENT,
        now,
        users=names_of(clinician),
        memberships=knowledge.askers,
        categories=catalogue.codes,
        wholes=catalogue.wholes,
    )
    opened = tuple(c for c in open_categories(rules, around, catalogue) if not c.always)
    if not any(not c.sensitive for c in opened):
        return None
    return Standing(opened, tuple(rule.reference for rule in applicable(rules, around)))


def names_of(clinician: str | None) -> frozenset[str]:
    """Names of the person behind an app."""
    return frozenset() if clinician is None else frozenset({clinician})
