"""A Provenance says that its targets are there: it is shown when all of them are, and else it isn't there itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from tests.leaks.exporting import exported, ids
from tests.leaks.service import service
from tests.leaks.twins import Request, Twins, twins
from tests.leaks.world import ACT_CODE, App, World, observation, patient, world

ALL = ("demographics", "laboratory", "conditions", "sharing-record")
_HIV = {"security": [{"system": ACT_CODE, "code": "HIV"}]}


def _provenance(wanted: str, *targets: str | dict[str, object], **more: object) -> dict[str, object]:
    return {
        "resourceType": "Provenance",
        "id": wanted,
        "target": [{"reference": t} if isinstance(t, str) else t for t in targets],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/doc"}}],
        **more,
    }


def _shown() -> Iterator[dict[str, object]]:
    yield patient("ana")
    yield {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Doc"}]}
    yield observation("lab0")
    yield observation("lab1")
    yield {
        "resourceType": "Condition",
        "id": "flu",
        "subject": {"reference": "Patient/ana"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J10.1"}]},
    }
    yield _provenance("of-lab", "Observation/lab0")
    yield _provenance("of-two", "Observation/lab0", "Condition/flu")
    yield _provenance("of-version", "Observation/lab1/_history/1")
    yield _provenance("of-named", "Condition/flu", "Patient/ana")
    yield _provenance("of-lab-and-doctor", "Observation/lab0", "Practitioner/doc")
    yield _provenance("of-ana", "Patient/ana")


SHOWN = {str(r["id"]): r for r in _shown() if r["resourceType"] == "Provenance"}
WITHHELD_TARGETS: dict[str, list[str | dict[str, object]]] = {
    "secret": ["Observation/hiv"],
    "partly-secret": ["Observation/lab0", "Observation/hiv"],
    "partly-secret-named": ["Observation/lab0", "Observation/hiv", "Patient/ana"],
    "bobs": ["Observation/bob1"],
    "across": ["Observation/lab0", "Observation/bob1"],
    "across-named": ["Observation/lab0", "Patient/bob"],
    "of-absent": ["Observation/lab0", "Observation/absent"],
    "of-elsewhere": ["Observation/lab0", "http://elsewhere.example/fhir/Observation/lab1"],
    "of-contained": ["Observation/lab0", "#x"],
    "by-identifier": ["Observation/lab0", {"identifier": {"system": "urn:x", "value": "1"}, "type": "Observation"}],
    "of-other-version": ["Observation/lab0/_history/7"],
    "of-provenance": ["Observation/lab0", "Provenance/of-lab"],
    "of-doctor": ["Practitioner/doc"],
    "of-nonsense": ["Observation/lab0", "Nonsense/1"],
    "of-group": ["Observation/lab0", "Group/g"],
    "of-binary": ["Observation/lab0", "Binary/b"],
    "of-consent": ["Observation/lab0", "Consent/c"],
    "of-nothing": ["Observation/lab0", {"display": "something"}],
}


def _withheld() -> Iterator[dict[str, object]]:
    yield patient("bob")
    yield observation("hiv", meta=_HIV)
    yield observation("bob1", "bob")
    for name, targets in WITHHELD_TARGETS.items():
        yield _provenance(name, *targets)
    yield _provenance("labelled", "Observation/lab0", meta=_HIV)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(
    make_database: Callable[[], Awaitable[str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, World]]:
    """A world without and a world with what is withheld."""
    one = [*_shown()]
    async with (
        world(await make_database(), tmp_path_factory.mktemp("bare"), one) as bare,
        world(await make_database(), tmp_path_factory.mktemp("full"), [*_withheld(), *one]) as full,
    ):
        yield bare, full


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(both: tuple[World, World]) -> Twins:
    """An app that may see the shown ones, in both."""
    return await twins(*both, ALL)


async def _provenances(app: App, search: str) -> set[str]:
    found = [name.partition("/") for name in await app.ids(search)]
    return {name for kind, _, name in found if kind == "Provenance"}


OF_LAB0 = {"of-lab", "of-two", "of-lab-and-doctor"}


@pytest.mark.leak("L14", "L11")
async def test_l11_a_provenance_comes_with_the_search_whose_entries_it_targets(pair: Twins) -> None:
    app = pair.other
    assert await _provenances(app, "Observation?_revinclude=Provenance:target") == OF_LAB0 | {"of-version"}
    assert await _provenances(app, "Observation?_id=lab0&_revinclude=Provenance:target") == OF_LAB0
    assert await _provenances(app, "Condition?_revinclude=Provenance:target") == {"of-two", "of-named"}
    assert await _provenances(app, "Patient?_id=ana&_revinclude=Provenance:target") == {"of-named", "of-ana"}


@pytest.mark.leak("L14", "L06")
@pytest.mark.parametrize("name", SHOWN)
async def test_l06_a_provenance_is_read_when_everything_that_it_targets_may_be(pair: Twins, name: str) -> None:
    for path in (f"Provenance/{name}", f"Provenance/{name}/_history/1", f"Provenance/{name}/_history"):
        answer = await pair.other.get(path)
        assert answer.status_code == 200, path
    targets = (await pair.other.get(f"Provenance/{name}")).json()["target"]
    assert json.dumps(targets) == json.dumps(SHOWN[name]["target"]).replace("/_history/1", "")
    assert await _provenances(pair.other, f"Provenance?_id={name}") == {name}


@pytest.mark.leak("L14", "L06")
@pytest.mark.parametrize("name", [*WITHHELD_TARGETS, "labelled"])
async def test_l06_a_provenance_of_anything_withheld_isnt_there(pair: Twins, name: str) -> None:
    for path in ("", "/_history/1", "/_history"):
        answer = await pair.other.get(f"Provenance/{name}{path}")
        assert answer.status_code == 404, path
        assert answer.json() == (await pair.other.get(f"Provenance/absent{path}")).json()
    assert await _provenances(pair.other, f"Provenance?_id={name}") == set()


@pytest.mark.leak("L14", "L08")
async def test_l08_a_search_by_target_finds_what_names_no_patient(pair: Twins) -> None:
    app = pair.other
    assert await _provenances(app, "Provenance?target=Observation/lab0") == OF_LAB0
    assert await _provenances(app, "Provenance?target=Observation/hiv") == set()
    assert await _provenances(app, "Provenance?patient=ana") == {"of-named", "of-ana"}


@pytest.mark.leak("L14", "L04", "L06", "L11", "L13", "L40", "L41", "L43")
async def test_provenances_of_what_is_withheld_change_no_answer(pair: Twins) -> None:
    entries = [{"request": {"method": "GET", "url": f"Provenance/{name}"}} for name in ("of-two", "secret", "across")]
    batch = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
    await pair.same_seen(
        [
            *("Observation?_revinclude=Provenance:target", "Observation?_revinclude=Provenance:target&_count=1"),
            *("Provenance?patient=ana", "Provenance?patient=ana&_count=1", "Provenance?_include=Provenance:target"),
            *("Provenance?target=Observation/lab0&_total=accurate", "Provenance?target=Observation/lab0&_count=1"),
            *(
                "Provenance?target=Observation/hiv",
                "Provenance?target=Observation/bob1",
                "Provenance?target=Patient/bob",
            ),
            *("Provenance?target=Observation/lab0&_include=Provenance:target", "Provenance?agent=Practitioner/doc"),
            *("Practitioner?_revinclude=Provenance:agent", "Practitioner?_revinclude=Provenance:target"),
            *("Patient?_revinclude=Provenance:target", "Patient?_revinclude=Provenance:patient"),
            *(f"Patient/ana/$everything?_type=Provenance,Observation&_count={n}" for n in (2, 20)),
            "?_type=Provenance,Observation",
            *(f"Provenance/{name}" for name in [*SHOWN, *WITHHELD_TARGETS]),
            *(f"Provenance/{name}/_history" for name in [*SHOWN, *WITHHELD_TARGETS]),
            Request("", body=batch),
        ],
        pages=6,
    )


@pytest.mark.leak("L14", "L13")
async def test_what_isnt_shared_takes_its_provenances_along(both: tuple[World, World]) -> None:
    app = await both[1].app(["demographics", "conditions", "sharing-record"])
    assert await _provenances(app, "Condition?_revinclude=Provenance:target") == {"of-named"}
    assert await _provenances(app, "Provenance?target=Observation/lab0") == set()
    assert (await app.get("Provenance/of-lab")).status_code == 404
    assert (await app.get("Provenance/of-ana")).status_code == 200
    other = await both[1].app(["laboratory", "sharing-record"])
    assert await _provenances(other, "Observation?_revinclude=Provenance:target") == {
        *("of-lab", "of-lab-and-doctor", "of-version"),
    }
    assert (await other.get("Provenance/of-ana")).status_code == 404
    assert (await other.get("Provenance/of-named")).status_code == 404


@pytest.mark.leak("L14", "L13", "L53")
async def test_a_token_without_the_targets_type_or_the_categorys_consent_sees_no_provenance(
    both: tuple[World, World],
) -> None:
    scopes = "launch/patient patient/Provenance.rs patient/Condition.rs"
    app = await both[1].app(ALL, scope=scopes)
    assert (await app.get("Provenance/of-two")).status_code == 404
    assert (await app.get("Provenance/of-named")).status_code == 200
    unshared = await both[1].app(["laboratory"])
    assert (await unshared.get("Provenance/of-lab")).status_code in (403, 404)
    assert (await unshared.get("Provenance?target=Observation/lab0")).status_code == 403


@pytest.mark.leak("L14", "L40")
async def test_a_provenance_of_an_older_version_goes_when_its_target_changes(both: tuple[World, World]) -> None:
    full = both[1]
    await full.upstream.write([observation("moving"), _provenance("of-moving", "Observation/moving/_history/1")])
    app = await full.app(ALL)
    assert (await app.get("Provenance/of-moving")).status_code == 200
    await full.upstream.write([observation("moving", status="amended")])
    assert (await app.get("Provenance/of-moving")).status_code == 404
    await full.upstream.write(["Provenance/of-moving", "Observation/moving"])


@pytest.mark.leak("L14", "L48")
async def test_an_upstream_that_refuses_to_give_targets_makes_them_absent(both: tuple[World, World]) -> None:
    app = await both[1].app(ALL)
    with both[1].upstream.saying("/Observation", b"{}", 400):
        assert (await app.get("Provenance/of-lab")).json() == (await app.get("Provenance/absent")).json()
        assert (await app.get("Provenance/of-named")).status_code == 200
    with both[1].upstream.saying("/Observation", b"{}", 503):
        assert (await app.get("Provenance/of-lab")).status_code == 502


@pytest.mark.leak("L14", "L51", "L70")
async def test_a_service_sees_provenances_of_who_shares_and_leaves_their_record(both: tuple[World, World]) -> None:
    full = both[1]
    app = await service(full, {"ana": ALL})
    assert await _provenances(app, "Observation?patient=ana&_revinclude=Provenance:target") == OF_LAB0 | {"of-version"}
    for name in SHOWN:
        assert (await app.get(f"Provenance/{name}")).status_code == 200, name
    for name in WITHHELD_TARGETS:
        assert (await app.get(f"Provenance/{name}")).status_code == 404, name
    files = await exported(app)
    assert set(ids(files["Provenance"])) == {*SHOWN}
    reader = await full.app(["sharing-record"])
    events = (await reader.get("AuditEvent?_count=200&_sort=-date")).json()["entry"]
    told = [json.dumps(e["resource"]) for e in events if app.client_id in json.dumps(e)]
    for name in SHOWN:
        assert any(f'"Provenance/{name}"' in event for event in told), name
    for name in WITHHELD_TARGETS:
        assert not any(f'"Provenance/{name}"' in event for event in told), name
