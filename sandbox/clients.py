"""The apps that are registered in the sandbox: one of each kind of client that Assent knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandbox.people import USERS
from sandbox.records.demographics import PEOPLE

POPULATION: Final = "sandbox-population"
"""The service with which everybody shares for whom no account decides: nobody finds an app that they didn't allow."""
_OPEN: Final = "zoe-bronte"
"""Who shares what is sensitive with it too."""
_DECIDING: Final = frozenset(patient for user in USERS for patient, _, _ in user.patients)
_CALLBACKS: Final = (
    "http://127.0.0.1:8000/sandbox/callback",
    "http://localhost:9090/callback",
    "http://127.0.0.1:9090/callback",
)


@dataclass(frozen=True, slots=True)
class SandboxClient:
    """One registered app. An empty `scope` allows any; keys of asymmetric clients are made when the sandbox starts."""

    name: str
    client_id: str
    kind: str
    redirect_uris: tuple[str, ...]
    scope: str
    client_secret: str | None = None
    purposes: tuple[str, ...] = ("PATRQT",)


def _secret(client_id: str) -> str:
    return f"{client_id}-secret-not-for-production"


@dataclass(frozen=True, slots=True)
class ServiceConsent:
    """What a patient shares with a backend service from the beginning."""

    client_id: str
    patient: str
    patient_name: str
    categories: tuple[str, ...]


CLIENTS: Final[tuple[SandboxClient, ...]] = (
    SandboxClient("Heart Diary", "sandbox-public", "public", _CALLBACKS, ""),
    SandboxClient(
        "Clinic Companion",
        "sandbox-confidential",
        "confidential-symmetric",
        _CALLBACKS,
        "",
        client_secret=_secret("sandbox-confidential"),
        purposes=("PATRQT", "TREAT"),
    ),
    SandboxClient("Lab Insights", "sandbox-asymmetric", "confidential-asymmetric", _CALLBACKS, ""),
    SandboxClient(
        "Sandbox Gateway",
        "sandbox-gateway",
        "gateway",
        (),
        "assent/introspect assent/exchange",
        client_secret=_secret("sandbox-gateway"),
    ),
    SandboxClient("Nightly Export", "sandbox-backend", "backend", (), "system/*.rs", purposes=("HOPERAT",)),
    SandboxClient("Population Export", POPULATION, "backend", (), "system/*.rs", purposes=("HOPERAT",)),
    SandboxClient("Consent Desk", "sandbox-recorder", "backend", (), "assent/consents.cruds", purposes=("HOPERAT",)),
    SandboxClient(
        "Sandbox EHR",
        "sandbox-ehr",
        "ehr",
        (),
        "assent/launch.c",
        client_secret=_secret("sandbox-ehr"),
        purposes=("TREAT",),
    ),
    SandboxClient("Open Study", "sandbox-research", "public", _CALLBACKS, "", purposes=("HRESCH",)),
)

EVERYDAY: Final = (
    *("demographics", "conditions", "medications", "allergies", "laboratory", "vital-signs", "immunizations"),
    *("procedures", "encounters", "documents", "imaging", "coverage", "care-plans", "social-history"),
    *("family-history", "devices", "sharing-record"),
)
SENSITIVE: Final = (
    *("mental-health", "substance-use", "hiv", "sexual-health", "domestic-violence", "genetic", "other-sensitive"),
)
"""Codes of the catalogue's categories."""

SERVICE_CONSENTS: Final[tuple[ServiceConsent, ...]] = (
    ServiceConsent("sandbox-backend", "fatima-al-rashid", "Fatima Al-Rashid", ("laboratory", "vital-signs")),
    ServiceConsent("sandbox-backend", "adwoa-mensah", "Adwoa Mensah", ("laboratory", "conditions", "encounters")),
    ServiceConsent("sandbox-backend", "daniel-obrien", "Daniel O'Brien", ("vital-signs",)),
    *(
        ServiceConsent(
            *(POPULATION, person.id, f"{person.given} {person.family}"),
            EVERYDAY + SENSITIVE if person.id == _OPEN else EVERYDAY,
        )
        for person in PEOPLE
        if person.id not in _DECIDING
    ),
)
