"""`assent explain`: the decision is the proxy's, its reasons name rules, and nothing of a patient's data is printed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import create_async_engine

from assent.explanation import UNKNOWN_ELEMENT
from assent.progress import Progress
from assent.sandbox_mode.upstream import Dataset, built_in_upstream
from authz.clients.clients import disable_client
from authz.consents.decisions import Decisions
from fhir.r4.definitions import load_definitions
from fhir.upstream.source import UpstreamSource
from tests.assent.commands import CommandLine
from tests.conftest import MakeDatabase
from tests.leaks.service import service
from tests.leaks.world import App, World, observation, patient, world

UNSEEN = "NOBODY-MAY-SEE-THIS"
RESOURCES: list[dict[str, Any]] = [
    patient("ana", text={"status": "generated", "div": f"<div>{UNSEEN}</div>"}),
    patient("bob"),
    observation("lab0", note=[{"text": UNSEEN}], valueString=UNSEEN),
    observation("odd", **{f"{UNSEEN}": UNSEEN}),
    observation("vital0", category="vital-signs"),
    observation("hiv0", code="75622-1"),
    observation("bob1", "bob"),
    *(
        {"resourceType": "Provenance", "id": wanted, "target": [{"reference": target}], "recorded": "2026-01-01"}
        for wanted, target in (
            ("of-lab0", "Observation/lab0"),
            ("of-hiv0", "Observation/hiv0"),
            ("of-gone", "Observation/x"),
        )
    ),
]
Place = tuple[World, CommandLine]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    url, folder = await make_database(), tmp_path_factory.mktemp("explain")
    async with world(url, folder, RESOURCES) as running:
        yield running, CommandLine(url, folder)


async def _explained(assent: CommandLine, app: App, *asked: str, expect: int) -> dict[str, Any]:
    """What is said about the app's token, given on standard input."""
    token = app.token["access_token"]
    result = await assent.run("explain", "--token", "-", *asked, "--json", input=f"{token}\n")
    assert result.exit_code == expect, result.output
    assert UNSEEN not in result.output
    assert token not in result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["decision"] == ("permit" if expect == 0 else "deny")
    return found


def _sources(explanation: dict[str, Any], rule: str) -> list[str]:
    return [reason["source"] for reason in explanation["reasons"] if reason["rule"] == rule]


def _rules(explanation: dict[str, Any]) -> set[str]:
    return {reason["rule"] for reason in explanation["reasons"]}


async def test_a_permitted_read_names_scope_consent_category_and_mask(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    said = await _explained(assent, app, "--read", "Observation/lab0", expect=0)
    assert {"token", "scope", "consent", "category", "mask"} <= _rules(said)
    assert f"Consent/{await app.consent_id()}/_history/1#provision" in _sources(said, "consent")
    assert _sources(said, "category") == ["category/laboratory"]
    assert (await app.get("Observation/lab0")).status_code == 200


async def test_the_mask_is_told_by_the_names_of_elements_as_the_proxy_applies_it(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory", "demographics"])
    for name in ("Observation/lab0", "Patient/ana", "Observation/odd"):
        said = await _explained(assent, app, "--read", name, expect=0)
        shown = (await app.get(name)).json()
        source = next(r for r in RESOURCES if f"{r['resourceType']}/{r['id']}" == name)
        gone = set(source) - set(shown)
        assert set(said["removed"]) == {UNKNOWN_ELEMENT if n == UNSEEN else n for n in gone}
        changed = {n for n in set(source) & set(shown) - {"meta"} if source[n] != shown[n]}
        assert set(said["masked"]) == changed
    assert UNKNOWN_ELEMENT in said["removed"]


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        ("Observation/vital0", "scope"),
        ("Observation/hiv0", "sensitivity"),
        ("Observation/bob1", "compartment"),
        ("Observation/nothing", "default"),
        ("Communication/x", "scope"),
    ],
)
async def test_a_denied_read_says_by_which_rule(place: Place, wanted: str, rule: str) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    said = await _explained(assent, app, "--read", wanted, expect=1)
    assert rule in _rules(said)
    assert (await app.get(wanted)).status_code in (403, 404)


