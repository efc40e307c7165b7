"""L48, L54, L62, L70, L75 and what must not be there at all: around the data."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode

import pytest
from structlog.testing import capture_logs

from authz.clients.clients import NewClient, add_client
from authz.consents.decisions import Choice, Decisions
from tests.leaks.world import App, World


@pytest.mark.parametrize(
    "path",
    ["/sandbox/manifest.json", "/sandbox/launcher", "/sandbox/launch", "/sandbox/clinic", "/sandbox/callback"],
)
async def test_the_sandbox_is_not_there_outside_of_sandbox_mode(leaky: World, path: str) -> None:
    assert (await leaky.http.get(path)).status_code == 404


@pytest.mark.leak("L70")
async def test_l70_no_patient_data_and_no_token_gets_into_the_logs(leaky: World) -> None:
    with capture_logs() as entries:
        app = await _leave_traces(leaky)
    logged = json.dumps(entries, default=str)
    assert '"route"' in logged
    tokens = (str(app.token["access_token"]), str(app.token["refresh_token"]))
    for secret in ("CANARY", "1980-05-17", "Patient/ana", *tokens):
        assert secret not in logged


async def _leave_traces(leaky: World) -> App:
    app = await leaky.app(["demographics", "laboratory"])
    await app.get("Patient/ana")
    await app.get("Patient?name=CANARY-NAME&birthdate=1980-05-17")
    await app.get("Observation?code=CANARY-CODE&_id=lab0")
    await app.get("Observation/CANARY-ID")
    await app.get("Observation?CANARY-PARAMETER=x")
    await app.post_search("Observation", "code=CANARY-FORM")
    await leaky.http.get("/CANARY-PATH?CANARY-QUERY=1")
    return app


@pytest.mark.leak("L54")
@pytest.mark.parametrize(
    "authorization", ["", "Basic YTpi", "Bearer", "Bearer x", "Bearer a.b.c", "bearer " + "x" * 9_000]
)
@pytest.mark.smart(94, 247)
async def test_l54_without_a_good_token_there_is_nothing(leaky: World, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await leaky.http.get("/fhir/Observation/lab0", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.leak("L74")
@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/html", "image/png"])
async def test_only_json_is_served(leaky: World, accept: str) -> None:
    app = await leaky.app(["laboratory"])
    assert (await app.get("Observation/lab0", Accept=accept)).status_code == 406
    assert (await app.get("Observation?_format=xml")).status_code == 406


@pytest.mark.leak("L75")
async def test_l75_oversized_requests_are_refused(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    assert (await app.get("Observation?code=" + "x" * 9_000)).status_code == 414
    assert (await app.get("Observation?" + "&".join(f"code={n}" for n in range(60)))).status_code == 400
    assert (await app.post_search("Observation", "code=" + "x" * 70_000)).status_code == 413


@pytest.mark.leak("L62")
async def test_l62_reads_during_a_revocation_end_with_it(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    consent = await app.consent_id()
    reading = [asyncio.create_task(app.get("Observation/lab0")) for _ in range(20)]
    await Decisions(leaky.assent.authz).revoke(consent, leaky.account, "test")
    assert {(await task).status_code for task in reading} <= {200, 401, 403}
    assert (await app.get("Observation/lab0")).status_code == 401


BATCH = (
    '{"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Observation/lab0"}}]}'
)


@pytest.mark.leak("L62")
@pytest.mark.parametrize(("ending", "status"), [("revoked", 401), ("narrowed", 503)])
@pytest.mark.parametrize(
    "path", ["Observation/lab0", "Observation", "Observation/lab0/_history", "Patient/ana/$everything", "a batch"]
)
async def test_l62_an_answer_that_waited_long_for_the_upstream_is_held_to_the_consents_of_its_end(
    leaky: World, path: str, ending: str, status: int
) -> None:
    app = await leaky.app(["laboratory", "vital-signs"])
    consent, decisions = await app.consent_id(), Decisions(leaky.assent.authz)
    with leaky.upstream.hanging():
        before = len(leaky.upstream.asked)
        asking = asyncio.create_task(app.post_bundle(BATCH) if path == "a batch" else app.get(path))
        assert await leaky.upstream.was_asked(before)
        if ending == "revoked":
            await decisions.revoke(consent, leaky.account, "test")
        else:
            choice = Choice(("vital-signs",), ("laboratory", "vital-signs"), None, leaky.text)
            await decisions.change(consent, leaky.account, choice, "test")
        await asyncio.sleep(0.6)
        assert leaky.upstream.held is not None
        leaky.upstream.held.set()
        answer = await asking
    assert "lab0" not in answer.text
    within = path == "a batch" and f'"status":"{status} ' in answer.text
    assert within or answer.status_code == status


@pytest.mark.leak("L62")
async def test_l62_an_answer_that_waited_long_is_given_when_nothing_changed(leaky: World) -> None:
    app = await leaky.app(["laboratory"])
    with leaky.upstream.hanging():
        asking = asyncio.create_task(app.get("Observation/lab0"))
        await asyncio.sleep(0.7)
        assert leaky.upstream.held is not None
        leaky.upstream.held.set()
        assert (await asking).status_code == 200


@pytest.mark.leak("L72")
@pytest.mark.parametrize("path", ["/userinfo", "/introspect", "/fhir/Observation/lab0", "/fhir/Consent/x/$explain"])
async def test_l72_of_two_tokens_in_one_request_none_counts(leaky: World, path: str) -> None:
    app = await leaky.app(["laboratory"], scope="launch/patient openid fhirUser patient/*.rs")
    token = ("Authorization", f"Bearer {app.token['access_token']}")
    for second in ("Bearer x", "Basic YTpi", token[1]):
        answer = await leaky.http.post(path, headers=[token, ("Authorization", second)], data={"token": "x"})
        assert answer.status_code in (400, 401), answer.text


@pytest.mark.leak("L72")
async def test_l72_of_two_secrets_in_one_request_none_counts(leaky: World) -> None:
    context = leaky.assent.authz
    async with context.engine.begin() as connection:
        new = NewClient("App", "confidential-symmetric", ("https://app.example/cb",))
        client, secret = await add_client(connection, new, context.clock())
    right = ("Authorization", f"Basic {b64encode(f'{client.client_id}:{secret}'.encode()).decode()}")
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    told = (await leaky.http.post("/token", data=form, headers=[right])).json()["error"]
    answer = await leaky.http.post("/token", data=form, headers=[right, ("Authorization", "Basic YTpi")])
    assert (told, answer.status_code, answer.json()["error"]) == ("invalid_grant", 401, "invalid_client")
