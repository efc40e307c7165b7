"""The processes of the read benchmark: a canned upstream, a pass-through proxy as the baseline, and a splitting one.

Each runs alone: `python -m bench.servers upstream PORT`, `python -m bench.servers passthrough PORT UPSTREAM`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import aiohttp
import msgspec
import uvicorn

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_JSON = [(b"content-type", b"application/fhir+json")]


HUNDRED = "Observation?_count=100"
NEW = "status=final"
"""Part of a search that finds what no search found before."""
SOME_NEW = "status=preliminary"
"""Part of a search that finds one Observation that it didn't find before."""
HUGE = "status=amended"
"""Part of a search that is answered by 20 MB, however few entries were asked for."""


def observation(number: int) -> dict[str, object]:
    """A laboratory result of about 2 kB, as real servers send them: each with a date, a value and a note of its own."""
    moment = f"2026-01-02T03:04:05.{number}Z"
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "meta": {"versionId": "1", "lastUpdated": moment, "source": "urn:lab:7"},
        "text": {"status": "generated", "div": "<div>" + "Hemoglobin 13.50 g/dL. " * 20 + "</div>"},
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "laboratory", "display": "Laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "718-7", "display": "Hemoglobin"}]},
        "subject": {"reference": "Patient/p1", "display": "Bench Mark"},
        "encounter": {"reference": "Encounter/e1"},
        "performer": [{"reference": "Organization/lab", "display": "Laboratory"}],
        "effectiveDateTime": moment,
        "valueQuantity": {
            "value": float(f"13.{number}"),
            "unit": "g/dL",
            "system": "http://unitsofmeasure.org",
            "code": "g/dL",
        },
        "referenceRange": [{"low": {"value": 12, "unit": "g/dL"}, "high": {"value": 16, "unit": "g/dL"}}],
        "note": [{"text": "Sample taken in the morning. " * 10 + str(number)}],
    }


def entries(numbers: Iterable[int]) -> bytes:
    """Of a searchset, with these Observations."""
    return msgspec.json.encode([{"resource": observation(number), "search": {"mode": "match"}} for number in numbers])


def bundle(number: int, entries: bytes) -> bytes:
    """A searchset with an id and a time of its own, as many servers make them up for each."""
    head = b'{"resourceType":"Bundle","id":"b%d","meta":{"lastUpdated":"2026-01-02T03:04:05.%dZ"},"type":"searchset",'
    return b"".join((head % (number, number), b'"total":100,"entry":', entries, b"}"))


def upstream() -> Any:
    """Answers a read with the Observation of that id, a search with a Bundle of a hundred.

    New ones, or one that is new, where they are asked for by `NEW` and `SOME_NEW`.
    """
    any_number = "987654"
    one = msgspec.json.encode(observation(int(any_number)))
    hundred = entries(int(f"{any_number}{n:02}") for n in range(100))
    newest = count(100_000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        wanted = scope["path"].rpartition("/")[2].encode()
        if wanted.startswith(b"o"):
            body = one.replace(any_number.encode(), wanted[1:])
        elif HUGE.encode() in scope["query_string"]:
            body = bundle(1, entries(range(1_000_000, 1_012_500)))
        elif NEW.encode() in scope["query_string"]:
            number = next(newest)
            body = bundle(number, hundred.replace(any_number.encode(), str(number).encode()))
        elif SOME_NEW.encode() in scope["query_string"]:
            number = next(newest)
            body = bundle(number, hundred.replace(f"{any_number}00".encode(), f"{number}00".encode()))
        else:
            body = bundle(next(newest), hundred)
        await send({"type": "http.response.start", "status": 200, "headers": _JSON})
        await send({"type": "http.response.body", "body": body})

    return app


class _Entry(msgspec.Struct):
    resource: dict[str, msgspec.Raw]
    search: msgspec.Raw


class _Bundle(msgspec.Struct):
    resourceType: str  # noqa: N815  # FHIR's own spelling
    id: str
    meta: msgspec.Raw
    type: str
    total: int
    entry: list[_Entry]


def split(body: bytes) -> bytes:
    """A searchset taken apart into the members of its resources and put together again; nothing is looked at.

    Who masks a member must do as much. So no proxy in Python that does is faster than one that does this alone.
    """
    return msgspec.json.encode(msgspec.json.decode(body, type=_Bundle))


def passthrough(base: str, change: Callable[[bytes], bytes] = bytes) -> Any:
    """Sends what the upstream says, unread, by aiohttp."""
    sessions: list[aiohttp.ClientSession] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100), auto_decompress=False))
        query = scope["query_string"].decode()
        url = f"{base}{scope['path'].removeprefix('/fhir')}" + (f"?{query}" if query else "")
        async with sessions[0].get(url) as answer:
            body = change(await answer.read())
            await send({"type": "http.response.start", "status": answer.status, "headers": _JSON})
            await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    """Serve until the parent ends this process."""
    kind, port, *rest = sys.argv[1:]
    apps: dict[str, Callable[[], Any]] = {
        "upstream": upstream,
        "passthrough": lambda: passthrough(rest[0]),
        "splitting": lambda: passthrough(rest[0], split),
    }
    app = apps[kind]()
    uvicorn.run(
        app, port=int(port), http="httptools", loop="uvloop", lifespan="off", access_log=False, log_level="error"
    )


if __name__ == "__main__":
    main()
