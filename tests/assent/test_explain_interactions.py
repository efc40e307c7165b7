"""Of every interaction, `$explain` and `assent explain` say the same, and what the proxy then does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from policies.codes import ACT_REASON_SYSTEM
from tests.assent.commands import CommandLine
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, recorder
from tests.conftest import MakeDatabase
from tests.leaks.service import service
from tests.leaks.world import App, World, observation, patient, world

RESOURCES = [
    patient("ana"),
    patient("bob"),
    observation("lab0"),
    observation("vital0", category="vital-signs"),
    observation("hiv0", code="75622-1"),
    observation("bob1", "bob"),
    observation("partly", note=[{"text": "a"}], method={"text": "b"}),
]


@dataclass(slots=True)
class Place:
    world: World
    clerk: RecorderClient
    assent: CommandLine

    async def said(self, consent_id: str, interaction: str, about: str, purpose: str = "", printed: bool = True) -> str:
        """The decision; `printed`: the same on both ways."""
        name = "resource" if "/" in about else "type"
        query = f"interaction={quote(interaction)}&{name}={about}" + (f"&purpose={purpose}" if purpose else "")
        answer = await self.clerk.get(f"Consent/{consent_id}/$explain?{query}")
        assert answer.status_code == 200, answer.text
        parameters: list[dict[str, Any]] = answer.json()["parameter"]
        if not printed:
            return str(parameters[0]["valueCode"])
        asked = ["--consent", consent_id, "--interaction", interaction, "--about", about, "--json"]
        result = await self.assent.run(
            "explain", *asked, *(["--purpose", purpose] if purpose else []), ASSENT_UPSTREAM_WRITES="true"
        )
        assert result.stdout, result.output
        told = json.loads(result.stdout)
        reasons = [
            {part["name"]: next(v for k, v in part.items() if k != "name") for part in parameter["part"]}
            for parameter in parameters
            if parameter["name"] == "reason"
        ]
        if about != "Observation/bob1":  # an operator is told more of another patient's than a recorder
            assert [(r["rule"], r["text"]) for r in reasons] == [(r["rule"], r["text"]) for r in told["reasons"]]
        assert parameters[0]["valueCode"] == told["decision"]
        assert result.exit_code == (0 if told["decision"] == "permit" else 1)
        return str(told["decision"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    url, folder = await make_database(), tmp_path_factory.mktemp("interactions")
    async with world(url, folder, RESOURCES, upstream_writes=True) as running:
        yield Place(running, await recorder(running), CommandLine(url, folder))


async def _done(app: App, interaction: str, about: str) -> bool:
    """Whether the proxy does it."""
    kind, _, id = about.partition("/")
    body = {name: value for name, value in observation(id or "x").items() if name != "id"}
    body["subject"] = {"reference": "Patient/ana"}
    match interaction:
        case "create":
            answer = await app.send("POST", kind, body)
        case "update":
            seen = await app.get(about)
            answer = await app.send("PUT", about, seen.json() if seen.status_code == 200 else body | {"id": id})
        case "patch":
            answer = await app.send("PATCH", about, [{"op": "replace", "path": "/status", "value": "amended"}])
        case "delete":
            answer = await app.send("DELETE", about)
        case "history-instance":
            answer = await app.get(f"{about}/_history")
        case "vread":
            answer = await app.get(about)
        case "search-type":
            answer = await app.get(kind)
        case "$everything":
            answer = await app.get(f"Patient/ana/$everything?_type={kind}")
        case _:
            answer = await app.get(about)
    assert answer.status_code in (200, 201, 204, 403, 404, 405), answer.text
    return answer.is_success


_SEEN = ("read", "history-instance", "update", "patch", "delete")
QUESTIONS = [
    *(("create", "Observation"), ("create", "Condition"), ("create", "Patient"), ("create", "AuditEvent")),
    *(("search-type", "Observation"), ("search-type", "Condition")),
    *(("$everything", "Observation"), ("$everything", "Condition")),
    *(("vread", f"Observation/{which}") for which in ("lab0/_history/1", "lab0/_history/999", "vital0/_history/1")),
    *((interaction, "Observation/lab0") for interaction in _SEEN),
    *((interaction, f"Observation/{id}") for id in ("vital0", "hiv0", "bob1", "gone") for interaction in _SEEN[::2]),
    *(("patch", "Patient/ana"), ("delete", "Patient/ana")),
]


@pytest.mark.parametrize(
    ("scope", "writes"),
    [
        ("launch/patient patient/*.cruds", ("collect", "correct")),
        ("launch/patient patient/*.cruds", ("collect",)),
        ("launch/patient patient/*.cruds", ("correct",)),
        ("launch/patient patient/*.rs", ()),
        ("launch/patient patient/Observation.cud", ("collect", "correct")),
        ("launch/patient patient/Observation.rud", ("collect", "correct")),
    ],
)
async def test_what_is_said_of_an_interaction_is_what_is_done(
    place: Place, scope: str, writes: tuple[str, ...]
) -> None:
    await place.world.forget_consents()
    await place.world.upstream.write([resource for resource in RESOURCES if resource["resourceType"] == "Observation"])
    app = await place.world.app(["laboratory"], scope=scope, writes=writes)
    consent_id = await app.consent_id()
    for interaction, about in QUESTIONS:
        said = await place.said(consent_id, interaction, about, printed=scope.endswith("Observation.cud"))
        assert (said == "permit") is await _done(app, interaction, about), (interaction, about)


async def test_what_is_withheld_in_part_is_changed_but_not_deleted(place: Place) -> None:
    await place.world.forget_consents()
    clerk = place.clerk
    app = await place.world.app(
        ["laboratory"], scope="launch/patient patient/*.cruds", purpose="HPAYMT", writes=("collect", "correct")
    )
    consent_id = await app.consent_id()
    for interaction in ("read", "update", "patch", "delete"):
        said = await place.said(consent_id, interaction, "Observation/partly")
        assert (said == "permit") is await _done(app, interaction, "Observation/partly"), interaction
    assert clerk.client_id != app.client_id


async def test_an_export_is_for_services_with_scopes_that_read_and_search(place: Place) -> None:
    await place.world.forget_consents()
    app = await place.world.app(["laboratory"])
    assert await place.said(await app.consent_id(), "$export", "Observation") == "deny"
    for scope, decision in (("system/*.rs", "permit"), ("system/*.r", "deny"), ("system/Patient.rs", "deny")):
        made = await service(place.world, {}, registered=scope, scope=scope)
        purpose = [{"system": ACT_REASON_SYSTEM, "code": "HOPERAT"}]
        permit = {"type": "permit", "actor": grantee(made.client_id), "class": category("laboratory")}
        stored = await place.clerk.created(consent(permit | {"purpose": purpose}))
        assert await place.said(stored["id"], "$export", "Observation") == decision
        assert await place.said(stored["id"], "$export", "AuditEvent") == "deny"
        assert await place.said(stored["id"], "create", "Observation") == "deny"


async def test_another_purpose_is_asked_about_by_its_code(place: Place) -> None:
    await place.world.forget_consents()
    app = await place.world.app(["laboratory"])
    consent_id = await app.consent_id()
    assert await place.said(consent_id, "read", "Observation/lab0", purpose="PATRQT") == "permit"
    assert await place.said(consent_id, "read", "Observation/lab0", purpose="TREAT") == "deny"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--interaction", "read"],
        ["--about", "Observation"],
        ["--interaction", "erase", "--about", "Observation"],
        ["--interaction", "create", "--about", "Observation/lab0"],
        ["--interaction", "vread", "--about", "Observation/lab0"],
        ["--read", "Observation/lab0", "--interaction", "read", "--about", "Observation/lab0"],
        ["--read", "Observation"],
        ["--read", "Observation/lab0", "--user", "Observation/lab0"],
    ],
)
async def test_a_question_that_is_not_well_put_is_misused(place: Place, wrong: list[str]) -> None:
    assert (await place.assent.run("explain", "--consent", "x", *wrong)).exit_code == 2


async def test_a_token_says_its_own_purpose(place: Place) -> None:
    for option in ("--purpose", "--client", "--user"):
        given = await place.assent.run(
            "explain", "--token", "-", "--read", "Observation/lab0", option, "Patient/ana", input="t\n"
        )
        assert given.exit_code == 2
