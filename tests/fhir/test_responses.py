"""Every FHIR answer says its type and length, and that nobody may keep it."""

from __future__ import annotations

import json

import pytest

from fhir.proxy.responses import Message, send_fhir, send_outcome
from fhir.r4.operation_outcome import operation_outcome


class Wire:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)


async def test_an_answer_carries_the_headers_that_keep_it_private() -> None:
    wire = Wire()
    await send_fhir(wire.send, 200, b"{}", headers=((b"etag", b'W/"1"'),))
    start, body = wire.messages
    assert start["status"] == 200
    assert dict(start["headers"]) == {
        b"content-type": b"application/fhir+json; charset=utf-8",
        b"content-length": b"2",
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"vary": b"authorization, accept, origin",
        b"etag": b'W/"1"',
    }
    assert body["body"] == b"{}"


async def test_a_refusal_is_an_operation_outcome() -> None:
    wire = Wire()
    await send_outcome(wire.send, 403, "forbidden", "no consent covers `Observation`")
    assert wire.messages[0]["status"] == 403
    assert json.loads(wire.messages[1]["body"]) == {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "forbidden", "diagnostics": "no consent covers `Observation`"}],
    }


def test_an_outcome_may_name_the_element_at_fault() -> None:
    outcome = json.loads(operation_outcome("value", "`x` is no date", severity="warning", expression=("http.date",)))
    assert outcome["issue"][0]["expression"] == ["http.date"]
    assert outcome["issue"][0]["severity"] == "warning"


@pytest.mark.parametrize(("code", "severity"), [("no-such-code", "error"), ("", "error"), ("value", "bad")])
def test_a_code_that_fhir_has_not_is_never_sent(code: str, severity: str) -> None:
    with pytest.raises(ValueError, match="is not a FHIR issue"):
        operation_outcome(code, "text", severity=severity)
