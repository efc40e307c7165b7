"""LOINC codes of a questionnaire and its questions, which answers name in no Coding.

A QuestionnaireResponse names the questionnaire by its canonical URL and each question by its `linkId`. For panels of
LOINC both hold the LOINC number: `http://loinc.org/q/44249-1`, `/44250-9`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from policies.codes import LOINC_SYSTEM
from policies.model import Coding

_NUMBER: Final = re.compile(r"(?<![\d-])\d{1,7}-\d(?![\d-])")


def question_codes(resource: Mapping[str, object]) -> Iterator[Coding]:
    """What the questionnaire and the questions of a QuestionnaireResponse are called in LOINC."""
    yield from _numbers(resource.get("questionnaire"))
    edge: list[object] = [resource]
    while edge:
        here = edge.pop()
        if isinstance(here, dict):
            yield from _numbers(here.get("linkId"))
            edge += (here.get("item"), here.get("answer"))
        elif isinstance(here, list):
            edge += here


def _numbers(text: object) -> Iterator[Coding]:
    if isinstance(text, str):
        yield from (Coding(LOINC_SYSTEM, number) for number in _NUMBER.findall(text))
