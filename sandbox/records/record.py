"""One patient's record while it is written: readable ids, dates from a fixed today, chance from the seed alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from sandbox.records.demographics import Person
from sandbox.records.terminology import ACT_CODE, CONFIDENTIALITY, US_CORE, Code

TODAY: Final = date(2026, 11, 1)
YEARS_OF_RECORDS: Final = 12

Resource = dict[str, Any]


def concept(*codes: Code, text: str | None = None) -> Resource:
    """A CodeableConcept; without codes it is text only."""
    found: Resource = {}
    if codes:
        found["coding"] = [coding(code) for code in codes]
    found["text"] = text if text is not None else codes[0].display
    return found


def coding(code: Code) -> Resource:
    """One Coding with its display."""
    return {"system": code.system, "code": code.code, "display": code.display}


def reference(resource: Resource, display: str | None = None) -> Resource:
    """A literal reference to a resource of this population."""
    found = {"reference": f"{resource['resourceType']}/{resource['id']}"}
    return found if display is None else {**found, "display": display}


def instant(day: date, hour: int = 9, minute: int = 30) -> str:
    """A moment of that day, as the clinic's clock shows it."""
    return f"{day.isoformat()}T{hour:02d}:{minute:02d}:00-05:00"


def narrative(sentence: str) -> Resource:
    """A generated narrative."""
    escaped = sentence.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escaped}</p></div>'}


def labelled(resource: Resource, *labels: str) -> Resource:
    """Mark as sensitive, the way an upstream that does DS4P labelling would: ActCode labels and restricted."""
    security = [{"system": ACT_CODE, "code": label} for label in labels]
    meta = resource.setdefault("meta", {})
    meta["security"] = [*security, {"system": CONFIDENTIALITY, "code": "R", "display": "restricted"}]
    return resource


@dataclass(slots=True)
class Record:
    """Everything about one patient, in the order of writing."""

    person: Person
    random: Random
    resources: list[Resource] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    @property
    def subject(self) -> Resource:
        """A reference to the patient."""
        return {"reference": f"Patient/{self.person.id}"}

    def add(self, prefix: str, resource_type: str, elements: Resource, profile: str | None = None) -> Resource:
        """Append a resource with the next free id of its prefix."""
        number = self._numbers.get(prefix, 0) + 1
        self._numbers[prefix] = number
        resource: Resource = {"resourceType": resource_type, "id": f"{prefix}-{self.person.id}-{number}"}
        if profile is not None:
            resource["meta"] = {"profile": [f"{US_CORE}{profile}"]}
        resource.update(elements)
        self.resources.append(resource)
        return resource

    def written(self, prefix: str) -> int:
        """How many resources with this prefix there are."""
        return self._numbers.get(prefix, 0)

    def age_on(self, day: date) -> int:
        """Age in full years."""
        born = self.person.born
        return day.year - born.year - ((day.month, day.day) < (born.month, born.day))

    @property
    def start(self) -> date:
        """When the record begins: with birth, or when the clinic went electronic."""
        return max(self.person.born, TODAY - timedelta(days=365 * YEARS_OF_RECORDS))

    def some_day(self, start: date | None = None) -> date:
        """A day of the record, on or after `start`."""
        first = start or self.start
        return first + timedelta(days=self.random.randint(0, max((TODAY - first).days - 1, 0)))

    def number(self, low: str, high: str) -> Decimal:
        """A number of the range, with as many decimal places as `low` is written with."""
        exponent = Decimal(low).as_tuple().exponent
        places = -exponent if isinstance(exponent, int) else 0
        first, last = (int(Decimal(bound).scaleb(places)) for bound in (low, high))
        return Decimal(self.random.randint(first, last)).scaleb(-places)

    def chance(self, one_in: int) -> bool:
        """True once in so many times."""
        return self.random.randrange(one_in) == 0
