"""The pages on which people ask what an app can see and why: they say what the proxy does, and never any data."""

from __future__ import annotations

import re

import pytest

from authz.clients.clients import disable_client
from fhir.store.change_bus import Change
from portal.explain_ports import CannotAskNow, CannotExplain
from tests.authz.consent_recorder import consent, grantee, recorder
from tests.leaks.world import App
from tests.portal.askers import NO, PART, RESOURCES, YES, Place, ask, place
from tests.portal.fakes import ADA
from tests.portal.fakes import place as on_fakes

__all__ = ["place"]


async def _shown(app: App, search: str) -> bool:
    answer = await app.get(search)
    return answer.status_code == 200 and bool(answer.json().get("entry"))


@pytest.mark.parametrize("name", ["lab0", "vital0", "hiv0", "bob1", "absent"])
@pytest.mark.parametrize(
    "ticked", [["laboratory"], ["laboratory", "hiv"], ["conditions"], ["vital-signs", "conditions"]]
)
async def test_of_a_record_the_page_says_what_the_proxy_does(place: Place, ticked: list[str], name: str) -> None:
    app = await place.world.app(ticked)
    shown = (await app.get(f"Observation/{name}")).status_code == 200
    async with place.visit("pat") as visitor:
        page = await ask(visitor, await app.consent_id(), record=f"Observation/{name}")
    assert (page.status, YES in page.text, NO in page.text) == (200, shown, not shown)


KINDS = {
    "laboratory": ("Observation?category=laboratory",),
    "vital-signs": ("Observation?category=vital-signs",),
    "conditions": ("Condition",),
    "demographics": ("Patient",),
}


@pytest.mark.parametrize("interaction", ["read", "search-type"])
@pytest.mark.parametrize("ticked", [["laboratory"], ["conditions", "demographics"], ["vital-signs", "hiv"]])
async def test_of_a_kind_the_page_says_what_the_proxy_shows(place: Place, ticked: list[str], interaction: str) -> None:
    app = await place.world.app(ticked)
    consent_id = await app.consent_id()
    async with place.visit("pat") as visitor:
        for kind, searches in KINDS.items():
            page = await ask(visitor, consent_id, kind=kind, interaction=interaction)
            shown = [await _shown(app, search) for search in searches]
            assert (YES in page.text, NO in page.text) == (any(shown), not any(shown)), kind


async def test_what_the_scope_does_not_cover_is_told_as_the_proxy_decides_it(place: Place) -> None:
    app = await place.world.app(["laboratory", "conditions"], scope="launch/patient patient/Observation.r")
    async with place.visit("pat") as visitor:
        consent_id = await app.consent_id()
        for question, path, permitted in (
            ({"record": "Observation/lab0"}, "Observation/lab0", True),
            ({"record": "Condition/c0"}, "Condition/c0", False),
            ({"kind": "conditions"}, "Condition/c0", False),
            ({"kind": "laboratory", "interaction": "search-type"}, "Observation?category=laboratory", False),
        ):
            page = await ask(visitor, consent_id, **question)
            assert ((await app.get(path)).status_code == 200, NO not in page.text) == (permitted, permitted), path


async def test_a_part_of_a_kind_is_told_apart_from_the_whole(place: Place) -> None:
    finer = "A decision has finer rules: single records of this kind can be decided differently."
    part, whole = await place.world.app(["problem-list"]), await place.world.app(["conditions"])
    expected = [
        (part, "problem-list", (True, False)),
        (part, "visit-diagnoses", (False, False)),
        (part, "conditions", (True, True)),
        (whole, "visit-diagnoses", (True, False)),
        (whole, "conditions", (True, False)),
    ]
    async with place.visit("pat") as visitor:
        for app, kind, told in expected:
            page = await ask(visitor, await app.consent_id(), kind=kind)
            assert (YES in page.text, finer in page.text) == told, kind


