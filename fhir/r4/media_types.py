"""Parameters of media types, and the FHIR release that they name (FHIR R4 §3.1.0.1.11, "FHIR version parameter").

This server speaks R4. A body in another release isn't converted, and none is given
(docs/decisions/0029-consent-formats.md).
"""

from __future__ import annotations

from typing import Final

_R4: Final = frozenset({"4.0", "4.0.1"})


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """A type and its parameters, names in lower case. Raises ValueError when one of them stands twice."""
    kind, *rest = text.split(";")
    parameters: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in rest)):
        name, _, value = part.partition("=")
        if name.lower() in parameters:
            raise ValueError("a parameter of the media type stands twice")
        quoted = len(value) > 1 and value.startswith('"') and value.endswith('"')
        parameters[name.lower()] = value[1:-1] if quoted else value
    return kind.strip().lower(), parameters


def is_r4(parameters: dict[str, str]) -> bool:
    """Whether a media type names no release, or R4."""
    return parameters.get("fhirversion", "4.0") in _R4
