"""What an identity provider publishes about itself, and where it may make this server go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.clients.checked_http import MAX_BODY
from authz.clients.key_addresses import KeyAddresses
from authz.sign_in.identity_provider import IdentityProvider, SignInRefused
from authz.sign_in.idp_http import IdpHttp
from authz.sign_in.idp_metadata import ProviderDocuments, read_metadata
from tests.clients.key_server import KeyServer, key_server

PUBLIC = IdentityProvider("https://idp.example", "IdP", "assent", "https://assent.example/cb", secret="s")  # noqa: S106
GOOD: dict[str, Any] = {
    "issuer": "https://idp.example",
    "authorization_endpoint": "https://idp.example/auth",
    "token_endpoint": "https://idp.example/token",
    "jwks_uri": "https://idp.example/jwks",
}


def test_the_secret_goes_into_the_header_unless_only_the_form_takes_it() -> None:
    found = read_metadata(PUBLIC, GOOD)
    assert (found.secret_in_form, found.names_itself, found.end_session_endpoint) == (False, False, None)
    for methods, in_form in (
        (["client_secret_post"], True),
        (["client_secret_post", "client_secret_basic"], False),
        ([], False),
    ):
        document = GOOD | {"token_endpoint_auth_methods_supported": methods}
        assert read_metadata(PUBLIC, document).secret_in_form is in_form


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"])
@pytest.mark.parametrize(
    "hostile",
    [
        "http://idp.example/x",
        "http://127.0.0.1/x",
        "javascript:alert(1)",
        "https:///x",
        "https://user@idp.example/x",
        "https://idp.example/x#y",
        "https://idp.example/ x",
        "https://idp.example/\nx",
        "https://idp.example:0/x",
        "https://idp.example:x/",
        "https://[::1/x",
        "https://ïdp.example/x",
        "https://idp.example/" + "x" * 2000,
        "/x",
        "",
        7,
        None,
    ],
)
def test_an_address_that_isnt_https_and_plain_is_refused(member: str, hostile: object) -> None:
    with pytest.raises(SignInRefused) as refused:
        read_metadata(PUBLIC, GOOD | {member: hostile})
    assert (refused.value.problem, refused.value.reason) == ("untrusted", f"metadata-{member}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"issuer": "https://idp.example/"}, "metadata-issuer"),
        ({"issuer": "https://attacker.example"}, "metadata-issuer"),
        ({"issuer": None}, "metadata-issuer"),
        ({"token_endpoint_auth_methods_supported": "client_secret_post"}, "metadata"),
    ],
)
def test_a_document_of_another_issuer_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(SignInRefused) as refused:
        read_metadata(PUBLIC, GOOD | change)
    assert refused.value.reason == reason


def _documents(server: KeyServer, addresses: KeyAddresses | None = None) -> tuple[ProviderDocuments, IdpHttp]:
    issuer = f"http://127.0.0.1:{server.port}"
    provider = IdentityProvider(issuer, "IdP", "assent", "http://127.0.0.1:1/cb", secret="s", loopback=True)  # noqa: S106
    addresses = addresses or KeyAddresses(loopback=True)
    http = IdpHttp(addresses, timeout=1.0)
    return ProviderDocuments(provider, addresses, http), http


def _body(server: KeyServer, **change: Any) -> bytes:
    issuer = f"http://127.0.0.1:{server.port}"
    document = {name: value.replace("https://idp.example", issuer) for name, value in GOOD.items()}
    return json.dumps(document | change).encode()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"status": "302 Found", "headers": {"Location": "/elsewhere"}}, ("provider-error", "status")),
        ({"status": "404 Not Found"}, ("provider-error", "status")),
        ({"status": "503 Busy"}, ("unreachable", "status")),
        ({"body": b"[]"}, ("untrusted", "not-json")),
        ({"body": b'{"issuer": "\xff"}'}, ("untrusted", "not-json")),
        ({"body": b'{"a":' + b"[" * 30_000}, ("untrusted", "not-json")),
        ({"body": b" " * (MAX_BODY + 1)}, ("untrusted", "too-large")),
        ({"headers": {"Content-Encoding": "gzip"}}, ("untrusted", "encoding")),
        ({"raw": b"nonsense\r\n\r\n"}, ("unreachable", "connection")),
        ({"raw": b""}, ("unreachable", "connection")),
        ({"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "hang": True}, ("unreachable", "timeout")),
    ],
)
async def test_a_bad_answer_is_refused_and_not_asked_for_again_at_once(
    how: dict[str, Any], expected: tuple[str, str]
) -> None:
    async with key_server() as server:
        server.body = _body(server)
        for name, value in how.items():
            setattr(server, name, value)
        documents, http = _documents(server)
        try:
            with pytest.raises(SignInRefused) as refused:
                await documents.metadata()
            assert (refused.value.problem, refused.value.reason) == expected
            times = len(server.asked)
            with pytest.raises(SignInRefused) as refused:
                await documents.metadata()
            assert (refused.value.problem, refused.value.reason) == ("unreachable", "too-often")
            assert len(server.asked) == times
        finally:
            await documents.close()
            await http.close()


async def test_metadata_are_asked_for_once_an_hour() -> None:
    async with key_server() as server:
        server.body = _body(server)
        documents, http = _documents(server)
        try:
            assert await documents.metadata() is await documents.metadata()
            ((line, headers),) = server.asked
            assert line == "GET /.well-known/openid-configuration HTTP/1.1"
            assert "cookie" not in headers
        finally:
            await documents.close()
            await http.close()


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/x",
        "https://localhost/x",
        "https://idp.example:8443/x",
        "http://idp.example/x",
    ],
)
async def test_an_endpoint_beside_the_issuers_host_must_be_public(target: str) -> None:
    http = IdpHttp(KeyAddresses(("intranet.example:443",)))
    try:
        with pytest.raises(SignInRefused) as refused:
            await http.post(target, {}, {})
        assert (refused.value.problem, refused.value.reason) == ("untrusted", "address")
    finally:
        await http.close()


async def test_a_public_name_that_stands_on_this_machine_isnt_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async with key_server() as server:
        answer = [(2, 1, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answer)
        http = IdpHttp(KeyAddresses())
        try:
            with pytest.raises(SignInRefused) as refused:
                await http.get("https://idp.example/x")
            assert (refused.value.problem, refused.value.reason) == ("unreachable", "connection")
            assert server.asked == []
        finally:
            await http.close()
