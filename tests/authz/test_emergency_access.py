"""Emergency access from end to end (docs/emergency-access.md): what it opens, for how long, and for whom not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
from sqlalchemy import delete, select, update

from authz import tables
from authz.clients.clients import NewClient, add_client
from authz.mail.addresses import put_address
from authz.mail.tables import mail_address, mail_outbox
from authz.sign_in.accounts import Account, add_account
from authz.sign_in.passwords import Passwords
from authz.tokens.grants import find_grant
from fhir.audit.event import AuditRecord
from policies.codes import ACT_REASON_SYSTEM, CLIENT_SYSTEM, DATA_CATEGORY_SYSTEM, PARTICIPATION_SYSTEM
from portal.emergency_book import StoredEmergencies
from portal.pending_requests import PendingRequests
from tests.assent.commands import CommandLine
from tests.authz.emergency_ward import OPENED, PEOPLE, REASON, RESOURCES, Ward, ground, people, ward
from tests.conftest import MakeDatabase
from tests.leaks.test_people import PASSWORD
from tests.leaks.world import REDIRECT, App, world

__all__ = ["ground", "people", "ward"]


async def test_the_page_that_nothing_is_shared_leads_on_and_the_form_opens_what_the_catalogue_opens(ward: Ward) -> None:
    async with ward.visit("raman") as visitor:
        page = await visitor.open(await ward.asked())
        assert page.status == 403
        assert "This is an emergency" in page.text
    app = await ward.opened()
    assert set(await app.ids("Observation")) == OPENED
    for closed in ("violence0", "unknown0", "bob0"):
        assert (await app.get(f"Observation/{closed}")).status_code == 404
    assert (await app.get("Patient/bob")).status_code == 404
    for own in ("Consent", "AuditEvent"):
        assert (await app.get(own)).status_code == 403


async def test_the_patient_and_who_decides_for_them_are_told_by_letter_that_it_happened_and_not_why(
    ward: Ward, people: dict[str, Account]
) -> None:
    async with ward.server.assent.engine.begin() as connection:
        await connection.execute(delete(mail_outbox))
        for name in ("pat", "own", "raman"):
            await put_address(connection, people[name].id, f"{name}@example.org", "en")
        await connection.execute(update(mail_address).values(sharing=False))  # what no switch turns off
    await ward.opened()
    async with ward.server.assent.engine.connect() as connection:
        letters = (await connection.execute(select(mail_outbox).order_by(mail_outbox.c.recipient))).all()
    assert [(letter.kind, letter.recipient, letter.own) for letter in letters] == [
        ("emergency", "own@example.org", False),
        ("emergency", "pat@example.org", True),
    ]
    assert REASON not in repr(letters)


async def test_it_isnt_renewed_and_its_token_ends_with_it(ward: Ward) -> None:
    app = await ward.opened()
    assert "refresh_token" not in app.token
    assert "offline_access" not in str(app.token["scope"])
    context = ward.server.assent.authz
    access, claims = context.tokens.verify(str(app.token["access_token"]))  # type: ignore[misc]
    assert (claims["purpose_of_use"], claims.get("consent", [])) == ("BTG", [])
    async with context.engine.begin() as connection:
        grant = await find_grant(connection, access.grant_id)
        assert grant is not None
        assert grant.ends is not None
        assert grant.ends - context.clock() <= timedelta(hours=1)
        before, after = grant.ends - timedelta(seconds=1), grant.ends
        assert await context.grants.now(grant, before) is not None
        assert await context.grants.now(grant, after) is None


async def test_a_code_that_is_redeemed_late_gives_a_token_for_what_is_left_or_none(ward: Ward) -> None:
    context, g = ward.server.assent.authz, tables.grant
    for seconds, status in ((20, 200), (-1, 400)):
        async with ward.visit("raman") as visitor:
            answer = await ward.emergency(visitor, await ward.asked())
        async with context.engine.begin() as connection:
            ends = context.clock() + timedelta(seconds=seconds)
            mine = update(g).where(g.c.client_id == ward.client_id, g.c.purpose == "BTG")
            await connection.execute(mine.values(expires_at=ends))
        redeemed = await ward.redeem(answer)
        assert redeemed.status_code == status
        if status == 200:
            assert 0 < redeemed.json()["expires_in"] <= seconds
        else:
            assert redeemed.json()["error"] == "invalid_grant"


async def test_introspection_says_break_glass_and_names_no_consent(ward: Ward) -> None:
    app = await ward.opened()
    async with ward.server.assent.engine.begin() as connection:
        gateway, secret = await add_client(connection, NewClient("G", "gateway"), ward.server.assent.authz.clock())
    auth = httpx.BasicAuth(gateway.client_id, secret or "")
    form = {"token": app.token["access_token"]}
    found = (await ward.server.http.post("/introspect", data=form, auth=auth)).json()
    assert (found["active"], found["consent"]) == (True, [])
    assert found["extensions"]["ihe_iua"]["purpose_of_use"][0]["code"] == "BTG"
    assert "ihe_pcf" not in found["extensions"]


@pytest.mark.parametrize("purpose", [None, "TREAT", "ETREAT", "BTG"])
async def test_what_the_patient_denies_outright_stays_closed(ward: Ward, purpose: str | None) -> None:
    app = await ward.opened()
    about = {} if purpose is None else {"purpose": [{"system": ACT_REASON_SYSTEM, "code": purpose}]}
    await ward.keep(type="deny", **about)
    assert (await app.get("Observation/lab0")).status_code in (403, 404)
    before = await ward.opened_ever()
    async with ward.visit("raman") as visitor:
        answer = await ward.emergency(visitor, await ward.asked())
    assert (answer.status_code, await ward.opened_ever()) == (403, before)
    assert "stays closed" in answer.text
    event = (await ward.events(subtype="110127", outcome="4"))[0]
    assert ward.client_id in json.dumps(event)
    assert event["purposeOfEvent"][0]["text"] == REASON


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("Group/others", 303),
        ("Organization/elsewhere", 303),
        ("Group/with-raman", 403),
        ("Organization/hospital", 403),
        ("Group/nowhere", 403),
        ("HealthcareService/er", 403),
    ],
)
async def test_a_deny_of_a_group_closes_to_who_belongs_to_it_or_may(ward: Ward, name: str, status: int) -> None:
    role = {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP"}]}
    await ward.keep(type="deny", actor=[{"role": role, "reference": {"reference": name}}])
    async with ward.visit("raman") as visitor:
        answer = await ward.emergency(visitor, await ward.asked())
    assert answer.status_code == status
    if status == 303:
        app = App(ward.server, ward.client_id, (await ward.redeem(answer)).json())
        assert (await app.get("Observation/lab0")).status_code == 200


async def test_a_deny_of_one_kind_closes_that_kind_alone(ward: Ward) -> None:
    await ward.keep(type="deny", **{"class": [{"system": DATA_CATEGORY_SYSTEM, "code": "hiv"}]})
    app = await ward.opened()
    assert set(await app.ids("Observation")) == OPENED - {"Observation/hiv0"}


async def test_a_narrow_consent_for_treatment_neither_binds_nor_widens(ward: Ward) -> None:
    role = {"coding": [{"system": PARTICIPATION_SYSTEM, "code": "IRCP"}]}
    actor = [{"role": role, "reference": {"identifier": {"system": CLIENT_SYSTEM, "value": ward.client_id}}}]
    vitals = [{"system": DATA_CATEGORY_SYSTEM, "code": "vital-signs"}]
    await ward.keep(
        type="permit", actor=actor, purpose=[{"system": ACT_REASON_SYSTEM, "code": "TREAT"}], **{"class": vitals}
    )
    async with ward.visit("raman") as visitor:
        page = await visitor.open(await ward.asked())
        assert page.form_with("submit", "Allow") is not None
        assert "This is an emergency" in page.text
        await visitor.send("Allow")
    app = await ward.opened()
    assert set(await app.ids("Observation")) == OPENED


async def test_it_is_recorded_with_its_reason_and_everything_that_is_looked_at(ward: Ward) -> None:
    app = await ward.opened()
    await app.get("Observation/hiv0")
    read, opened = (await ward.events())[0], (await ward.events(subtype="110127", outcome="0"))[0]
    assert read["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
    assert {"reference": "Observation/hiv0"} in [entity.get("what") for entity in read["entity"]]
    assert opened["purposeOfEvent"][0]["text"] == REASON
    assert opened["subtype"][0]["display"] == "Emergency Override Started"
    assert {"reference": "Practitioner/raman"} in [agent["who"] for agent in opened["agent"]]


async def test_the_reason_stands_in_no_log(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    reason = "zebra-stripes in the waiting room"
    await ward.opened(reason=reason)
    told = capsys.readouterr()
    assert "zebra" not in told.out + told.err


async def test_the_patient_sees_who_when_why_and_what(ward: Ward) -> None:
    app = await ward.opened(reason="Chest pain, <b>cannot</b> answer")
    assert (await app.get("Observation/hiv0")).status_code == 200
    async with ward.visit("pat") as visitor:
        text = (await visitor.http.get("/my")).text
        assert "Emergency access" in text
        assert "Dr. Raman" in text
        assert "Chest pain, &lt;b&gt;cannot&lt;/b&gt; answer" in text
        assert "Lab results, HIV" in text
        assert "Nobody sees it through Assent unless you allowed it" not in text
        told = (await visitor.http.get("/my/activity")).text
        assert "opened the record with Ward in an emergency" in told


async def test_what_was_looked_at_before_or_with_another_app_is_not_told_of_it(ward: Ward) -> None:
    context = ward.server.assent.authz
    await ward.opened()
    async with context.engine.connect() as connection:
        e = tables.emergency_access.c
        opened_at = (await connection.execute(select(e.opened_at).where(e.client_id == ward.client_id))).scalar_one()
    look = AuditRecord(
        kind="read",
        action="R",
        outcome="0",
        recorded=opened_at,
        request_id="test",
        client_id=ward.client_id,
        user="Practitioner/raman",
        patient="ana",
        purpose="BTG",
    )
    just_before = opened_at - timedelta(milliseconds=2)
    for change in (
        {"recorded": just_before, "categories": ("vital-signs",)},
        {"client_id": "another", "categories": ("conditions",)},
        {"categories": ("laboratory",)},
    ):
        await context.audit.record(msgspec.structs.replace(look, **change))
    told = (await StoredEmergencies(context, PendingRequests(context)).about("ana"))[0]
    assert (told.categories, told.looks) == (("laboratory",), 1)


async def test_operators_review_it_once_and_end_it_at_once(ward: Ward) -> None:
    app = await ward.opened()
    async with ward.visit("kim") as visitor:
        page = await visitor.open("/operator/emergency")
        assert "Dr. Raman" in page.text
        assert (await visitor.send("Mark as reviewed", note=" ")).status == 400
        await visitor.open("/operator/emergency")
        assert (await visitor.send("Mark as reviewed", note="Called the ward, all in order")).status == 200
        assert "Called the ward, all in order" in visitor.page.text
        assert (await app.get("Observation/lab0")).status_code == 200
        # The newest that waits stands first, and ours doesn't wait any more: end all that run.
        while visitor.page.form_with("submit", "End it now") is not None:
            await visitor.send("End it now")
    assert (await app.get("Observation/lab0")).status_code == 401
    kinds = [event["subtype"][0]["code"] for event in await ward.events()]
    assert {"110138", "emergency-review"} <= set(kinds)


@pytest.mark.parametrize("who", ["raman", "pat", "dev"])
async def test_nobody_but_an_operator_sees_reviews_or_ends(ward: Ward, who: str) -> None:
    app = await ward.opened()
    grant = ward.server.assent.authz.tokens.verify(str(app.token["access_token"]))[0].grant_id  # type: ignore[index]
    async with ward.visit(who) as visitor:
        assert (await visitor.open("/operator/emergency")).status == 404
        for act in ("review", "end"):
            await visitor.open("/my/sign-out")
            assert (await visitor.send("Sign out", to=f"/operator/emergency/{grant}/{act}", note="x")).status == 404
    assert (await app.get("Observation/lab0")).status_code == 200


@pytest.mark.parametrize("who", ["own", "pat", "dev", "kim", "fake"])
async def test_nobody_but_a_clinician_who_doesnt_decide_for_the_patient_may_ask(ward: Ward, who: str) -> None:
    address, before = await ward.asked(), await ward.opened_ever()
    async with ward.visit(who) as visitor:
        page = await visitor.open(address)
        assert "This is an emergency" not in page.text
        asking = address.replace("/authorize/continue", "/authorize/emergency")
        assert (await visitor.open(asking)).status == 404
        handle = parse_qs(urlsplit(address).query)["request"][0]
        await visitor.open("/my/sign-out")
        forged = {"request": handle, "patient": "ana", "reason": REASON, "confirm": "yes"}
        assert (await visitor.send("Sign out", to="/authorize/emergency", **forged)).status == 404
    assert await ward.opened_ever() == before


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"reason": ""}, 400),
        ({"reason": "too short"}, 400),
        ({"reason": " \n " * 50}, 400),
        ({"reason": "x" * 251}, 400),
        ({"confirm": ""}, 400),
        ({"confirm": "no"}, 400),
        ({"patient": ""}, 403),
        ({"patient": "bob"}, 403),
        ({"csrf": "0" * 64}, 403),
        ({"csrf": ""}, 403),
        ({"request": "gone"}, 400),
    ],
)
async def test_a_form_that_isnt_whole_or_ours_opens_nothing(ward: Ward, changed: dict[str, str], status: int) -> None:
    before = await ward.opened_ever()
    async with ward.visit("raman") as visitor:
        assert (await ward.emergency(visitor, await ward.asked(), **changed)).status_code == status
    assert await ward.opened_ever() == before


async def test_a_form_from_another_site_opens_nothing(ward: Ward) -> None:
    before = await ward.opened_ever()
    async with ward.visit("raman") as visitor:
        visitor.http.headers["Sec-Fetch-Site"] = "cross-site"
        answer = await ward.emergency(visitor, await ward.asked())
    assert (answer.status_code, await ward.opened_ever()) == (403, before)


async def test_a_form_counts_once(ward: Ward) -> None:
    address = await ward.asked()
    async with ward.visit("raman") as visitor:
        await visitor.open(address.replace("/authorize/continue", "/authorize/emergency"))
        form = visitor.page.form_with("submit", "Open in an emergency")
        assert form is not None
        given = dict(form.pressed(form.find("submit", "Open in an emergency")))
        sent = given | {"reason": REASON, "confirm": "yes"}
        answers = [await visitor.http.post(form.action, data=sent) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 400]


async def test_standalone_the_clinician_names_the_record(ward: Ward) -> None:
    async with ward.visit("raman") as visitor:
        address = await ward.asked(standalone=True)
        page = await visitor.open(address)
        assert "This is an emergency" in page.text
        for unfit in ("", "../bob", "x" * 65, "ana bob"):
            assert (await ward.emergency(visitor, address, patient=unfit)).status_code == 400
        answer = await ward.redeem(await ward.emergency(visitor, address, patient="ana"))
    assert answer.json()["patient"] == "ana"
    assert set(await App(ward.server, ward.client_id, answer.json()).ids("Observation")) == OPENED


@pytest.mark.parametrize("purpose", ["BTG", "ETREAT"])
async def test_an_app_cant_ask_for_it_itself(ward: Ward, purpose: str) -> None:
    location = await ward.asked(purpose_of_use=purpose)
    assert parse_qs(urlsplit(location).query)["error"] == ["invalid_request"]
    # Nor one that somebody registered for it.
    async with ward.server.assent.engine.begin() as connection:
        new = NewClient("Glass", "public", (REDIRECT,), purposes=("BTG", "TREAT"))
        client, _ = await add_client(connection, new, ward.server.assent.authz.clock())
    own = replace(ward, client_id=client.client_id)
    assert parse_qs(urlsplit(await own.asked()).query)["error"] == ["invalid_request"]


async def test_where_it_isnt_switched_on_there_is_no_way_to_it(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with world(await make_database(), tmp_path_factory.mktemp("off"), RESOURCES) as running:
        hashed = await Passwords().hash(PASSWORD)
        async with running.assent.engine.begin() as connection:
            now = running.assent.authz.clock()
            who = await add_account(connection, PEOPLE["raman"], hashed, now)
            client, _ = await add_client(connection, NewClient("Ward", "public", (REDIRECT,), purposes=("TREAT",)), now)
        ward = Ward(running, client.client_id, {"raman": who})
        async with ward.visit("raman") as visitor:
            address = await ward.asked()
            assert "This is an emergency" not in (await visitor.open(address)).text
            asking = address.replace("/authorize/continue", "/authorize/emergency")
            assert (await visitor.open(asking)).status == 404


async def test_explain_names_the_operators_rule_and_the_patients_deny(ward: Ward) -> None:
    app, assent = await ward.opened(), CommandLine(ward.server.database_url, ward.server.folder)
    token = f"{app.token['access_token']}\n"
    ask = ("explain", "--token", "-", "--json", "--read")
    for wanted, exit_code, source in (
        ("lab0", 0, "emergency-access#provision"),
        ("violence0", 1, "emergency-access#category/domestic-violence"),
    ):
        result = await assent.run(*ask, f"Observation/{wanted}", input=token)
        assert result.exit_code == exit_code, result.output
        reasons = json.loads(result.stdout)["reasons"]
        assert source in [reason.get("source") for reason in reasons if reason["rule"] == "emergency"]
        assert REASON not in result.output
    denied = await ward.keep(type="deny")
    result = await assent.run(*ask, "Observation/lab0", input=token)
    assert result.exit_code == 1
    assert f"Consent/{denied}/_history/1#provision" in result.stdout


async def test_authorization_details_hold_it_to_their_categories(ward: Ward) -> None:
    details = '[{"type": "urn:assent:consent", "categories": ["laboratory"]}]'
    async with ward.visit("raman") as visitor:
        address = await ward.asked(authorization_details=details)
        answer = await ward.redeem(await ward.emergency(visitor, address))
    app = App(ward.server, ward.client_id, answer.json())
    (granted,) = app.token["authorization_details"]
    assert (granted["categories"], granted["purpose"]) == (["laboratory"], "BTG")
    assert await app.ids("Observation") == ["Observation/lab0"]
