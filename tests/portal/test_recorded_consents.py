"""Consents that recorders wrote, on the patient's pages: however they are shaped, the pages stand and can end them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from authz.consents.decisions import Choice, Decisions, NotCurrent
from authz.sign_in.accounts import Account, ActsFor, add_account
from authz.sign_in.passwords import Passwords
from fhir.consents.writing import ASKED_EXTENSION
from policies.codes import ACT_REASON_SYSTEM, CLIENT_SYSTEM, CONSENT_ACTION_SYSTEM
from tests.authz.consent_recorder import RecorderClient, category, consent, grantee, recorder
from tests.conformance.launching import Launch
from tests.conftest import MakeDatabase
from tests.leaks.test_people import PASSWORD, Visitor
from tests.leaks.world import World, observation, patient, world


def _actions(*codes: str) -> list[dict[str, Any]]:
    return [{"coding": [{"system": CONSENT_ACTION_SYSTEM, "code": code}]} for code in codes]


TREATMENT = [{"system": ACT_REASON_SYSTEM, "code": "TREAT"}]
APP = grantee("some-app")
PERMIT = {"type": "permit", "actor": APP, "class": category("laboratory")}
OPT_IN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]}
PRACTITIONER = [{**APP[0], "reference": {"reference": "Practitioner/doc"}}]
ELSEWHERE = [{**APP[0], "reference": {"identifier": {"system": "urn:other", "value": "x"}}}]
SHAPES: dict[str, dict[str, Any]] = {
    "no provision": {"provision": None, "policyRule": OPT_IN},
    "no actor": {"provision": {"type": "deny"}},
    "no purpose": {"provision": PERMIT},
    "two apps": {"provision": {**PERMIT, "actor": [*APP, *grantee("other")], "purpose": TREATMENT}},
    "a practitioner": {"provision": {**PERMIT, "actor": PRACTITIONER}},
    "an app and a practitioner": {"provision": {**PERMIT, "actor": [*APP, *PRACTITIONER], "purpose": TREATMENT}},
    "another registry": {"provision": {**PERMIT, "actor": ELSEWHERE, "purpose": TREATMENT}},
    "dates of data": {"provision": {**PERMIT, "purpose": TREATMENT, "dataPeriod": {"start": "2020"}}},
    "exceptions in exceptions": {
        "provision": {**PERMIT, "purpose": TREATMENT, "provision": [{"type": "deny", "provision": [PERMIT]}]}
    },
    "a deny of a part": {
        "provision": {
            **PERMIT,
            "purpose": TREATMENT,
            "class": category("conditions"),
            "provision": [{"type": "deny", "class": category("visit-diagnoses")}],
        }
    },
    "a deny of a sensitive kind": {
        "provision": {**PERMIT, "purpose": TREATMENT, "provision": [{"type": "deny", "class": category("hiv")}]}
    },
    "a deny of an app": {"provision": {**PERMIT, "purpose": TREATMENT, "type": "deny"}},
    "an extension without its value": {
        "provision": {**PERMIT, "purpose": TREATMENT},
        "extension": [{"url": ASKED_EXTENSION, "valueCoding": {"display": "x"}}, {"url": ASKED_EXTENSION}],
    },
    "a category of no catalogue": {"provision": {**PERMIT, "purpose": TREATMENT, "class": category("unheard-of")}},
    "a purpose of no catalogue": {
        "provision": {**PERMIT, "purpose": [{"system": ACT_REASON_SYSTEM, "code": "HMARKT"}]}
    },
    "an end without a day": {"provision": {**PERMIT, "purpose": TREATMENT, "period": {"end": "2099"}}},
    "another action than seeing": {"provision": {**PERMIT, "purpose": TREATMENT, "action": _actions("collect")}},
    "one kind of seeing": {"provision": {**PERMIT, "purpose": TREATMENT, "action": _actions("use")}},
    "a deny of changes": {"provision": {**PERMIT, "purpose": TREATMENT, "type": "deny", "action": _actions("correct")}},
    "actions of a decision": {"provision": {**PERMIT, "purpose": TREATMENT, "action": _actions("access", "correct")}},
    "proposed": {"status": "proposed", "provision": {**PERMIT, "purpose": TREATMENT}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    people = [patient("ana"), observation("lab0")]
    async with world(await make_database(), tmp_path_factory.mktemp("recorded"), people) as running:
        async with running.assent.engine.begin() as connection:
            own = (ActsFor("ana", "Ana", own=True),)
            account = Account("", "ana-herself", "Ana", "Patient/ana", "patient", own)
            await add_account(connection, account, await Passwords().hash(PASSWORD), running.assent.authz.clock())
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clerk(here: World) -> RecorderClient:
    return await recorder(here)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ana(here: World) -> Visitor:
    visitor = Visitor(here.http)
    await visitor.open("/sign-in")
    await visitor.send("Sign in", username="ana-herself", password=PASSWORD)
    return visitor


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_the_pages_stand_whatever_a_recorder_wrote(
    clerk: RecorderClient, ana: Visitor, shape: dict[str, Any]
) -> None:
    made = await clerk.created(_shaped(shape))
    for address in ("/my", "/my/activity"):
        assert (await ana.open(address)).status == 200
    assert (await ana.open(f"/my/sharing/{made['id']}/change")).status in (200, 404, 409)
    await clerk.send("DELETE", f"Consent/{made['id']}")
    for address in ("/my", "/my/activity"):
        assert (await ana.open(address)).status == 200


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_every_consent_can_be_ended_by_its_patient(
    here: World, clerk: RecorderClient, shape: dict[str, Any]
) -> None:
    made = await clerk.created(_shaped(shape))
    await Decisions(here.assent.authz).revoke(made["id"], here.account, "test")
    after = (await clerk.get(f"Consent/{made['id']}")).json()
    assert after["status"] == ("proposed" if shape.get("status") == "proposed" else "inactive")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_only_a_consent_that_says_no_more_than_a_decision_can_be_changed(
    here: World, clerk: RecorderClient, shape: dict[str, Any]
) -> None:
    made = await clerk.created(_shaped(shape))
    changeable = {"a deny of an app", "an extension without its value", "a category of no catalogue"}
    changeable |= {"a purpose of no catalogue", "an end without a day", "actions of a decision"}
    changeable |= {"a deny of a sensitive kind"}
    choice = Choice(("laboratory",), ("laboratory",), None, here.text)
    decisions = Decisions(here.assent.authz)
    if any(shape is SHAPES[name] for name in changeable):
        await decisions.change(made["id"], here.account, choice, "test")
        return
    with pytest.raises(NotCurrent):
        await decisions.change(made["id"], here.account, choice, "test")
    assert (await clerk.get(f"Consent/{made['id']}")).json() == made


@pytest.mark.parametrize(
    ("codes", "seen", "changed", "plain"),
    [
        (("access",), "Lab results", "", True),
        (("access", "collect"), "Lab results", "it can add to the record", True),
        (("collect",), "Nothing of the health information", "it can add to the record", False),
        (("correct",), "Nothing of the health information", "it can change and delete what it sees", False),
        (("use",), "Lab results", "", False),
        (("access", "disclose"), "Lab results", "", False),
    ],
)
async def test_a_consent_that_limits_actions_is_shown_by_what_it_does(
    clerk: RecorderClient, ana: Visitor, codes: tuple[str, ...], seen: str, changed: str, plain: bool
) -> None:
    provision = {**PERMIT, "purpose": TREATMENT, "action": _actions(*codes)}
    made = await clerk.created(_shaped({"provision": provision}))
    page = (await ana.http.get("/my")).text
    card = page.split(f'aria-labelledby="app-{made["id"]}"')[1].split("</section>")[0]
    can_see = card.split("Can see</dt>")[1].split("</div>")[0]
    assert seen in can_see
    assert ("Lab results" in can_see) is (seen == "Lab results")
    assert changed in card
    assert ("Can change" in card) is bool(changed)
    assert ("finer rules" in card) is not plain
    assert (f"/my/sharing/{made['id']}/change" in card) is plain
    await clerk.send("DELETE", f"Consent/{made['id']}")


async def test_a_new_decision_replaces_no_rules_that_somebody_else_wrote(here: World, clerk: RecorderClient) -> None:
    await here.forget_consents()  # a deny that was recorded before counts for every app
    app = await here.app(["laboratory"])
    consent_id = await app.consent_id()
    path = f"Consent/{consent_id}"
    made = (await clerk.get(path)).json()
    deny = {"type": "deny", "actor": grantee("another-app"), "class": category("conditions")}
    changed = await clerk.send("PUT", path, {**made, "provision": {**made["provision"], "provision": [deny]}})
    assert changed.status_code == 200
    launch = Launch(here, app.client_id, None)
    await launch.allow(await launch.authorize(), ["vital-signs"])
    assert (await clerk.get(path)).json() == changed.json()
    both = (await clerk.get(f"Consent?actor:identifier={CLIENT_SYSTEM}|{app.client_id}&_sort=-_lastUpdated")).json()
    assert [e["resource"]["id"] == consent_id for e in both["entry"]] == [False, True]
    await launch.allow(await launch.authorize(), ["laboratory"])
    assert both["total"] == 2
    newest = both["entry"][0]["resource"]["id"]
    assert (await clerk.get(f"Consent/{newest}")).headers["etag"] == 'W/"2"'


async def test_a_consent_in_r5_that_stands_in_the_store_can_be_seen_and_ended(here: World, ana: Visitor) -> None:
    repository = here.assent.authz.repository
    newer = {
        "resourceType": "Consent",
        "status": "active",
        "subject": {"reference": "Patient/ana"},
        "decision": "deny",
        "provision": [{"actor": [{"reference": {"identifier": {"system": CLIENT_SYSTEM, "value": "x"}}}]}],
    }
    stored = await repository.create(newer)
    assert (await ana.open("/my")).status == 200
    await Decisions(here.assent.authz).revoke(stored.id, here.account, "test")
    ended = await repository.read("Consent", stored.id)
    assert ended is not None
    assert msgspec.json.decode(ended.body)["status"] == "inactive"


def _shaped(shape: dict[str, Any]) -> dict[str, Any]:
    whole = {**consent(), **shape}
    return {name: value for name, value in whole.items() if value is not None}