async def test_a_sensitive_kind_is_told_apart(place: Place) -> None:
    for ticked in (["laboratory"], ["laboratory", "hiv"]):
        app = await place.world.app(ticked)
        shown = (await app.get("Observation/hiv0")).status_code == 200
        async with place.visit("pat") as visitor:
            page = await ask(visitor, await app.consent_id(), kind="hiv")
            assert (PART in page.text or YES in page.text) is shown
            page = await ask(visitor, await app.consent_id(), kind="laboratory")
            assert YES in page.text
            assert ("But nothing about" in page.text and "HIV" in page.text.split("But nothing about")[1]) is not shown


async def test_the_chain_names_scope_provision_kind_and_mask(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    consent_id = await app.consent_id()
    async with place.visit("pat") as visitor:
        text = (await ask(visitor, consent_id, record="Observation/lab0")).text
        for said in (
            "The key covers this.",
            f"Consent/{consent_id}/_history/1#provision",
            "It belongs to “Lab results”.",
        ):
            assert said in text
        assert "masks/" in text
        text = (await ask(visitor, consent_id, record="Observation/hiv0")).text
        assert "This decision forbids it." in text
        assert "#provision.provision[" in text


@pytest.mark.parametrize("question", [{"record": "Patient/ana"}, {"kind": "demographics"}])
async def test_what_is_left_out_is_what_the_proxy_leaves_out(place: Place, question: dict[str, str]) -> None:
    app = await place.world.app(["demographics"])
    source = next(resource for resource in RESOURCES if resource["id"] == "ana")
    gone = set(source) - set((await app.get("Patient/ana")).json())
    assert gone
    async with place.visit("pat") as visitor:
        await ask(visitor, await app.consent_id(), **question)
    left_out = visitor.html.split("Parts left out")[1].split("</dd>")[0]
    assert {name for name in source if f"<code>{name}</code>" in left_out} == gone


async def test_a_consent_that_looks_closer_says_that_single_records_may_differ(place: Place) -> None:
    app, clerk = await place.world.app(["laboratory"]), await recorder(place.world)
    consent_id = await app.consent_id()
    code = [{"coding": [{"system": "http://loinc.org", "code": "718-7"}]}]
    closer = {"type": "deny", "code": code, "actor": grantee(app.client_id)}
    made = await clerk.created(consent({"type": "permit", "provision": [closer]}))
    async with place.visit("pat") as visitor:
        page = await ask(visitor, consent_id, kind="laboratory")
        assert "single records of this kind can be decided differently" in page.text
        assert NO in (await ask(visitor, consent_id, record="Observation/lab0")).text
    assert (await app.get("Observation/lab0")).status_code == 404
    await clerk.send("DELETE", f"Consent/{made['id']}")


async def test_a_consent_that_ended_and_an_app_that_is_switched_off_open_nothing(place: Place) -> None:
    ended, off = await place.world.app(["laboratory"]), await place.world.app(["laboratory"])
    async with place.visit("pat") as visitor:
        consent_id = await ended.consent_id()
        await visitor.open("/my")
        answer = await visitor.http.post(
            f"/my/sharing/{consent_id}/revoke",
            data={"csrf": next(c.value for f in visitor.page.forms for c in f.controls if c.name == "csrf")},
            headers={"Origin": "http://127.0.0.1:8000"},
        )
        assert answer.status_code == 303
        assert NO in (await ask(visitor, consent_id, record="Observation/lab0")).text
        async with place.world.assent.engine.begin() as connection:
            await disable_client(connection, off.client_id, place.world.assent.authz.clock())
        place.world.assent.authz.tell(Change("client", off.client_id))
        page = await ask(visitor, await off.consent_id(), record="Observation/lab0")
    assert "The app is switched off" in page.text
    assert NO in page.text
    assert (await off.get("Observation/lab0")).status_code == 401


async def test_a_representative_asks_too_and_nobody_else(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    path = f"/my/sharing/{await app.consent_id()}/explain"
    async with place.visit("rep") as visitor:
        assert YES in (await ask(visitor, await app.consent_id(), kind="laboratory")).text
    for who in ("bob", "dev", "kim"):
        async with place.visit(who) as visitor:
            assert (await visitor.http.get(path)).status_code == 404
    answer = await place.world.http.get(path)
    assert (answer.status_code, answer.headers["location"].startswith("/sign-in?next=")) == (303, True)


async def test_decisions_about_other_apps_are_counted_not_listed(place: Place) -> None:
    asked, *_ = [await place.world.app(["laboratory"]) for _ in range(3)]
    async with place.visit("pat") as visitor:
        text = (await ask(visitor, await asked.consent_id(), record="Observation/lab0")).text
    assert re.search(r"\b[2-9]\d* decisions are about another app, purpose or time\.", text), text
    assert "This decision is about another app" not in text


async def test_what_another_person_has_is_told_like_what_is_not_there(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    async with place.visit("pat") as visitor:
        others = (await ask(visitor, await app.consent_id(), record="Observation/bob1")).text
        absent = (await ask(visitor, await app.consent_id(), record="Observation/bob9")).text
    assert others.replace("bob1", "bob9") == absent


@pytest.mark.parametrize(
    "question",
    [
        *({}, {"kind": "nonsense"}, {"record": "Observation"}, {"record": "Practitioner/x"}),
        *({"record": "Binary/x"}, {"record": "Observation/a b"}),
    ],
    ids=str,
)
async def test_a_question_that_is_not_well_put_is_told_so(place: Place, question: dict[str, str]) -> None:
    app = await place.world.app(["laboratory"])
    async with place.visit("pat") as visitor:
        await visitor.open(f"/my/sharing/{await app.consent_id()}/explain")
        form = visitor.page.form_with("submit", "Ask")
        assert form is not None
        sent = dict(form.pressed(form.find("submit", "Ask"))) | question
        answer = await visitor.http.post(form.action, data=sent, headers={"Origin": "http://127.0.0.1:8000"})
    assert answer.status_code == 400


async def test_who_asked_is_on_record_and_the_answer_needs_our_own_form(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    consent_id = await app.consent_id()
    async with place.visit("rep") as visitor:
        await ask(visitor, consent_id, record="Observation/lab0")
        foreign = await visitor.http.post(f"/my/sharing/{consent_id}/explain", data={"kind": "laboratory"})
    assert foreign.status_code == 403
    event = (await place.events())[0]
    assert {"reference": "RelatedPerson/rep"} in [agent["who"] for agent in event["agent"]]
    named = [entity["what"].get("reference") for entity in event["entity"]]
    assert {f"Consent/{consent_id}", "Observation/lab0"} <= set(named)


async def test_every_reason_is_in_plain_words_of_the_readers_language(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    async with place.visit("pat", "es") as visitor:
        for question in (
            *({"record": f"Observation/{name}"} for name in ("lab0", "vital0", "hiv0", "absent")),
            *({"kind": kind, "interaction": how} for kind in ("laboratory", "hiv") for how in ("read", "search-type")),
            {"kind": "conditions"},
        ):
            await ask(visitor, await app.consent_id(), "Preguntar", **question)
            assert 'lang="en"' not in visitor.html.split("<main")[1].split("</main>")[0], question


@pytest.mark.parametrize(
    ("raised", "status", "said"), [(CannotAskNow, 503, "answered now"), (CannotExplain, 400, "Nothing can be said")]
)
async def test_what_can_not_be_answered_is_told_so(raised: type[Exception], status: int, said: str) -> None:
    here = on_fakes()
    here.explanations.raised = raised
    here.sign_in(ADA)
    address = "/my/sharing/c1/explain"
    sent = {**await here.fields(address), "kind": "laboratory"}
    answer = await here.client.post(address, data=sent, headers={"Origin": "http://127.0.0.1:8000"})
    assert (answer.status_code, said in answer.text) == (status, True)
    assert "Yes, the app" not in answer.text


async def test_each_part_of_an_answer_is_headed_in_plain_words_beside_the_types(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    async with place.visit("pat") as visitor:
        await ask(visitor, await app.consent_id(), kind="laboratory")
        assert 'Lab results<span class="types"> (<code>DiagnosticReport</code>' in visitor.html
        await ask(visitor, await app.consent_id(), record="Observation/lab0")
        assert 'One record<span class="types"> (<code>Observation</code>)' in visitor.html
