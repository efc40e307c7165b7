"""The OpenAPI description of what recorders do at `/fhir/Consent` (docs/consents-api.md)."""

from __future__ import annotations

from typing import Any, Final

_OUTCOME: Final = {"description": "OperationOutcome"}
_SECURITY: Final = "A token with scope `assent/consents.{letter}`."
_JSON: Final = {"application/fhir+json": {"schema": {"type": "object"}}}
_PATCH: Final = {"application/json-patch+json": {"schema": {"type": "array", "items": {"type": "object"}}}}
_PARAMETERS: Final = ("client", "interaction", "type", "resource", "query", "purpose")
_SEARCH: Final = (
    *("patient", "patient.identifier", "actor", "status", "period", "date", "category", "purpose", "security-label"),
    *("identifier", "_id", "_lastUpdated", "_sort", "_count", "_total"),
)


def consent_paths() -> dict[str, Any]:
    """Path items by path."""
    consent, one, versions = "/fhir/Consent", "/fhir/Consent/{id}", "/fhir/Consent/{id}/_history"
    id, version = _in("id", "path"), _in("version", "path")
    if_match, if_none = _in("If-Match", "header"), _in("If-None-Exist", "header")
    found = tuple(_in(name, "query") for name in _SEARCH)
    asked = tuple(_in(name, "query") for name in _PARAMETERS)
    return {
        consent: {
            "get": _does("Search consents", "s", found),
            "post": _does("Record a consent", "c", (if_none,), _JSON, "201"),
            "put": _does("Change the only consent that matches", "u", (*found, if_match), _JSON),
            "patch": _does("Patch the only consent that matches", "u", (*found, if_match), _PATCH),
            "delete": _does("Delete the only consent that matches", "d", (*found, if_match), status="204"),
        },
        f"{consent}/_search": {"post": _does("Search consents by form", "s", (), _form())},
        f"{consent}/_history": {"get": _does("History of all consents", "s", _page())},
        one: {
            "get": _does("Read a consent", "r", (id,)),
            "put": _does("Change a consent", "u", (id, if_match), _JSON),
            "patch": _does("Patch a consent (RFC 6902)", "u", (id, if_match), _PATCH),
            "delete": _does("Delete a consent; its history stays", "d", (id, if_match), status="204"),
        },
        versions: {"get": _does("History of a consent", "r", (id, *_page()))},
        f"{versions}/{{version}}": {"get": _does("Read a version of a consent", "r", (id, version))},
        f"{one}/$explain": {
            "get": _does("What the consents of the patient open to an app, and why", "r", (id, *asked)),
            "post": _does("The same, asked with Parameters", "r", (id,), _JSON),
        },
        "/fhir/Provenance": {"get": _does("Search who made which version", "s", (_in("target", "query"),))},
        "/fhir/Provenance/{id}": {"get": _does("Read who made a version", "r", (id,))},
    }


def _does(
    summary: str,
    letter: str,
    parameters: tuple[dict[str, Any], ...],
    body: dict[str, Any] | None = None,
    status: str = "200",
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "description": _SECURITY.format(letter=letter),
        "parameters": list(parameters),
        "responses": {status: {"description": "FHIR JSON"}, "4XX": _OUTCOME, "5XX": _OUTCOME},
    }
    return operation if body is None else operation | {"requestBody": {"required": True, "content": body}}


def _in(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _page() -> tuple[dict[str, Any], ...]:
    return _in("_count", "query"), _in("_since", "query")


def _form() -> dict[str, Any]:
    return {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
