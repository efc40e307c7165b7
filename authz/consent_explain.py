"""`$explain` on a Consent: what it and its patient's other consents open to a client, with the chain of reasons.

The reasons name rules and never data, but those about one resource tell which kinds of data it is of. So only a
recorder may ask about a resource (and only about one of the consent's patient); a gateway asks about a type.
What decides is `assent.explanation`, handed in by the composition root, since it knows every floor.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from authz.clients import Client, find_client
from authz.consent_api_reads import Asked
from authz.context import AuthzContext
from fhir.audit_event import AuditRecord
from fhir.consent_reading import read_consent
from fhir.interaction import Interaction
from fhir.proxy_request import ProxyRefusal
from fhir.resource_type_names import RESOURCE_TYPE_NAMES
from fhir.store import StoredResource
from policies.model import Reason

_PARAMETERS: Final = frozenset({"client", "interaction", "type", "resource", "purpose", "_format"})
_RESOURCE: Final = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})")
_INTERACTIONS: Final[dict[str, Literal["read", "search-type"]]] = {"read": "read", "search-type": "search-type"}


@dataclass(frozen=True, slots=True)
class ExplainQuestion:
    """Whose access to which patient's data, by which interaction."""

    consent_id: str
    patient: str
    client: Client
    purpose: str
    interaction: Interaction
    """A read without an id asks about the type."""


@dataclass(frozen=True, slots=True)
class ExplainAnswer:
    """The decision and why."""

    decision: Literal["permit", "deny"]
    reasons: tuple[Reason, ...]


Explainer = Callable[[ExplainQuestion], Awaitable[ExplainAnswer]]


class ConsentExplain:
    """Answers `GET /fhir/Consent/{id}/$explain`."""

    def __init__(self, context: AuthzContext, explain: Explainer) -> None:
        self._context = context
        self._explain = explain

    async def answer(self, asked: Asked, consent_id: str, parameters: Sequence[tuple[str, str]]) -> bytes:
        """A Parameters resource. Raises ProxyRefusal."""
        given = _read(parameters)
        if asked.by.letters and "r" not in asked.by.letters:
            raise ProxyRefusal(403, "forbidden", "the token needs scope `assent/consents.r`")
        if "resource" in given and not asked.by.letters:
            raise ProxyRefusal(403, "forbidden", "only who keeps consents may ask about one resource")
        stored = await self._context.repository.read("Consent", consent_id)
        if stored is None or stored.deleted:
            raise ProxyRefusal(404, "not-found", "there is no such Consent")
        question = await self._question(stored, given)
        found = await self._explain(question)
        await self._record(asked, question)
        return _parameters(question, found)

    async def _question(self, stored: StoredResource, given: dict[str, str]) -> ExplainQuestion:
        async with self._context.engine.connect() as connection:
            client = await find_client(connection, given["client"])
        if client is None:
            raise ProxyRefusal(400, "value", "`client` is none that is registered")
        purpose = given.get("purpose") or next(iter(client.purposes), "")
        if purpose not in client.purposes:
            raise ProxyRefusal(400, "value", "`purpose` is none for which the client is registered")
        kind, _, id = given.get("resource", given["type"]).partition("/")
        interaction = Interaction(_INTERACTIONS[given["interaction"]], kind, id)
        patient = read_consent(msgspec.json.decode(stored.body)).patient
        return ExplainQuestion(stored.id, patient, client, purpose, interaction)

    async def _record(self, asked: Asked, question: ExplainQuestion) -> None:
        about = question.interaction
        resource = (f"{about.resource_type}/{about.id}",) if about.id else ()
        record = AuditRecord(
            kind="consent",
            action="E",
            outcome="0",
            recorded=self._context.clock(),
            request_id=asked.request_id,
            client_id=asked.by.client_id,
            client_name=asked.by.client_name,
            patient=question.patient or None,
            entities=(f"Consent/{question.consent_id}", *resource),
        )
        await self._context.audit.record(record)


def _read(parameters: Sequence[tuple[str, str]]) -> dict[str, str]:
    given = dict(parameters)
    if len(given) != len(parameters) or not _PARAMETERS.issuperset(given):
        text = "$explain takes `client`, `interaction`, `type`, `resource` and `purpose`, each once"
        raise ProxyRefusal(400, "not-supported", text)
    given.setdefault("interaction", "read")
    for name in ("client", "type"):
        if not given.get(name):
            raise ProxyRefusal(400, "required", f"`{name}` is missing")
    if given["interaction"] not in _INTERACTIONS:
        raise ProxyRefusal(400, "value", "`interaction` takes `read` and `search-type`")
    if given["type"] not in RESOURCE_TYPE_NAMES:
        raise ProxyRefusal(400, "value", "`type` must be a resource type of R4")
    if "resource" in given:
        found = _RESOURCE.fullmatch(given["resource"])
        if found is None or found[1] != given["type"] or given["interaction"] != "read":
            raise ProxyRefusal(400, "value", "`resource` must be `Type/id` of the `type`, and is for `read` alone")
    return given


def _parameters(question: ExplainQuestion, answer: ExplainAnswer) -> bytes:
    parts: list[dict[str, Any]] = [
        {"name": "decision", "valueCode": answer.decision},
        {"name": "patient", "valueReference": {"reference": f"Patient/{question.patient}"}},
        {"name": "purpose", "valueCode": question.purpose},
    ]
    for reason in answer.reasons:
        told = [{"name": "rule", "valueCode": reason.rule}, {"name": "text", "valueString": reason.text}]
        if reason.source:
            told.append({"name": "source", "valueString": reason.source})
        parts.append({"name": "reason", "part": told})
    return msgspec.json.encode({"resourceType": "Parameters", "parameter": parts})
