"""Groups of patients, as a hospital hands them to who may export them (HL7 Bulk Data Access 2.0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sandbox.records.demographics import Person
from sandbox.records.directory import CLINIC
from sandbox.records.record import Resource

EVERYBODY: Final = "everybody"
"""Id of the Group that holds every patient."""


def cohorts(people: Sequence[Person]) -> list[Resource]:
    """Every Group of the sandbox."""
    members = [{"entity": {"reference": f"Patient/{person.id}"}} for person in people]
    group: Resource = {
        "resourceType": "Group",
        "id": EVERYBODY,
        "active": True,
        "type": "person",
        "actual": True,
        "name": "Everybody at Lakeside Family Clinic",
        "quantity": len(members),
        "managingEntity": CLINIC,
        "member": members,
    }
    return [group]
