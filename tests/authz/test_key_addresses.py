"""Where the keys of a client may stand: hostile addresses, hostile names, and names that change their mind."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from assent.client_addresses import key_addresses
from assent.load_settings import SettingsError, load_settings
from assent.server import listen
from authz.clients.key_addresses import AddressRefused, CheckedResolver, KeyAddresses, is_public
from authz.clients.key_fetch import KeysUnavailable
from authz.clients.keys import ClientKeys
from tests.clients.key_server import key_server
from tests.conformance.launching import key_pair

PUBLIC = KeyAddresses()
LOOPBACK = KeyAddresses(loopback=True)
NAMED = KeyAddresses(["keys.internal", "Keys.Internal:8443", "10.0.0.5:443", "localhost:8443"])


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example/jwks",
        "https://app.example",
        "https://app.example:443/.well-known/jwks.json?tenant=1",
        "https://a.b-c.xn--bcher-kva.example/jwks",
        "HTTPS://APP.EXAMPLE/jwks",
        "https://4.example.co.uk/jwks",
    ],
)
def test_https_to_a_public_name_is_allowed(url: str) -> None:
    PUBLIC.check(url)


HOSTILE = [
    "",
    "jwks",
    "/jwks",
    "//app.example/jwks",
    "https:///jwks",
    "https://",
    "http://app.example/jwks",
    "ftp://app.example/jwks",
    "file:///etc/passwd",
    "gopher://app.example/jwks",
    "data:application/json,{}",
    "javascript:alert(1)",
    "https://user@app.example/jwks",
    "https://user:password@app.example/jwks",
    "https://@app.example/jwks",
    "https://:@app.example/jwks",
    "https://app.example/jwks#fragment",
    "https://app.example/jwks#",
    "https://app.example:8443/jwks",
    "https://app.example:22/jwks",
    "https://app.example:80/jwks",
    "https://app.example:0/jwks",
    "https://app.example:99999/jwks",
    "https://app.example:x/jwks",
    "https://app.example\\@10.0.0.1/jwks",
    "https://10.0.0.1\\.app.example/jwks",
    "https://app.example/jw ks",
    "https://app.example/jwks\r\nHost: internal",
    "https://app.example/jwks\x00",
    "https://app.exämple/jwks",
    "https://app.example\uff0fjwks",
    "https://[::1]/jwks",
    "https://[::1",
    "https://[::ffff:10.0.0.1]/jwks",
    "https://[fe80::1%25eth0]/jwks",
    "https://[2001:4860:4860::8888]/jwks",
    "https://127.0.0.1/jwks",
    "https://127.1/jwks",
    "https://127.0.0.1./jwks",
    "https://0/jwks",
    "https://0x7f000001/jwks",
    "https://0x7f.0.0.1/jwks",
    "https://0177.0.0.1/jwks",
    "https://2130706433/jwks",
    "https://1.0x1/jwks",
    "https://8.8.8.8/jwks",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/jwks",
    "https://metadata/jwks",
    "https://app.example./jwks",
    "https://.app.example/jwks",
    "https://app..example/jwks",
    "https://-app.example/jwks",
    "https://app%2eexample/jwks",
    "https://" + "a." * 130 + "example/jwks",
    "https://app.example/" + "x" * 2_000,
]


@pytest.mark.parametrize("url", HOSTILE)
@pytest.mark.parametrize("addresses", [PUBLIC, LOOPBACK], ids=["public", "loopback"])
def test_a_hostile_address_is_refused(addresses: KeyAddresses, url: str) -> None:
    with pytest.raises(AddressRefused):
        addresses.check(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/jwks", "http://localhost/jwks", "http://[::1]:9/jwks"])
def test_plain_http_to_this_machine_is_for_a_server_on_loopback_only(url: str) -> None:
    LOOPBACK.check(url)
    for addresses in (PUBLIC, NAMED):
        with pytest.raises(AddressRefused):
            addresses.check(url)


@pytest.mark.parametrize(
    "url",
    ["http://localhost.evil.example/jwks", "http://127.0.0.1.evil.example/", "http://127.0.0.2/", "http://10.0.0.1/"],
)
def test_only_this_machine_is_asked_over_plain_http(url: str) -> None:
    with pytest.raises(AddressRefused):
        LOOPBACK.check(url)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://keys.internal/jwks", True),
        ("https://KEYS.internal:443/jwks", True),
        ("https://keys.internal:8443/jwks", True),
        ("https://10.0.0.5/jwks", True),
        ("https://keys.internal:9443/jwks", False),
        ("https://sub.keys.internal:8443/jwks", False),
        ("https://10.0.0.6/jwks", False),
        ("https://user@keys.internal/jwks", False),
        ("http://keys.internal/jwks", False),
        ("http://keys.internal:8443/jwks", False),
    ],
)
def test_the_operator_names_hosts_and_ports(url: str, allowed: bool) -> None:
    if allowed:
        NAMED.check(url)
        return
    with pytest.raises(AddressRefused):
        NAMED.check(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("8.8.8.8", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("2a00:1450:4001:81b::200e", True),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.0.0.8", False),
        ("192.0.2.1", False),
        ("192.88.99.1", False),
        ("192.168.0.1", False),
        ("198.18.0.1", False),
        ("203.0.113.5", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", False),
        ("::ffff:0:8.8.8.8", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", False),
        ("64:ff9b:1::a00:1", False),
        ("100::1", False),
        ("2001::1", False),
        ("2001:0:53aa:64c:0:0:f5ff:fffe", False),
        ("2001:db8::1", False),
        ("2002:7f00:1::1", False),
        ("2002:808:808::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("fc00::1", False),
        ("fd12:3456::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("ff0e::1", False),
    ],
)
def test_an_address_is_public_or_it_is_not_connected_to(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public
    for addresses in (PUBLIC, LOOPBACK, NAMED):
        assert addresses.may_connect("app.example", 443, address) is public


def test_this_machine_is_connected_to_under_its_own_name_only() -> None:
    assert LOOPBACK.may_connect("localhost", 9, "127.0.0.1")
    assert not LOOPBACK.may_connect("localhost", 9, "10.0.0.1")
    assert not LOOPBACK.may_connect("app.example", 443, "127.0.0.1")
    assert NAMED.may_connect("keys.internal", 8443, "10.0.0.1")
    assert not NAMED.may_connect("keys.internal", 9443, "10.0.0.1")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0", "::1", "a" * 64])
async def test_a_name_that_stands_for_this_machine_resolves_to_nothing(host: str) -> None:
    """The system's own resolver reads all these spellings; what it finds is looked at, not what was asked."""
    resolver = CheckedResolver(PUBLIC)
    with pytest.raises(OSError):  # noqa: PT011 - it has no text: nothing may be told
        await resolver.resolve(host, 443)
    await resolver.close()


