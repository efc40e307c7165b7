"""Two worlds, one with withheld content and one without it, look the same: tables of requests that once told."""

from __future__ import annotations

import pytest

from tests.leaks.manners import FAULTS, Manner
from tests.leaks.twin_content import SHOWN, mixed
from tests.leaks.twins import Twins
from tests.leaks.world import World


async def test_the_worlds_differ_in_what_the_upstream_holds(pair: Twins) -> None:
    worlds: tuple[World, World] = (pair.one.world, pair.other.world)
    held = [await w.upstream.repository.read("Observation", "hiv00") for w in worlds]
    assert held[0] is None
    assert held[1] is not None


@pytest.mark.leak("L04")
@pytest.mark.parametrize("count", [1, 3, 13, 14])
@pytest.mark.parametrize("sort", ["", "&_sort=-date", "&_sort=code,-_id", "&_sort=value-quantity"])
async def test_l04_pages_tell_nothing(pair: Twins, count: int, sort: str) -> None:
    await pair.same_seen([f"Observation?_count={count}{sort}"], pages=16)


@pytest.mark.leak("L10", "L11", "L13")
@pytest.mark.parametrize("count", ["", "&_count=2"])
@pytest.mark.parametrize(
    "query",
    [
        *("Observation?_include=Observation:performer", "Observation?_include=Observation:has-member"),
        *("Observation?_revinclude=Observation:has-member", "Observation?_revinclude=DiagnosticReport:result"),
        *("Patient?_revinclude=Observation:subject", "Practitioner?_revinclude=Observation:performer"),
        *("Encounter?_include=Encounter:reason-reference", "Condition?_include=Condition:asserter"),
        *("Practitioner?_id=doc3&_revinclude=Observation:performer", "Condition?_revinclude=Encounter:diagnosis"),
        "Observation?_include=Observation:performer&_include=Observation:subject&_revinclude=DiagnosticReport:result",
    ],
)
async def test_l10_l11_l13_includes_tell_nothing(pair: Twins, query: str, count: str) -> None:
    await pair.same_seen([query + count], pages=16)


@pytest.mark.leak("L08", "L01")
@pytest.mark.parametrize(
    "query",
    [
        *("code=75622-1", "code=http://loinc.org|75622-1,718-7", "code:not=718-7", "code:missing=true"),
        *("_id=hiv00,lab01,another01", "_id=hiv00", "_lastUpdated=ge2026", "_profile=http://example.org/withheld"),
        *("performer=Practitioner/doc3", "performer:missing=true", "date=gt2026-06", "value-quantity=gt3", "focus=bob"),
        *(
            "subject=Patient/bob",
            "patient=bob",
            "has-member=Observation/lab01",
            "category:not=laboratory",
            "status=final",
        ),
        *(
            "derived-from=Observation/lab03",
            "derived-from:missing=false",
            "component-code=75622-1",
            "category=vital-signs",
        ),
        *("code-value-quantity=718-7$gt1", "combo-code=75622-1", "subject=Group/g", "performer:missing=false"),
    ],
)
async def test_l01_l08_criteria_tell_nothing(pair: Twins, query: str) -> None:
    await pair.same_seen([f"Observation?{query}", f"Observation?{query}&_count=2&_sort=-_id"], pages=10)


@pytest.mark.leak("L06", "L39")
async def test_l06_l39_reads_of_everything_withheld_tell_nothing(pair: Twins) -> None:
    shown = {f"{r['resourceType']}/{r['id']}" for r in SHOWN}
    names = {f"{r['resourceType']}/{r['id']}" for r in mixed()} - shown
    assert len(names) > 100
    for name in sorted(names):
        await pair.same_seen([name, f"{name}/_history/1"])


@pytest.mark.leak("L04")
@pytest.mark.parametrize("fault", FAULTS)
async def test_l04_a_result_of_which_a_server_says_neither_length_nor_end_tells_nothing(
    pair: Twins, fault: str
) -> None:
    """As many are listed as were asked for; 502 told that there is one that the server fails at."""
    with pair.answering(Manner("sparse", fault)):
        await pair.same_seen([f"Observation?_id=hiv00,{','.join(f'lab{n:02}' for n in range(7))}"])


@pytest.mark.leak("L13")
@pytest.mark.parametrize(
    "query",
    [
        *("code=75622-1&_include=Observation:has-member", "code=75622-1&_revinclude=Observation:has-member"),
        *("_id=hiv00&_include=Observation:has-member", "_include=Observation:has-member&_count=3"),
        "_revinclude=Observation:has-member&_count=2&_sort=-_id",
    ],
)
async def test_l13_what_a_withheld_match_includes_is_no_match_where_a_server_does_not_say_which(
    pair: Twins, query: str
) -> None:
    with pair.answering(Manner("sparse")):
        await pair.same_seen([f"Observation?{query}"], pages=16)
