"""Clinics, clinicians, places and medicines that every record refers to: the directory, nobody's own data."""

from __future__ import annotations

from typing import Final

from sandbox.records.record import Resource, coding, concept, reference
from sandbox.records.terminology import MEDICINES, TERMINOLOGY, US_CORE, Code

_NPI: Final = "http://hl7.org/fhir/sid/us-npi"
_CLINICIANS: Final = (
    ("raman", "Priya", "Raman", "207Q00000X", "Family Medicine"),
    ("delgado", "Inés", "Delgado", "207RC0000X", "Cardiovascular Disease"),
    ("sato", "Kenji", "Sato", "2084P0800X", "Psychiatry"),
    ("mbeki", "Thandi", "Mbeki", "207V00000X", "Obstetrics & Gynecology"),
    ("novak", "Jiří", "Novák", "2085R0202X", "Diagnostic Radiology"),
    ("hughes", "Megan", "Hughes", "208000000X", "Pediatrics"),
)
_ORGANIZATIONS: Final = (
    ("lakeside", "Lakeside Family Clinic", Code(TERMINOLOGY + "organization-type", "prov", "Healthcare Provider")),
    ("st-brigid", "St. Brigid's Hospital", Code(TERMINOLOGY + "organization-type", "prov", "Healthcare Provider")),
    ("evergreen", "Evergreen Mutual Insurance", Code(TERMINOLOGY + "organization-type", "ins", "Insurance Company")),
    ("quantum", "Quantum Laboratories", Code(TERMINOLOGY + "organization-type", "prov", "Healthcare Provider")),
    ("harbor", "Harbor Pharmacy", Code(TERMINOLOGY + "organization-type", "prov", "Healthcare Provider")),
)
_NUMBERS: Final = {
    "quantum": [{"system": "urn:oid:2.16.840.1.113883.4.7", "value": "22D0000000"}],
    "evergreen": [{"system": "urn:oid:2.16.840.1.113883.6.300", "value": "00000"}],
}
"""What else laboratories (CLIA) and insurers (NAIC) are known by."""
_DIRECT: Final = Code(TERMINOLOGY + "endpoint-connection-type", "direct-project", "Direct Project")
_ANY: Final = Code(TERMINOLOGY + "endpoint-payload-type", "any", "Any")
_MAILBOX: Final = {"reference": "Endpoint/endpoint-lakeside"}
_PHYSICIAN: Final = Code(TERMINOLOGY + "practitioner-role", "doctor", "Doctor")

CLINIC: Final = {"reference": "Organization/organization-lakeside", "display": "Lakeside Family Clinic"}
PHARMACY: Final = {"reference": "Organization/organization-harbor", "display": "Harbor Pharmacy"}
HOSPITAL: Final = {"reference": "Organization/organization-st-brigid", "display": "St. Brigid's Hospital"}
INSURER: Final = {"reference": "Organization/organization-evergreen", "display": "Evergreen Mutual Insurance"}
LABORATORY: Final = {"reference": "Organization/organization-quantum", "display": "Quantum Laboratories"}
WARD: Final = {"reference": "Location/location-ward", "display": "St. Brigid's Hospital, ward 3"}
OFFICE: Final = {"reference": "Location/location-lakeside", "display": "Lakeside Family Clinic"}


def clinician(name: str) -> Resource:
    """A reference to a Practitioner by the last part of its id."""
    shown = {key: f"Dr. {given} {family}" for key, given, family, _, _ in _CLINICIANS}
    return {"reference": f"Practitioner/practitioner-{name}", "display": shown[name]}


def medication_id(illness: str) -> str:
    """The Medication that treats the illness."""
    return f"medication-{illness}"


def directory() -> list[Resource]:
    """Every shared resource of the sandbox."""
    return [*_organizations(), *_locations(), _mailbox(), *_practitioners(), *_medications()]


def _organizations() -> list[Resource]:
    return [
        {
            "resourceType": "Organization",
            "id": f"organization-{key}",
            "meta": {"profile": [US_CORE + "us-core-organization"]},
            "identifier": [{"system": _NPI, "value": str(1700000000 + number)}, *_NUMBERS.get(key, ())],
            "active": True,
            "type": [concept(kind)],
            "name": name,
            "telecom": [{"system": "phone", "value": f"555-010-{number:04d}", "use": "work"}],
            "address": [_address(number)],
        }
        for number, (key, name, kind) in enumerate(_ORGANIZATIONS, start=1)
    ]


def _locations() -> list[Resource]:
    return [
        {
            "resourceType": "Location",
            "id": place["reference"].removeprefix("Location/"),
            "meta": {"profile": [US_CORE + "us-core-location"]},
            "identifier": [{"system": "urn:assent:sandbox:place", "value": f"P-{number}"}],
            "status": "active",
            "name": place["display"],
            "mode": "instance",
            "type": [concept(Code(TERMINOLOGY + "v3-RoleCode", kind, shown))],
            "telecom": [{"system": "phone", "value": f"555-020-{number:04d}", "use": "work"}],
            "address": _address(number),
            "managingOrganization": owner,
        }
        for number, (place, owner, kind, shown) in enumerate(
            (
                (OFFICE, CLINIC, "FMC", "Family medicine clinic"),
                (WARD, HOSPITAL, "HU", "Hospital unit"),
            ),
            start=1,
        )
    ]


def _mailbox() -> Resource:
    """Where the clinic takes messages from other clinics."""
    return {
        "resourceType": "Endpoint",
        "id": _MAILBOX["reference"].removeprefix("Endpoint/"),
        "status": "active",
        "connectionType": coding(_DIRECT),
        "name": "Mail for Lakeside Family Clinic",
        "managingOrganization": CLINIC,
        "payloadType": [concept(_ANY)],
        "address": "mailto:referrals@direct.lakeside.example",
    }


def _address(number: int) -> Resource:
    return {
        "line": [f"{number} Harbor Street"],
        "city": "Boston",
        "state": "MA",
        "postalCode": f"0211{number}",
        "country": "US",
    }


def _practitioners() -> list[Resource]:
    found: list[Resource] = []
    for number, (key, given, family, specialty, title) in enumerate(_CLINICIANS, start=1):
        person: Resource = {
            "resourceType": "Practitioner",
            "id": f"practitioner-{key}",
            "meta": {"profile": [US_CORE + "us-core-practitioner"]},
            "identifier": [{"system": _NPI, "value": str(1800000000 + number)}],
            "active": True,
            "name": [{"use": "official", "family": family, "given": [given], "prefix": ["Dr."]}],
            "telecom": [{"system": "email", "value": f"{key}@lakeside.example", "use": "work"}],
            "address": [_address(1)],
        }
        role = {
            "resourceType": "PractitionerRole",
            "id": f"role-{key}",
            "meta": {"profile": [US_CORE + "us-core-practitionerrole"]},
            "active": True,
            "practitioner": reference(person, f"Dr. {given} {family}"),
            "organization": CLINIC,
            "code": [concept(_PHYSICIAN)],
            "specialty": [concept(Code("http://nucc.org/provider-taxonomy", specialty, title))],
            "location": [OFFICE],
            "telecom": [{"system": "phone", "value": f"555-030-{number:04d}", "use": "work"}],
            "endpoint": [_MAILBOX],
        }
        found += [person, role]
    return found


def _medications() -> list[Resource]:
    return [
        {
            "resourceType": "Medication",
            "id": medication_id(illness),
            "meta": {"profile": [US_CORE + "us-core-medication"]},
            "status": "active",
            "code": concept(code),
        }
        for illness, code in MEDICINES.items()
    ]
