"""Answers `$explain` (authz.consents.explain) and what people ask on pages, with the chain of `assent explain`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from assent.explained_resource import Found, found_of
from assent.explanation import Explanation, Rules, explain_plan
from assent.interaction_explanation import explain_interaction
from assent.kind_explanation import explain_kind
from authz.consents.explain import ExplainAnswer, ExplainQuestion
from fhir.consents.directory import Knows
from fhir.consents.register import ConsentRegister
from fhir.r4.strict_json import decode_once
from fhir.upstream.source import Source, read_if_given
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
        async def read(kind: str, id: str, version: str) -> Found:
            body = await read_if_given(self.source_of(kind), kind, id, version)
            return self._of(question.patient, await found_of(self.rules.facts, self.source_of, kind, body))

        told = await explain_interaction(self.rules, plan, found, question.interaction, question.parameters, read)
        return replace(told, upstream=None)  # the query for the upstream may hold more than the asker gave

    def _of(self, patient: str, found: Found) -> Found:
        """The resource, if it is about this patient alone: of anything else not even its kind is told."""
        if found.body is None:
            return found
        try:
            facts = self.rules.facts.read(decode_once(found.body))
        except (msgspec.DecodeError, RecursionError):
            return Found(None)
        origin = found.origins.get(found.body)
        facts = facts if origin is None else origin.about(facts)
        return found if facts.owners == {patient} else Found(None)


def _answer(question: ExplainQuestion, found: Explanation) -> ExplainAnswer:
    return ExplainAnswer(found.decision, (*question.said, *found.reasons), found.removed, found.masked)
