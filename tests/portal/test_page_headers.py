"""What every page carries, and what may load on it."""

from __future__ import annotations

import re

import pytest
from fastapi import Request

from portal.content_policy import content_policy
from portal.policy_html import policy_html
from tests.portal.fakes import ADA, Place, page_of, place

ADDRESSES = [
    "/",
    "/sign-in",
    "/my",
    "/my/activity",
    "/my/sharing/c1/change",
    "/my/sharing/c1/history",
    "/my/revoke-all?patient=ada",
    "/my/sharing/none/change",
    "/my/sign-out",
    "/authorize/continue?request=req-1",
    "/authorize/continue?request=gone",
]


VISIT = Request({"type": "http", "method": "GET", "path": "/authorize", "query_string": b"", "headers": []})


@pytest.fixture
def here() -> Place:
    found = place()
    found.sign_in(ADA)
    return found


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_page_is_kept_framed_or_tells_where_one_came_from(here: Place, address: str) -> None:
    headers = (await here.client.get(address)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; img-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_page_needs_a_script_an_inline_style_or_another_site(here: Place, address: str) -> None:
    response = await here.client.get(address)
    page = page_of(response)
    assert not page.tags & {"script", "style", "iframe", "object"}
    assert not re.search(r'(?:src|href|action)="(?!/|#)', response.text)
    assert not re.search(r"<[^>]+ (?:style|on\w+)=", response.text)
    assert '<html lang="en" dir="ltr">' in response.text
    assert len(re.findall("<h1>", response.text)) == 1
    assert set(page.inputs) <= set(page.labels)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_id_is_used_twice_and_every_reference_to_one_leads_somewhere(here: Place, address: str) -> None:
    text = (await here.client.get(address)).text
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    named = re.findall(r'(?:aria-labelledby|aria-describedby|for)="([^"]+)"', text)
    assert {one for several in named for one in several.split()} <= set(ids)


async def test_the_stylesheet_is_kept_for_ever_under_its_own_hash(here: Place) -> None:
    address = re.findall(r'href="(/static/portal-[0-9a-f]{16}\.css)"', (await here.client.get("/")).text)[0]
    response = await here.client.get(address)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"] == "text/css; charset=utf-8"
    assert "http" not in response.text
    other = address.replace(address[-5], "0" if address[-5] != "0" else "1")
    assert (await here.client.get(other)).status_code == 404


@pytest.mark.parametrize(
    ("redirect_uri", "targets"),
    [
        (None, "'self'"),
        ("https://app.example/cb", "'self' https://app.example https:"),
        ("https://app.example:8443/cb?x=1", "'self' https://app.example:8443 https:"),
        ("http://127.0.0.1:3000/cb", "'self' http://127.0.0.1:3000 http://127.0.0.1:* http://localhost:* https:"),
        ("http://[::1]:3000/cb", "'self' http: https:"),
        ("com.example.app:/cb", "'self' com.example.app: https:"),
        ("https://app.example;script-src *", "'self' https:"),
        ("javascript:alert(1)", "'self'"),
        ("https://a b/", "'self' https:"),
        ("https://app.example:port/", "'self'"),
        ("nonsense", "'self'"),
    ],
)
def test_a_form_may_lead_to_this_server_and_on_to_the_app(redirect_uri: str | None, targets: str) -> None:
    assert content_policy(redirect_uri).endswith(f"; form-action {targets}")


def test_the_policy_text_is_rendered_without_letting_markup_through() -> None:
    text = "# Sharing <b>\n\nOne\ntwo **three** <script>.\n\n- first\n  goes on\n- second & last"
    assert str(policy_html(text)) == (
        "<h3>Sharing &lt;b&gt;</h3>\n<p>One two <strong>three</strong> &lt;script&gt;.</p>\n"
        "<ul><li>first goes on</li><li>second &amp; last</li></ul>"
    )


async def test_an_authorization_error_tells_the_person_and_the_developer_apart(here: Place) -> None:
    response = here.pages.authorize_error(VISIT, "the client `<x>` isn't registered")
    text = bytes(response.body).decode()
    assert response.status_code == 400
    assert "Nothing was shared." in text
    assert "the client `&lt;x&gt;` isn&#39;t registered" in text


async def test_a_page_that_is_not_there_is_an_html_404(here: Place) -> None:
    assert here.pages.refused(VISIT, 404).status_code == 404
