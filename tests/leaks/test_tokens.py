"""L50-L55: a token opens what its scopes, the patient in context and the consents all open, and nothing besides."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc import jwk, jws

from authz.consents.decisions import Choice, Decisions
from tests.leaks.world import CATEGORY, ISSUER, App, World

LAB, VITAL = f"category={CATEGORY}|laboratory", f"category={CATEGORY}|vital-signs"
_LENIENT = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
LAUNCH = "launch/patient offline_access openid fhirUser"


def _kinds(found: list[str]) -> set[str]:
    return {name.rstrip("0123456789").removeprefix("Observation/") for name in found}


@pytest.mark.leak("L51", "L52")
@pytest.mark.parametrize(
    ("scopes", "kinds"),
    [
        (f"patient/Observation.rs?{LAB}", {"lab"}),
        (f"patient/Observation.rs?{VITAL}", {"vital"}),
        (f"patient/Observation.rs?{LAB} patient/Observation.rs?{VITAL}", {"lab", "vital"}),
        (f"patient/Observation.rs?{VITAL} patient/Observation.rs?{LAB}", {"lab", "vital"}),
        (f"patient/Observation.rs?{VITAL} patient/Condition.rs patient/Patient.rs", {"vital"}),
        (f"patient/Observation.rs?{VITAL} patient/Observation.r", {"vital"}),
        (f"patient/Observation.s?{VITAL} user/Observation.r", {"vital"}),
        (f"user/Observation.rs?{VITAL} system/Observation.rs", {"vital"}),
        (f"patient/Observation.rs?{VITAL}&code=718-7", {"vital"}),
        (f"patient/Observation.rs?{VITAL}&code=no-such-code", set()),
    ],
)
async def test_l51_l52_all_scopes_count_each_as_it_stands(leaky: World, scopes: str, kinds: set[str]) -> None:
    app = await leaky.app(["laboratory", "vital-signs", "conditions"], scope=f"{LAUNCH} {scopes}")
    assert _kinds(await app.ids("Observation?_id=lab0,lab1,vital0,vital1")) == kinds


@pytest.mark.leak("L51")
async def test_l51_user_and_system_scopes_open_no_other_patient(leaky: World) -> None:
    app = await leaky.app(["laboratory"], scope=f"{LAUNCH} patient/Observation.rs user/*.rs system/*.rs")
    assert "system/" not in str(app.token["scope"])
    assert (await app.get("Observation/bob1")).status_code == 404
    assert await app.ids("Observation?_id=bob1,lab0") == ["Observation/lab0"]


@pytest.mark.leak("L52")
@pytest.mark.parametrize("more", ["patient/Observation.rs", "patient/*.rs"])
async def test_l52_a_refresh_never_widens_a_scope_with_parameters(leaky: World, more: str) -> None:
    app = await leaky.app(["laboratory", "vital-signs"], scope=f"{LAUNCH} patient/Observation.rs?{LAB}")
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    answer = await leaky.http.post("/token", data={**form, "scope": more})
    assert answer.json()["scope"].endswith(f"/Observation.rs?{LAB}")
    renewed = App(leaky, app.client_id, answer.json())
    assert await renewed.ids("Observation?_id=lab0,vital0") == ["Observation/lab0"]


@pytest.mark.leak("L52")
@pytest.mark.parametrize(
    "other", [f"patient/Observation.rs?{VITAL}", "user/Observation.rs", f"user/Observation.rs?{LAB}", "system/*.rs"]
)
async def test_l52_a_refresh_for_other_parameters_or_another_context_is_refused(leaky: World, other: str) -> None:
    app = await leaky.app(["laboratory", "vital-signs"], scope=f"{LAUNCH} patient/Observation.rs?{LAB}")
    form = {"grant_type": "refresh_token", "refresh_token": app.token["refresh_token"], "client_id": app.client_id}
    answer = await leaky.http.post("/token", data={**form, "scope": other})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.leak("L53")
async def test_l53_a_scope_to_read_doesnt_search_and_one_to_search_doesnt_read(leaky: World) -> None:
    reader = await leaky.app(["laboratory"], scope=f"{LAUNCH} patient/Observation.r")
    assert (await reader.get("Observation/lab0")).status_code == 200
    searches = await reader.get("Observation?_id=lab0"), await reader.post_search("Observation", "_id=lab0")
    assert [answer.status_code for answer in searches] == [403, 403]
    searcher = await leaky.app(["laboratory"], scope=f"{LAUNCH} patient/Observation.s")
    assert await searcher.ids("Observation?_id=lab0") == ["Observation/lab0"]
    reads = await searcher.get("Observation/lab0"), await searcher.get("Observation/lab0/_history/1")
    assert [answer.status_code for answer in reads] == [403, 403]


@pytest.mark.leak("L53", "L13")
async def test_l53_l13_an_include_needs_a_scope_to_search_what_it_brings(leaky: World) -> None:
    query = "Observation?_id=two-patients&_include=Observation:performer"
    may = await leaky.app(["laboratory"], scope=f"{LAUNCH} patient/Observation.rs patient/Practitioner.s")
    assert await may.ids(query) == ["Observation/two-patients", "Practitioner/doc"]
    mayn_t = await leaky.app(["laboratory"], scope=f"{LAUNCH} patient/Observation.rs patient/Practitioner.r")
    assert await mayn_t.ids(query) == ["Observation/two-patients"]


@pytest.mark.leak("L54")
@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
async def test_l54_no_other_kind_of_token_opens_anything(leaky: World, kind: str) -> None:
    app = await leaky.app(["laboratory"], scope=f"{LAUNCH} patient/*.rs")
    answer = await leaky.http.get("/fhir/Observation/lab0", headers={"Authorization": f"Bearer {app.token[kind]}"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.leak("L54")
async def test_l54_a_token_of_another_server_with_the_same_names_opens_nothing(
    leaky: World, worlds: tuple[World, World]
) -> None:
    other = await worlds[0].app(["laboratory"])
    assert (await other.get("Observation/lab00")).status_code == 200
    stranger = App(leaky, other.client_id, other.token)
    assert (await stranger.get("Observation/lab0")).status_code == 401


@pytest.mark.leak("L54")
@pytest.mark.parametrize("place", ["jwk", "jku", "x5u", "kid"])
async def test_l54_a_token_cant_bring_or_name_its_own_key(leaky: World, place: str) -> None:
    app = await leaky.app(["laboratory"])
    header, payload, _ = str(app.token["access_token"]).split(".")
    key = jwk.ECKey.generate_key("P-256", private=True)
    brought: object = key.as_dict(private=False) if place == "jwk" else f"{ISSUER}/keys/../x"
    members = {**_decoded(header), place: brought}
    forged = jws.serialize_compact(members, _base64(payload), key, algorithms=["ES256"], registry=_LENIENT)
    answer = await leaky.http.get("/fhir/Observation/lab0", headers={"Authorization": f"Bearer {forged}"})
    assert answer.status_code == 401


@pytest.mark.leak("L54")
@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS256", "ES384", "", "A128GCM"])
async def test_l54_the_algorithm_is_not_the_tokens_choice(leaky: World, alg: str) -> None:
    app = await leaky.app(["laboratory"])
    header, payload, signature = str(app.token["access_token"]).split(".")
    swapped = base64.urlsafe_b64encode(json.dumps({**_decoded(header), "alg": alg}).encode()).rstrip(b"=").decode()
    for forged in (f"{swapped}.{payload}.", f"{swapped}.{payload}.{signature}", f"{header}.{payload}."):
        answer = await leaky.http.get("/fhir/Observation/lab0", headers={"Authorization": f"Bearer {forged}"})
        assert answer.status_code == 401


def _base64(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_base64(part))
    return found


@pytest.mark.leak("L55")
async def test_l55_nothing_ticked_gives_no_token(leaky: World) -> None:
    _, answer = await leaky.launch([], f"{LAUNCH} patient/*.rs")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.leak("L55")
async def test_l55_a_consent_narrowed_to_nothing_opens_nothing(leaky: World) -> None:
    app = await leaky.app(["laboratory", "demographics"])
    choice = Choice((), ("laboratory", "demographics"), None, leaky.text)
    await Decisions(leaky.assent.authz).change(await app.consent_id(), leaky.account, choice, "test")
    for path in ("Patient/ana", "Observation/lab0", "Observation", "Condition"):
        answer = await app.get(path)
        assert answer.status_code in (200, 403, 404)
        assert "entry" not in answer.json()
        assert "issue" in answer.json() or answer.json()["total"] == 0


@pytest.mark.leak("L55", "L50")
@pytest.mark.parametrize("scope", ["openid fhirUser offline_access", "launch/patient openid", "launch openid"])
async def test_l55_l50_a_token_without_a_scope_for_data_opens_none(leaky: World, scope: str) -> None:
    app = await leaky.app(["laboratory"], scope=scope)
    with leaky.upstream.listening() as heard:
        for path in ("Patient/ana", "Observation/lab0", "Observation", "Practitioner/doc", "Consent", "AuditEvent"):
            answer = await app.get(path)
            assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")
    assert heard == []
