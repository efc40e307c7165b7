"""Wires the endpoint at which consents are kept out of the parts that the proxy is made of."""

from __future__ import annotations

from assent.consent_explainer import ConsentExplainer
from assent.explanation import Rules
from authz.consents.api import ConsentApi
from authz.consents.api_reads import ConsentReads
from authz.consents.explain import ConsentExplain
from authz.context import AuthzContext
from authz.tokens.gate import TokenGate
from fhir.consents.directory import Directory
from fhir.consents.patient_lookup import UpstreamPatients
from fhir.consents.register import ConsentRegister
from fhir.minimization.facts import FactsReader
from fhir.proxy.parts import ProxyParts
from fhir.store.version_history import VersionHistory


def explainer_of(
    parts: ProxyParts, register: ConsentRegister, facts: FactsReader, directory: Directory
) -> ConsentExplainer:
    """Says why, by the same rules and sources as the proxy decides."""
    rules = Rules(parts.catalogue, parts.definitions, parts.masks, facts, parts.base, writes=parts.writes is not None)
    return ConsentExplainer(rules, register, parts.source_of, parts.clock, directory)


def consent_api(
    context: AuthzContext,
    gate: TokenGate,
    parts: ProxyParts,
    explainer: ConsentExplainer,
    *,
    schema: str,
) -> ConsentApi:
    """The endpoint."""
    patients = UpstreamPatients(parts.source_of("Patient"))
    reads = ConsentReads(context, VersionHistory(context.engine, schema=schema), patients)
    return ConsentApi(context, gate, reads, ConsentExplain(context, explainer), patients)
