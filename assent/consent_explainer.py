"""Answers `$explain` (authz.consent_explain) with the chain of reasons that `assent explain` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from assent.explanation import Rules, explain_plan, explain_read, explain_search
from authz.consent_explain import ExplainAnswer, ExplainQuestion
from fhir.consent_register import ConsentRegister
from fhir.source import Source
from policies.model import Access, Scope
from smart.scope_syntax import split_scope

WIDEST: Final[tuple[Scope, ...]] = (Scope("patient", "*", "rs"),)
"""What a consent is asked about when no token is at hand: everything that a scope could open."""


@dataclass(frozen=True, slots=True)
class ConsentExplainer:
    """Asks the rules of this server about a client, as if it held a token with the widest scope that it can have."""

    rules: Rules
    register: ConsentRegister
    source_of: Callable[[str], Source]
    clock: Callable[[], datetime]

    async def __call__(self, question: ExplainQuestion) -> ExplainAnswer:
        """The decision. Raises what the register and the source raise."""
        interaction, patient = question.interaction, question.patient
        kind, wanted = interaction.resource_type, f"{interaction.resource_type}/{interaction.id}"
        consents = await self.register.rules(patient)
        access = _access(question)
        plan, found = explain_plan(self.rules, access, interaction, patient, consents, self.clock())
        if plan is not None and interaction.code == "search-type":
            found = explain_search(self.rules, plan, found, kind, ())
        elif plan is not None and interaction.id:
            body = await self.source_of(kind).read(kind, interaction.id, "")
            found = explain_read(self.rules, plan, found, wanted, self._of(patient, body))
        return ExplainAnswer(found.decision, found.reasons)

    def _of(self, patient: str, body: bytes | None) -> bytes | None:
        """The resource, if it is about this patient alone: of anything else not even its kind is told."""
        try:
            owners = frozenset() if body is None else self.rules.facts.read(msgspec.json.decode(body)).owners
        except (msgspec.DecodeError, RecursionError):
            return None
        return body if owners == {patient} else None


def _access(question: ExplainQuestion) -> Access:
    client = question.client
    if client.kind == "backend":
        scopes = tuple(s for s in split_scope(client.scope)[1] if s.context == "system")
        return Access(client.client_id, "", scopes, 0, "", subject=client.client_id, purpose=question.purpose)
    scopes = split_scope(client.scope)[1] or WIDEST
    return Access(client.client_id, "-", scopes, 0, "", patient=question.patient, purpose=question.purpose)
