"""Code systems that decide, by their canonical URIs, and the other names that are in use for them."""

import re
from typing import Final

CLIENT_SYSTEM: Final = "urn:assent:client"
"""Identifier system under which an app is named as a grantee."""
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

LOINC_SYSTEM: Final = "http://loinc.org"
SNOMED_SYSTEM: Final = "http://snomed.info/sct"
RXNORM_SYSTEM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD_10_CM_SYSTEM: Final = "http://hl7.org/fhir/sid/icd-10-cm"
ICD_10_SYSTEM: Final = "http://hl7.org/fhir/sid/icd-10"
ICD_9_CM_SYSTEM: Final = "http://hl7.org/fhir/sid/icd-9-cm"
ATC_SYSTEM: Final = "http://www.whocc.no/atc"
HCPCS_SYSTEM: Final = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
ICD_10_PCS_SYSTEM: Final = "http://www.cms.gov/Medicare/Coding/ICD10"
ICD_11_SYSTEM: Final = "http://id.who.int/icd/release/11/mms"
ICPC_2_SYSTEM: Final = "http://hl7.org/fhir/sid/icpc-2"
CPT_SYSTEM: Final = "http://www.ama-assn.org/go/cpt"
REVENUE_SYSTEM: Final = "https://www.nubc.org/CodeSystem/RevenueCodes"
MS_DRG_SYSTEM: Final = "https://www.cms.gov/Medicare/Medicare-Fee-for-Service-Payment/AcuteInpatientPPS/MS-DRG-Classifications-and-Software"
PLACE_OF_SERVICE_SYSTEM: Final = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
PROVIDER_TAXONOMY_SYSTEM: Final = "http://nucc.org/provider-taxonomy"
SERVICE_TYPE_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/service-type"
SERVICE_CATEGORY_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/service-category"

_OID: Final = "urn:oid:2.16.840.1.113883."
_ALIASES: Final = {
    f"{_OID}6.1": LOINC_SYSTEM,
    f"{_OID}6.96": SNOMED_SYSTEM,
    f"{_OID}6.88": RXNORM_SYSTEM,
    f"{_OID}6.90": ICD_10_CM_SYSTEM,
    f"{_OID}6.3": ICD_10_SYSTEM,
    f"{_OID}6.103": ICD_9_CM_SYSTEM,
    f"{_OID}6.73": ATC_SYSTEM,
    f"{_OID}6.285": HCPCS_SYSTEM,
    f"{_OID}6.14": HCPCS_SYSTEM,
    f"{_OID}6.2": ICD_9_CM_SYSTEM,
    f"{_OID}6.42": ICD_9_CM_SYSTEM,
    f"{_OID}6.4": ICD_10_PCS_SYSTEM,
    f"{_OID}6.139": ICPC_2_SYSTEM,
    f"{_OID}6.12": CPT_SYSTEM,
    f"{_OID}6.101": PROVIDER_TAXONOMY_SYSTEM,
    f"{_OID}6.50": PLACE_OF_SERVICE_SYSTEM,
    f"{_OID}5.4": ACT_CODE_SYSTEM,
    f"{_OID}5.8": ACT_REASON_SYSTEM,
    f"{_OID}5.25": CONFIDENTIALITY_SYSTEM,
    f"{_OID}5.90": PARTICIPATION_SYSTEM,
    f"{_OID}5.1063": OBSERVATION_VALUE_SYSTEM,
    "http://hl7.org/fhir/v3/ActCode": ACT_CODE_SYSTEM,
    "http://hl7.org/fhir/v3/ActReason": ACT_REASON_SYSTEM,
    "http://hl7.org/fhir/v3/Confidentiality": CONFIDENTIALITY_SYSTEM,
    "http://hl7.org/fhir/v3/ObservationValue": OBSERVATION_VALUE_SYSTEM,
    "http://hl7.org/fhir/v3/ParticipationType": PARTICIPATION_SYSTEM,
    "http://hl7.org/fhir/consentaction": CONSENT_ACTION_SYSTEM,
    "http://hl7.org/fhir/fhir-types": RESOURCE_TYPES_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/icd10CM": ICD_10_CM_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/icd10": ICD_10_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/icd9cm": ICD_9_CM_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/hcpcs": HCPCS_SYSTEM,
    "http://www.cms.gov/Medicare/Coding/MedHCPCSGenInfo": HCPCS_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/icd9": ICD_9_CM_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/icd10PCS": ICD_10_PCS_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/v3-HealthcareProviderTaxonomyHIPAA": PROVIDER_TAXONOMY_SYSTEM,
    "http://terminology.hl7.org/CodeSystem/POS": PLACE_OF_SERVICE_SYSTEM,
    "http://hl7.org/fhir/sid/icd-9-cm/diagnosis": ICD_9_CM_SYSTEM,
    "http://hl7.org/fhir/sid/icd-9": ICD_9_CM_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-us": ICD_10_CM_SYSTEM,
    "http://hl7.org/fhir/sid/icd-11": ICD_11_SYSTEM,
    "http://hl7.org/fhir/sid/icpc-1": ICPC_2_SYSTEM,
    "http://hl7.org/fhir/sid/atc": ATC_SYSTEM,
    "http://id.who.int/icd/release/10": ICD_10_SYSTEM,
    "http://loinc.org/rdf": LOINC_SYSTEM,
    "https://bluebutton.cms.gov/resources/codesystem/hcpcs": HCPCS_SYSTEM,
    "http://snomed.info/id": SNOMED_SYSTEM,
    "http://snomed.info/xsct": SNOMED_SYSTEM,
}
_USUAL: Final = (
    *(LOINC_SYSTEM, SNOMED_SYSTEM, RXNORM_SYSTEM, ICD_10_CM_SYSTEM, ICD_10_SYSTEM, ICD_9_CM_SYSTEM, ATC_SYSTEM),
    *(ICD_10_PCS_SYSTEM, ICD_11_SYSTEM, ICPC_2_SYSTEM, CPT_SYSTEM, REVENUE_SYSTEM, MS_DRG_SYSTEM),
    *(PLACE_OF_SERVICE_SYSTEM, SERVICE_TYPE_SYSTEM, SERVICE_CATEGORY_SYSTEM, PROVIDER_TAXONOMY_SYSTEM),
    *(HCPCS_SYSTEM, ACT_CODE_SYSTEM, ACT_REASON_SYSTEM, CONFIDENTIALITY_SYSTEM, OBSERVATION_VALUE_SYSTEM),
)


_AFTER_NAME: Final = re.compile(r"[|#?].*", re.DOTALL)


def _spelt(name: str) -> str:
    name = _AFTER_NAME.sub("", name.lower()).replace("https://", "http://", 1).replace("://www.", "://", 1)
    return (f"urn:{name}" if name.startswith("oid:") else name).rstrip("/")


_BY_SPELLING: Final = {
    _spelt(name): usual for name, usual in [*_ALIASES.items(), *((usual, usual) for usual in _USUAL)]
}
_EDITIONS: Final = (f"{SNOMED_SYSTEM}/", "http://snomed.info/xsct/")


def usual_system(name: str) -> str:
    """The name under which a code system decides: real systems write the same one in several ways.

    Sensitivity must not hang on the spelling: case, https, a closing slash, a version, an OID, an older name, a
    SNOMED CT edition, what is appended. What isn't known stays as it is.
    """
    name = name.strip()
    spelt = _spelt(name)
    return SNOMED_SYSTEM if spelt.startswith(_EDITIONS) else _BY_SPELLING.get(spelt, name)
