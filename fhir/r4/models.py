"""The one door to `fhir.resources`: an independent opinion on whether what Assent itself keeps is valid FHIR.

The library has R4B, whose Consent is R4's, and so are the two documents on which one may rest
(docs/decisions/0001-wire-version-and-models.md). Proxied resources never pass through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ValidationError

from fhir.resources.R4B.consent import Consent
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse

_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "Consent": Consent,
    "DocumentReference": DocumentReference,
    "QuestionnaireResponse": QuestionnaireResponse,
}


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
    return resource_defects("Consent", resource)


def resource_defects(kind: str, resource: Mapping[str, object]) -> tuple[Defect, ...]:
    """Everything in a resource that isn't valid. `kind`: Consent, or what a Consent can have as its source."""
    try:
        _MODELS[kind].model_validate(dict(resource))
    except ValidationError as invalid:
        return tuple(Defect(error["loc"], error["type"]) for error in invalid.errors(include_input=False))
    except (AttributeError, KeyError, TypeError):
        # The library takes a contained `resourceType` or a `url` for a text that it knows before it looks.
        return (Defect((), "value"),)
    return ()
