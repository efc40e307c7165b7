"""The sets that come with Assent know the systems in which visits and claims say what a visit was for."""

from __future__ import annotations

import pytest

from fhir.minimization.codings import coding_of
from policies.classify import classify
from policies.model import ResourceFacts
from tests.policies.consents import CATALOGUE

_HL7 = "http://terminology.hl7.org/CodeSystem/"
_CMS = "https://www.cms.gov/Medicare/"
_DRG = f"{_CMS}Medicare-Fee-for-Service-Payment/AcuteInpatientPPS/MS-DRG-Classifications-and-Software"
_PLACES = f"{_CMS}Coding/place-of-service-codes/Place_of_Service_Code_Set"
_PROVIDERS = "http://nucc.org/provider-taxonomy"
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (f"{_HL7}v3-ActCode", "HIVAIDS", {"hiv"}),
        (f"{_HL7}v3-ActCode", "MENTPRG", {"mental-health"}),
        (f"{_HL7}v3-ActCode", "EHCPOL", set()),
        (f"{_HL7}service-type", "141", {"mental-health"}),
        (f"{_HL7}service-type", "80", {"domestic-violence"}),
        (f"{_HL7}service-type", "57", set()),
        (f"{_HL7}service-category", "12", {"substance-use"}),
        ("http://www.cms.gov/Medicare/Coding/ICD10", "HZ2ZZZZ", {"substance-use"}),
        ("urn:oid:2.16.840.1.113883.6.4", "gzb0zzz", {"mental-health"}),
        ("http://www.cms.gov/Medicare/Coding/ICD10", "10A07ZZ", {"sexual-health"}),
        ("http://www.cms.gov/Medicare/Coding/ICD10", "0DTJ4ZZ", set()),
        (_DRG, "885", {"mental-health"}),
        (_DRG, "897", {"substance-use"}),
        (_DRG, "470", set()),
        (_PLACES, "55", {"substance-use"}),
        (_PLACES, "11", set()),
        ("https://www.nubc.org/CodeSystem/RevenueCodes", "0944", {"substance-use"}),
        ("https://www.nubc.org/CodeSystem/RevenueCodes", "0250", set()),
        ("http://www.ama-assn.org/go/cpt", "90837", {"mental-health"}),
        ("http://www.ama-assn.org/go/cpt", "86703", {"hiv"}),
        ("http://www.ama-assn.org/go/cpt", "99213", set()),
        ("http://id.who.int/icd/release/11/mms", "6C40.2", {"substance-use"}),
        ("http://id.who.int/icd/release/11/mms", "1C62.0", {"hiv"}),
        ("http://hl7.org/fhir/sid/icpc-2", "P76", {"mental-health"}),
        ("http://hl7.org/fhir/sid/icpc-2", "R74", set()),
        (_PROVIDERS, "2084P0800X", {"mental-health"}),
        (_PROVIDERS, "103TA0400X", {"mental-health", "substance-use"}),
        ("urn:oid:2.16.840.1.113883.6.101", "261QM2800X", {"substance-use"}),
        ("http://www.nucc.org/provider-taxonomy", "207VX0201X", {"sexual-health"}),
        (_PROVIDERS, "207Q00000X", set()),
        ("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "h0020", {"substance-use"}),
        ("http://snomed.info/sct", "310116007", {"mental-health"}),
        ("http://snomed.info/sct", "700187009", {"substance-use"}),
        ("http://snomed.info/sct", "287185009", {"mental-health"}),
        ("http://snomed.info/sct", "38341003", set()),
        ("http://snomed.info/sct", "225158009", {"sexual-health"}),
        ("http://loinc.org", "5225-8", {"hiv"}),
        ("http://loinc.org", "11778-8", {"sexual-health"}),
        (_RXNORM, "748879", {"sexual-health"}),
        (_RXNORM, "1098649", {"mental-health"}),
        (_RXNORM, "310798", set()),
    ],
)
def test_a_code_that_says_what_a_visit_was_for_is_sensitive(system: str, code: str, expected: set[str]) -> None:
    assert CATALOGUE.sensitive_codes.of(coding_of(system, code)) == expected


@pytest.mark.parametrize(
    "code", ["55", "22", "141", "885", "0944", "90837", "P76", "J10.1", "HA00", "PREG", "704", "103T00000X"]
)
def test_a_code_without_a_system_is_not_taken_for_a_short_one_of_claims(code: str) -> None:
    assert CATALOGUE.sensitive_codes.of(coding_of(None, code)) == set()


@pytest.mark.parametrize("system", [_PROVIDERS, "urn:oid:2.16.840.1.113883.6.101"])
def test_a_specialty_says_something_of_a_patient_and_nothing_of_who_has_it(system: str) -> None:
    codes = frozenset({coding_of(system, "2084P0800X"), coding_of(_PLACES, "55")})
    claim = ResourceFacts("ExplanationOfBenefit", "claim", owners=frozenset({"ana"}), codes=codes)
    provider = ResourceFacts("PractitionerRole", "psychiatrist", codes=codes)
    assert classify(claim, CATALOGUE).sensitive == {"mental-health", "substance-use"}
    assert classify(provider, CATALOGUE).sensitive == {"substance-use"}


@pytest.mark.parametrize(
    "system",
    [
        "urn:oid:2.16.840.1.113883.6.238",
        f"{_HL7}v3-Race",
        f"{_HL7}v3-Ethnicity",
        "http://hl7.org/fhir/v3/Race",
        "urn:own",
    ],
)
@pytest.mark.parametrize("code", ["1002-5", "2028-9", "2054-5", "2076-8", "2106-3", "2131-1", "2135-2", "2186-5"])
def test_who_somebody_is_by_race_or_ethnicity_is_no_laboratory_test(system: str, code: str) -> None:
    """`2106-3` is White, and in LOINC a pregnancy test."""
    facts = ResourceFacts("Patient", "p1", codes=frozenset({coding_of(system, code)}))
    assert classify(facts, CATALOGUE).sensitive == frozenset()