@pytest.mark.parametrize(
    ("wanted", "said_last"),
    [
        ("of-lab0", ""),
        ("of-hiv0", "the Provenance targets something that isn't shown"),
        ("of-gone", "what the Provenance targets can't all be found"),
    ],
)
async def test_a_provenance_is_explained_by_what_it_targets(place: Place, wanted: str, said_last: str) -> None:
    here, assent = place
    app = await here.app(["laboratory", "sharing-record"])
    said = await _explained(assent, app, "--read", f"Provenance/{wanted}", expect=1 if said_last else 0)
    assert (await app.get(f"Provenance/{wanted}")).status_code == (404 if said_last else 200)
    assert said_last in said["reasons"][-1]["text"]


async def test_a_scope_that_does_not_reach_denies(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory"], scope="launch/patient patient/Observation.rs")
    said = await _explained(assent, app, "--read", "Condition/x", expect=1)
    assert said["reasons"][-1]["rule"] == "scope"


@pytest.mark.parametrize(
    "search",
    ["Observation?code=718-7&_count=7", "Observation?category=laboratory", "Patient", "Practitioner?name=doc"],
)
async def test_a_search_tells_what_the_upstream_is_asked(
    place: Place, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    here, assent = place
    app = await here.app(["laboratory", "vital-signs", "demographics"])
    asked: list[str] = []
    original = UpstreamSource.page

    async def page(self: UpstreamSource, url: str) -> bytes:
        asked.append(url)
        return await original(self, url)

    monkeypatch.setattr(UpstreamSource, "page", page)
    assert (await app.get(search)).status_code == 200
    said = await _explained(assent, app, "--search", search, expect=0)
    assert said["upstream"] == asked[0]
    assert dict(parse_qsl(urlsplit(asked[0]).query))["_count"]


async def test_a_search_beyond_the_mask_is_denied_by_the_guard(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    for search in ("Observation?note=x", "Observation?subject.name=x"):
        said = await _explained(assent, app, "--search", search, expect=1)
        assert said["reasons"][-1]["rule"] == "guard"
        assert said["upstream"] is None


async def test_a_token_that_counts_for_nothing_is_denied(place: Place, tmp_path: Path) -> None:
    here, assent = place
    revoked, disabled = await here.app(["laboratory"]), await here.app(["laboratory"])
    await Decisions(here.assent.authz).revoke(await revoked.consent_id(), here.account, "test")
    async with here.assent.engine.begin() as connection:
        await disable_client(connection, disabled.client_id, here.assent.authz.clock())
    for app in (revoked, disabled):
        said = await _explained(assent, app, "--read", "Observation/lab0", expect=1)
        assert [reason["rule"] for reason in said["reasons"]] == ["token"]
        assert "revoked or disabled" in said["reasons"][0]["text"]
    file = tmp_path / "token"
    file.write_text("not.a.token")
    result = await assent.run("explain", "--token-file", str(file), "--read", "Observation/lab0")
    assert result.exit_code == 1
    assert "ASSENT_PUBLIC_URL" in result.stdout


async def test_a_token_from_a_file_is_explained_in_words(place: Place, tmp_path: Path) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    file = tmp_path / "token"
    file.write_text(app.token["access_token"] + "\n")
    result = await assent.run("explain", "--token-file", str(file), "--read", "Observation/lab0")
    assert result.exit_code == 0
    assert result.stdout.startswith("permit: read Observation/lab0\n")
    assert "category/laboratory" in result.stdout


async def test_a_consent_is_explained_while_it_is_in_force_and_after(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    consent = await app.consent_id()
    ask = ("explain", "--consent", consent, "--json", "--read")
    assert (await assent.run(*ask, "Observation/lab0")).exit_code == 0
    denied = await assent.run(*ask, "Observation/hiv0")
    assert denied.exit_code == 1
    assert any("#provision.provision[" in source for source in _sources(json.loads(denied.stdout), "consent"))
    await Decisions(here.assent.authz).revoke(consent, here.account, "test")
    over = await assent.run(*ask, "Observation/lab0")
    assert over.exit_code == 1
    assert "its status is `inactive`" in over.stdout
    unknown = await assent.run("explain", "--consent", "nothing", "--read", "Observation/lab0")
    assert (unknown.exit_code, "assent consent list" in unknown.stderr) == (1, True)


async def test_the_upstream_that_is_set_is_read_with_its_credentials(place: Place) -> None:
    here, assent = place
    app = await here.app(["laboratory"])
    engine = create_async_engine(assent.database_url)
    consent = await app.consent_id()
    ask = ("explain", "--consent", consent, "--read", "Observation/lab0")
    async with built_in_upstream(
        engine, load_definitions(), _the_same(), clock=here.assent.authz.clock, progress=Progress(lambda _: None)
    ) as upstream:
        upstream_settings = {"ASSENT_UPSTREAM_URL": upstream.url, "ASSENT_UPSTREAM_AUTH": "bearer"}
        right = await assent.run(*ask, **upstream_settings, ASSENT_UPSTREAM_BEARER_TOKEN=upstream.bearer_token)
        wrong = await assent.run(*ask, **upstream_settings, ASSENT_UPSTREAM_BEARER_TOKEN=upstream.bearer_token[1:])
    await engine.dispose()
    assert right.exit_code == 0, right.output
    assert wrong.exit_code == 1
    assert "the upstream FHIR server refused" in wrong.stderr


def _the_same() -> Dataset:
    """What the world has loaded, so that it isn't loaded again."""
    return Dataset(hashlib.sha256(repr(RESOURCES).encode()).hexdigest(), lambda: RESOURCES)


@pytest.mark.parametrize(
    ("asked", "patient", "expect", "rule"),
    [
        ("Observation/lab0", "ana", 0, "consent"),
        ("Observation/vital0", "ana", 1, "default"),
        ("Observation/bob1", "bob", 1, "consent"),
        ("Observation/bob1", "ana", 1, "compartment"),
        ("Observation/hiv0", "ana", 1, "sensitivity"),
        ("Condition/c", "ana", 1, "scope"),
    ],
)
async def test_a_services_token_is_explained_for_the_patient_asked_about(
    place: Place, asked: str, patient: str, expect: int, rule: str
) -> None:
    here, assent = place
    app = await service(here, {"ana": ["laboratory"]}, scope="system/Observation.rs")
    said = await _explained(assent, app, "--patient", patient, "--read", asked, expect=expect)
    assert rule in _rules(said)
    assert (await app.get(asked)).status_code == (200 if expect == 0 else 403 if rule == "scope" else 404)


async def test_a_services_search_is_explained_as_the_upstream_is_asked(place: Place) -> None:
    here, assent = place
    app = await service(here, {"ana": ["laboratory"], "bob": ["vital-signs"]})
    search = "Observation?patient=ana&code=718-7"
    with here.upstream.listening() as heard:
        assert (await app.get(search)).status_code == 200
    said = await _explained(assent, app, "--patient", "ana", "--search", search, expect=0)
    assert heard[0].target.endswith(said["upstream"])
    other = await _explained(assent, app, "--patient", "bob", "--search", search, expect=1)
    assert other["reasons"][-1]["rule"] == "guard"


async def test_of_whom_is_said_for_a_services_token_and_for_no_other(place: Place) -> None:
    here, assent = place
    app, person = await service(here, {"ana": ["laboratory"]}), await here.app(["laboratory"])
    for who, more, why in ((app, (), "--patient"), (person, ("--patient", "bob"), "no service's")):
        asked = ("explain", "--token", "-", *more, "--read", "Observation/lab0")
        result = await assent.run(*asked, input=str(who.token["access_token"]))
        assert (result.exit_code, why in result.stderr) == (1, True)


async def test_a_token_as_an_argument_is_refused_with_why(place: Place) -> None:
    result = await place[1].run("explain", "--token", "abc.def.ghi", "--read", "Observation/lab0")
    assert result.exit_code == 2
    assert "seen by every process" in result.stderr
    assert "abc.def.ghi" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--read", "Observation/lab0"),
        ("--token", "-"),
        ("--token", "-", "--consent", "c1", "--read", "Observation/lab0"),
        ("--consent", "c1", "--read", "Observation/lab0", "--search", "Observation"),
        ("--consent", "c1", "--read", "Observation"),
        ("--consent", "c1", "--read", "Observation/lab0?x=y"),
        ("--consent", "c1", "--search", "Observation/lab0"),
        ("--consent", "c1", "--search", "../x"),
        ("--consent", "c1", "--read", "Binary/x"),
        ("--consent", "c1", "--search", "Patient/x/$everything"),
        ("--token-file", "/nowhere/token", "--read", "Observation/lab0"),
    ],
)
async def test_misuse_exits_2(place: Place, arguments: tuple[str, ...]) -> None:
    assert (await place[1].run("explain", *arguments)).exit_code == 2
