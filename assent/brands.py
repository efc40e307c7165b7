"""`/brands`: the User Access Brands that the operator publishes (SMART App Launch 2.2, brands)."""

from __future__ import annotations

import hashlib
from typing import Final

from fastapi import APIRouter, Request, Response

from assent.settings import Settings, variable
from smart.brands import BrandError, Brands, read_brands

PATH: Final = "/brands"
_LARGEST: Final = 4 * 1024 * 1024


def load_brands(settings: Settings) -> Brands | None:
    """The Bundle of the setting `brands_file`; None without one. Raises BrandError."""
    if settings.brands_file is None:
        return None
    try:
        if settings.brands_file.stat().st_size > _LARGEST:
            raise BrandError(f"`{settings.brands_file}` is larger than {_LARGEST} bytes")
        text = settings.brands_file.read_bytes()
    except OSError as missing:
        named = variable("brands_file")
        raise BrandError(
            f"`{settings.brands_file}`, which {named} names, can't be read: {missing.strerror}"
        ) from missing
    return read_brands(text, f"{settings.public_url}/fhir", settings.primary_brand)


def brand_routes(brands: Brands) -> APIRouter:
    """The Bundle, for any origin, with a weak ETag."""
    router = APIRouter(tags=["Discovery"])
    tag = f'W/"{hashlib.sha256(brands.bundle).hexdigest()[:32]}"'
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300", "ETag": tag}

    @router.get(PATH, summary="User Access Brands (SMART 2.2)")
    async def bundle(request: Request) -> Response:
        given = [known.strip() for known in request.headers.get("if-none-match", "").split(",")]
        if tag in given or "*" in given:  # RFC 9110 §13.1.2
            return Response(status_code=304, headers=headers)
        return Response(brands.bundle, media_type="application/fhir+json", headers=headers)

    return router
