"""The one door to `fhir.resources`: an independent opinion on whether what Assent itself writes is valid FHIR.

The library has R4B, whose Consent is R4's (docs/decisions/0001-wire-version-and-models.md). Proxied resources never
pass through here.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from fhir.resources.R4B.consent import Consent


class InvalidResource(ValueError):
    """The resource isn't valid FHIR; the text names the elements, never their values."""


def check_consent(resource: Mapping[str, object]) -> None:
    """Refuse a Consent that isn't valid. Raises InvalidResource."""
    try:
        Consent.model_validate(dict(resource))
    except ValidationError as invalid:
        places = {".".join(str(part) for part in error["loc"]) for error in invalid.errors(include_input=False)}
        raise InvalidResource(f"invalid at {', '.join(sorted(places))}") from None
