"""Answers `$explain` (authz.consents.explain) and what people ask on pages, with the chain of `assent explain`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from assent.explanation import Explanation, Rules, explain_plan, explain_read, explain_search
from assent.kind_explanation import explain_kind
from authz.consents.explain import ExplainAnswer, ExplainQuestion
from fhir.consents.directory import Knows
from fhir.consents.register import ConsentRegister
from fhir.proxy.medications import Medications
from fhir.upstream.source import Source
from policies.decide import ReadPlan, users_of


@dataclass(frozen=True, slots=True)
class ConsentExplainer:
    """Asks the rules of this server about an access."""

    rules: Rules
    register: ConsentRegister
    source_of: Callable[[str], Source]
    clock: Callable[[], datetime]
    directory: Knows

    async def __call__(self, question: ExplainQuestion) -> ExplainAnswer:
        """The decision. Raises what the register and the source raise."""
        plan, found = await self._planned(question)
        if plan is not None and question.category:
            category = self.rules.catalogue.categories[question.category]
            of_kind = explain_kind(self.rules, plan, found, question.interaction, category)
            return replace(_answer(question, of_kind.explanation), kept=of_kind.kept, detailed=of_kind.detailed)
        return _answer(question, found if plan is None else await self._explained(question, plan, found))

    async def _planned(self, question: ExplainQuestion) -> tuple[ReadPlan | None, Explanation]:
        consents = await self.register.rules(question.patient)
        knowledge = await self.directory.knowledge(consents, users_of(question.access))
        now = self.clock()
        return explain_plan(
            self.rules, question.access, question.interaction, question.patient, consents, now, knowledge
        )

    async def _explained(self, question: ExplainQuestion, plan: ReadPlan, found: Explanation) -> Explanation:
        interaction, patient = question.interaction, question.patient
        kind, wanted = interaction.resource_type, f"{interaction.resource_type}/{interaction.id}"
        if interaction.code == "search-type":
            # The query for the upstream may hold more than the asker gave.
            return replace(explain_search(self.rules, plan, found, kind, question.parameters), upstream=None)
        if interaction.id:
            body = await self.source_of(kind).read(kind, interaction.id, "")
            medications = Medications(self.source_of, self.rules.facts)
            await medications.learn(body or b"")
            return explain_read(self.rules, plan, found, wanted, self._of(patient, body), medications)
        return found

    def _of(self, patient: str, body: bytes | None) -> bytes | None:
        """The resource, if it is about this patient alone: of anything else not even its kind is told."""
        try:
            owners = frozenset() if body is None else self.rules.facts.read(msgspec.json.decode(body)).owners
        except (msgspec.DecodeError, RecursionError):
            return None
        return body if owners == {patient} else None


def _answer(question: ExplainQuestion, found: Explanation) -> ExplainAnswer:
    return ExplainAnswer(found.decision, (*question.said, *found.reasons), found.removed, found.masked)
