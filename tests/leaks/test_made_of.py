"""L06: a medicine is as sensitive as what it is made of, and what refers to it as well, whatever its type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.leaks.twins import Twins, twins
from tests.leaks.world import World, patient, world

_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_TICKED = ("demographics", "medications", "care-plans", "procedures")
_ANA = {"reference": "Patient/ana"}


def _coded(code: str) -> dict[str, object]:
    return {"coding": [{"system": _RXNORM, "code": code}]}


def _medicine(wanted: str, *parts: str, code: str = "310798") -> dict[str, object]:
    made_of = {"ingredient": [{"itemReference": {"reference": part}} for part in parts]} if parts else {}
    return {"resourceType": "Medication", "id": wanted, "code": _coded(code), **made_of}


def _prescription(wanted: str, medicine: str, **more: object) -> dict[str, object]:
    said = {"status": "active", "intent": "order", "subject": _ANA, "medicationReference": {"reference": medicine}}
    return {"resourceType": "MedicationRequest", "id": wanted, **said, **more}


def _contained(wanted: str, part: str) -> dict[str, object]:
    return _prescription(wanted, "#made", contained=[_medicine("made", part)])


def _procedure(wanted: str, used: str) -> dict[str, object]:
    said = {"status": "completed", "subject": _ANA, "usedReference": [{"reference": used}]}
    return {"resourceType": "Procedure", "id": wanted, **said}


def _plan(wanted: str, product: str) -> dict[str, object]:
    activity = [{"detail": {"status": "scheduled", "productReference": {"reference": product}}}]
    return {
        "resourceType": "CarePlan",
        "id": wanted,
        "status": "active",
        "intent": "plan",
        "subject": _ANA,
        "category": [{"coding": [{"system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"}]}],
        "activity": activity,
    }


_USUAL: dict[str, object] = {"resourceType": "Substance", "id": "usual", "code": _coded("310798")}
_DEEP = [_medicine(f"deep{n}", f"Medication/deep{n + 1}") for n in range(9)]
_SHOWN: list[dict[str, object]] = [
    patient("ana"),
    *_DEEP,
    _USUAL,
    _medicine("plain", "Substance/usual"),
    _medicine("circular", "Medication/circular"),
    _medicine("dangling", "Substance/nowhere"),
    *(_prescription(f"of-{name}", f"Medication/{name}") for name in ("plain", "circular", "dangling")),
    _contained("contained-usual", "Substance/usual"),
    _procedure("used-usual", "Medication/plain"),
]
_WITHHELD: list[dict[str, object]] = [
    {"resourceType": "Substance", "id": "methadone", "code": _coded("6813")},
    {
        "resourceType": "Substance",
        "id": "mixture",
        "ingredient": [{"substanceReference": {"reference": "Substance/methadone"}}],
    },
    _medicine("compound", "Substance/methadone"),
    _medicine("mixed", "Substance/usual", "Substance/mixture"),
    _medicine("kit", "Medication/compound"),
    *(_prescription(f"of-{name}", f"Medication/{name}") for name in ("compound", "mixed", "kit", "deep0")),
    _contained("contained-methadone", "Substance/methadone"),
    _contained("contained-compound", "Medication/compound"),
    _procedure("used-compound", "Medication/compound"),
    _procedure("used-methadone", "Substance/methadone"),
    _plan("planned", "Medication/compound"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def places(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, World]]:
    """A world without and one with what is withheld."""
    async with (
        world(await make_database(), tmp_path_factory.mktemp("bare"), _SHOWN) as bare,
        world(await make_database(), tmp_path_factory.mktemp("full"), [*_WITHHELD, *_SHOWN]) as full,
    ):
        yield bare, full


@pytest_asyncio.fixture(loop_scope="session")
async def pair(places: tuple[World, World]) -> Twins:
    return await twins(*places, _TICKED)


@pytest.mark.leak("L06")
async def test_l06_a_medicine_is_as_sensitive_as_what_it_is_made_of(pair: Twins) -> None:
    names = [f"{resource['resourceType']}/{resource['id']}" for resource in (*_WITHHELD, *_SHOWN)]
    searches = ["MedicationRequest", "MedicationRequest?_count=1", "Procedure", "CarePlan", "Patient/ana/$everything"]
    await pair.same_seen([*names, *searches, "Medication", "Medication?_revinclude=MedicationRequest:medication"], 3)
    shown = {"of-plain", "of-circular", "of-dangling", "contained-usual"}
    assert set(await pair.other.ids("MedicationRequest")) == {f"MedicationRequest/{name}" for name in shown}
    assert await pair.other.ids("Procedure") == ["Procedure/used-usual"]


@pytest.mark.leak("L06")
async def test_what_the_patient_opens_is_shown_with_what_it_is_made_of(places: tuple[World, World]) -> None:
    app = await places[1].app([*_TICKED, "substance-use"])
    assert (await app.get("MedicationRequest/of-kit")).status_code == 200
    assert (await app.get("Procedure/used-methadone")).status_code == 200
    assert (await app.get("MedicationRequest/of-deep0")).status_code == 404, "deeper than is looked"


@pytest.mark.leak("L06")
@pytest.mark.parametrize("status", [400, 404, 501])
async def test_an_upstream_without_substances_keeps_no_other_prescriptions_back(
    places: tuple[World, World], status: int
) -> None:
    """What nothing can be told of closes what is made of it, and breaks no search."""
    app, upstream, name = await places[1].app(_TICKED), places[1].upstream, f"untold-{status}"
    await upstream.write([_medicine(name, f"Substance/{name}"), _prescription(name, f"Medication/{name}")])
    with upstream.saying("/Substance", b"{}", status), upstream.saying(f"/Substance/{name}", b"{}", status):
        found = await app.ids("MedicationRequest")
    assert "MedicationRequest/of-circular" in found
    assert (f"MedicationRequest/{name}" in found) == (status == 404)
    await upstream.write([f"MedicationRequest/{name}", f"Medication/{name}"])


@pytest.mark.leak("L06")
async def test_l06_a_slash_that_is_spelled_with_a_backslash_is_a_slash(places: tuple[World, World]) -> None:
    app = await places[1].app(_TICKED)
    for medicine, status in (("plain", 200), ("compound", 404)):
        told = str(_prescription("escaped", f"Medication/{medicine}")).replace("'", '"').replace("/", "\\/")
        with places[1].upstream.saying("/MedicationRequest/escaped", told.encode()):
            assert (await app.get("MedicationRequest/escaped")).status_code == status


@pytest.mark.leak("L06")
async def test_l06_of_what_another_patient_is_prescribed_nothing_more_is_asked(places: tuple[World, World]) -> None:
    """Else it would take longer to find out that it is there than that it isn't."""
    app, upstream = await places[1].app(_TICKED), places[1].upstream
    await upstream.write(
        [patient("bob"), _prescription("bobs", "Medication/new", subject={"reference": "Patient/bob"})]
    )
    asked = []
    for wanted in ("bobs", "absent"):
        with upstream.listening() as heard:
            assert (await app.get(f"MedicationRequest/{wanted}")).status_code == 404
        asked.append([one.target.replace(wanted, "") for one in heard])
    assert asked[0] == asked[1] == ["/MedicationRequest/"]
