"""JSON Patch on resources: RFC 6902 with its own examples, and what hostile patches run into."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir.r4.json_patch import MAX_OPERATIONS, MAX_PATCH, PatchRefused, apply_patch, read_patch

_MOST = 10_000


def _patched(before: object, *operations: object) -> Any:
    patch = read_patch(json.dumps(operations).encode())
    return json.loads(apply_patch(json.dumps(before).encode(), patch, max_bytes=_MOST))


def _refused(before: object, *operations: object) -> tuple[int, str]:
    with pytest.raises(PatchRefused) as refused:
        _patched(before, *operations)
    return refused.value.status, refused.value.code


def _op(op: str, path: str, **more: object) -> dict[str, object]:
    return {"op": op, "path": path, **more}


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({"foo": "bar"}, _op("add", "/baz", value="qux"), {"foo": "bar", "baz": "qux"}),
        ({"foo": ["bar", "baz"]}, _op("add", "/foo/1", value="qux"), {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, _op("add", "/foo/-", value=["x"]), {"foo": ["bar", ["x"]]}),
        ({"foo": ["bar"]}, _op("add", "/foo/1", value="x"), {"foo": ["bar", "x"]}),
        ({"baz": 1, "foo": 2}, _op("remove", "/baz"), {"foo": 2}),
        ({"foo": [1, 2, 3]}, _op("remove", "/foo/1"), {"foo": [1, 3]}),
        ({"baz": 1, "foo": 2}, _op("replace", "/baz", value=3), {"baz": 3, "foo": 2}),
        ({"foo": [1, 2]}, _op("replace", "/foo/0", value=3), {"foo": [3, 2]}),
        ({"a": {"b": 1}, "c": {}}, _op("move", "/c/d", **{"from": "/a/b"}), {"a": {}, "c": {"d": 1}}),
        ({"foo": [1, 2, 3]}, _op("move", "/foo/2", **{"from": "/foo/0"}), {"foo": [2, 3, 1]}),
        ({"a": {"b": [1]}}, _op("copy", "/c", **{"from": "/a"}), {"a": {"b": [1]}, "c": {"b": [1]}}),
        ({"/": 1, "~1": 2}, _op("remove", "/~01"), {"/": 1}),
        ({"/": 1, "~1": 2}, _op("remove", "/~1"), {"~1": 2}),
        ({"a": 1}, _op("replace", "", value={"b": 2}), {"b": 2}),
        ({"a": 1}, _op("test", "/a", value=1.0), {"a": 1}),
        ({"a": {"x": 1, "y": [2]}}, _op("test", "/a", value={"y": [2], "x": 1}), {"a": {"x": 1, "y": [2]}}),
        ({"a": 1}, {**_op("add", "/b", value=2), "unknown": True}, {"a": 1, "b": 2}),
    ],
)
def test_each_operation_does_what_rfc_6902_says(before: object, operation: object, after: object) -> None:
    assert _patched(before, operation) == after


@pytest.mark.parametrize(
    "operation",
    [
        *(_op("add", path, value=1) for path in ("/x/y", "/list/4", "/list/01", "/list/-1", "/list/x", "/text/a")),
        *(_op("remove", path) for path in ("", "/x", "/list/-", "/list/3", "list", "/~2", "/~", "/text/0")),
        *(_op("replace", path, value=1) for path in ("/x", "/list/-", "/list/9999999")),
        *(_op("move", to, **{"from": origin}) for origin, to in (("/object", "/object/a"), ("/x", "/y"), ("", "/y"))),
        _op("copy", "/y", **{"from": "/x"}),
        _op("test", "/x", value=None),
    ],
    ids=str,
)
def test_what_does_not_fit_the_resource_is_refused_by_its_number(operation: object) -> None:
    before = {"list": [1, 2, 3], "text": "t", "object": {}}
    assert _refused(before, operation) == (422, "processing")


@pytest.mark.parametrize(
    ("value", "told"), [(1, True), (True, 1), (0, False), ("1", 1), ([1], [1, 2]), ({"a": 1}, {"a": 1, "b": 2})]
)
def test_a_test_that_does_not_hold_stops_everything(value: object, told: object) -> None:
    assert _refused({"a": value}, _op("test", "/a", value=told)) == (412, "conflict")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{}", b"null", b"[1]", b"[[]]", b"[{}]", b"\xff", b'[{"op":"add","path":"/a"}]'),
        *(b'[{"op":"frobnicate","path":"/a"}]', b'[{"op":["add"],"path":"/a","value":1}]'),
        *(b'[{"op":"remove","path":1}]', b'[{"op":"remove","op":"test","path":"/a"}]', b"[" * 20_000),
    ],
)
def test_what_is_no_patch_is_refused(raw: bytes) -> None:
    with pytest.raises(PatchRefused) as refused:
        read_patch(raw)
    assert (refused.value.status, refused.value.code) == (400, "structure")


def test_a_patch_is_bounded_in_bytes_and_operations() -> None:
    with pytest.raises(PatchRefused) as refused:
        read_patch(b" " * (MAX_PATCH + 1))
    assert refused.value.status == 413
    for number in (0, MAX_OPERATIONS + 1):
        assert _refused({}, *[_op("add", "/a", value=1)] * number) == (422, "too-costly")


def test_copies_that_double_are_stopped_when_they_are_too_much() -> None:
    doubling = [_op("copy", "/a/-", **{"from": "/a"})] * MAX_OPERATIONS
    assert _refused({"a": ["x"]}, *doubling)[0] == 422


def test_a_copy_is_none_of_the_original_any_more() -> None:
    copied = _op("copy", "/b", **{"from": "/a"})
    assert _patched({"a": [1]}, copied, _op("add", "/b/-", value=2)) == {"a": [1], "b": [1, 2]}


def test_numbers_keep_their_digits() -> None:
    patch = read_patch(b'[{"op":"add","path":"/b","value":1.50}]')
    assert apply_patch(b'{"a":2.00}', patch, max_bytes=_MOST) == b'{"a":2.00,"b":1.50}'
