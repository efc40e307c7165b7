"""The port `Explanations`: makes questions of what people ask on pages, has them answered by the proxy's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from structlog.contextvars import get_contextvars

from authz.clients.clients import find_client
from authz.consents.asked_access import AskedAccess, NothingToAsk, access_of_consent, access_of_grant, access_of_token
from authz.consents.explain import ExplainAnswer, Explainer, ExplainQuestion
from authz.context import AuthzContext
from authz.sign_in.sessions import SignedInSession
from authz.tokens.gate import TokenGate
from fhir.audit.event import AuditRecord
from fhir.audit.trail import AuditUnavailable
from fhir.consents.register import TooManyConsents
from fhir.r4.asked_interaction import NAMES
from fhir.r4.interaction import Interaction
from fhir.upstream.failure import UpstreamFailure
from fhir.upstream.upstreams import TypeNotServed
from policies.model import Reason
from portal.explain_ports import AccessNamed, CannotAskNow, CannotExplain, Why, WhyAsked

_NOT_SERVED: Final = Reason("default", "this server has no resources of that type")
_TOO_MANY: Final = Reason("default", "the patient has more consents than can be judged")


class StoredExplanations:
    """Answers why."""

    def __init__(self, context: AuthzContext, gate: TokenGate, explain: Explainer) -> None:
        self._context = context
        self._gate = gate
        self._explain = explain

    async def purposes(self, client_id: str) -> Sequence[str]:
        """As the port."""
        async with self._context.engine.connect() as connection:
            client = await find_client(connection, client_id)
        return () if client is None else client.purposes

    async def of_consent(self, consent_id: str, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        """As the port."""
        try:
            whose = await access_of_consent(self._context, consent_id, asked.purpose)
        except NothingToAsk:
            raise CannotExplain from None
        return await self._answered(whose, asked, by)

    async def of_access(self, named: AccessNamed, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        """As the port."""
        # INVARIANT: which kinds one record is of is health data, and no operator is told any.
        if by.account.role != "operator" or asked.id:
            raise CannotExplain
        try:
            whose = await self._named(named, asked.purpose)
        except NothingToAsk:
            raise CannotExplain from None
        return await self._answered(whose, asked, by)

    async def _named(self, named: AccessNamed, purpose: str) -> AskedAccess:
        if named.token:
            return _for(await access_of_token(self._gate, named.token, named.patient), purpose)
        try:
            return await access_of_consent(self._context, named.id, purpose)
        except NothingToAsk:
            return _for(await access_of_grant(self._context, named.id), purpose)

    async def _answered(self, whose: AskedAccess, asked: WhyAsked, by: SignedInSession) -> Sequence[Why]:
        try:
            told = [await self._why(whose, asked, kind) for kind in self._types(asked)]
            await self._record(whose, asked, by)
        except (UpstreamFailure, AuditUnavailable) as failed:
            raise CannotAskNow from failed
        return told

    def _types(self, asked: WhyAsked) -> Sequence[str]:
        """Of one record, its own; of an everyday category, its types; of a sensitive one, every type that is shared."""
        if not asked.category:
            return (asked.resource_type,)
        catalogue = self._context.catalogue
        wanted = catalogue.categories[asked.category]
        of = catalogue.everyday if wanted.sensitive else (wanted,)
        return tuple(dict.fromkeys(scope.resource_type for category in of for scope in category.scopes))

    async def _why(self, whose: AskedAccess, asked: WhyAsked, kind: str) -> Why:
        if whose.access is None:
            return Why(kind, False, whose.said)
        if whose.dead is not None:
            return Why(kind, False, (*whose.said, whose.dead))
        interaction = Interaction(NAMES[asked.interaction], kind, asked.id)
        question = ExplainQuestion(
            whose.consent_id, whose.patient, whose.access, whose.said, interaction, category=asked.category
        )
        found = await self._asked(question)
        elements = (found.removed, found.masked)
        return Why(kind, found.decision == "permit", found.reasons, *elements, found.kept, found.detailed)

    async def _asked(self, question: ExplainQuestion) -> ExplainAnswer:
        try:
            return await self._explain(question)
        except TypeNotServed:
            return ExplainAnswer("deny", (*question.said, _NOT_SERVED))
        except TooManyConsents:
            return ExplainAnswer("deny", (*question.said, _TOO_MANY))

    async def _record(self, whose: AskedAccess, asked: WhyAsked, by: SignedInSession) -> None:
        consent = (f"Consent/{whose.consent_id}",) if whose.consent_id else ()
        record = (f"{asked.resource_type}/{asked.id}",) if asked.id else ()
        await self._context.audit.record(
            AuditRecord(
                kind="consent",
                action="E",
                outcome="0",
                recorded=self._context.clock(),
                request_id=str(get_contextvars().get("request_id", "")),
                user=by.account.fhir_user or f"{by.account.role}:{by.account.username}",
                patient=whose.patient or None,
                entities=(*consent, *record),
            )
        )


def _for(whose: AskedAccess, purpose: str) -> AskedAccess:
    """A grant and a token are for one purpose."""
    if whose.access is None or whose.dead is not None or purpose in ("", whose.access.purpose):
        return whose
    return replace(whose, dead=Reason("token", f"the token is for the purpose `{whose.access.purpose}` alone"))
