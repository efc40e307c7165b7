"""The resource types under `/fhir` that are Assent's own: it writes them, so it knows what stands in them."""

from typing import Final

OWN_TYPES: Final = frozenset({"Consent", "AuditEvent"})
