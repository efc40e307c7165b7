"""Whatever an app asks, a world with withheld content answers like one without it.

The number of sequences of requests is ASSENT_FUZZ_EXAMPLES (`make fuzz`: 100,000), in parts of 2,000, each with a seed
of its own. Without it there is one part, the same in every run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import EXAMPLES, IS_LONG, PART, PARTS
from tests.leaks.conftest import TICKED
from tests.leaks.requests import STEPS, Step, every_parameter
from tests.leaks.twins import Twins, twins
from tests.leaks.world import World

KINDS = ("Patient", "Practitioner", "Condition", "DiagnosticReport", "Encounter", "Observation", "DocumentReference")
_ALSO = ("MedicationRequest", "Medication", "Media", "Endpoint", "Provenance")
ORIGINS = f"launch/patient offline_access {' '.join(f'patient/{kind}.rs' for kind in (*KINDS, *_ALSO))}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apps(worlds: tuple[World, World], altered: World, services: Twins) -> AsyncIterator[dict[str, Twins]]:
    """The same app before what is withheld, before what is masked for it, with nobody there, and shown origins too."""
    research = await twins(worlds[0], altered, TICKED, "HRESCH")
    origins = await twins(*worlds, [*TICKED, "sharing-record"], scope=ORIGINS)
    found = {"own": await twins(*worlds, TICKED), "research": research, "service": services, "origins": origins}
    for world in (*worlds, altered):
        world.upstream.remembered = {}
    yield found
    for world in (*worlds, altered):
        world.upstream.remembered = None


@pytest.mark.leak("L01", "L02", "L08")
@pytest.mark.parametrize("app", ["own", "research", "service"])
@pytest.mark.parametrize("kind", KINDS)
async def test_no_search_parameter_tells_of_what_is_withheld_or_masked(
    apps: dict[str, Twins], app: str, kind: str
) -> None:
    await apps[app].same_seen(every_parameter(kind))


@pytest.mark.leak("L01", "L02", "L04", "L05", "L06", "L07", "L08", "L10", "L11", "L12", "L13", "L20", "L22", "L23")
@pytest.mark.leak("L35", "L40", "L41", "L43", "L44")
@pytest.mark.parametrize("part", range(PARTS))
@settings(
    max_examples=min(PART, EXAMPLES),
    derandomize=not IS_LONG,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    app=st.sampled_from(["own", "own", "research", "service", "origins"]),
    steps=st.lists(STEPS, min_size=1, max_size=2),
    pages=st.sampled_from([0, 1, 5]),
)
async def test_no_request_tells_of_what_is_withheld(
    apps: dict[str, Twins], part: int, app: str, steps: list[Step], pages: int
) -> None:
    asking = apps[app]
    await asking.stay_signed_in()
    try:
        for step in steps:
            if step.before:
                await asking.share(step.before)
            for manner in step.manners:
                with asking.answering(manner):
                    await asking.same_seen([step.request], pages, step.between)
    finally:
        if any(step.before or step.between for step in steps):
            await asking.share(asking.shared)


async def test_what_was_asked_was_answered_while_tokens_were_good(apps: dict[str, Twins]) -> None:
    """Else two worlds that refuse everything would look the same too."""
    for both in apps.values():
        assert (await both.one.get("Observation/lab00")).status_code == 200
        assert (await both.other.get("Observation/lab00")).status_code == 200
