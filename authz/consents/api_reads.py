"""The reading half of `/fhir/Consent` for recorders: read, vread, history, search, and the Provenance of each version.

A recorder sees Consents whole, of every patient. What it saw is recorded, for each patient apart, before the answer
leaves (docs/decisions/0013-system-scopes.md, "Audit").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import msgspec

from authz.consents.recorders import Recorder
from authz.context import AuthzContext
from fhir.audit.event import AuditRecord
from fhir.consents.check import patient_of
from fhir.consents.patient_lookup import PatientLookup
from fhir.proxy.request import ProxyRefusal
from fhir.search.literals import SearchError
from fhir.search.query import CURSOR, SearchQuery, parse_search
from fhir.store.repository import SearchPage, StoredResource
from fhir.store.version_history import VersionHistory, history_bundle, read_history

MAX_COUNT: Final = 100
_Pairs = Sequence[tuple[str, str]]
_FORMATS: Final = frozenset({"json", "application/json", "application/fhir+json", "text/json"})
_REFUSED: Final = ("_include", "_elements", "_contained", "_containedType")
_PROVENANCE: Final = ("_revinclude", "Provenance:target")
_NOTHING: Final = SearchPage((), (), 0, None)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, in which request."""

    by: Recorder
    request_id: str


class ConsentReads:
    """The use cases of who only looks."""

    def __init__(self, context: AuthzContext, history: VersionHistory, patients: PatientLookup) -> None:
        self._context = context
        self._history = history
        self._patients = patients

    async def read(self, asked: Asked, kind: str, id: str, version: int | None = None) -> StoredResource:
        """One resource or one version of it. Raises ProxyRefusal: 404 when it never was, 410 when it is deleted."""
        repository = self._context.repository
        found = await (repository.read(kind, id) if version is None else repository.vread(kind, id, version))
        if found is None:
            raise ProxyRefusal(404, "not-found", f"there is no such {kind}")
        if found.deleted:
            raise ProxyRefusal(410, "deleted", f"the {kind} has been deleted; its history is still there")
        await self._record(asked, "read", [found])
        return found

    async def search(self, asked: Asked, kind: str, parameters: _Pairs) -> bytes:
        """A searchset Bundle. Raises SearchError, and what the upstream's client raises for `patient.identifier`."""
        pairs = [pair for pair in parameters if pair[0] != "_format"]
        query = await self.criteria(kind, pairs, MAX_COUNT)
        page = _NOTHING if query is None else await self._context.repository.search(query)
        await self._record(asked, "search", page.matches, f"{kind}?{urlencode(pairs)}")
        return self._searchset(kind, pairs, page)

    async def history(self, asked: Asked, id: str, parameters: _Pairs) -> bytes:
        """A history Bundle, of all consents when `id` is empty. Raises SearchError, ProxyRefusal."""
        query = read_history("Consent", id, parameters)
        versions, cursor = await self._history.page(query)
        if id and not versions and await self._context.repository.read("Consent", id) is None:
            raise ProxyRefusal(404, "not-found", "there is no such Consent")
        path = f"Consent/{id}/_history" if id else "Consent/_history"
        await self._record(asked, "search", versions, f"{path}?{urlencode(query.parameters)}")
        links = [("self", self._url(path, parameters))]
        if cursor is not None:
            links.append(("next", self._url(path, (*query.parameters, (CURSOR, cursor)))))
        return history_bundle(versions, self._context.fhir_base, links)

    async def criteria(self, kind: str, pairs: _Pairs, most: int) -> SearchQuery | None:
        """The search that parameters ask for; None when it can't match anything. Raises SearchError.

        Patients are the upstream's: their identifiers are looked up there first.
        """
        resolved: list[tuple[str, str]] = []
        for name, value in pairs:
            if name in _REFUSED or (name == "_revinclude" and (name, value) != _PROVENANCE):
                raise SearchError("not-supported", name, f"`{name}` is not supported here")
            if name == "_summary" and value not in ("count", "false"):
                raise SearchError("not-supported", name, "`_summary` takes `count` and `false` here")
            if name in ("patient.identifier", "patient:Patient.identifier"):
                ids = await self._patients.by_identifier(value)
                if not ids:
                    return None
                resolved.append(("patient", ",".join(f"Patient/{id}" for id in ids)))
            elif "." in name:
                raise SearchError("not-supported", name, "of chains only `patient.identifier` is supported here")
            else:
                resolved.append((name, value))
        base, definitions = self._context.fhir_base, self._context.repository.definitions
        return parse_search(kind, resolved, definitions, max_count=most, base_url=base)

    def _searchset(self, kind: str, pairs: _Pairs, page: SearchPage) -> bytes:
        links = [{"relation": "self", "url": self._url(kind, pairs)}]
        if page.next_cursor is not None:
            following = [pair for pair in pairs if pair[0] != CURSOR]
            links.append({"relation": "next", "url": self._url(kind, [*following, (CURSOR, page.next_cursor)])})
        bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset"}
        if page.total is not None:
            bundle["total"] = page.total
        entries = [self._entry(found, "match") for found in page.matches]
        entries += [self._entry(found, "include") for found in page.included]
        return msgspec.json.encode({**bundle, "link": links, **({"entry": entries} if entries else {})})

    def _entry(self, found: StoredResource, mode: str) -> dict[str, object]:
        return {
            "fullUrl": f"{self._context.fhir_base}/{found.resource_type}/{found.id}",
            "resource": msgspec.Raw(found.body),
            "search": {"mode": mode},
        }

    def _url(self, path: str, pairs: _Pairs) -> str:
        return f"{self._context.fhir_base}/{path}" + (f"?{urlencode(pairs)}" if pairs else "")

    async def _record(self, asked: Asked, kind: str, shown: Sequence[StoredResource], query: str | None = None) -> None:
        by_patient: dict[str | None, dict[str, None]] = {None: {}} if query is not None else {}
        for stored in shown:
            names = by_patient.setdefault(_patient(stored), {})
            names[f"{stored.resource_type}/{stored.id}"] = None
        records = [
            AuditRecord(
                kind="search" if kind == "search" else "read",
                action="E" if kind == "search" else "R",
                outcome="0",
                recorded=self._context.clock(),
                request_id=asked.request_id,
                client_id=asked.by.client_id,
                client_name=asked.by.client_name,
                patient=patient,
                entities=tuple(names),
                # A query may name anybody; a patient's own record must not.
                query=query if patient is None else None,
            )
            for patient, names in by_patient.items()
        ]
        await self._context.audit.record_all(records)


def refuse_parameters(parameters: _Pairs) -> None:
    """What isn't a search takes `_format` only. Raises ProxyRefusal."""
    for name, value in parameters:
        if name != "_format":
            raise ProxyRefusal(400, "not-supported", "`_format` is the only parameter here")
        if value.lower() not in _FORMATS:
            raise ProxyRefusal(406, "not-supported", "only application/fhir+json is served")


def _patient(stored: StoredResource) -> str | None:
    if stored.deleted or stored.resource_type != "Consent":
        return None
    return patient_of(msgspec.json.decode(stored.body)) or None
