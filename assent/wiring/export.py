"""Bulk export, put together by the composition root."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from assent.asgi import App
from assent.settings import Settings
from fhir.export.app import BulkExport, ExportParts
from fhir.export.jobs import ExportJobs
from fhir.export.upstream import ExportUpstream
from fhir.minimization.facts import FactsReader
from fhir.proxy.parts import ProxyParts
from fhir.proxy.resource_view import ResourceViews


def bulk_export(
    proxy: ProxyParts,
    upstream: ExportUpstream,
    served: Callable[[str], bool],
    facts: FactsReader,
    engine: AsyncEngine,
    settings: Settings,
    otherwise: App,
    *,
    schema: str,
    secret: bytes,
) -> BulkExport:
    """What answers `$export`, in front of the proxy."""
    return BulkExport(
        proxy,
        ExportParts(
            jobs=ExportJobs(engine, schema=schema, secret=secret),
            upstream=upstream,
            served=served,
            views=ResourceViews(proxy.catalogue, proxy.definitions, proxy.masks, facts, proxy.medications),
            groups=frozenset(settings.export_groups),
            max_line=settings.upstream_max_body_bytes,
        ),
        otherwise,
    )
