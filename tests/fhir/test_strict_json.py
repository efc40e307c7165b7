"""A member that stands twice is refused however its numbers and its white space are written (docs/leaks.md L07)."""

from __future__ import annotations

import json

import msgspec
import pytest

from fhir.r4 import strict_json
from fhir.r4.strict_json import decode_once

_NUMBERS = [b"1", b"1.5", b"1.50", b"-0.0", b"1E5", b"1e-7", b"123456789012345678901234567890.10"]


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize("space", [b"", b" "])
def test_numbers_and_white_space_are_no_ambiguity(number: bytes, space: bytes) -> None:
    raw = b'{"value":' + space + number + b',"code":{"value":"a"}}'
    assert decode_once(raw) == json.loads(raw)


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize(
    "twice",
    [b'"value":1.50,"value":%b', b'"a":{"b":%b,"b":%b}', b'"a":[{"b":1,"\\u0062":%b}]', b'"value" : %b, "value":0'],
)
def test_a_member_that_stands_twice_is_refused(twice: bytes, number: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_once(b"{" + twice.replace(b"%b", number) + b"}")


def test_numbers_as_servers_write_them_need_no_second_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "check_once", pytest.fail)
    assert decode_once(b'{"value":1.50,"low":1.0E2}') == {"value": 1.5, "low": 100.0}
