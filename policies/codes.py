"""Code systems that decide, by their canonical URIs."""

from typing import Final

DATA_CATEGORY_SYSTEM: Final = "urn:assent:data-category"
"""Assent's own: the categories of the catalogue, used in `Consent.provision.class`."""

SENSITIVITY_SYSTEM: Final = "urn:assent:sensitivity"
"""Assent's own: sensitivities for which v3-ActCode has no code (the unexplained ones: `OTHER`)."""

ACT_CODE_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ACT_REASON_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CONFIDENTIALITY_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
OBSERVATION_VALUE_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
CONSENT_ACTION_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/consentaction"
PARTICIPATION_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ROLE_CLASS_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
RESOURCE_TYPES_SYSTEM: Final = "http://hl7.org/fhir/resource-types"
DATA_ABSENT_REASON_URL: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

SYSTEM_ALIASES: Final = {
    "urn:oid:2.16.840.1.113883.6.1": "http://loinc.org",
    "urn:oid:2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "urn:oid:2.16.840.1.113883.6.88": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "urn:oid:2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10-cm",
    "urn:oid:2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "urn:oid:2.16.840.1.113883.5.4": ACT_CODE_SYSTEM,
    "urn:oid:2.16.840.1.113883.5.25": CONFIDENTIALITY_SYSTEM,
    "http://hl7.org/fhir/v3/ActCode": ACT_CODE_SYSTEM,
    "http://hl7.org/fhir/v3/Confidentiality": CONFIDENTIALITY_SYSTEM,
    "urn:oid:2.16.840.1.113883.5.8": ACT_REASON_SYSTEM,
    "http://hl7.org/fhir/v3/ActReason": ACT_REASON_SYSTEM,
    "urn:oid:2.16.840.1.113883.5.90": PARTICIPATION_SYSTEM,
    "http://hl7.org/fhir/v3/ParticipationType": PARTICIPATION_SYSTEM,
    "http://hl7.org/fhir/consentaction": CONSENT_ACTION_SYSTEM,
    "http://hl7.org/fhir/fhir-types": RESOURCE_TYPES_SYSTEM,
    "https://loinc.org": "http://loinc.org",
    "https://snomed.info/sct": "http://snomed.info/sct",
}
"""Other names under which real systems write the same code system; sensitivity must not hang on the spelling."""
