"""Of every interaction the pages say what the proxy then does, as `$explain` and `assent explain` do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from authz.sign_in.accounts import add_account
from authz.sign_in.passwords import Passwords
from tests.conftest import MakeDatabase
from tests.leaks.test_people import PASSWORD
from tests.leaks.world import App, observation, world
from tests.portal.askers import NO, PART, PEOPLE, RESOURCES, YES, Asker, Place, ask

DOES, DOES_NOT = "Yes, the app can do this.", "No, the app can't do this."
_LAB = next(resource for resource in RESOURCES if resource["id"] == "lab0")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("interactions")
    async with world(await make_database(), folder, RESOURCES, upstream_writes=True) as running:
        hashed, now = await Passwords().hash(PASSWORD), running.assent.authz.clock()
        async with running.assent.engine.begin() as connection:
            for name in ("pat", "kim"):
                await add_account(connection, PEOPLE[name], hashed, now)
        yield Place(running)


def _answer(visitor: Asker) -> bool:
    """Yes or no, in the words for what the app does."""
    said = [text for text in (YES, PART, NO, DOES, DOES_NOT) if text in visitor.page.text]
    assert len(said) == 1, visitor.page.text
    return said[0] not in (NO, DOES_NOT)


async def _done(app: App, interaction: str, category: str) -> bool:
    new = {name: value for name, value in observation("x", category=category).items() if name != "id"}
    record = "Observation/lab0" if category == "laboratory" else "Observation/vital0"
    match interaction:
        case "create":
            answer = await app.send("POST", "Observation", new | {"subject": {"reference": "Patient/ana"}})
        case "patch":
            answer = await app.send("PATCH", record, [{"op": "replace", "path": "/status", "value": "amended"}])
        case "delete":
            answer = await app.send("DELETE", record)
        case "history-instance":
            answer = await app.get(f"{record}/_history")
        case "$everything":
            answer = await app.get("Patient/ana/$everything?_type=Observation")
            return record in answer.text
        case _:
            answer = await app.get("$export")
    return answer.is_success


@pytest.mark.parametrize(
    ("scope", "writes"),
    [
        ("launch/patient patient/*.cruds", ("collect", "correct")),
        ("launch/patient patient/*.cruds", ("collect",)),
        ("launch/patient patient/*.cruds", ("correct",)),
        ("launch/patient patient/*.rs", ()),
    ],
)
async def test_of_a_kind_and_of_a_record_the_page_says_what_the_proxy_does(
    place: Place, scope: str, writes: tuple[str, ...]
) -> None:
    await place.world.upstream.write([_LAB])
    app = await place.world.app(["laboratory"], scope=scope, writes=writes)
    consent_id = await app.consent_id()
    async with place.visit("pat") as visitor:
        for interaction in ("create", "patch", "history-instance", "$everything", "$export", "delete"):
            for category in ("vital-signs", "laboratory"):
                record = "Observation/lab0" if category == "laboratory" else "Observation/vital0"
                await ask(visitor, consent_id, kind=category, interaction=interaction)
                of_kind = _answer(visitor)
                if interaction in ("patch", "delete", "history-instance"):
                    await ask(visitor, consent_id, record=record, interaction=interaction)
                    # Whether a record is seen in part only hangs on what is in it.
                    assert _answer(visitor) is (of_kind and interaction != "delete"), (interaction, category)
                    of_kind = _answer(visitor)
                assert of_kind is await _done(app, interaction, category), (interaction, category)


async def test_one_record_is_not_added_nor_searched_for(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    async with place.visit("pat") as visitor:
        for interaction in ("create", "search-type", "$everything", "$export"):
            page = await ask(visitor, await app.consent_id(), record="Observation/lab0", interaction=interaction)
            assert page.status == 400
            assert "Leave the record out" in page.text


async def test_operators_ask_about_every_interaction_and_purpose(place: Place) -> None:
    app = await place.world.app(["laboratory"], scope="launch/patient patient/*.cruds", writes=("collect",))
    consent_id, token = await app.consent_id(), app.token["access_token"]
    async with place.visit("kim") as visitor:
        for asked, permitted in (
            ({"id": consent_id, "interaction": "create"}, True),
            ({"token": token, "interaction": "create"}, True),
            ({"token": token, "interaction": "update"}, False),
            ({"id": consent_id, "interaction": "$export"}, False),
            ({"id": consent_id, "purpose": "PATRQT"}, True),
            ({"token": token, "purpose": "PATRQT"}, True),
            ({"id": consent_id, "purpose": "TREAT"}, False),
            ({"token": token, "purpose": "TREAT"}, False),
        ):
            await visitor.open("/operator/explain")
            await visitor.send("Ask", kind="laboratory", **asked)
            assert visitor.page.status == 200
            assert _answer(visitor) is permitted, asked
            assert not re.search(r'<span lang="en">', visitor.html), asked
