"""Answers `$explain` (authz.consents.explain) with the chain of reasons that `assent explain` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from assent.explanation import Explanation, Rules, explain_plan, explain_read, explain_search
from authz.consents.explain import ExplainAnswer, ExplainQuestion
from fhir.consents.register import ConsentRegister
from fhir.upstream.source import Source


@dataclass(frozen=True, slots=True)
class ConsentExplainer:
    """Asks the rules of this server about an access."""

    rules: Rules
    register: ConsentRegister
    source_of: Callable[[str], Source]
    clock: Callable[[], datetime]

    async def __call__(self, question: ExplainQuestion) -> ExplainAnswer:
        """The decision. Raises what the register and the source raise."""
        found = await self._explained(question)
        return ExplainAnswer(found.decision, (*question.said, *found.reasons), found.removed, found.masked)

    async def _explained(self, question: ExplainQuestion) -> Explanation:
        interaction, patient = question.interaction, question.patient
        kind, wanted = interaction.resource_type, f"{interaction.resource_type}/{interaction.id}"
        consents = await self.register.rules(patient)
        plan, found = explain_plan(self.rules, question.access, interaction, patient, consents, self.clock())
        if plan is not None and interaction.code == "search-type":
            # The query for the upstream may hold more than the asker gave.
            return replace(explain_search(self.rules, plan, found, kind, question.parameters), upstream=None)
        if plan is not None and interaction.id:
            body = await self.source_of(kind).read(kind, interaction.id, "")
            return explain_read(self.rules, plan, found, wanted, self._of(patient, body))
        return found

    def _of(self, patient: str, body: bytes | None) -> bytes | None:
        """The resource, if it is about this patient alone: of anything else not even its kind is told."""
        try:
            owners = frozenset() if body is None else self.rules.facts.read(msgspec.json.decode(body)).owners
        except (msgspec.DecodeError, RecursionError):
            return None
        return body if owners == {patient} else None
