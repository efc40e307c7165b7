"""What "Who saw what" says of each AuditEvent that Assent writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from assent.language_files import load_languages
from assent.policy_files import load_catalogue
from fhir.audit.event import AuditRecord, audit_event
from portal.activity import Names, in_words, user_in
from portal.languages import Language
from portal.record_ports import Activity

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
CATALOGUE = load_catalogue(None)
LANGUAGES = load_languages(CATALOGUE)
ENGLISH, SPANISH = LANGUAGES.english, LANGUAGES.by_tag["es"]
PEOPLE = {"Patient/ada": "Ada Lind", "Practitioner/d": "Dr Day", "Patient/mum": "Mia Lind"}
NAMES = Names("ada", "Ada Lind", {"c1": "Heart Diary"}, {"heart": "Heart Diary"}, PEOPLE)
LOOK: dict[str, Any] = {
    "kind": "read",
    "action": "R",
    "client_id": "heart",
    "user": "Patient/ada",
    "entities": ("Observation/o1",),
    "categories": ("laboratory",),
}


WRITE = LOOK | {"kind": "write", "description": "done", "consents": ("Consent/c1/_history/1",)}


def line(language: Language = ENGLISH, **fields: Any) -> Activity:
    """The line of a record; what the record doesn't say is as in most."""
    given = {"outcome": "0", "recorded": NOW, "request_id": "r1", "patient": "ada", **fields}
    event = msgspec.json.decode(msgspec.json.encode(audit_event(AuditRecord(**given))))
    return in_words(event, NAMES, language)


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
        (WRITE | {"action": "C", "categories": ()}, "Heart Diary added to the record"),
        (WRITE | {"action": "U", "categories": ()}, "Heart Diary changed the record"),
        (WRITE | {"action": "D", "categories": ()}, "Heart Diary deleted a part of the record"),
        (
            WRITE | {"action": "D", "description": "intended", "categories": ()},
            "Heart Diary began to change the record",
        ),
        (WRITE | {"action": "U", "outcome": "4"}, "Heart Diary tried to change the record"),
        (
            {"kind": "revoke", "action": "U", "user": "Patient/ada", "entities": ("Consent/c1",)},
            "Ada Lind ended the sharing with Heart Diary",
        ),
        (
            {"kind": "revoke", "action": "U", "user": "Patient/mum", "entities": ("Consent/c1",)},
            "Mia Lind ended the sharing with Heart Diary, on behalf of Ada Lind",
        ),
        *(
            (
                {
                    "kind": "consent",
                    "action": action,
                    "client_id": "desk",
                    "client_name": "Desk",
                    "entities": ("Consent/c1",),
                },
                f"Desk {verb} what Heart Diary may see",
            )
            for action, verb in (("C", "recorded"), ("U", "changed"), ("D", "deleted"), ("E", "asked"))
        ),
        (
            {"kind": "export", "action": "R", "user": "Patient/ada"},
            "Ada Lind downloaded this sharing and access record",
        ),
        (
            {"kind": "revoke", "action": "U", "user": "operator:kim", "entities": ("Consent/c9",)},
            "The operator of this server ended the sharing with an app",
        ),
    ],
)
def test_every_record_reads_as_a_sentence(fields: dict[str, Any], words: str) -> None:
    found = line(**fields)
    assert found.sentence.striptags() == words
    assert found.when == NOW


def test_many_kinds_of_data_are_counted_rather_than_listed() -> None:
    kinds = [c for c in CATALOGUE.categories.values() if not (c.always or c.part_of)][:6]
    codes, first = tuple(c.code for c in kinds), ", ".join(c.title for c in kinds[:4])
    heart = "Heart Diary looked at"
    assert line(**LOOK | {"categories": codes}).sentence.striptags() == f"{heart} {first} and 2 more kinds of data"
    assert line(**LOOK | {"categories": codes[:5]}).sentence.striptags() == f"{heart} {first} and 1 more kind of data"


def test_a_part_isnt_told_beside_its_whole() -> None:
    told = line(**LOOK | {"categories": ("conditions", "problem-list", "laboratory")})
    assert told.sentence.striptags() == "Heart Diary looked at Conditions and Lab results"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (LOOK, "<strong>Heart Diary</strong> miró Resultados de laboratorio"),
        (LOOK | {"categories": ("laboratory", "immunizations")}, "miró Resultados de laboratorio y Vacunas"),
        (LOOK | {"user": "Practitioner/d"}, "miró Resultados de laboratorio, para Dr Day"),
        (WRITE | {"action": "U"}, "cambió datos del historial: Resultados de laboratorio"),
    ],
)
def test_a_sentence_is_translated_whole(fields: dict[str, Any], words: str) -> None:
    assert str(line(SPANISH, **fields).sentence).endswith(words)


def test_a_name_brings_no_markup_of_its_own() -> None:
    found = line(**LOOK | {"client_id": "new", "client_name": "<b>Steps</b> 100%"})
    assert found.sentence == "<strong>&lt;b&gt;Steps&lt;/b&gt; 100%</strong> looked at Lab results"


@pytest.mark.parametrize(("outcome", "told"), [("0", "done"), ("4", "refused"), ("8", "failed"), ("12", "failed")])
def test_the_outcome_is_told(outcome: str, told: str) -> None:
    assert line(**LOOK | {"outcome": outcome}).outcome == told


def test_an_event_that_says_nothing_is_still_a_line() -> None:
    found = in_words({"resourceType": "AuditEvent"}, NAMES, ENGLISH)
    assert (found.sentence.striptags(), found.outcome) == ("Somebody used the sharing settings", "failed")
    assert user_in({}) is None
