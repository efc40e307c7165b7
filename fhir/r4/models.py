"""The one door to `fhir.resources`: an independent opinion on whether what Assent itself writes is valid FHIR.

The library has R4B, whose Consent is R4's (docs/decisions/0001-wire-version-and-models.md). Proxied resources never
pass through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from fhir.resources.R4B.consent import Consent


class InvalidResource(ValueError):
    """The resource isn't valid FHIR; the text names the elements, never their values."""


@dataclass(frozen=True, slots=True)
class Defect:
    """An element that isn't as R4 has it: where, as keys and indexes, and the library's word for what is wrong."""

    place: tuple[str | int, ...]
    kind: str


def check_consent(resource: Mapping[str, object]) -> None:
    """Refuse a Consent that isn't valid. Raises InvalidResource."""
    places = {".".join(str(part) for part in defect.place) for defect in consent_defects(resource)}
    if places:
        raise InvalidResource(f"invalid at {', '.join(sorted(places))}")


def consent_defects(resource: Mapping[str, object]) -> tuple[Defect, ...]:
    """Everything in a Consent that isn't valid."""
    try:
        Consent.model_validate(dict(resource))
    except ValidationError as invalid:
        return tuple(Defect(error["loc"], error["type"]) for error in invalid.errors(include_input=False))
    return ()
