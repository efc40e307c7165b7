"""The resource types under `/fhir` that are Assent's own: it writes them, so it knows what stands in them."""

from typing import Final

AUDIT_PARAMETERS: Final = frozenset(
    {"_id", "_lastUpdated", "action", "agent", "date", "entity", "outcome", "patient", "subtype", "type"}
)
"""Search parameters of AuditEvent that are indexed. One event is written for each read, so the index is kept small."""

OWN_TYPES: Final = frozenset({"Consent", "AuditEvent"})


def is_indexed(resource_type: str, code: str) -> bool:
    """Whether a parameter is kept in the index; one that isn't can't be searched by."""
    return resource_type != "AuditEvent" or code in AUDIT_PARAMETERS
