"""Remembers what was found in a resource, by its exact bytes: the same content is read again and again.

Apps poll, several apps read one patient, and the same providers and products are included for everyone. What is kept
follows from the content, the catalogue and a mask alone; who may see it is decided anew at every use, by the
consents of that moment. Bounded in bytes; the content used least lately goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from fhir.minimization.mask_plan import MaskNode
from fhir.minimization.members import Members
from fhir.minimization.seen_before import SeenBefore
from fhir.proxy.shown import Shown
from policies.classify import Classification
from policies.decide import ReadPlan
from policies.model import ResourceFacts

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_RESOURCE: Final = 64 * 1024
"""Larger resources are rare, and one of them would push out many."""
_OVERHEAD: Final = 4_096
"""What an entry's facts take, about."""


class Content:
    """What is known of one resource's content: its facts, its categories, and what each mask shows of it."""

    __slots__ = ("categories", "facts", "forms", "kind", "latest", "members", "weight")

    def __init__(self, facts: ResourceFacts, kind: Classification, members: Members) -> None:
        self.facts: Final = facts
        self.kind: Final = kind
        self.members: Final = members
        self.categories: Final = kind.everyday | kind.sensitive
        self.forms: dict[MaskNode, Shown] = {}
        self.latest: tuple[ReadPlan | None, Shown | None] = (None, None)
        """What was shown of it last, and by which plan, which is one object while it says the same."""
        self.weight = _OVERHEAD


class ContentMemo:
    """Contents by their bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_bytes
        self._weight = 0
        self._seen = SeenBefore()
        self._contents: OrderedDict[bytes, Content] = OrderedDict()

    def find(self, raw: bytes) -> Content | None:
        """What is known of exactly this content."""
        content = self._contents.get(raw)
        if content is not None:
            self._contents.move_to_end(raw)
        return content

    def keep(self, raw: bytes, content: Content) -> None:
        """Remember content that comes for the second time or more."""
        if len(raw) <= MAX_RESOURCE and self._seen.again(hash(raw)):
            self._contents[raw] = content
            content.weight += len(raw)
            self._add(content.weight)

    def keep_form(self, raw: bytes, content: Content, mask: MaskNode, form: Shown) -> None:
        """Remember how content looks under a mask."""
        if raw in self._contents:
            content.forms[mask] = form
            content.weight += len(form.body)
            self._add(len(form.body))

    def _add(self, weight: int) -> None:
        self._weight += weight
        while self._weight > self._max:
            _, oldest = self._contents.popitem(last=False)
            self._weight -= oldest.weight
