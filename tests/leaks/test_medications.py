"""L06: a prescription that only refers to a sensitive medicine is withheld like one that names it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest
import pytest_asyncio

from fhir.minimization.facts import FactsReader
from fhir.proxy.medications import Medications
from fhir.r4.definitions import load_definitions
from fhir.upstream.source import Source
from tests.leaks.exporting import exported, ids
from tests.leaks.service import service
from tests.leaks.twins import Twins, twins
from tests.leaks.world import ACT_CODE, World, patient, world

_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_TICKED = ("demographics", "medications")
_KINDS = ("MedicationRequest", "MedicationStatement", "MedicationDispense", "MedicationAdministration")


def _medicine(wanted: str, code: str = "310798", **more: object) -> dict[str, object]:
    return {"resourceType": "Medication", "id": wanted, "code": {"coding": [{"system": _RXNORM, "code": code}]}, **more}


def _referring(wanted: str, medicine: str, kind: str = "MedicationRequest", **more: object) -> dict[str, object]:
    return {
        "resourceType": kind,
        "id": wanted,
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/ana"},
        "medicationReference": {"reference": medicine},
        **more,
    }


_SHOWN = [
    patient("ana"),
    _medicine("plain"),
    *(_referring(f"plain-{kind.lower()}", "Medication/plain", kind) for kind in _KINDS),
    _referring("dangling", "Medication/nowhere"),
]
_LABEL = {"security": [{"system": ACT_CODE, "code": "PSY"}]}
_WITHHELD = [
    _medicine("methadone", "6813"),
    _medicine("labelled", meta=_LABEL),
    _medicine("modified", modifierExtension=[{"url": "http://x/not", "valueBoolean": True}]),
    *(_referring(f"methadone-{kind.lower()}", "Medication/methadone", kind) for kind in _KINDS),
    _referring("versioned", "Medication/methadone/_history/1"),
    _referring("other-label", "Medication/labelled"),
    _referring("untold", "Medication/modified"),
    _referring("two", "Medication/plain", supportingInformation=[{"reference": "Medication/methadone"}]),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def places(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, World]]:
    """A world without and one with what is withheld."""
    mixed = [resource for pair in zip(_WITHHELD, [*_SHOWN, *[None] * 9], strict=False) for resource in pair if resource]
    rest = [resource for resource in _SHOWN if resource not in mixed]
    more: dict[str, Any] = {"upstream_writes": True}
    async with (
        world(await make_database(), tmp_path_factory.mktemp("bare"), _SHOWN, **more) as bare,
        world(await make_database(), tmp_path_factory.mktemp("full"), [*mixed, *rest], **more) as full,
    ):
        yield bare, full


@pytest_asyncio.fixture(loop_scope="session")
async def pair(places: tuple[World, World]) -> Twins:
    return await twins(*places, _TICKED)


@pytest.mark.leak("L06")
async def test_l06_a_prescription_is_as_sensitive_as_what_it_refers_to(pair: Twins) -> None:
    names = [f"{resource['resourceType']}/{resource['id']}" for resource in (*_WITHHELD, *_SHOWN)]
    searches = [query for kind in _KINDS for query in (kind, f"{kind}?_count=1", f"{kind}?_total=accurate")]
    await pair.same_seen([*names, *(f"{name}/_history" for name in names), *searches], pages=3)
    await pair.same_seen(
        [
            "Patient/ana/$everything?_count=2",
            f"?_type={','.join(_KINDS)}&_count=2",
            "MedicationRequest?_include=MedicationRequest:medication",
            "Medication?_revinclude=MedicationRequest:medication",
            "MedicationRequest?medication=Medication/methadone",
        ],
        pages=4,
    )
    assert set(await pair.other.ids("MedicationRequest")) == {
        "MedicationRequest/plain-medicationrequest",
        "MedicationRequest/dangling",
    }


@pytest.mark.leak("L06")
async def test_what_the_patient_opens_is_shown(places: tuple[World, World]) -> None:
    app = await places[1].app([*_TICKED, "substance-use"])
    found = await app.ids("MedicationRequest")
    assert "MedicationRequest/methadone-medicationrequest" in found
    assert "MedicationRequest/other-label" not in found
    assert (await app.get("MedicationRequest/versioned")).status_code == 200


@pytest.mark.leak("L06")
async def test_l06_where_a_prescription_comes_from_is_told_with_the_prescription(places: tuple[World, World]) -> None:
    place = places[1]
    agent = [{"who": {"reference": "Practitioner/x"}}]
    about = {"resourceType": "Provenance", "recorded": "2026-01-01T00:00:00Z", "agent": agent}
    versions: list[dict[str, object]] = []
    for name, code in (("usual", "310798"), ("sensitive", "6813")):
        target = [{"reference": f"MedicationRequest/from-{name}"}]
        versions += [_medicine(name, code), _referring(f"from-{name}", f"Medication/{name}")]
        versions.append({**about, "id": f"of-{name}", "target": target})
    await place.upstream.write(versions)
    app = await place.app([*_TICKED, "sharing-record"])
    assert (await app.get("Provenance/of-usual")).status_code == 200
    assert (await app.get("Provenance/of-sensitive")).status_code == 404
    for version in versions:
        await place.upstream.write([f"{version['resourceType']}/{version['id']}"])


@pytest.mark.leak("L06", "L41")
async def test_l41_an_export_leaves_it_out(places: tuple[World, World]) -> None:
    services = [await service(place, {"ana": _TICKED}) for place in places]
    files = [await exported(one.lasting(), "$export?_type=MedicationRequest,MedicationDispense") for one in services]
    assert files[0] == files[1]
    assert sorted(ids(files[1]["MedicationRequest"])) == ["dangling", "plain-medicationrequest"]


@pytest.mark.leak("L06", "L47")
async def test_l47_what_becomes_sensitive_by_a_reference_is_not_written(places: tuple[World, World]) -> None:
    scope = "launch/patient patient/*.cruds"
    app = await places[1].app(_TICKED, scope=scope, writes=("collect", "correct"))
    body = {name: value for name, value in _referring("", "Medication/methadone").items() if name != "id"}
    refused = await app.send("POST", "MedicationRequest", body)
    made = await app.send(
        "POST", "MedicationRequest", {**body, "medicationReference": {"reference": "Medication/plain"}}
    )
    assert (refused.status_code, made.status_code) == (422, 201)


@pytest.mark.leak("L06")
async def test_a_medicine_that_cannot_be_asked_for_closes_what_refers_to_it(pair: Twins) -> None:
    app = pair.other
    wanted = {**_referring("new", "Medication/unasked")}
    await app.world.upstream.write([_medicine("unasked"), wanted])
    with app.world.upstream.saying("/Medication", b"{}", 503):
        assert (await app.get("MedicationRequest/new")).status_code == 502
    with app.world.upstream.saying("/Medication", b"{}", 500):
        assert (await app.get("MedicationRequest/new")).status_code == 200
    await app.world.upstream.write([_medicine("unread"), _referring("new", "Medication/unread")])
    with app.world.upstream.saying("/Medication", b"{}"), app.world.upstream.saying("/Medication/unread", b"{}"):
        assert (await app.get("MedicationRequest/new")).status_code == 404
    await app.world.upstream.write(["MedicationRequest/new"])


@pytest.mark.leak("L06")
async def test_a_medicine_that_the_upstream_keeps_from_us_closes_what_refers_to_it(pair: Twins) -> None:
    app = pair.other
    await app.world.upstream.write([_medicine("kept"), _referring("of-kept", "Medication/kept")])
    nothing = b'{"resourceType":"Bundle","type":"searchset","entry":[]}'
    with (
        app.world.upstream.saying("/Medication", nothing, 200),
        app.world.upstream.saying("/Medication/kept", b"{}", 403),
    ):
        assert (await app.get("MedicationRequest/of-kept")).status_code == 404


async def test_a_medicine_that_was_not_asked_for_again_is_not_known_for_ever(places: tuple[World, World]) -> None:
    """It may have become sensitive meanwhile."""
    authz, now = places[1].assent.authz, 0.0
    facts = FactsReader(load_definitions(), authz.catalogue)
    told = msgspec.json.encode(_referring("plain-medicationrequest", "Medication/plain"))
    about = facts.read(msgspec.json.decode(told))

    class Upstream:
        async def page(self, url: str) -> bytes:
            return msgspec.json.encode({"resourceType": "Bundle", "entry": [{"resource": _medicine("plain")}]})

    medications = Medications(lambda _: cast("Source", Upstream()), facts, lambda: now)
    await medications.learn(told)
    now = 61.0
    assert medications.with_medicines(about) is not None
    now = 121.0
    assert medications.with_medicines(about) is None
    await medications.learn(told)
    assert medications.with_medicines(about) is not None
