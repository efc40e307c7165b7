"""L06: what the upstream can't give, and only that, looks as if it weren't there; a server at fault is one for all."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from tests.leaks.twins import seen
from tests.leaks.world import World, observation
from tests.leaks.writes import writer

_FHIR = {"content-type": "application/fhir+json"}
_LAB = json.dumps(observation("lab0")).encode()
_FAILS: dict[str, tuple[bytes, int, dict[str, str]]] = {
    "a page": (b"<html><body>HIDDEN</body></html>", 200, {"content-type": "text/html"}),
    "a page that is said to be FHIR": (b"<html>HIDDEN</html>", 200, _FHIR),
    "broken JSON": (_LAB[:-3] + b"HIDDEN", 200, _FHIR),
    "an answer that ends early": (_LAB[:-20], 200, _FHIR),
    "nothing": (b"", 200, _FHIR),
    "a list": (b"[]", 200, _FHIR),
    "another type": (_LAB.replace(b'"Observation"', b'"Condition"'), 200, _FHIR),
    "a Bundle": (b'{"resourceType":"Bundle","type":"searchset","entry":[]}', 200, _FHIR),
    "UTF-16": (_LAB.decode().encode("utf-16"), 200, _FHIR),
    "another encoding": (_LAB, 200, {**_FHIR, "content-encoding": "br"}),
    "what is no gzip": (_LAB, 200, {**_FHIR, "content-encoding": "gzip"}),
    "too much": (json.dumps(observation("lab0", note=[{"text": " " * 40_000_000}])).encode(), 200, _FHIR),
    "part of it": (_LAB, 206, _FHIR),
    "nothing new": (b"", 304, _FHIR),
    "elsewhere": (b"", 302, {**_FHIR, "location": "/Observation/lab1"}),
    **{f"status {status}": (b"HIDDEN", status, _FHIR) for status in (400, 401, 403, 405, 406, 409, 422, 451, 500, 504)},
}


@pytest.mark.leak("L06", "L75")
@pytest.mark.parametrize("fault", _FAILS)
async def test_l06_what_the_upstream_fails_at_looks_absent(leaky: World, fault: str) -> None:
    app = await leaky.app(["laboratory"])
    body, status, headers = _FAILS[fault]
    for path in ("Observation/lab0", "Observation/lab0?_summary=text", "Observation/lab0/_history/1"):
        with ExitStack() as failing:
            for name in {"Observation/lab0", path.partition("?")[0]}:
                failing.enter_context(leaky.upstream.saying(f"/{name}", body, status, headers))
            answer = await app.get(path)
            history = await app.get("Observation/lab0/_history")
        assert seen(answer) == seen(await app.get(path.replace("lab0", "absent")))
        assert seen(history) == seen(await app.get("Observation/absent/_history"))


@pytest.mark.leak("L06", "L44")
async def test_l06_what_the_upstream_fails_at_cannot_be_changed_and_looks_absent(writable: World) -> None:
    app = await writer(writable)
    body = observation("lab0", status="amended")
    with writable.upstream.saying("/Observation/lab0", b"<html>"):
        failed = [await app.send("PUT", "Observation/lab0", body), await app.send("DELETE", "Observation/lab0")]
    absent = [
        await app.send("PUT", "Observation/absent", {**body, "id": "absent"}),
        await app.send("DELETE", "Observation/absent"),
    ]
    assert list(map(seen, failed)) == list(map(seen, absent))
    assert {answer.status_code for answer in failed} == {404}


@pytest.mark.parametrize("fault", ["status 500", "status 504", "an answer that ends early", "a page"])
async def test_what_the_upstream_fails_at_for_a_moment_is_there(leaky: World, fault: str) -> None:
    """Apps take 404 for an absence, and people would miss what is in the record."""
    app = await leaky.app(["laboratory"])
    body, status, headers = _FAILS[fault]
    with leaky.upstream.saying("/Observation/lab0", body, status, headers, times=1):
        assert (await app.get("Observation/lab0")).status_code == 200
    with leaky.upstream.saying("/Observation/lab0", body, status, headers, times=2):
        assert (await app.get("Observation/lab0")).status_code == 404


@pytest.mark.leak("L48")
@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500, 502, 503])
async def test_a_server_at_fault_is_one_whatever_is_asked_for(leaky: World, status: int) -> None:
    """Else nobody who asks for what is there would learn that they have to try again."""
    app = await leaky.app(["laboratory"])
    with leaky.upstream.saying_always(b"<html>HIDDEN</html>", status):
        answers = [await app.get(f"Observation/{name}") for name in ("lab0", "absent", "hiv", "bob1")]
    assert [answer.status_code for answer in answers] == [502] * 4
    assert len({str(seen(answer)) for answer in answers}) == 1


@pytest.mark.leak("L70")
async def test_operators_are_told_that_the_upstream_failed_at_one(
    leaky: World, capsys: pytest.CaptureFixture[str]
) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.saying("/Observation/lab0", b"<html>HIDDEN</html>", 200):
        await app.get("Observation/lab0")
    told = capsys.readouterr().out
    assert "upstream_fails_at_one" in told
    assert "not-fhir" in told
    assert "HIDDEN" not in told
