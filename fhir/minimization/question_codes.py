"""LOINC codes of a questionnaire and its questions, which answers name in no Coding.

A QuestionnaireResponse names the questionnaire by its canonical URL and each question by its `linkId`. For panels of
LOINC both hold the LOINC number: `http://loinc.org/q/44249-1`, `/44250-9`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from policies.codes import LOINC_SYSTEM
from policies.model import Coding

_NUMBER: Final = re.compile(r"(?<![\d-])\d{1,7}-\d(?![\d-])")


def question_names(resource: Mapping[str, object]) -> Iterator[str]:
    """What the questionnaire and the questions of a QuestionnaireResponse are called by their author."""
    edge: list[object] = [resource]
    while edge:
        here = edge.pop()
        if isinstance(here, dict):
            names = (here.get("questionnaire"), here.get("linkId"), here.get("definition"))
            yield from (name for name in names if isinstance(name, str))
            edge += (here.get("item"), here.get("answer"))
        elif isinstance(here, list):
            edge += here


def question_codes(names: Iterable[str]) -> Iterator[Coding]:
    """The LOINC numbers in such names."""
    yield from (Coding(LOINC_SYSTEM, number) for name in names for number in _NUMBER.findall(name))
