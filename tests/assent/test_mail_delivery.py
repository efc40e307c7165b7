"""Letters on their way: over real SMTP, in plain, by TLS, refused, late, by several workers, and after a crash."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from assent.mail.metrics import MailMetrics
from assent.metrics import Metrics
from authz.mail.outbox import HELD, MOST_TRIES, wait_after
from tests.assent.mail_place import SITE, MailPlace
from tests.clients.mail_server import MailServer, mail_server


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def place(engine: AsyncEngine, server: MailServer) -> MailPlace:
    return MailPlace(engine, server.port)


async def test_a_letter_arrives_as_plain_text_that_names_the_page_and_nothing_of_the_record(
    place: MailPlace, server: MailServer
) -> None:
    await place.person("ana", "ana")
    await place.share("ana", "consent-given")
    place.later(timedelta(minutes=1))
    await place.deliver_all()
    (letter,) = server.messages
    assert (server.recipients, server.senders) == (["ana@example.org"], ["no-reply@share.example"])
    assert (letter["To"], letter["From"]) == ("ana@example.org", "Assent <no-reply@share.example>")
    assert (letter["Subject"], letter["Content-Language"]) == ("Something changed in your sharing", "en")
    assert (letter["Auto-Submitted"], letter.get_content_type()) == ("auto-generated", "text/plain")
    text = letter.get_content()
    assert text.startswith("You share something with an app now.")
    assert [line for line in text.split() if line.startswith("http")] == [f"{SITE}/my", f"{SITE}/my/e-mail"]
    assert await place.waiting() == []


async def test_a_letter_is_in_the_language_of_its_reader(place: MailPlace, server: MailServer) -> None:
    await place.tell(await place.person("carlos", "carlos", language="es"))
    await place.tell(await place.person("zoe", "zoe", language="tlh"))
    await place.deliver_all()
    assert [(m["Content-Language"], m["Subject"]) for m in server.messages] == [
        ("es", "Se añadió una llave de acceso"),
        ("en", "A passkey was added"),
    ]


async def test_what_the_server_refuses_for_good_is_given_up_at_once(place: MailPlace, server: MailServer) -> None:
    await place.tell(await place.person("ana", "ana"))
    server.to_recipient = lambda _: "550 5.1.1 no such mailbox"
    await place.deliver_all()
    assert (await place.waiting(), server.messages) == ([], [])
    await place.tell(await place.person("bob", "bob"))
    server.to_recipient, server.to_data = (lambda _: "250 OK"), "554 5.7.1 not wanted"
    await place.deliver_all()
    assert await place.waiting() == []


@pytest.mark.parametrize("answer", ["450 4.2.1 come back later", "451 4.3.0 busy", "421 4.3.2 closing"])
async def test_what_the_server_refuses_for_now_is_sent_later_and_later(
    place: MailPlace, server: MailServer, answer: str
) -> None:
    await place.tell(await place.person("ana", "ana"))
    server.to_recipient = lambda _: answer
    worker = place.worker()
    for tried in range(1, 4):
        assert await worker.deliver() is False
        assert await place.waiting() == [("passkey-added", "ana@example.org", tried)]
        place.later(wait_after(tried) - timedelta(seconds=1))
        assert await worker.deliver() is None
        place.later(timedelta(seconds=1))
    server.to_recipient = lambda _: "250 OK"
    assert await worker.deliver() is True
    assert (len(server.messages), await place.waiting()) == (1, [])


async def test_waiting_doubles_up_to_a_bound() -> None:
    waits = [wait_after(tries) for tries in range(1, MOST_TRIES + 1)]
    assert waits[:4] == [timedelta(minutes=m) for m in (1, 2, 4, 8)]
    assert max(waits) <= timedelta(hours=6)
    assert sum(waits, timedelta()) < timedelta(days=2)  # before a letter is stale


async def test_a_letter_that_cant_be_sent_is_given_up_after_a_bound(engine: AsyncEngine) -> None:
    async with mail_server() as gone:
        place = MailPlace(engine, gone.port)
    await place.tell(await place.person("ana", "ana"))
    for tried in range(1, MOST_TRIES + 1):
        assert await place.worker().deliver() is False
        place.later(wait_after(tried))
    assert await place.waiting() == []


async def test_a_letter_that_is_too_old_is_not_sent(place: MailPlace, server: MailServer) -> None:
    await place.tell(await place.person("ana", "ana"))
    place.later(timedelta(days=3))
    assert await place.worker().deliver() is None
    assert (await place.waiting(), server.messages) == ([], [])
    await place.tell(await place.person("bob", "bob"))
    place.later(timedelta(days=3))
    await place.worker().look_around()
    assert await place.waiting() == []


async def test_two_workers_dont_send_one_letter_twice(place: MailPlace, server: MailServer) -> None:
    people = [await place.person(f"p{n}", f"p{n}") for n in range(12)]
    for person in people:
        await place.tell(person)
    server.gate = asyncio.Event()
    workers = [place.worker() for _ in range(4)]
    running = [asyncio.create_task(worker.deliver()) for worker in workers]
    await asyncio.sleep(0.3)
    server.gate.set()
    assert await asyncio.gather(*running) == [True] * 4
    while any([await worker.deliver() for worker in workers]):
        pass
    assert sorted(server.recipients) == sorted(f"p{n}@example.org" for n in range(12))


async def test_what_a_killed_worker_held_is_sent_by_another_and_reads_as_one_letter(
    place: MailPlace, server: MailServer
) -> None:
    await place.tell(await place.person("ana", "ana"))
    server.gate = asyncio.Event()
    killed = place.worker()
    killed.start()
    await asyncio.sleep(0.2)
    await killed.close()
    server.gate.set()
    assert await place.worker().deliver() is None  # it is still held
    place.later(HELD)
    assert await place.worker().deliver() is True
    assert await place.waiting() == []
    assert len({message["Message-ID"] for message in server.messages}) == 1


async def test_who_held_a_letter_for_too_long_takes_nothing_from_the_next(place: MailPlace) -> None:
    await place.tell(await place.person("ana", "ana"))
    slow, quick = place.worker()._post.outbox, place.worker()._post.outbox
    first = await slow.take()
    place.later(HELD)
    second = await quick.take()
    assert first is not None
    assert second is not None
    await slow.sent(first)
    await slow.failed(first, for_good=True)
    assert await place.waiting() == [("passkey-added", "ana@example.org", 2)]
    await quick.sent(second)
    assert await place.waiting() == []


async def test_a_running_worker_survives_a_server_that_is_away(place: MailPlace, engine: AsyncEngine) -> None:
    async with mail_server() as first:
        port = first.port
    place.port = port
    await place.tell(await place.person("ana", "ana"))
    worker = place.worker()
    worker.start()
    try:
        await asyncio.sleep(0.3)
        assert [tries for _, _, tries in await place.waiting()] == [1]
        async with mail_server(port=port) as back:
            place.later(timedelta(minutes=2))
            async with asyncio.timeout(20):
                await back.came.wait()
            assert back.recipients == ["ana@example.org"]
    finally:
        await worker.close()


def _certificate(folder: Path) -> Path:
    """A certificate, with its key in one file, of 127.0.0.1 and 0.0.0.0, which leads here too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now, here = datetime.now(UTC), [x509.IPAddress(ip_address(a)) for a in ("127.0.0.1", "0.0.0.0")]  # noqa: S104
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(signed.public_bytes(Encoding.PEM) + pem)
    return file


