"""What went wrong, as an answer to the app."""

from __future__ import annotations

from fhir.audit.trail import AuditUnavailable
from fhir.consents.register import TooManyConsents
from fhir.proxy.request import ProxyRefusal
from fhir.proxy.search_request import SearchRefused
from fhir.proxy.upstream_page import BrokenBundle
from fhir.search.literals import SearchError
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.upstreams import TypeNotServed


def refusal_of(error: Exception) -> ProxyRefusal | None:
    """The one place where what went wrong becomes an OperationOutcome; None for what nobody foresaw.

    No text of an upstream, a database or a stack goes along.
    """
    if isinstance(error, ProxyRefusal):
        return error
    if isinstance(error, SearchRefused):
        return ProxyRefusal(error.status, error.code, error.text)
    if isinstance(error, SearchError):
        return ProxyRefusal(400, error.code, error.text)
    if isinstance(error, UpstreamFailure) and error.retry_after is not None:
        headers = ((b"retry-after", b"%d" % error.retry_after),)
        return ProxyRefusal(503, "transient", error.text, headers=headers)
    if isinstance(error, UpstreamFailure):
        status = 504 if error.kind == "timeout" else 502
        return ProxyRefusal(status, "timeout" if error.kind == "timeout" else "transient", error.text)
    if isinstance(error, BrokenBundle):
        return ProxyRefusal(502, "exception", "the upstream FHIR server's answer is not the Bundle that was asked for")
    if isinstance(error, AuditUnavailable):
        return ProxyRefusal(503, "transient", "the access can't be recorded now, so nothing is disclosed")
    if isinstance(error, TypeNotServed):
        return ProxyRefusal(404, "not-supported", "this server has no resources of that type")
    if isinstance(error, TooManyConsents):
        return ProxyRefusal(403, "too-costly", "the patient has more consents than can be judged")
    return None
