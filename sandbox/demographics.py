"""The sandbox's patients: who they are, what they live with, and how their Patient resource tells it (US Core)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sandbox.terminology import TERMINOLOGY, US_CORE


@dataclass(frozen=True, slots=True)
class Person:
    """One patient; `visits` tells how much the record holds, `story` which sensitive things, `labels` if marked."""

    id: str
    given: str
    family: str
    gender: str
    born: date
    race: str
    city: str
    illnesses: tuple[str, ...] = ()
    visits: int = 12
    story: tuple[str, ...] = ()
    labels: bool = False

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.given} {self.family}"


def _person(
    given: str,
    family: str,
    gender: str,
    born: str,
    place: str,
    illnesses: str = "",
    *,
    id: str,
    visits: int = 12,
    story: str = "",
    labels: bool = False,
) -> Person:
    race, city = place.split("/")
    return Person(
        id,
        given,
        family,
        {"f": "female", "m": "male", "o": "other"}[gender],
        date.fromisoformat(born),
        race,
        city,
        tuple(illnesses.split()),
        visits,
        tuple(story.split()),
        labels,
    )


PEOPLE: Final[tuple[Person, ...]] = (
    _person(
        *("Amelia", "Okafor", "f", "1992-04-17", "black/Boston", "hypertension asthma"),
        **{"id": "amelia-okafor", "visits": 34, "story": "depression alcohol", "labels": True},
    ),
)
