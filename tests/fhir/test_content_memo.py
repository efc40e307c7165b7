"""What is remembered of contents is bounded, and hangs on the exact bytes."""

from __future__ import annotations

from fhir.minimization.mask_plan import MaskNode
from fhir.proxy.content_memo import MAX_RESOURCE, Content, ContentMemo
from fhir.proxy.searchset import Shown
from policies.classify import Classification
from policies.model import ResourceFacts


def content(name: str = "o1") -> Content:
    nothing: frozenset[str] = frozenset()
    return Content(ResourceFacts("Observation", name), Classification(nothing, nothing, frozenset()))


def test_only_the_same_bytes_are_the_same_content() -> None:
    memo, known = ContentMemo(), content()
    memo.keep(b'{"value":1.50}', known)
    assert memo.find(b'{"value":1.50}') is known
    assert memo.find(b'{"value":1.5}') is None


def test_each_mask_has_a_form_of_its_own() -> None:
    memo, known = ContentMemo(), content()
    narrow, wide = MaskNode({}), MaskNode({})
    memo.keep(b"{}", known)
    memo.keep_form(b"{}", known, narrow, seen := Shown(known.facts, b"1"))
    assert (known.forms.get(narrow), known.forms.get(wide)) == (seen, None)


def test_content_used_least_lately_goes_first() -> None:
    memo = ContentMemo(max_bytes=2 * content().weight + 10)
    memo.keep(b"a", content())
    memo.keep(b"b", content())
    memo.find(b"a")
    memo.keep(b"c", content())
    assert [memo.find(raw) is not None for raw in (b"a", b"b", b"c")] == [True, False, True]


def test_forms_count_towards_the_bound() -> None:
    memo, known = ContentMemo(max_bytes=content().weight + 100), content()
    memo.keep(b"a", known)
    memo.keep_form(b"a", known, MaskNode({}), Shown(known.facts, b"x" * 200))
    assert memo.find(b"a") is None


def test_a_large_resource_pushes_nothing_out() -> None:
    memo = ContentMemo()
    memo.keep(b"a", content())
    memo.keep(b"x" * (MAX_RESOURCE + 1), content())
    assert memo.find(b"a") is not None
    assert memo.find(b"x" * (MAX_RESOURCE + 1)) is None
