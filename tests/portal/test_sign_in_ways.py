"""Sign-in at an identity provider and with passkeys, as pages: what is offered, what leads where, what isn't taken."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote

import httpx
import pytest

from authz.sign_in.challenges import Begun, Recognized
from authz.sign_in.identity_provider import Problem, SignInRefused
from authz.sign_in.methods import PASSKEY, SignInMethods
from authz.sign_in.passkeys import MOST, Passkey, PasskeyRefused
from authz.sign_in.sessions import SignedInSession, TooManyAttempts
from portal.content_policy import content_policy
from portal.sign_in_ports import SignInWays
from tests.portal.fakes import ADA, NOW, REQUEST, Place, page_of, place

THERE = "https://idp.example/auth?state=s"
ELSEWHERE = SignInMethods(("otp",), "urn:level:2")
LINK = "l" * 43
T = TypeVar("T")


@dataclass
class FakeProvider:
    """Knows who comes back, or what went wrong."""

    name: str = "Lakeside & Sons"
    refused: SignInRefused | None = None
    begun: list[Begun] = field(default_factory=list)
    answers: list[Mapping[str, str]] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    can_link: bool = True

    async def begin(self, browser: str, begun: Begun) -> str:
        self.begun.append(begun)
        return self._or_refuse(THERE)

    async def finish(self, browser: str, answer: Mapping[str, str]) -> Recognized:
        self.answers.append(answer)
        return self._or_refuse(Recognized("u1", NOW - timedelta(minutes=3), ELSEWHERE, "/my/activity"))

    async def linking(self, browser: str, link: str) -> Begun | None:
        return Begun("/my", NOW, "who <b>") if link == LINK and browser else None

    async def link(self, browser: str, link: str, account_id: str) -> bool:
        self.linked.append(account_id)
        return self.can_link

    async def sign_out_address(self) -> str:
        return self._or_refuse("https://idp.example/out")

    def _or_refuse(self, found: T) -> T:
        if self.refused is not None:
            raise self.refused
        return found


@dataclass
class FakePasskeys:
    """Takes the answer `right`."""

    kept: list[Passkey] = field(default_factory=list)
    asked: list[Begun] = field(default_factory=list)

    async def ask(self, browser: str, begun: Begun) -> str:
        self.asked.append(begun)
        return '{"challenge":"c"}'

    async def recognize(self, browser: str, response: str) -> Recognized:
        if response != "right":
            raise PasskeyRefused("no")
        return Recognized("u1", NOW, PASSKEY, "/my/activity")

    async def offer(self, session: SignedInSession) -> str:
        return '{"challenge":"n"}'

    async def add(self, session: SignedInSession, response: str, name: str) -> None:
        if response != "right":
            raise PasskeyRefused("no")
        self.kept.append(Passkey(f"p{len(self.kept)}", name, NOW, None))

    async def mine(self, account_id: str) -> Sequence[Passkey]:
        return self.kept

    async def remove(self, account_id: str, passkey_id: str) -> bool:
        before = len(self.kept)
        self.kept = [one for one in self.kept if one.id != passkey_id]
        return len(self.kept) < before


@dataclass
class Ways:
    """The pages, with all ways to sign in."""

    here: Place
    provider: FakeProvider
    passkeys: FakePasskeys

    @property
    def client(self) -> httpx.AsyncClient:
        return self.here.client

    async def sent(self, address: str, page: str, **fields: str) -> httpx.Response:
        """Send a form with the hidden fields of a page."""
        return await self.client.post(address, data={**await self.here.fields(page), **fields})


def ways(*, passwords: bool = True) -> Ways:
    provider, passkeys = FakeProvider(), FakePasskeys()
    return Ways(place(ways=SignInWays(passwords, provider, passkeys)), provider, passkeys)


def new_cookie(response: httpx.Response) -> bool:
    return any(cookie.startswith("assent_session=new;") for cookie in response.headers.get_list("set-cookie"))


async def test_each_way_is_offered_and_leads_back_to_where_somebody_was_going() -> None:
    found = ways()
    text = (await found.client.get("/sign-in?next=/my/activity?patient%3Da%26b%3Dc")).text
    assert f'href="/sign-in/provider?next={quote("/my/activity?patient=a&b=c")}"' in text
    assert "Sign in with Lakeside &amp; Sons" in text
    assert page_of(await found.client.get("/sign-in")).buttons == ["Use a passkey", "Sign in"]
    bare = place()
    plain = (await bare.client.get("/sign-in")).text
    assert "provider" not in plain
    assert "passkey" not in plain
    for path in ("/sign-in/provider", "/sign-in/provider/callback", "/my/passkeys"):
        assert (await bare.client.get(path)).status_code == 404


async def test_without_passwords_there_is_no_form_for_one_and_none_is_taken() -> None:
    found = ways(passwords=False)
    page = page_of(await found.client.get("/sign-in"))
    assert page.labels == {}
    data = {**page.hidden, "username": "ada", "password": "right"}
    assert (await found.client.post("/sign-in", data=data)).status_code == 405


async def test_the_way_there_takes_along_how_fresh_the_sign_in_must_be() -> None:
    found = ways()
    found.here.requests.requests["req-1"] = replace(REQUEST, signed_in_since=NOW - timedelta(minutes=5))
    for next_page in ("/my", "/my/passkeys", "/authorize/continue?request=req-1", "/authorize/continue?request=gone"):
        response = await found.client.get("/sign-in/provider", params={"next": next_page})
        assert (response.status_code, response.headers["location"]) == (303, THERE)
    assert [NOW - begun.since for begun in found.provider.begun] == [
        timedelta(hours=8),
        timedelta(hours=1),
        timedelta(minutes=5),
        timedelta(0),
    ]
    await found.client.get("/sign-in/provider?next=https://evil.example")
    assert found.provider.begun[-1].next_page == "/my"


async def test_who_comes_back_has_a_new_session_that_says_when_and_how() -> None:
    found = ways()
    found.here.sign_in(ADA)
    response = await found.client.get("/sign-in/provider/callback?state=s&code=c&iss=i&session_state=x")
    assert (response.status_code, response.headers["location"], new_cookie(response)) == (303, "/my/activity", True)
    assert found.provider.answers == [{"state": "s", "code": "c", "iss": "i"}]
    assert found.here.sessions.signed_out == ["s1"]
    begun = found.here.sessions.sessions["new"]
    assert (begun.auth_time, begun.methods) == (NOW - timedelta(minutes=3), ELSEWHERE)


@pytest.mark.parametrize("twice", ["state=s&state=s&code=c", "state=s&code=c&code=d", "state=s&code=c&iss=a&iss=b"])
async def test_a_parameter_that_stands_twice_makes_the_answer_none(twice: str) -> None:
    found = ways()
    await found.client.get(f"/sign-in/provider/callback?{twice}")
    assert found.provider.answers == [{}]


@pytest.mark.parametrize(
    ("problem", "status", "words"),
    [
        ("unreachable", 503, "can't be reached"),
        ("provider-error", 502, "didn't sign you in"),
        ("untrusted", 502, "can't be trusted"),
        ("declined", 403, "You weren't signed in"),
        ("not-begun", 400, "no longer open"),
        ("stale", 403, "Please sign in again"),
        ("no-account", 403, "You have no account here"),
        ("no-sign-out", 404, "has no page to sign out"),
    ],
)
@pytest.mark.parametrize("path", ["", "/callback", "/sign-out"])
async def test_every_problem_has_a_page_and_a_way_on(problem: Problem, status: int, words: str, path: str) -> None:
    found = ways()
    found.provider.refused = SignInRefused(problem, "a-secret-reason")
    found.provider.refused.next_page = "/my/activity"
    response = await found.client.get(f"/sign-in/provider{path}?next=/my/activity")
    assert response.status_code == status
    assert words in page_of(response).headings[0]
    assert "a-secret-reason" not in response.text
    next_page = "" if path == "/sign-out" else "?next=/my/activity"
    assert f'href="/sign-in{next_page}"' in response.text
    assert not new_cookie(response)


async def test_too_many_sign_ins_from_one_address_are_told_to_wait() -> None:
    found = ways()
    page = await found.here.fields("/sign-in")
    found.here.sessions.locked = TooManyAttempts(NOW)
    assert (await found.client.get("/sign-in/provider")).status_code == 429
    assert (await found.client.post("/sign-in/passkey/options", data=page)).status_code == 429
    assert (found.provider.begun, found.passkeys.asked) == ([], [])


async def unlinked(found: Ways) -> httpx.Response:
    found.provider.refused = SignInRefused("no-account", "no-account", subject="who <b>", link=LINK)
    found.provider.refused.next_page = "/my"
    return await found.client.get("/sign-in/provider/callback?state=s&code=c")


async def test_an_unlinked_person_is_asked_for_their_password_once() -> None:
    found = ways()
    response = await unlinked(found)
    page = page_of(response)
    assert (response.status_code, page.headings[0], page.buttons) == (403, "Link your account", ["Sign in and link"])
    assert "who &lt;b&gt;" in response.text
    done = await found.client.post("/sign-in", data={**page.hidden, "username": "ada", "password": "right"})
    assert (done.status_code, done.headers["location"], new_cookie(done)) == (303, "/my", True)
    assert found.provider.linked == ["u1"]


async def test_a_wrong_password_links_nobody_and_shows_the_same_page() -> None:
    found = ways()
    page = page_of(await unlinked(found))
    response = await found.client.post("/sign-in", data={**page.hidden, "username": "ada", "password": "wrong"})
    assert (response.status_code, page_of(response).headings[0]) == (403, "Link your account")
    assert page_of(response).hidden["link"] == LINK
    assert found.provider.linked == []


async def test_linking_that_is_over_or_cant_be_signs_nobody_in() -> None:
    found = ways()
    page = page_of(await unlinked(found))
    data = {**page.hidden, "username": "ada", "password": "right"}
    over = await found.client.post("/sign-in", data=data | {"link": "o" * 43})
    assert (over.status_code, new_cookie(over), found.provider.linked) == (403, False, [])
    found.provider.can_link = False
    taken = await found.client.post("/sign-in", data=data)
    assert (taken.status_code, new_cookie(taken)) == (409, False)
    assert found.here.sessions.signed_out == ["s-new"]


async def test_without_passwords_an_unlinked_person_is_told_whom_to_ask() -> None:
    found = ways(passwords=False)
    response = await unlinked(found)
    assert (response.status_code, page_of(response).headings[0]) == (403, "You have no account here")
    assert "who &lt;b&gt;" in response.text


async def test_a_passkey_signs_in_by_a_form_of_ours() -> None:
    found = ways()
    options = await found.sent("/sign-in/passkey/options", "/sign-in?next=/my/activity")
    assert (options.status_code, options.json(), options.headers["cache-control"]) == (
        200,
        {"challenge": "c"},
        "no-store",
    )
    assert found.passkeys.asked[0].next_page == "/my/activity"
    response = await found.sent("/sign-in/passkey", "/sign-in", credential="right")
    assert (response.status_code, response.headers["location"], new_cookie(response)) == (303, "/my/activity", True)
    assert found.here.sessions.sessions["new"].methods == PASSKEY


@pytest.mark.parametrize("address", ["/sign-in/passkey", "/sign-in/passkey/options"])
async def test_a_passkey_form_of_another_site_is_refused(address: str) -> None:
    found = ways()
    fields = await found.here.fields("/sign-in")
    for data, headers in (({**fields, "csrf": "0" * 64}, {}), (fields, {"Sec-Fetch-Site": "cross-site"})):
        response = await found.client.post(address, data={**data, "credential": "right"}, headers=headers)
        assert (response.status_code, new_cookie(response)) == (403, False)
    found.client.cookies.clear()
    assert (await found.client.post(address, data={**fields, "credential": "right"})).status_code == 403
    assert found.passkeys.asked == []


async def test_a_passkey_that_isnt_taken_leads_to_a_page() -> None:
    found = ways()
    response = await found.sent("/sign-in/passkey", "/sign-in?next=/my/activity", credential="wrong")
    assert (response.status_code, page_of(response).headings) == (403, ["The passkey didn't work"])
    assert 'href="/sign-in?next=/my/activity"' in response.text


async def test_passkeys_are_added_listed_and_removed_which_ends_other_sessions() -> None:
    found = ways()
    assert (await found.client.get("/my/passkeys")).headers["location"] == "/sign-in?next=%2Fmy%2Fpasskeys"
    found.here.sign_in(ADA)
    assert (await found.sent("/my/passkeys/options", "/my/passkeys")).json() == {"challenge": "n"}
    added = await found.sent("/my/passkeys", "/my/passkeys", credential="right", name="  My <b>\nphone ")
    assert added.headers["location"] == "/my/passkeys?done=added"
    shown = await found.client.get("/my/passkeys?done=added")
    assert "My &lt;b&gt; phone" in shown.text
    assert "Your passkey is ready." in shown.text
    removed = await found.sent("/my/passkeys/remove", "/my/passkeys", passkey="p0")
    assert removed.headers["location"] == "/my/passkeys?done=removed"
    assert (found.passkeys.kept, found.here.sessions.signed_out) == ([], ["not s1"])
    await found.sent("/my/passkeys/remove", "/my/passkeys", passkey="p0")
    assert found.here.sessions.signed_out == ["not s1"]


async def test_a_passkey_that_isnt_made_as_asked_isnt_added() -> None:
    found = ways()
    found.here.sign_in(ADA)
    response = await found.sent("/my/passkeys", "/my/passkeys", credential="wrong", name="Phone")
    assert (response.status_code, "The passkey wasn't added." in response.text) == (400, True)


@pytest.mark.parametrize(("minutes", "fresh"), [(59, True), (61, False)])
async def test_adding_a_passkey_needs_a_fresh_sign_in(minutes: int, fresh: bool) -> None:
    found = ways()
    found.here.sign_in(ADA, auth_time=NOW - timedelta(minutes=minutes))
    page = await found.client.get("/my/passkeys")
    assert ("Sign in again" in page.text) is not fresh
    csrf = await found.here.fields("/my/sign-out")
    for address in ("/my/passkeys/options", "/my/passkeys"):
        response = await found.client.post(address, data={**csrf, "credential": "right", "name": "x"})
        assert (response.status_code == 403) is not fresh
    assert len(found.passkeys.kept) == int(fresh)


@pytest.mark.parametrize("address", ["/my/passkeys", "/my/passkeys/options", "/my/passkeys/remove"])
async def test_a_form_of_another_site_changes_no_passkey(address: str) -> None:
    found = ways()
    found.here.sign_in(ADA)
    found.passkeys.kept = [Passkey("p0", "Phone", NOW, None)]
    data = {"csrf": "0" * 64, "credential": "right", "name": "x", "passkey": "p0"}
    assert (await found.client.post(address, data=data)).status_code == 403
    assert len(found.passkeys.kept) == 1


async def test_as_many_as_one_may_have_are_shown_without_a_form_for_more() -> None:
    found = ways()
    found.here.sign_in(ADA)
    found.passkeys.kept = [Passkey(f"p{n}", f"Phone {n}", NOW, NOW) for n in range(MOST)]
    page = await found.client.get("/my/passkeys")
    assert "data-passkey" not in page.text
    assert "Remove one first." in page.text


async def test_only_pages_with_passkeys_may_run_a_script_and_it_is_a_file_of_ours() -> None:
    found = ways()
    found.here.sign_in(ADA)
    for address in ("/sign-in", "/my/passkeys"):
        response = await found.client.get(address)
        policy = response.headers["content-security-policy"]
        assert "; script-src 'self'; connect-src 'self';" in policy
        assert "unsafe" not in policy
        (script,) = re.findall(r"<script[^>]*>", response.text)
        assert re.fullmatch(r'<script src="/static/passkeys-[0-9a-f]{16}\.js" defer>', script)
        assert not re.search(r"<[^>]+ (?:style|on\w+)=", response.text)
    for address in ("/", "/my", "/authorize/continue?request=req-1", "/my/sign-out"):
        response = await found.client.get(address)
        assert "script-src" not in response.headers["content-security-policy"]
        assert "<script" not in response.text
    assert "script-src" not in content_policy("https://app.example/cb")


async def test_signing_out_offers_to_sign_out_there_too() -> None:
    found = ways()
    found.here.sign_in(ADA)
    response = await found.sent("/my/sign-out", "/my/sign-out")
    assert "You may still be signed in at Lakeside &amp; Sons." in response.text
    assert (await found.client.get("/sign-in/provider/sign-out")).headers["location"] == "https://idp.example/out"


async def test_options_are_json_a_browser_wont_take_for_a_page() -> None:
    found = ways()
    response = await found.sent("/sign-in/passkey/options", "/sign-in")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert json.loads(response.text)
