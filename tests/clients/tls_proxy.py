"""nginx in front of a server, with a certificate of a test root: what most installations put before Assent."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START_SECONDS = 20
_CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        {location}
    }}
}}
"""


def documented_location(upstream: int, page: str) -> str:
    """What a page of the documents tells operators to write."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    written = text.split("```nginx\n")[1].split("```")[0]
    assert ":8000" in written
    return written.replace(":8000", f":{upstream}")


@contextmanager
def tls_proxy(folder: Path, port: int, upstream: int, *, page: str = "settings.md") -> Iterator[Path]:
    """Serve `https://localhost:<port>` from a loopback port; answers the file of the test root's certificate."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("`nginx` isn't installed")
    root = _certificates(folder)
    configuration = folder / "nginx.conf"
    location = documented_location(upstream, page)
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, location=location))
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(configuration)])  # noqa: S603 - found above
    try:
        _await_listening(port, process)
        yield root
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx didn't start")


def _certificates(folder: Path) -> Path:
    root_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Assent test root")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    root = _builder(root_name, root_name, root_key).add_extension(x509.BasicConstraints(True, 0), critical=True)
    server = _builder(server_name, root_name, server_key).add_extension(names, critical=False)
    files = {
        "root.pem": root.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "server.pem": server.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        "server.key": server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "root.pem"


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
