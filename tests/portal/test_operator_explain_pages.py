"""The page on which an operator asks what an access shows and why: by consent, grant or token, of no single record."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from authz import tables
from tests.clients.html_page import Page
from tests.leaks.service import service
from tests.leaks.world import App
from tests.portal.askers import NO, UNSEEN, YES, Asker, Place, place

__all__ = ["place"]


async def _operator(visitor: Asker, **given: str) -> Page:
    await visitor.open("/operator/explain")
    await visitor.send("Ask", **given)
    assert UNSEEN not in visitor.html
    return visitor.page


async def _grant_of(place: Place, app: App) -> str:
    g = tables.grant.c
    async with place.world.assent.engine.connect() as connection:
        return str(await connection.scalar(select(g.id).where(g.client_id == app.client_id)))


@pytest.mark.parametrize(("kind", "said"), [("laboratory", YES), ("conditions", NO)])
async def test_an_operator_asks_by_consent_grant_or_token(place: Place, kind: str, said: str) -> None:
    app = await place.world.app(["laboratory"])
    named = ({"id": await app.consent_id()}, {"id": await _grant_of(place, app)}, {"token": app.token["access_token"]})
    async with place.visit("kim") as visitor:
        for by in named:
            page = await _operator(visitor, kind=kind, **by)
            assert (page.status, said in page.text) == (200, True), by


async def test_a_token_is_neither_shown_again_nor_logged_nor_recorded(
    place: Place, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = await place.world.app(["laboratory"])
    token = app.token["access_token"]
    async with place.visit("kim") as visitor:
        page = await _operator(visitor, token=token, kind="laboratory")
        assert "patient/*.rs" in page.text or "patient/" in page.text
        assert token not in visitor.html
        assert token not in page.url
        bad = await _operator(visitor, token=f"{token}x", kind="laboratory")
        assert NO in bad.text
        assert token not in visitor.html
    told = capsys.readouterr()
    assert token not in told.out + told.err + caplog.text
    assert token not in str(await place.events())


async def test_an_operator_sees_of_no_record_what_it_is(place: Place) -> None:
    app = await place.world.app(["laboratory"])
    async with place.visit("kim") as visitor:
        await visitor.open("/operator/explain")
        assert "Or one record" not in visitor.page.text
        page = await _operator(visitor, id=await app.consent_id(), kind="laboratory")
        assert YES in page.text
        csrf = next(c.value for c in page.forms[0].controls if c.name == "csrf")
        sent = {"csrf": csrf, "id": await app.consent_id(), "record": "Observation/hiv0", "interaction": "read"}
        answer = await visitor.http.post("/operator/explain", data=sent, headers={"Origin": "http://127.0.0.1:8000"})
        assert answer.status_code == 400
        assert "hiv" not in answer.text.split('class="notice problem"')[1].split("</div>")[0]
    event = (await place.events())[0]
    assert event["agent"][0]["who"] == {"identifier": {"system": "urn:assent:user", "value": "operator:kim"}}


async def test_a_services_token_needs_to_be_told_of_whom(place: Place) -> None:
    app = await service(place.world, {"bob": ["laboratory"]})
    token = str(app.token["access_token"])
    async with place.visit("kim") as visitor:
        assert (await _operator(visitor, token=token, kind="laboratory")).status == 400
        assert YES in (await _operator(visitor, token=token, patient="bob", kind="laboratory")).text
        assert NO in (await _operator(visitor, token=token, patient="ana", kind="laboratory")).text


@pytest.mark.parametrize(
    "given",
    [{}, {"id": "a", "token": "b"}, {"id": "a/../b"}, {"id": "gone"}, {"id": "x" * 64, "patient": "a b"}],
    ids=str,
)
async def test_an_access_that_is_not_named_well_is_told_so(place: Place, given: dict[str, str]) -> None:
    async with place.visit("kim") as visitor:
        assert (await _operator(visitor, kind="laboratory", **given)).status == 400


@pytest.mark.parametrize("who", ["pat", "dev"])
async def test_nobody_but_an_operator_asks_there(place: Place, who: str) -> None:
    async with place.visit(who) as visitor:
        assert (await visitor.http.get("/operator/explain")).status_code == 404
    answer = await place.world.http.get("/operator/explain")
    assert answer.headers["location"] == "/sign-in?next=%2Foperator%2Fexplain"
