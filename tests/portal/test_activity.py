"""What "Who saw what" says of each AuditEvent that Assent writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from assent.policy_files import load_catalogue
from fhir.audit_event import AuditRecord, audit_event
from portal.activity import Names, in_words, user_in
from portal.ports import Activity

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
CATALOGUE = load_catalogue(None)
NAMES = Names({"c1": "Heart Diary"}, {"heart": "Heart Diary"}, {"Patient/ada": "Ada Lind", "Practitioner/d": "Dr Day"})
LOOK: dict[str, Any] = {
    "kind": "read",
    "action": "R",
    "client_id": "heart",
    "user": "Patient/ada",
    "entities": ("Observation/o1",),
    "categories": ("laboratory",),
}


WRITE = LOOK | {"kind": "write", "description": "done", "consents": ("Consent/c1/_history/1",)}


def line(**fields: Any) -> Activity:
    """The line of a record; what the record doesn't say is as in most."""
    given = {"outcome": "0", "recorded": NOW, "request_id": "r1", "patient": "ada", **fields}
    event = msgspec.json.decode(msgspec.json.encode(audit_event(AuditRecord(**given))))
    return in_words(event, NAMES, CATALOGUE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (LOOK, "Heart Diary looked at Lab results"),
        (LOOK | {"categories": ("vital-signs", "laboratory")}, "Heart Diary looked at Lab results and Vital signs"),
        (LOOK | {"categories": ()}, "Heart Diary looked at the record"),
        (LOOK | {"categories": ("directory",)}, "Heart Diary looked at the record"),
        (LOOK | {"categories": ("gone",)}, "Heart Diary looked at gone"),
        (LOOK | {"user": "Practitioner/d"}, "Heart Diary looked at Lab results, for Dr Day"),
        (LOOK | {"user": "Practitioner/x"}, "Heart Diary looked at Lab results"),
        (LOOK | {"user": None}, "Heart Diary looked at Lab results"),
        (LOOK | {"client_id": "new", "client_name": "Steps"}, "Steps looked at Lab results"),
        (LOOK | {"client_id": "new"}, "new looked at Lab results"),
        (LOOK | {"kind": "search", "action": "E"}, "Heart Diary looked at Lab results"),
        (
            LOOK | {"kind": "search", "action": "E", "query": "Observation?code=1", "entities": (), "categories": ()},
            "Heart Diary searched the record and found nothing",
        ),
        (
            LOOK | {"outcome": "4", "entities": (), "categories": ()},
            "Heart Diary tried to look at the record",
        ),
        (
            {"kind": "authorize", "action": "C", "client_id": "heart", "user": "Patient/ada"},
            "Heart Diary was allowed in by Ada Lind",
        ),
        (
            {"kind": "authorize", "action": "C", "client_id": "heart", "user": "Patient/ada", "outcome": "4"},
            "Heart Diary was turned away by Ada Lind",
        ),
        ({"kind": "token", "action": "E", "client_id": "heart", "user": "Patient/ada"}, "Heart Diary connected"),
        (
            {"kind": "consent", "action": "U", "user": "Patient/ada", "entities": ("Consent/c1",)},
            "Ada Lind changed what Heart Diary may see",
        ),
        (WRITE | {"action": "C"}, "Heart Diary added to Lab results in the record"),
        (WRITE | {"action": "U"}, "Heart Diary changed Lab results in the record"),
        (WRITE | {"action": "D"}, "Heart Diary deleted Lab results in the record"),
        (WRITE | {"action": "U", "description": "intended"}, "Heart Diary began to change Lab results in the record"),
        (WRITE | {"action": "U", "outcome": "4"}, "Heart Diary tried to change the record"),
        (
            {"kind": "revoke", "action": "U", "user": "Patient/ada", "entities": ("Consent/c1",)},
            "Ada Lind ended the sharing with Heart Diary",
        ),
        (
            {"kind": "revoke", "action": "U", "user": "operator:kim", "entities": ("Consent/c9",)},
            "The operator of this server ended the sharing with an app",
        ),
    ],
)
def test_every_record_reads_as_a_sentence(fields: dict[str, Any], words: str) -> None:
    found = line(**fields)
    assert f"{found.who} {found.what}" == words
    assert found.when == NOW


def test_many_kinds_of_data_are_counted_rather_than_listed() -> None:
    kinds = [c for c in CATALOGUE.categories.values() if not c.always][:6]
    codes, first = tuple(c.code for c in kinds), ", ".join(c.title for c in kinds[:4])
    assert line(**LOOK | {"categories": codes}).what == f"looked at {first} and 2 more kinds of data"
    assert line(**LOOK | {"categories": codes[:5]}).what == f"looked at {first} and 1 more kind of data"


@pytest.mark.parametrize(("outcome", "told"), [("0", "done"), ("4", "refused"), ("8", "failed"), ("12", "failed")])
def test_the_outcome_is_told(outcome: str, told: str) -> None:
    assert line(**LOOK | {"outcome": outcome}).outcome == told


def test_an_event_that_says_nothing_is_still_a_line() -> None:
    found = in_words({"resourceType": "AuditEvent"}, NAMES, CATALOGUE)
    assert (found.who, found.what, found.outcome) == ("Somebody", "used the sharing settings", "failed")
    assert user_in({}) is None
