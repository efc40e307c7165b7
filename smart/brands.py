"""User Access Brands: SMART App Launch 2.2, "User-access Brands and Endpoints". Pure.

Who runs a server writes the Bundle of its brands; here it is checked, so that what is published is what apps expect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_ABSENT_REASONS: Final = ("asked-declined", "asked-unknown")
_FHIR_VERSION: Final = "http://hl7.org/fhir/StructureDefinition/endpoint-fhir-version"
_PORTAL: Final = "http://hl7.org/fhir/StructureDefinition/organization-portal"

Json = Mapping[str, Any]


class BrandError(ValueError):
    """A Bundle of brands that can't be published; the text names the place and what to do."""


@dataclass(frozen=True, slots=True)
class Brands:
    """What is published."""

    bundle: bytes
    """The Bundle as its author wrote it, JSON."""
    primary: Mapping[str, str]
    """Identifier of the server's own brand: `value`, and `system` where it has one."""

    def announced(self, url: str) -> Mapping[str, Any]:
        """What discovery says of a Bundle that is published at `url`."""
        return {"user_access_brand_bundle": url, "user_access_brand_identifier": dict(self.primary)}


def read_brands(text: bytes, fhir_base: str, primary: str | None = None) -> Brands:
    """Check a Bundle of brands. `primary`: `system|value` of the server's own, needed when there are several.

    Raises BrandError.
    """
    try:
        bundle = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise BrandError("the file must hold a FHIR Bundle as JSON") from broken
    if not isinstance(bundle, dict) or (bundle.get("resourceType"), bundle.get("type")) != ("Bundle", "collection"):
        raise BrandError("the file must hold a Bundle of type `collection`")
    if _INSTANT.fullmatch(str(bundle.get("timestamp", ""))) is None:
        raise BrandError("`Bundle.timestamp` must say when something last changed")
    resources = _resources(bundle)
    endpoints = {f"Endpoint/{e.get('id')}": e for e in resources if e.get("resourceType") == "Endpoint"}
    brands = [o for o in resources if o.get("resourceType") == "Organization"]
    for endpoint in endpoints.values():
        _check_endpoint(endpoint, fhir_base)
    for brand in brands:
        _check_brand(brand, endpoints)
    if any(reason not in _ABSENT_REASONS for reason in _absent_reasons(bundle)):
        raise BrandError(f"an absent value may be explained by {' or '.join(_ABSENT_REASONS)} only")
    here = {name for name, e in endpoints.items() if str(e.get("address", "")).rstrip("/") == fhir_base}
    if not here:
        raise BrandError(f"no Endpoint has the `address` of this server, `{fhir_base}`")
    own, identifier = _primary(brands, primary)
    # A vendor's whole list holds other servers too: those are the business of the other brands.
    if not here <= _led_to(own):
        raise BrandError("the primary brand must refer to every Endpoint of this server")
    orphans = set(endpoints).difference(*map(_led_to, brands))
    if orphans:
        raise BrandError(f"no brand refers to `{min(orphans)}`")
    return Brands(text, identifier)


def _resources(bundle: Json) -> list[Json]:
    entries = bundle.get("entry")
    found = [e.get("resource") for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    if not found or any(
        not isinstance(r, dict) or r.get("resourceType") not in ("Organization", "Endpoint") for r in found
    ):
        raise BrandError("the entries must be Organizations and Endpoints")
    return [r for r in found if isinstance(r, dict)]


def _check_endpoint(endpoint: Json, fhir_base: str) -> None:
    """Profile user-access-endpoint."""
    place = f"Endpoint `{endpoint.get('id')}`"
    if not endpoint.get("id") or not str(endpoint.get("address", "")).startswith(("https://", fhir_base)):
        raise BrandError(f"{place} needs an `id` and an https `address`")
    if not _maps(endpoint.get("extension")) or all(e.get("url") != _FHIR_VERSION for e in endpoint["extension"]):
        raise BrandError(f"{place} needs the extension `{_FHIR_VERSION}`")
    connection = endpoint.get("connectionType")
    if not isinstance(connection, dict) or connection.get("code") != "hl7-fhir-rest":
        raise BrandError(f"{place} needs the connectionType `hl7-fhir-rest`")
    if _website(endpoint.get("contact")) is None:
        raise BrandError(f"{place} needs a `contact` with a url, where developers configure access")


def _check_brand(brand: Json, endpoints: Mapping[str, Json]) -> None:
    """Profile user-access-brand."""
    place = f"Organization `{brand.get('id')}`"
    if not brand.get("name"):
        raise BrandError(f"{place} needs a `name`")
    if not _maps(brand.get("telecom")) or len(brand["telecom"]) != 1 or _website(brand["telecom"]) is None:
        raise BrandError(f"{place} needs one `telecom`, the url of its website")
    unknown = _led_to(brand) - set(endpoints)
    if unknown:
        raise BrandError(f"{place} refers to `{min(unknown)}`, which isn't in the Bundle")


def _primary(brands: Sequence[Json], wanted: str | None) -> tuple[Json, Mapping[str, str]]:
    """The server's own brand and the identifier that names it among all."""
    if wanted is None and len(brands) > 1:
        raise BrandError("there are several brands: name the identifier of the primary one, `system|value`")
    found = [
        (brand, {name: str(i[name]) for name in ("system", "value") if name in i})
        for brand in brands
        for i in (brand["identifier"] if _maps(brand.get("identifier")) else ())
        if i.get("value") and (wanted is None or f"{i.get('system', '')}|{i['value']}" == wanted)
    ]
    if not found or (wanted is not None and len(found) > 1):
        raise BrandError("exactly one Organization must have the identifier of the primary brand")
    return found[0]


def _led_to(brand: Json) -> set[str]:
    """References to Endpoints, of the brand itself and of its portals."""
    references = list(brand["endpoint"]) if _maps(brand.get("endpoint")) else []
    for portal in brand["extension"] if _maps(brand.get("extension")) else ():
        if portal.get("url") == _PORTAL and _maps(portal.get("extension")):
            references += [part["valueReference"] for part in portal["extension"] if "valueReference" in part]
    return {str(r.get("reference")) for r in references if isinstance(r, dict)}


def _website(points: object) -> str | None:
    found = points if isinstance(points, list) else ()
    urls = (p for p in found if isinstance(p, dict) and p.get("system") == "url")
    return next((str(p.get("value") or _ABSENT) for p in urls), None)


def _maps(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _absent_reasons(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("url") == _ABSENT:
            yield str(value.get("valueCode"))
        for inner in value.values():
            yield from _absent_reasons(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _absent_reasons(inner)
