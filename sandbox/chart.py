"""One patient's record while it is being written: it numbers, labels and collects the resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from random import Random
from typing import Final

from sandbox.elements import US_CORE, Code, Json, coding, reference
from sandbox.personas import Persona

PREFIXES: Final = {
    "AllergyIntolerance": "alg",
    "Appointment": "appt",
    "Binary": "bin",
    "CarePlan": "plan",
    "CareTeam": "team",
    "Claim": "claim",
    "Condition": "cond",
    "Coverage": "cov",
    "Device": "dev",
    "DiagnosticReport": "rep",
    "DocumentReference": "doc",
    "Encounter": "enc",
    "ExplanationOfBenefit": "eob",
    "FamilyMemberHistory": "fam",
    "Goal": "goal",
    "ImagingStudy": "img",
    "Immunization": "imm",
    "MedicationRequest": "rx",
    "MedicationStatement": "med",
    "Observation": "obs",
    "Procedure": "proc",
    "Provenance": "prov",
    "QuestionnaireResponse": "qr",
    "RelatedPerson": "rel",
    "ServiceRequest": "order",
    "Specimen": "spec",
}


class Chart:
    """A patient's resources, in the order of their making, and what the writers of them share."""

    def __init__(self, number: int, persona: Persona, rng: Random, today: date) -> None:
        self.number = number
        self.persona = persona
        self.rng = rng
        self.today = today
        self.birth = persona.birth(today)
        self.resources: list[Json] = []
        self._labels: tuple[Code, ...] = ()
        self._counts: dict[str, int] = {}

    @property
    def id(self) -> str:
        """The id of the Patient."""
        return self.persona.id

    @property
    def patient(self) -> str:
        """The relative reference of the Patient."""
        return f"Patient/{self.persona.id}"

    def subject(self) -> Json:
        """Reference to the patient: about every third one carries the name, as real systems do."""
        return reference(self.patient, self.persona.name if self.rng.random() < 0.35 else None)

    @contextmanager
    def labelled(self, labels: Sequence[Code]) -> Iterator[None]:
        """Everything added meanwhile carries these security labels."""
        before = self._labels
        self._labels = tuple(labels)
        try:
            yield
        finally:
            self._labels = before

    def add(self, resource_type: str, content: Json, *, profile: str | None = None) -> str:
        """Keep a resource under the next id of its type; returns its relative reference."""
        prefix = PREFIXES[resource_type]
        self._counts[prefix] = count = self._counts.get(prefix, 0) + 1
        meta: Json = {}
        if profile is not None:
            meta["profile"] = [US_CORE + profile]
        if self._labels:
            meta["security"] = [coding(label) for label in self._labels]
        identity: Json = {"resourceType": resource_type, "id": f"{prefix}-{self.number}-{count}"}
        if meta:
            identity["meta"] = meta
        self.resources.append(identity | content)
        return f"{resource_type}/{identity['id']}"

    def decimal(self, low: str, high: str) -> Decimal:
        """A number between two, with as many decimal places as the lower one is written with."""
        places = len(low.partition(".")[2])
        return Decimal(f"{self.rng.uniform(float(low), float(high)):.{places}f}")

    def age_at(self, day: date) -> float:
        """Years."""
        return (day - self.birth).days / 365.25
