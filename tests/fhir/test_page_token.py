"""Page tokens open for whom they were sealed, for half an hour, and for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from fhir.proxy.page_token import LIFETIME, MAX_TOKEN, PagePayload, PageSealer

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
BINDING = "app grant p1 Observation"
PAYLOAD = PagePayload(
    "http://inside.example/fhir?_getpages=1&x=%20", "Observation", (("code", "a|b"), ("code", "ü")), 17, NOW, "p"
)
SEALER = PageSealer(b"s" * 32)


def test_what_was_sealed_comes_back() -> None:
    token = SEALER.seal(PAYLOAD, binding=BINDING, question="")
    assert SEALER.open(token, binding=BINDING, now=NOW) == PAYLOAD
    assert PageSealer(b"s" * 32).open(token, binding=BINDING, now=NOW + LIFETIME / 2) == PAYLOAD


def test_token_says_nothing_and_never_repeats() -> None:
    first, second = (
        SEALER.seal(PAYLOAD, binding=BINDING, question=""),
        SEALER.seal(PAYLOAD, binding=BINDING, question=""),
    )
    assert first != second
    assert "inside" not in first
    assert not set(first) & set("+/=")


@pytest.mark.parametrize(
    ("binding", "sealer", "after"),
    [
        ("app grant p2 Observation", SEALER, timedelta()),
        ("", SEALER, timedelta()),
        (BINDING, PageSealer(b"t" * 32), timedelta()),
        (BINDING, SEALER, LIFETIME),
        (BINDING, SEALER, timedelta(seconds=-1)),
    ],
    ids=["other-patient", "no-binding", "other-secret", "expired", "from-the-future"],
)
def test_token_is_refused(binding: str, sealer: PageSealer, after: timedelta) -> None:
    token = SEALER.seal(PAYLOAD, binding=BINDING, question="")
    assert sealer.open(token, binding=binding, now=NOW + after) is None


@pytest.mark.parametrize("query", [(), (("code", "x" * 700),), (("_id", ",".join(str(n) for n in range(300))),)])
@pytest.mark.parametrize("added", ["", f"&category={'y' * 1_500}"], ids=["as-asked", "narrowed"])
def test_the_length_of_a_token_says_nothing_of_the_place(query: tuple[tuple[str, str], ...], added: str) -> None:
    question = f"Observation?{urlencode(query)}{added}&_count=51"
    places = [(question, 0), (f"http://inside.example/fhir/{question}&_cursor=" + "x" * 300, 123_456)]
    payloads = [PagePayload(url, "Observation", query, at, NOW, "p") for url, at in places]
    lengths = {len(SEALER.seal(payload, binding=BINDING, question=question)) for payload in payloads}
    assert len(lengths) == 1


def test_every_altered_byte_is_noticed() -> None:
    token = SEALER.seal(PAYLOAD, binding=BINDING, question="")
    for place in range(0, len(token) - 1, 7):
        altered = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert SEALER.open(altered, binding=BINDING, now=NOW) is None


@pytest.mark.parametrize("token", ["", "A", "AAAA", "A" * 40, "ü", "\x00", "====", " ", "A" * (MAX_TOKEN + 1)])
def test_garbage_is_refused(token: str) -> None:
    assert SEALER.open(token, binding=BINDING, now=NOW) is None


def test_too_long_a_token_is_refused() -> None:
    long = PagePayload("http://inside.example/" + "x" * MAX_TOKEN, "Observation", (), 0, NOW, "p")
    assert SEALER.open(SEALER.seal(long, binding=BINDING, question=""), binding=BINDING, now=NOW) is None
