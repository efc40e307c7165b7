"""The other names that are in use for code systems: what a record means must not hang on how it spells them.

OIDs and older names as HL7 Terminology's NamingSystems give them (7.0.1), and as systems in use write them.
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category, normalize
from urllib.parse import unquote

from policies.codes import (
    ACT_CODE_SYSTEM,
    ACT_REASON_SYSTEM,
    ATC_SYSTEM,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_ACTION_SYSTEM,
    CPT_SYSTEM,
    HCPCS_SYSTEM,
    ICD_9_CM_SYSTEM,
    ICD_10_CM_SYSTEM,
    ICD_10_PCS_SYSTEM,
    ICD_10_SYSTEM,
    ICD_11_SYSTEM,
    ICPC_2_SYSTEM,
    LOINC_SYSTEM,
    MS_DRG_SYSTEM,
    NDC_SYSTEM,
    OBSERVATION_VALUE_SYSTEM,
    PARTICIPATION_SYSTEM,
    PLACE_OF_SERVICE_SYSTEM,
    PROVIDER_TAXONOMY_SYSTEM,
    RESOURCE_TYPES_SYSTEM,
    REVENUE_SYSTEM,
    RXNORM_SYSTEM,
    SERVICE_CATEGORY_SYSTEM,
    SERVICE_TYPE_SYSTEM,
    SNOMED_SYSTEM,
)

_OF_HL7: Final = "2.16.840.1.113883."
"""Arc of OIDs below which HL7 registers code systems, its own and others'."""
_OID: Final = f"urn:oid:{_OF_HL7}"
_HL7: Final = "http://terminology.hl7.org/CodeSystem/"
_BIOPORTAL: Final = "http://purl.bioontology.org/ontology/"
CLINICAL_SYSTEMS: Final = frozenset(
    {
        *(LOINC_SYSTEM, SNOMED_SYSTEM, RXNORM_SYSTEM, ICD_10_CM_SYSTEM, ICD_10_SYSTEM, ICD_9_CM_SYSTEM, ATC_SYSTEM),
        *(ICD_10_PCS_SYSTEM, ICD_11_SYSTEM, ICPC_2_SYSTEM, CPT_SYSTEM, HCPCS_SYSTEM, REVENUE_SYSTEM, MS_DRG_SYSTEM),
        *(PLACE_OF_SERVICE_SYSTEM, SERVICE_TYPE_SYSTEM, SERVICE_CATEGORY_SYSTEM, PROVIDER_TAXONOMY_SYSTEM),
    }
)
"""Systems of codes that say what somebody has or was given."""
NATIONAL_EDITIONS: Final = {
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": ICD_10_SYSTEM,
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm": ICD_10_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-gm": ICD_10_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-de": ICD_10_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-ca": ICD_10_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-am": ICD_10_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-nl": ICD_10_SYSTEM,
    "http://fhir.de/CodeSystem/bfarm/atc": ATC_SYSTEM,
}
"""Countries' own editions: the same codes, with more below them."""
_ALIASES: Final = {
    f"{_OID}6.1": LOINC_SYSTEM,
    f"{_OID}6.96": SNOMED_SYSTEM,
    f"{_OID}6.88": RXNORM_SYSTEM,
    f"{_OID}6.90": ICD_10_CM_SYSTEM,
    **{f"{_OID}6.{n}": ICD_10_SYSTEM for n in ("3", "3.1", "3.2", "3.3", "94", "260")},
    **{f"{_OID}6.{n}": ICD_9_CM_SYSTEM for n in ("103", "104", "2", "42", "261")},
    f"{_OID}6.73": ATC_SYSTEM,
    f"{_OID}6.285": HCPCS_SYSTEM,
    f"{_OID}6.14": HCPCS_SYSTEM,
    f"{_OID}6.4": ICD_10_PCS_SYSTEM,
    **{f"{_OID}6.{n}": ICPC_2_SYSTEM for n in ("138", "139", "139.1", "139.2", "139.3", "140", "140.1", "140.2")},
    **{f"{_OID}6.138.{n}": ICPC_2_SYSTEM for n in range(1, 15)},
    f"{_OID}6.12": CPT_SYSTEM,
    f"{_OID}6.69": NDC_SYSTEM,
    f"{_OID}6.101": PROVIDER_TAXONOMY_SYSTEM,
    f"{_OID}6.50": PLACE_OF_SERVICE_SYSTEM,
    f"{_OID}15.5": PLACE_OF_SERVICE_SYSTEM,
    f"{_OID}6.301.3": REVENUE_SYSTEM,
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
    **{f"{_HL7}{n}": ICD_10_SYSTEM for n in ("icd10", "icd10ae", "ICD10dut", "dmdICD10", "ICD-10DualCoding")},
    **{f"{_HL7}{n}": ICD_9_CM_SYSTEM for n in ("icd9", "icd9cm", "ICD-9DualCoding")},
    **{f"{_HL7}{n}": ICPC_2_SYSTEM for n in ("icpc", "icpc2E-ENG", "icpc2E-DUT", "mthicpc2E-AE", "icpc2E-P")},
    f"{_HL7}icd10CM": ICD_10_CM_SYSTEM,
    f"{_HL7}icd10PCS": ICD_10_PCS_SYSTEM,
    f"{_HL7}hcpcs": HCPCS_SYSTEM,
    f"{_HL7}CPT": CPT_SYSTEM,
    f"{_HL7}v3-rxNorm": RXNORM_SYSTEM,
    f"{_HL7}v3-HealthcareProviderTaxonomyHIPAA": PROVIDER_TAXONOMY_SYSTEM,
    f"{_HL7}v3-nuccProviderCodes": PROVIDER_TAXONOMY_SYSTEM,
    f"{_HL7}POS": PLACE_OF_SERVICE_SYSTEM,
    f"{_HL7}v2-0456": REVENUE_SYSTEM,
    "http://www.cms.gov/Medicare/Coding/MedHCPCSGenInfo": HCPCS_SYSTEM,
    "https://bluebutton.cms.gov/resources/codesystem/hcpcs": HCPCS_SYSTEM,
    "http://hl7.org/fhir/sid/icd-9": ICD_9_CM_SYSTEM,
    "http://hl7.org/fhir/sid/icd-10-us": ICD_10_CM_SYSTEM,
    "http://hl7.org/fhir/sid/icd-11": ICD_11_SYSTEM,
    "http://hl7.org/fhir/sid/icpc-1": ICPC_2_SYSTEM,
    "http://hl7.org/fhir/sid/atc": ATC_SYSTEM,
    "http://id.who.int/icd/release/10": ICD_10_SYSTEM,
    "http://id.who.int/icd/release/11": ICD_11_SYSTEM,
    "http://loinc.org/rdf": LOINC_SYSTEM,
    "http://snomed.info/id": SNOMED_SYSTEM,
    "http://snomed.info/xsct": SNOMED_SYSTEM,
    f"{_BIOPORTAL}SNOMEDCT": SNOMED_SYSTEM,
    f"{_BIOPORTAL}LNC": LOINC_SYSTEM,
    f"{_BIOPORTAL}RXNORM": RXNORM_SYSTEM,
    f"{_BIOPORTAL}ICD10": ICD_10_SYSTEM,
    f"{_BIOPORTAL}ICD10CM": ICD_10_CM_SYSTEM,
    f"{_BIOPORTAL}ICD10PCS": ICD_10_PCS_SYSTEM,
    f"{_BIOPORTAL}ICD9CM": ICD_9_CM_SYSTEM,
    f"{_BIOPORTAL}ATC": ATC_SYSTEM,
    f"{_BIOPORTAL}CPT": CPT_SYSTEM,
    f"{_BIOPORTAL}HCPCS": HCPCS_SYSTEM,
    # HL7 v2 table 0396, and short names, of systems whose codes say nothing without it.
    **dict.fromkeys(("C4", "CPT", "CPT4", "CPT-4"), CPT_SYSTEM),
    **dict.fromkeys(("ICPC", "ICPC2", "ICPC-2"), ICPC_2_SYSTEM),
    **dict.fromkeys(("I10P", "ICD10PCS", "ICD-10-PCS"), ICD_10_PCS_SYSTEM),
    **dict.fromkeys(("ICD11", "ICD-11"), ICD_11_SYSTEM),
    **dict.fromkeys(("MSDRG", "MS-DRG"), MS_DRG_SYSTEM),
    **dict.fromkeys(("NUCC",), PROVIDER_TAXONOMY_SYSTEM),
}
_THEMSELVES: Final = (
    *CLINICAL_SYSTEMS,
    *NATIONAL_EDITIONS,
    NDC_SYSTEM,
    *(ACT_CODE_SYSTEM, ACT_REASON_SYSTEM, CONFIDENTIALITY_SYSTEM, OBSERVATION_VALUE_SYSTEM),
)
_AFTER_NAME: Final = re.compile(r"[|#?].*", re.DOTALL)
_PORT: Final = re.compile(r"^(http://[^/:]+?)\.?(:(80|443))?(?=/|$)")
_SLASHES: Final = re.compile(r"(?<!:)//+")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode categories of control and format characters, and of space."""


def _spelt(name: str) -> str:
    """A name as it is compared: RFC 3986 §6.2 (case, percent-encoding, default port), and what people add to one."""
    if not name.isascii() or "%" in name:
        name = normalize("NFKC", unquote(normalize("NFKC", name)))
    if not name.isprintable() or not name.isascii() or " " in name:
        name = "".join(letter for letter in name if category(letter) not in _UNSEEN)
    name = _AFTER_NAME.sub("", name.lower()).replace("https://", "http://", 1).replace("://www.", "://", 1)
    if name.startswith("http://"):
        name = _SLASHES.sub("/", _PORT.sub(r"\1", name, count=1))
    elif name.startswith("oid:"):
        name = f"urn:{name}"
    elif name.startswith(_OF_HL7):
        name = f"urn:oid:{name}"
    return name.rstrip("/.")


_BY_SPELLING: Final = {
    _spelt(name): usual for name, usual in [*_ALIASES.items(), *((usual, usual) for usual in _THEMSELVES)]
}
_ABOVE: Final = tuple((f"{spelling}/", usual) for spelling, usual in _BY_SPELLING.items() if ":" in spelling)


def usual_system(name: str) -> str:
    """The name under which a code system decides: real systems write the same one in several ways.

    Sensitivity must not hang on the spelling: case, https, a port, percent-encoding, wide letters, a closing slash, a
    version, an OID, an older name, an edition or a release below it, what is appended. What isn't known stays as it is.
    """
    name = name.strip()
    spelt = _spelt(name)
    usual = _BY_SPELLING.get(spelt)
    if usual is None and "/" in spelt:
        usual = next((usual for beginning, usual in _ABOVE if spelt.startswith(beginning)), None)
    return name if usual is None else usual
