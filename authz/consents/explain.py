"""`$explain` on a Consent: what it and its patient's other consents open to an app, with the chain of reasons.

The app is the one that is asked about, or the one that the Consent names. The reasons name rules and never data, but
those about one resource tell which kinds of data it is of. So only a recorder may ask about a resource (and is told
only about the patient's own); a gateway asks about a type. What decides is `assent.explanation`, handed in by the
composition root, since it knows every floor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from authz.consents.access import NamesNobody, NotRegistered, access_asked, why_not_live
from authz.consents.api_reads import Asked
from authz.consents.explain_request import ExplainRequest
from authz.context import AuthzContext
from fhir.audit.event import AuditRecord
from fhir.consents.reading import read_consent
from fhir.proxy.request import ProxyRefusal
from fhir.r4.interaction import Interaction
from policies.consent_rule import ConsentRule
from policies.model import Access, Reason


@dataclass(frozen=True, slots=True)
class ExplainQuestion:
    """Which access to which patient's data, by which interaction."""

    consent_id: str
    patient: str
    access: Access
    said: tuple[Reason, ...]
    """Where the access comes from."""
    interaction: Interaction
    """Without an id it asks about the type."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Of a search."""
    category: str = ""
    """Code of the data category that is asked about: what is in it, and of the interaction's type."""


@dataclass(frozen=True, slots=True)
class ExplainAnswer:
    """The decision and why."""

    decision: Literal["permit", "deny"]
    reasons: tuple[Reason, ...]
    removed: tuple[str, ...] = ()
    """Top-level elements that the mask takes away."""
    masked: tuple[str, ...] = ()
    """Top-level elements that it changes."""
    kept: tuple[str, ...] = ()
    """Of a category: the sensitive ones that stay closed within it."""
    detailed: bool = False
    """Of a category: the consents have rules by which a single resource in it may be decided otherwise."""


_OTHER_PURPOSE: Final = "is none for which the client is registered"
Explainer = Callable[[ExplainQuestion], Awaitable[ExplainAnswer]]


class ConsentExplain:
    """Answers `$explain`."""

    def __init__(self, context: AuthzContext, explain: Explainer) -> None:
        self._context = context
        self._explain = explain

    async def answer(self, asked: Asked, consent_id: str, request: ExplainRequest) -> bytes:
        """A Parameters resource. Raises ProxyRefusal."""
        if asked.by.letters and "r" not in asked.by.letters:
            raise ProxyRefusal(403, "forbidden", "the token needs scope `assent/consents.r`")
        if request.interaction.id and not asked.by.letters:
            raise ProxyRefusal(403, "forbidden", "only who keeps consents may ask about one resource")
        stored = await self._context.repository.read("Consent", consent_id)
        if stored is None or stored.deleted:
            raise ProxyRefusal(404, "not-found", "there is no such Consent")
        content: dict[str, Any] = msgspec.json.decode(stored.body)
        rule = read_consent(content)
        access, told = await self._access(rule, request)
        said = (Reason("consent", f"its status is `{content.get('status')}`", rule.reference), told)
        question = ExplainQuestion(rule.id, rule.patient, access, said, request.interaction, request.parameters)
        found = await self._answer(question)
        await self._record(asked, question)
        return _parameters(question, found)

    async def _answer(self, question: ExplainQuestion) -> ExplainAnswer:
        async with self._context.engine.connect() as connection:
            dead = await why_not_live(connection, question.access.client_id)
        return await self._explain(question) if dead is None else ExplainAnswer("deny", (*question.said, dead))

    async def _access(self, rule: ConsentRule, request: ExplainRequest) -> tuple[Access, Reason]:
        async with self._context.engine.connect() as connection:
            try:
                return await access_asked(connection, rule, request.client, request.purpose, request.user)
            except NamesNobody:
                text = "the consent names no app; say with `client` of whose access you ask"
                raise ProxyRefusal(400, "required", text) from None
            except NotRegistered as unknown:
                text = "is none that is registered" if str(unknown) == "client" else _OTHER_PURPOSE
                raise ProxyRefusal(400, "value", f"`{unknown}` {text}") from None

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


def _parameters(question: ExplainQuestion, answer: ExplainAnswer) -> bytes:
    kind, elements = question.interaction.resource_type, [("removed", answer.removed), ("masked", answer.masked)]
    parts: list[dict[str, Any]] = [
        {"name": "decision", "valueCode": answer.decision},
        {"name": "patient", "valueReference": {"reference": f"Patient/{question.patient}"}},
        {"name": "client", "valueString": question.access.client_id},
        {"name": "purpose", "valueCode": question.access.purpose},
        *(_reason(reason) for reason in answer.reasons),
        *(_element(kind, name, effect) for effect, names in elements for name in names),
    ]
    return msgspec.json.encode({"resourceType": "Parameters", "parameter": parts})


def _reason(reason: Reason) -> dict[str, Any]:
    told = [{"name": "rule", "valueCode": reason.rule}, {"name": "text", "valueString": reason.text}]
    if reason.source:
        told.append({"name": "source", "valueString": reason.source})
    return {"name": "reason", "part": told}


def _element(kind: str, name: str, effect: str) -> dict[str, Any]:
    """One that isn't in R4 has no name that may be told: `assent.explanation` says so in words."""
    path = f"{kind}.{name}" if name.isidentifier() else name
    return {"name": "element", "part": [{"name": "path", "valueString": path}, {"name": "effect", "valueCode": effect}]}
