"""How much is tried by chance: a little at every change, as much as `ASSENT_FUZZ_EXAMPLES` says in `make fuzz`."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

PART: Final = 2_000
"""Sequences of requests that are tried together: Hypothesis remembers what it drew, and slows down as there is more."""
_given: Final = os.environ.get("ASSENT_FUZZ_EXAMPLES")
IS_LONG: Final = _given is not None
EXAMPLES: Final = int(_given or PART)
PARTS: Final = max(1, EXAMPLES // PART)


def tries(few: int) -> settings:
    """Settings for a law that holds for all input: `few` tries, more in `make fuzz`, whatever time each takes."""
    many = few * PARTS
    return settings(max_examples=many, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
