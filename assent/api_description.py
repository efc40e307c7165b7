"""`/openapi.json` whole, the plain ASGI endpoints included, `/docs` as a page without foreign scripts, and what
unknown addresses and failures look like.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from authz.decisions import AlreadyDecided
from portal.router import PortalPages, wants_html

_OPERATION_OUTCOME = {"description": "OperationOutcome"}


def describe(site: FastAPI, pages: PortalPages) -> None:
    """Complete the description and add `/docs`."""
    generated = site.openapi

    def whole() -> dict[str, Any]:
        schema = generated()
        schema["paths"].update(_plain_paths())
        return schema

    site.openapi = whole  # type: ignore[method-assign]  # FastAPI's own way to extend the document

    @site.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return pages.pages.seen_by(request).page("api.html", operations=_operations(site.openapi()))

    @site.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if wants_html(request):
            return pages.refused(request, error.status_code, error.headers)
        body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
        return JSONResponse(body, error.status_code, error.headers, media_type="application/problem+json")

    @site.exception_handler(AlreadyDecided)
    async def decided(request: Request, error: AlreadyDecided) -> Response:
        return pages.pages.seen_by(request).error("request-expired", 400)


def _operations(schema: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"method": method.upper(), "path": path, "summary": str(operation.get("summary", ""))}
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]


def _plain_paths() -> dict[str, Any]:
    """The endpoints that FastAPI doesn't serve."""
    type_parameter = {"name": "type", "in": "path", "required": True, "schema": {"type": "string"}}
    id_parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    answers = {"200": {"description": "FHIR JSON"}, "4XX": _OPERATION_OUTCOME, "5XX": _OPERATION_OUTCOME}
    form = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    return {
        "/introspect": {
            "post": {
                "summary": "Is this token active, and what does it open now (RFC 7662)",
                "requestBody": {"required": True, "content": form},
                "responses": {"200": {"description": "RFC 7662 §2.2"}, "401": {"description": "RFC 6749 §5.2"}},
            }
        },
        "/fhir/metadata": {"get": {"summary": "CapabilityStatement", "responses": answers}},
        "/fhir/{type}": {"get": {"summary": "Search", "parameters": [type_parameter], "responses": answers}},
        "/fhir/{type}/_search": {
            "post": {
                "summary": "Search by form",
                "parameters": [type_parameter],
                "requestBody": {"content": form},
                "responses": answers,
            }
        },
        "/fhir/{type}/{id}": {
            "get": {"summary": "Read", "parameters": [type_parameter, id_parameter], "responses": answers}
        },
    }
