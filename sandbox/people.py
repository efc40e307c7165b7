"""Who signs in to the sandbox: patients, a mother who also speaks for her children, and staff. All of them made up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SANDBOX_PASSWORD: Final = "sandbox"  # noqa: S105  printed in the guide on purpose: it opens made-up records only


@dataclass(frozen=True, slots=True)
class SandboxUser:
    """One account; `patients` are (patient id, name, whether it is the user's own record)."""

    username: str
    password: str
    display_name: str
    fhir_user: str | None
    patients: tuple[tuple[str, str, bool], ...]
    role: str


def _patient(patient_id: str, name: str) -> SandboxUser:
    return SandboxUser(
        patient_id, SANDBOX_PASSWORD, name, f"Patient/{patient_id}", ((patient_id, name, True),), "patient"
    )


USERS: Final[tuple[SandboxUser, ...]] = (
    _patient("amelia-okafor", "Amelia Okafor"),
    _patient("carlos-mendoza", "Carlos Mendoza Rivera"),
    _patient("daniel-obrien", "Daniel O'Brien"),
    _patient("emi-tanaka", "Emi Tanaka"),
    _patient("fatima-al-rashid", "Fatima Al-Rashid"),
    _patient("george-whitfield", "George Whitfield"),
    _patient("li-wei", "Wei Li"),
    _patient("adwoa-mensah", "Adwoa Mensah"),
    SandboxUser(
        "hannah-kowalski",
        SANDBOX_PASSWORD,
        "Hannah Kowalski",
        "Patient/hannah-kowalski",
        (
            ("hannah-kowalski", "Hannah Kowalski", True),
            ("leo-kowalski", "Leo Kowalski", False),
            ("nina-kowalski", "Nina Kowalski", False),
        ),
        "representative",
    ),
    SandboxUser("clinician", SANDBOX_PASSWORD, "Dr. Priya Raman", "Practitioner/practitioner-raman", (), "clinician"),
    SandboxUser("operator", SANDBOX_PASSWORD, "Sam Operator", None, (), "operator"),
    SandboxUser("developer", SANDBOX_PASSWORD, "Dana Developer", None, (), "developer"),
)
