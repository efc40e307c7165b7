"""Every form that changes something is taken only from our own page and only from the person it was given to."""

from __future__ import annotations

import pytest

from tests.portal.fakes import ADA, Place, page_of, place

FORMS = [
    ("/authorize/continue?request=req-1", "/authorize/decision", {"decision": "allow", "category": "laboratory"}),
    ("/authorize/continue?request=req-1", "/authorize/decision", {"decision": "deny"}),
    ("/authorize/continue?request=req-1", "/authorize/patient", {"patient": "ada"}),
    ("/my", "/my/sharing/c1/revoke", {}),
    ("/my/sharing/c1/change", "/my/sharing/c1/change", {"category": "laboratory", "duration": "keep"}),
    ("/my/sign-out", "/my/sign-out", {}),
]


def untouched(here: Place) -> bool:
    consents = here.consents
    nothing = not consents.granted and not consents.refused and not consents.changed and not here.sessions.signed_out
    return nothing and consents.consents[0].state == "limited"


@pytest.mark.parametrize(("page", "action", "fields"), FORMS)
@pytest.mark.parametrize("token", [None, "", "0" * 64, "ümlaut", "other session's"])
async def test_a_form_without_the_sessions_token_is_forbidden(
    page: str, action: str, fields: dict[str, str], token: str | None
) -> None:
    here = place()
    here.sign_in(ADA)
    hidden = await here.fields(page)
    if token == "other session's":  # noqa: S105 -- no secret
        other = place()
        token = (await other.fields("/sign-in"))["csrf"]
    del hidden["csrf"]
    sent = {**hidden, **fields, **({} if token is None else {"csrf": token})}
    response = await here.client.post(action, data=sent)
    assert response.status_code == 403
    assert page_of(response).headings[0] == "Please try that again"
    assert untouched(here)


@pytest.mark.parametrize(("page", "action", "fields"), FORMS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_form_that_the_browser_says_comes_from_elsewhere_is_forbidden(
    page: str, action: str, fields: dict[str, str], site: str
) -> None:
    here = place()
    here.sign_in(ADA)
    hidden = await here.fields(page)
    response = await here.client.post(action, data={**hidden, **fields}, headers={"sec-fetch-site": site})
    assert response.status_code == 403
    assert untouched(here)


@pytest.mark.parametrize(("page", "action", "fields"), FORMS)
async def test_a_form_sent_after_the_session_ended_changes_nothing(
    page: str, action: str, fields: dict[str, str]
) -> None:
    here = place()
    here.sign_in(ADA)
    hidden = await here.fields(page)
    here.sessions.sessions.clear()
    response = await here.client.post(action, data={**hidden, **fields})
    assert (response.status_code, page_of(response).headings[0]) == (403, "You are no longer signed in")
    assert untouched(here)


async def test_sign_in_without_the_token_of_its_own_cookie_is_forbidden() -> None:
    here, other = place(), place()
    foreign = await other.fields("/sign-in")
    sent = {**foreign, "username": "ada", "password": "right"}
    assert (await here.client.post("/sign-in", data=sent)).status_code == 403
    await here.client.get("/sign-in")
    assert (await here.client.post("/sign-in", data=sent)).status_code == 403
    assert here.sessions.sessions == {}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/json"}, b"{}", 415),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ({}, b"a=1", 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=" + b"x" * 40_000, 413),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=1&" * 300, 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=\xff", 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=%ff", 400),
    ],
)
async def test_a_body_that_is_no_small_form_is_refused(headers: dict[str, str], body: bytes, status: int) -> None:
    response = await place().client.post("/sign-in", content=body, headers=headers)
    assert response.status_code == status


async def test_a_token_sent_twice_counts_as_none() -> None:
    here = place()
    here.sign_in(ADA)
    token = (await here.fields("/my"))["csrf"]
    response = await here.client.post("/my/sharing/c1/revoke", data={"csrf": [token, token]})
    assert response.status_code == 403
