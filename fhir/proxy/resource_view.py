"""Step 6 of a request, for one resource: decided on its own content, then masked (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from fhir.minimization.facts import FactsReader
from fhir.minimization.mask_plan import MaskCompiler, MaskNode
from fhir.minimization.masks import Masks, restricted
from fhir.minimization.members import MemberReader
from fhir.minimization.minimize import MinimizeRules, NotMinimizable, minimize
from fhir.proxy.content_memo import Content, ContentMemo
from fhir.proxy.include_links import IncludeLinks
from fhir.proxy.medications import Medications
from fhir.proxy.origins import NO_ORIGINS, PROVENANCE, OriginsByContent
from fhir.proxy.shown import Show, Shown
from fhir.r4.definitions import Definitions
from fhir.r4.resource_body import content_of
from fhir.writes.merge import merge
from policies.catalogue import Catalogue
from policies.classify import Classification, classify
from policies.decide import Decisions, ReadPlan
from policies.model import Permit, ResourceFacts

_decode: Final = msgspec.json.Decoder(dict[str, object]).decode


class ResourceViews:
    """Views of resources under the catalogue's masks."""

    def __init__(
        self,
        catalogue: Catalogue,
        definitions: Definitions,
        masks: Masks,
        facts: FactsReader,
        medications: Medications | None = None,
    ) -> None:
        """`medications`: what is known of the medicines that others refer to; None where nothing is decided."""
        self._catalogue = catalogue
        self._definitions = definitions
        self._masks = masks
        self._facts = facts
        self._medications = medications
        self._binary = MaskCompiler(definitions).compile("Binary", frozenset({"contentType", "data"}))
        self._members = MemberReader(facts)
        self._memo = ContentMemo()
        self._last: tuple[bytes, Content] | None = None
        """Whose data a resource is gets asked first, and then what may be seen of it."""

    def under(
        self,
        plan: ReadPlan,
        elements: Mapping[str, frozenset[str] | None],
        includes: Sequence[tuple[str, str]] = (),
        origins: OriginsByContent = NO_ORIGINS,
    ) -> Show:
        """The view of one request. `elements`: for a type, the elements that the app asked for, None being all.

        `origins`: what is known of Provenances when one is shown; it may grow.
        """
        decisions = Decisions(plan, self._catalogue)
        links = IncludeLinks(includes, self._definitions, self._facts.relative) if includes else None
        is_usual = links is None and not plan.unnamed and all(wanted is None for wanted in elements.values())
        rules = self._rules(plan.purpose)
        if plan.unnamed:
            rules = replace(rules, unnamed=plan.unnamed)

        def opens(content: Content, facts: ResourceFacts) -> MaskNode | None:
            node = self._masks.node(plan.purpose, facts.resource_type)
            return node if self._is_permitted(decisions, facts, content.kind) else None

        def is_open(raw: bytes) -> bool:
            content = self._content(raw)
            return opens(content, content.facts) is not None

        def show(raw: bytes) -> Shown | None:
            content = self._content(raw)
            if is_usual and content.latest[0] is plan:
                return content.latest[1]
            shown = found(raw, content)
            if is_usual and self._is_told_by(content.facts):
                content.latest = plan, shown
            return shown

        def found(raw: bytes, content: Content) -> Shown | None:
            facts = content.facts
            if facts.resource_type == PROVENANCE:
                origin = origins.get(raw)
                if origin is None or not all(map(is_open, origin.targets)):
                    return None
                facts = origin.about(facts)
            node = opens(content, facts)
            if node is None:
                return None
            wanted = elements.get(facts.resource_type)
            if plan.unnamed:  # what is remembered has their names
                kept = restricted(node, wanted, self._definitions, facts.resource_type)
                shown = Shown(facts, minimize(raw, kept, rules), categories=content.categories)
            elif wanted is not None:
                kept = restricted(node, wanted, self._definitions, facts.resource_type)
                shown = Shown(facts, minimize(content.members, kept, rules), categories=content.categories)
            else:
                shown = content.forms.get(node) or self._form(raw, content, node, rules)
                shown = shown if facts is content.facts else replace(shown, facts=facts)
            return shown if links is None else replace(shown, links=links.of(_decode(raw)))

        return show

    def _is_permitted(self, decisions: Decisions, facts: ResourceFacts, kind: Classification) -> bool:
        if self._medications is not None:
            told = self._medications.with_medicines(facts)
            if told is None:
                return False
            if told is not facts:
                facts, kind = told, classify(told, self._catalogue)
        return isinstance(decisions.of(facts, kind), Permit)

    def merged(self, purpose: str, old: tuple[bytes, bytes] | None, new: dict[str, object]) -> dict[str, object]:
        """What is stored when `new` is written. `old`: the resource as it is and as it is seen; None for none.

        Raises NotWritable and NotMinimizable.
        """
        node = self._masks.node(purpose, str(new.get("resourceType")))
        if node is None:
            raise NotMinimizable("nothing of the type may be seen")
        before, seen = ({}, {}) if old is None else map(content_of, old)
        try:
            return merge(node, self._rules(purpose), before, seen, new)
        except (TypeError, AttributeError, KeyError) as broken:
            raise NotMinimizable("content is not shaped as FHIR JSON") from broken

    def _form(self, raw: bytes, content: Content, node: MaskNode, rules: MinimizeRules) -> Shown:
        """What may be seen under a mask, whoever sees it: remembered with the content."""
        form = Shown(content.facts, minimize(content.members, node, rules), categories=content.categories)
        self._memo.keep_form(raw, content, node, form)
        return form

    def is_told_by_content(self, raw: bytes) -> bool:
        """Whether what is shown of a resource follows, under one plan, from its own content alone."""
        try:
            return self._is_told_by(self._content(raw).facts)
        except NotMinimizable:
            return True  # nothing is, whatever else is known

    def _is_told_by(self, facts: ResourceFacts) -> bool:
        medicines = self._medications is not None and self._medications.are_named_in(facts)
        return facts.resource_type != PROVENANCE and not medicines

    def facts(self, raw: bytes, origins: OriginsByContent = NO_ORIGINS) -> ResourceFacts:
        """What rules look at in a resource. Raises NotMinimizable."""
        facts, origin = self._content(raw).facts, origins.get(raw)
        return facts if origin is None else origin.about(facts)

    def binary(self, raw: bytes, purpose: str) -> bytes:
        """A Binary that may be seen, minimized: what it holds and which type that has. Raises NotMinimizable."""
        return minimize(raw, self._binary, self._rules(purpose))

    def relative(self, literal: str) -> str | None:
        """A literal reference as `Type/id` when it points into the upstream, else None."""
        return self._facts.relative(literal)

    def _rules(self, purpose: str) -> MinimizeRules:
        return MinimizeRules(
            lambda kind: self._masks.node(purpose, kind),
            self._catalogue.contained,
            self._catalogue.named_references,
            self._facts.relative,
        )

    def _content(self, raw: bytes) -> Content:
        if self._last is not None and self._last[0] is raw:
            return self._last[1]
        content = self._memo.find(raw)
        if content is None:
            try:
                facts, members = self._members.read(raw)
            except (msgspec.DecodeError, RecursionError) as broken:
                raise NotMinimizable("content is not shaped as FHIR JSON") from broken
            content = Content(facts, classify(facts, self._catalogue), members)
            self._memo.keep(raw, content)
        self._last = raw, content
        return content
