"""What is remembered of contents is bounded, and hangs on the exact bytes."""

from __future__ import annotations

from fhir.minimization.mask_plan import MaskNode
from fhir.proxy.content_memo import MAX_RESOURCE, Content, ContentMemo
from fhir.proxy.shown import Shown
from policies.classify import Classification
from policies.model import ResourceFacts


def content(name: str = "o1") -> Content:
    nothing: frozenset[str] = frozenset()
    return Content(ResourceFacts("Observation", name), Classification(nothing, nothing, frozenset()), {})


def keep(memo: ContentMemo, raw: bytes, known: Content) -> None:
    """Show it twice: what comes once isn't kept."""
    memo.keep(raw, known)
    memo.keep(raw, known)


def test_what_comes_once_isnt_kept() -> None:
    memo, known = ContentMemo(), content()
    memo.keep(b"{}", known)
    assert memo.find(b"{}") is None
    memo.keep(b"{}", known)
    assert memo.find(b"{}") is known


def test_only_the_same_bytes_are_the_same_content() -> None:
    memo, known = ContentMemo(), content()
    keep(memo, b'{"value":1.50}', known)
    assert memo.find(b'{"value":1.50}') is known
    assert memo.find(b'{"value":1.5}') is None


def test_each_mask_has_a_form_of_its_own() -> None:
    memo, known = ContentMemo(), content()
    narrow, wide = MaskNode({}), MaskNode({})
    keep(memo, b"{}", known)
    memo.keep_form(b"{}", known, narrow, seen := Shown(known.facts, b"1"))
    assert (known.forms.get(narrow), known.forms.get(wide)) == (seen, None)


def test_content_used_least_lately_goes_first() -> None:
    memo = ContentMemo(max_bytes=2 * content().weight + 10)
    keep(memo, b"a", content())
    keep(memo, b"b", content())
    memo.find(b"a")
    keep(memo, b"c", content())
    assert [memo.find(raw) is not None for raw in (b"a", b"b", b"c")] == [True, False, True]


def test_forms_count_towards_the_bound() -> None:
    memo, known = ContentMemo(max_bytes=content().weight + 100), content()
    keep(memo, b"a", known)
    memo.keep_form(b"a", known, MaskNode({}), Shown(known.facts, b"x" * 200))
    assert memo.find(b"a") is None


def test_a_large_resource_pushes_nothing_out() -> None:
    memo = ContentMemo()
    keep(memo, b"a", content())
    keep(memo, b"x" * (MAX_RESOURCE + 1), content())
    assert memo.find(b"a") is not None
    assert memo.find(b"x" * (MAX_RESOURCE + 1)) is None