async def test_a_name_that_changes_its_mind_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: whatever a name said before, a connection goes to what it says now and that is looked at."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    answers = iter(["93.184.216.34", "127.0.0.1", "10.0.0.1"])

    def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "rebind.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = CheckedResolver(PUBLIC)
    first = await resolver.resolve("rebind.example", 443)
    assert [found["host"] for found in first] == ["93.184.216.34"]
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 - as above
            await resolver.resolve("rebind.example", 443)
    await resolver.close()
    listener.close()


async def test_no_connection_is_opened_to_a_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]

    def look_up(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for addresses, reached in ((PUBLIC, False), (KeyAddresses(["inside.example"]), True)):
        held = ClientKeys(addresses, timeout=0.5)
        with pytest.raises(KeysUnavailable):
            await held.of("c", "https://inside.example/jwks", "k", "ES384")
        await held.close()
        if reached:  # by name, because the operator named it
            listener.accept()[0].close()
        else:
            with pytest.raises(BlockingIOError):
                listener.accept()
    listener.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    greeted: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path / "localhost.pem"))
    context.sni_callback = lambda _, name, __: greeted.append(str(name))
    async with key_server(context) as server:
        server.serve([key_pair("ES384")[0]])
        held = ClientKeys(KeyAddresses([f"localhost:{server.port}"]), timeout=2)
        with pytest.raises(KeysUnavailable) as refused:
            await held.of("c", f"https://localhost:{server.port}/jwks", "k1", "ES384")
        await held.close()
    assert (refused.value.reason, greeted[:1], server.asked) == ("unreachable", ["localhost"], [])


def _self_signed(file: Path) -> Path:
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(
        key, hashes.SHA256()
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + signed.public_bytes(Encoding.PEM))
    return file


def test_the_settings_name_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSENT_JWKS_HOSTS", "Keys.Internal:8443, vault")
    monkeypatch.setenv("ASSENT_PUBLIC_URL", "https://assent.example")
    addresses = key_addresses(load_settings())
    addresses.check("https://keys.internal:8443/jwks")
    addresses.check("https://vault/jwks")
    for url in ("http://127.0.0.1:9/jwks", "https://keys.internal:9443/jwks", "https://safe/jwks"):
        with pytest.raises(AddressRefused):
            addresses.check(url)
    monkeypatch.setenv("ASSENT_PUBLIC_URL", "http://127.0.0.1:8000")
    key_addresses(load_settings()).check("http://127.0.0.1:9/jwks")


@pytest.mark.parametrize(
    "value", ["https://keys.internal", "keys.internal:", "keys:0", "keys:99999", "*.internal", "a b"]
)
def test_a_host_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ASSENT_JWKS_HOSTS", value)
    with pytest.raises(SettingsError, match="ASSENT_JWKS_HOSTS"):
        load_settings()
