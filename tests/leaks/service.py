"""A backend service in a world: registered with a key, allowed by patients one by one, with a token of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from authz.clients.clients import NewClient, add_client, find_client
from authz.consents.decisions import end_consent
from authz.consents.recorded_consents import Decided, record_consent
from authz.tokens.access_tokens import TokenClaims
from fhir.store.change_bus import Change
from tests.conformance.launching import ASSERTION_TYPE, assertion, key_pair
from tests.leaks.world import App, World

_PUBLIC, _PRIVATE = key_pair("ES384")
_WIDEST = "system/*.rs"


@dataclass(slots=True)
class Service(App):
    """An app that is a backend service."""

    consents: dict[str, str]
    """Id of the consent of each patient who shares with it."""

    async def shared_by(self, patient: str, categories: Sequence[str], ends: datetime | None = None) -> None:
        """The patient allows the service these categories, or decides anew."""
        context = self.world.assent.authz
        async with context.engine.begin() as connection:
            client = await find_client(connection, self.client_id)
            assert client is not None
            decided = Decided(patient, patient, tuple(categories), ends, self.world.text)
            recorded = await record_consent(
                connection, context.repository, context.catalogue, client, decided, context.clock()
            )
        self.consents[patient] = recorded.consent_id
        context.tell(Change("consent", patient))

    async def revoked_by(self, patient: str) -> None:
        """The patient takes it back."""
        context = self.world.assent.authz
        async with context.engine.begin() as connection:
            await end_consent(connection, context.repository, self.consents[patient], context.clock())
        context.tell(Change("consent", patient))

    def lasting(self) -> Service:
        """The same with a token that outlives the tests; from the server it gets one for five minutes."""
        claims = TokenClaims(self.client_id, self.client_id, _WIDEST, timedelta(hours=6), purpose="TREAT")
        token, _ = self.world.assent.authz.tokens.mint(claims)
        return replace(self, token={"access_token": token})

    async def consent(self, patient: str, **change: object) -> None:
        """Store an active consent of the patient for the service with another root provision, as nobody writes it."""
        context = self.world.assent.authz
        stored = await context.repository.read("Consent", self.consents[patient])
        assert stored is not None
        written: dict[str, Any] = msgspec.json.decode(stored.body)
        provision = {**written["provision"], **change}
        written["provision"] = {name: value for name, value in provision.items() if value is not None}
        await context.repository.update(written, expected_version=None)
        context.tell(Change("consent", patient))


async def service(
    world: World,
    shares: Mapping[str, Sequence[str]],
    *,
    registered: str = _WIDEST,
    scope: str | None = None,
    purpose: str = "TREAT",
) -> Service:
    """A new service; `shares` says which patients allow it which categories."""
    context = world.assent.authz
    async with context.engine.begin() as connection:
        new = NewClient("Service", "backend", scope=registered, purposes=(purpose,), jwks={"keys": [_PUBLIC]})
        client, _ = await add_client(connection, new, context.clock())
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(client.client_id, _PRIVATE, "ES384", jti=client.client_id),
        "scope": scope or registered,
    }
    answer = await world.http.post("/token", data=form)
    assert answer.status_code == 200, answer.text
    made = Service(world, client.client_id, answer.json(), {})
    for patient, categories in shares.items():
        await made.shared_by(patient, categories)
    return made