@pytest.mark.parametrize("how", ["smtps", "starttls"])
async def test_over_a_network_letters_and_the_password_go_encrypted_to_a_trusted_server_only(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    file = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nobody.pem"))
    (tmp_path / "nobody.pem").write_text("")
    at_once, later = (context, None) if how == "smtps" else (None, context)
    async with mail_server(tls=at_once, start_tls=later, sign_in=True) as server:
        place = MailPlace(engine, server.port)
        await place.tell(await place.person("ana", "ana"))
        url = f"smtps://127.0.0.1:{server.port}" if how == "smtps" else f"smtp://0.0.0.0:{server.port}"
        assert await place.worker(url, "assent", "right").deliver() is False
        assert (server.messages, server.users) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        place.later(timedelta(hours=1))
        assert await place.worker(url, "assent", "wrong").deliver() is False
        place.later(timedelta(hours=1))
        assert await place.worker(url, "assent", "right").deliver() is True
        assert (server.encrypted, server.users, len(server.messages)) == ([True], ["assent"], 1)


async def test_over_a_network_nothing_is_sent_without_tls(engine: AsyncEngine, server: MailServer) -> None:
    place = MailPlace(engine, server.port)
    await place.tell(await place.person("ana", "ana"))
    assert await place.worker(f"smtp://0.0.0.0:{server.port}").deliver() is False
    assert server.messages == []


async def test_what_became_of_letters_is_counted_without_a_name(place: MailPlace, server: MailServer) -> None:
    worker = place.worker()
    shown = Metrics(MailMetrics(worker.outbox)).registry
    assert [_letters(shown, outcome) for outcome in ("sent", "put-off", "given-up")] == [0, 0, 0]
    for name, answer in (("ana", "250 OK"), ("bob", "451 later"), ("cyd", "550 no such mailbox")):
        await place.tell(await place.person(name, name))
        server.to_recipient = lambda _, answer=answer: answer  # type: ignore[misc]  # the loop's value
        await worker.deliver()
    assert [_letters(shown, outcome) for outcome in ("sent", "put-off", "given-up")] == [1, 1, 1]
    await worker.look_around()
    assert shown.get_sample_value("assent_mail_waiting") == 1
    place.later(timedelta(days=3))
    await worker.look_around()
    assert (_letters(shown, "given-up"), shown.get_sample_value("assent_mail_waiting")) == (2, 0)


def _letters(registry: CollectorRegistry, outcome: str) -> float | None:
    return registry.get_sample_value("assent_mail_letters_total", {"outcome": outcome})
