"""Files of an export while they flow: from an upstream that lies, to a client whose rights end in the middle."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from authz.tokens.access_tokens import TokenClaims
from fhir.audit.trail import AuditUnavailable
from fhir.export.lines import LineSplitter
from fhir.proxy.responses import Receive, Scope, Send
from tests.leaks.exporting import FalseExport, ask, begun, below, false_export, ids, kick_off, served
from tests.leaks.service import Service, service
from tests.leaks.test_export import BOTH
from tests.leaks.world import ACT_CODE, World, observation

ANA, BOB = json.dumps(observation("a1", "ana", "vital-signs")).encode(), json.dumps(observation("b1", "bob")).encode()


async def _file(app: Service, *, status: int = 200) -> str:
    """The URL of the file of Observations."""
    job = await begun(app, "$export?_type=Observation")
    assert (await app.get(job)).status_code == status
    return f"{job}/Observation.ndjson"


@pytest.mark.leak("L41")
async def test_l41_lines_of_others_of_other_types_and_of_no_type_leave_no_trace(leaky: World) -> None:
    app = await service(leaky, BOTH)
    withheld: list[object] = [
        observation("c1", "carl"),
        observation("a2", "ana", "laboratory"),
        observation("hiv", "bob", meta={"security": [{"system": ACT_CODE, "code": "HIV"}]}),
        observation("odd", "ana", "vital-signs", modifierExtension=[{"url": "http://x/not"}]),
        observation("nobody", "ana", "vital-signs", subject={"display": "somebody"}),
        {"resourceType": "Patient", "id": "ana", "gender": "female"},
        {"resourceType": "Consent", "id": "x", "patient": {"reference": "Patient/ana"}},
        {"resourceType": "Nonsense", "id": "x"},
        {"id": "x"},
        {},
    ]
    lines = [json.dumps(line).encode() for line in withheld]
    twice = ANA[:-1] + b',"subject":{"reference":"Patient/bob"}}'
    with false_export(leaky) as false:
        false.names()
        false.pieces = [b"\n".join([*lines, ANA, twice, b"", b" \r", BOB + b"\r", *lines])]
        answer = await app.get(await _file(app))
    assert ids(answer.content) == ["a1", "b1"]


@pytest.mark.leak("L41")
async def test_l41_files_of_one_type_are_one_and_those_of_others_are_none(leaky: World) -> None:
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        file = f"{false.url}/false/file"
        output = [{"type": kind, "url": file} for kind in ("Observation", "Condition", "Observation")]
        false.manifest = json.dumps({"transactionTime": "2026-01-02T03:04:05Z", "output": output}).encode()
        false.pieces = [ANA]
        job = await begun(app, "$export?_type=Observation")
        manifest = (await app.get(job)).json()
        assert [file["type"] for file in manifest["output"]] == ["Observation"]
        assert ids((await app.get(manifest["output"][0]["url"])).content) == ["a1", "a1"]
        assert (await app.get(f"{job}/Condition.ndjson")).status_code == 404


@pytest.mark.leak("L62", "L41")
async def test_l62_l41_who_revokes_in_the_middle_is_gone_from_the_next_line_on(leaky: World) -> None:
    app, waiting = await service(leaky, BOTH), asyncio.Event()
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA + b"\n" + BOB + b"\n" + ANA[:50], waiting, ANA[50:] + b"\n" + BOB + b"\n"]
        url = below(await _file(app))
        async with served(leaky) as http, http.stream("GET", url, headers=_token(app)) as answer:
            pieces = answer.aiter_bytes()
            assert ids(await anext(pieces)) == ["a1", "b1"]
            await app.revoked_by("ana")
            waiting.set()
            assert ids(b"".join([piece async for piece in pieces])) == ["b1"]


@pytest.mark.leak("L62", "L41")
@pytest.mark.parametrize("ending", ["cancelled", "disabled", "revoked"])
async def test_l62_l41_a_download_breaks_when_its_job_client_or_token_ends(leaky: World, ending: str) -> None:
    app, waiting = await service(leaky, BOTH), asyncio.Event()
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA + b"\n", waiting, BOB + b"\n"]
        url = await _file(app)
        async with served(leaky) as http, http.stream("GET", below(url), headers=_token(app)) as answer:
            pieces = answer.aiter_bytes()
            assert ids(await anext(pieces)) == ["a1"]
            await _end(leaky, app, ending, url.rpartition("/")[0])
            waiting.set()
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(pieces)


@pytest.mark.leak("L62")
async def test_l62_a_download_outlives_its_token_and_no_new_one_begins(leaky: World) -> None:
    app, waiting = await service(leaky, BOTH), asyncio.Event()
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA + b"\n", waiting, BOB + b"\n"]
        url = below(await _file(app))
        claims = TokenClaims(app.client_id, app.client_id, "system/*.rs", timedelta(seconds=2), purpose="TREAT")
        app.token = {"access_token": leaky.assent.authz.tokens.mint(claims)[0]}
        async with served(leaky) as http, http.stream("GET", url, headers=_token(app)) as answer:
            pieces = answer.aiter_bytes()
            assert ids(await anext(pieces)) == ["a1"]
            await asyncio.sleep(2.5)
            assert (await http.get(url, headers=_token(app))).status_code == 401
            waiting.set()
            assert ids(b"".join([piece async for piece in pieces])) == ["b1"]


@pytest.mark.leak("L41", "L75")
async def test_l41_l75_damage_that_is_found_before_anything_left_is_told(leaky: World) -> None:
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA + b"\n" + BOB[:-9]]
        answer = await app.get(await _file(app))
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (502, "exception")
    assert "a1" not in answer.text


@pytest.mark.leak("L41", "L75")
@pytest.mark.parametrize("kind", ["Observation", "Provenance"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80"])
async def test_l41_l75_text_that_is_not_utf_8_is_missing_whatever_looks_at_it_first(
    leaky: World, kind: str, bad: bytes
) -> None:
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.names(kind=kind)
        false.pieces = [
            b'{"resourceType":"%b","id":"x","target":[{"reference":"Patient/%b"}]}\n' % (kind.encode(), bad)
        ]
        job = await begun(app, f"$export?_type={kind}")
        assert (await app.get(job)).status_code == 200
        answer = await app.get(f"{job}/{kind}.ndjson")
    assert (answer.status_code, answer.content) == (200, b"")


async def _end(world: World, app: Service, ending: str, job: str) -> None:
    if ending == "cancelled":
        assert (await ask(app, "DELETE", job)).status_code == 202
    elif ending == "disabled":
        async with world.assent.engine.begin() as connection:
            statement = text("UPDATE assent.client SET disabled_at = now() WHERE client_id = :id")
            await connection.execute(statement, {"id": app.client_id})
    else:
        part = app.token["access_token"].split(".")[1]
        jti = json.loads(base64.urlsafe_b64decode(part + "=="))["jti"]
        async with world.assent.engine.begin() as connection:
            statement = text("INSERT INTO assent.revoked_token (jti, expires_at) VALUES (:jti, now())")
            await connection.execute(statement, {"jti": jti})


_LONG = json.dumps(observation("long", "ana", "vital-signs", note=[{"text": "x" * 2_000_000}])).encode()
_BOMB = gzip.compress(b"{" * 50_000_000, 9)
_PACKED = ((b"content-encoding", b"gzip"),)


@pytest.mark.leak("L41", "L75")
@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b"no json\n"], ()),
        ([b"[]\n"], ()),
        ([ANA[:-9]], ()),
        ([ANA + b"\n" + BOB[:-9]], ()),
        ([b"\xef\xbb\xbf" + ANA], ()),
        ([_LONG[:-9]], ()),
        ([_BOMB], _PACKED),
        ([gzip.compress(ANA)[:-9]], _PACKED),
        ([gzip.compress(ANA) + gzip.compress(BOB)], _PACKED),
        ([ANA], _PACKED),
        ([ANA], ((b"content-length", b"100000"),)),
    ],
    ids=range(11),
)
async def test_l41_l75_a_damaged_file_is_seen_to_be_damaged(
    leaky: World, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    monkeypatch.setattr("fhir.export.stream.MOST_LINES", 1)  # so that the answer has begun when the damage is found
    monkeypatch.setattr("fhir.export.stream.LineSplitter", lambda _, gzip: LineSplitter(1_000_000, gzip=gzip))
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.names(f"{false.url}/false/first", f"{false.url}/false/file")
        leaky.upstream.acts["/false/first"] = first = FalseExport(false.url, pieces=[BOB])
        false.pieces, false.file_headers = pieces, headers
        url = below(await _file(app))
        async with served(leaky) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(url, headers=_token(app))
        assert first.heard == ["GET /false/first"]
        del leaky.upstream.acts["/false/first"]


@pytest.mark.leak("L41", "L75")
@pytest.mark.parametrize(
    "line",
    [
        *(
            b"no json",
            b"[]",
            b"{",
            b"{" * 100_000,
            b"\x00\xff",
            ANA + BOB,
            ANA[:-9],
            ANA.replace(b"final", b"fin\xffal"),
        ),
        *(_LONG, b"{" * 2_000_000),
    ],
    ids=range(10),
)
async def test_l41_l75_a_line_that_cannot_be_read_looks_like_one_that_is_withheld(
    leaky: World, monkeypatch: pytest.MonkeyPatch, line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fhir.export.stream.LineSplitter", lambda _, gzip: LineSplitter(1_000_000, gzip=gzip))
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA + b"\n", line, b"\n" + BOB]
        answer = await app.get(await _file(app))
    assert (answer.status_code, ids(answer.content)) == (200, ["a1", "b1"])
    assert "upstream_fails_at_one" in capsys.readouterr().out


@pytest.mark.leak("L41", "L62")
async def test_l62_a_download_of_an_endless_line_ends_with_its_job(
    leaky: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir.export.stream.LineSplitter", lambda _, gzip: LineSplitter(1_000, gzip=gzip))
    monkeypatch.setattr("fhir.export.stream.GATHER_SECONDS", 0.01)
    app, ended = await service(leaky, BOTH), asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": ANA + b"\n", "more_body": True})
        while not ended.is_set():
            await send({"type": "http.response.body", "body": b"{" * 10_000, "more_body": True})
            await asyncio.sleep(0.005)

    with false_export(leaky) as false:
        false.names()
        url = await _file(app)
        leaky.upstream.acts["/false/file"] = endless
        async with served(leaky) as http, http.stream("GET", below(url), headers=_token(app)) as answer:
            pieces = answer.aiter_bytes()
            assert ids(await anext(pieces)) == ["a1"]
            assert (await ask(app, "DELETE", url.rpartition("/")[0])).status_code == 202
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(pieces)
        ended.set()


@pytest.mark.leak("L41", "L71")
@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:1/x", "http://elsewhere.example/x", "//elsewhere.example/x", "/relative", "file:///etc/x"),
        *("{base}.elsewhere.example/x", "{base}@elsewhere.example/x", "{base}/../x", "{base}/%2e%2e/x", ""),
    ],
)
async def test_l41_l71_links_that_leave_the_upstream_are_not_followed(leaky: World, url: str) -> None:
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.names(url.format(base=false.url))
        job = await begun(app, "$export?_type=Observation")
        for _ in range(2):
            answer = await app.get(job)
            assert (answer.status_code, answer.json()["issue"][0]["code"]) == (500, "exception")
        assert (await app.get(f"{job}/Observation.ndjson")).status_code == 500
    assert false.heard == ["GET /$export", "GET /false/status"]


@pytest.mark.leak("L41", "L71")
async def test_l41_l71_neither_redirects_nor_status_addresses_lead_elsewhere(leaky: World) -> None:
    app = await service(leaky, BOTH)
    elsewhere = {"location": "http://127.0.0.1:1/x", "content-location": "http://127.0.0.1:1/x"}
    for status in (202, 301, 307, 200, 404, 500):
        with leaky.upstream.saying("/$export", b"SECRET", status, elsewhere):
            answer = await kick_off(app, "$export?_type=Observation")
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (502, "transient")
        assert "127.0.0.1:1" not in answer.text
    with false_export(leaky) as false:
        false.names()
        false.file_status, false.file_headers = 302, [(b"location", b"http://127.0.0.1:1/x")]
        answer = await app.get(await _file(app))
    assert answer.status_code == 502


@pytest.mark.leak("L41", "L48")
@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        *((200, body, 500) for body in (b"{}", b"[]", b"", b"SECRET", b'{"transactionTime":"now","output":[]}')),
        (200, b'{"transactionTime":"2026-01-02T03:04:05Z","output":[{"type":"Observation"}]}', 500),
        (200, b'{"transactionTime":"2026-01-02T03:04:05Z","output":[],"output":[]}', 500),
        (200, b"{" * 5_000_000, 500),
        *((status, b"SECRET", 500) for status in (400, 404, 410, 500, 501)),
        *((status, b"SECRET", 502) for status in (502, 503, 504)),
        (429, b"SECRET", 202),
        (307, b"SECRET", 502),
    ],
)
async def test_l41_l48_nothing_of_what_the_upstream_says_of_a_job_is_passed_on(
    leaky: World, status: int, body: bytes, told: int
) -> None:
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.status, false.manifest = status, body
        false.status_headers = [(b"retry-after", b"77777"), (b"x-progress", b"SECRET"), (b"location", b"http://x/")]
        answer = await app.get(await begun(app, "$export?_type=Observation"))
    assert answer.status_code == told
    assert "SECRET" not in answer.text + str(answer.headers)
    assert "77777" not in str(answer.headers)


@pytest.mark.leak("L41")
async def test_l41_what_cannot_be_recorded_does_not_leave(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await service(leaky, BOTH)
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA]
        url = await _file(app)

        async def full(*_: object) -> None:
            raise AuditUnavailable

        monkeypatch.setattr(leaky.assent.audit, "record_all", full)
        monkeypatch.setattr(type(leaky.assent.audit), "record", full)
        answer = await app.get(url)
        assert (answer.status_code, b"a1" in answer.content) == (503, False)
        assert (await kick_off(app)).status_code == 503


async def test_a_client_has_few_downloads_at_a_time(leaky: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir.export.app.MOST_DOWNLOADS", 1)
    app, waiting = await service(leaky, BOTH), asyncio.Event()
    with false_export(leaky) as false:
        false.names()
        false.pieces = [ANA + b"\n", waiting]
        url = below(await _file(app))
        async with served(leaky) as http:
            async with http.stream("GET", url, headers=_token(app)) as answer:
                assert await anext(answer.aiter_bytes())
                refused = await http.get(url, headers=_token(app))
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
            waiting.set()
            await asyncio.sleep(0.5)  # who went away is noticed with the next batch
            assert ids((await http.get(url, headers=_token(app))).content) == ["a1"]


def _token(app: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {app.token['access_token']}"}
