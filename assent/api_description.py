"""`/openapi.json` and `/docs`, written by hand in `openapi.yaml` and what it is joined from, and what unknown
addresses and failures look like.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from assent.read_yaml import read_yaml
from authz.consents.decisions import AlreadyDecided
from portal.router import PortalPages, wants_html

_FILES: Final = ("openapi.yaml", "openapi_consents.yaml", "openapi_app_state.yaml")
_WRITES: Final = "openapi_writes.yaml"
_OPTIONAL: Final = ("/brands", "/sandbox/")
"""Paths by how they begin that not every server has."""


def describe(site: FastAPI, pages: PortalPages, *, writes: bool) -> None:
    """Add the description as JSON and as a page. `writes`: whether apps may write."""

    @cache
    def description() -> dict[str, Any]:
        whole, served = api_description(writes=writes), {route.path for route in iter_route_contexts(site.routes)}
        whole["paths"] = {
            path: item for path, item in whole["paths"].items() if path in served or not path.startswith(_OPTIONAL)
        }
        return whole

    @site.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(description(), headers={"Access-Control-Allow-Origin": "*"})

    @site.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return pages.pages.seen_by(request).page("api.html", operations=_operations(description()))

    @site.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_allowed(site, request.scope["path"])))
        if wants_html(request):
            return pages.refused(request, error.status_code, headers)
        body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
        return JSONResponse(body, error.status_code, headers, media_type="application/problem+json")

    @site.exception_handler(AlreadyDecided)
    async def decided(request: Request, error: AlreadyDecided) -> Response:
        return pages.pages.seen_by(request).error("request-expired", 400)


def api_description(*, writes: bool = False) -> dict[str, Any]:
    """The OpenAPI 3.1 document, every path of it; with `writes`, what apps write too."""
    found, *others = (_read(name) for name in (*_FILES, *((_WRITES,) if writes else ())))
    paths = dict(found["paths"])
    for other in others:
        for path, item in other["paths"].items():
            paths[path] = paths.get(path, {}) | item
    return {**found, "paths": paths}


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = read_yaml(files("assent").joinpath(name).read_bytes())
    return content


def _allowed(site: FastAPI, path: str) -> set[str]:
    """RFC 9110 §15.5.6: all methods of a path; the router knows those of one route only."""
    routes = [route for route in iter_route_contexts(site.routes) if route.path is not None]
    return {m for r in routes if compile_path(r.path or "")[0].match(path) for m in r.methods or ()}


def _operations(schema: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"method": method.upper(), "path": path, "summary": str(operation["summary"])}
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    ]
