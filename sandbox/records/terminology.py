"""Codes of the sandbox's records: real ones, of LOINC, SNOMED CT, ICD-10-CM, RxNorm, CVX and HL7's own systems."""

from __future__ import annotations

from typing import Final, NamedTuple

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
ICD10: Final = "http://hl7.org/fhir/sid/icd-10-cm"
RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
CVX: Final = "http://hl7.org/fhir/sid/cvx"
UCUM: Final = "http://unitsofmeasure.org"
TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
ACT_CODE: Final = TERMINOLOGY + "v3-ActCode"
CONFIDENTIALITY: Final = TERMINOLOGY + "v3-Confidentiality"
OBSERVATION_CATEGORY: Final = TERMINOLOGY + "observation-category"
US_CORE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/"


class Code(NamedTuple):
    """A code with the name people know it by."""

    system: str
    code: str
    display: str


class Measured(NamedTuple):
    """What is measured, in which unit, and the range that values come from (also tells the decimal places)."""

    code: Code
    unit: str
    low: str
    high: str


class Illness(NamedTuple):
    """A problem as clinics record it: SNOMED CT for the clinician, ICD-10-CM for the bill."""

    snomed: Code
    icd: Code


def _lab(code: str, display: str, unit: str, low: str, high: str) -> Measured:
    return Measured(Code(LOINC, code, display), unit, low, high)


def illness(snomed: str, icd: str, display: str) -> Illness:
    """A problem by its two codes."""
    return Illness(Code(SNOMED, snomed, display), Code(ICD10, icd, display))


LAB_PANELS: Final[tuple[tuple[Code, tuple[Measured, ...]], ...]] = (
    (
        Code(LOINC, "51990-0", "Basic metabolic panel - Blood"),
        (
            _lab("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", "70", "180"),
            _lab("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL", "6", "30"),
            _lab("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", "0.50", "2.00"),
            _lab("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", "132", "148"),
            _lab("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", "3.2", "5.6"),
            _lab("2075-0", "Chloride [Moles/volume] in Serum or Plasma", "mmol/L", "95", "110"),
        ),
    ),
    (
        Code(LOINC, "57698-3", "Lipid panel with direct LDL - Serum or Plasma"),
        (
            _lab("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", "120", "290"),
            _lab("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma", "mg/dL", "60", "320"),
            _lab("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma", "mg/dL", "28", "85"),
            _lab("18262-6", "Cholesterol in LDL [Mass/volume] in Serum or Plasma", "mg/dL", "55", "190"),
        ),
    ),
    (
        Code(LOINC, "58410-2", "CBC panel - Blood by Automated count"),
        (
            _lab("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", "9.0", "17.5"),
            _lab("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", "30.0", "52.0"),
            _lab("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", "3.50", "12.50"),
            _lab("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", "140", "420"),
        ),
    ),
    (
        Code(LOINC, "24323-8", "Comprehensive metabolic panel - Serum or Plasma"),
        (
            _lab("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", "5.0", "10.5"),
            _lab("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma", "m[IU]/L", "0.350", "6.500"),
            _lab("10839-9", "Troponin I.cardiac [Mass/volume] in Serum or Plasma", "ng/mL", "0.0010", "0.0400"),
        ),
    ),
)

OXYGEN: Final = (
    Code(LOINC, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
    Code(LOINC, "2708-6", "Oxygen saturation in Arterial blood"),
)
"""US Core, pulse oximetry: both codes."""
VITALS: Final[tuple[Measured, ...]] = (
    _lab("8867-4", "Heart rate", "/min", "52", "110"),
    _lab("9279-1", "Respiratory rate", "/min", "10", "24"),
    _lab("8310-5", "Body temperature", "Cel", "36.0", "38.5"),
    Measured(OXYGEN[0], "%", "91", "100"),
)
WEIGHT: Final = Code(LOINC, "29463-7", "Body weight")
HEIGHT: Final = Code(LOINC, "8302-2", "Body height")
BMI: Final = Code(LOINC, "39156-5", "Body mass index (BMI) [Ratio]")
BLOOD_PRESSURE: Final = Code(LOINC, "85354-9", "Blood pressure panel with all children optional")
SYSTOLIC: Final = Code(LOINC, "8480-6", "Systolic blood pressure")
DIASTOLIC: Final = Code(LOINC, "8462-4", "Diastolic blood pressure")
SMOKING: Final = Code(LOINC, "72166-2", "Tobacco smoking status")
SMOKING_ANSWERS: Final = (
    Code(SNOMED, "266919005", "Never smoked tobacco"),
    Code(SNOMED, "8517006", "Ex-smoker"),
    Code(SNOMED, "449868002", "Smokes tobacco daily"),
)

ILLNESSES: Final[dict[str, Illness]] = {
    "hypertension": illness("38341003", "I10", "Hypertensive disorder"),
    "diabetes": illness("44054006", "E11.9", "Type 2 diabetes mellitus"),
    "asthma": illness("195967001", "J45.909", "Asthma"),
    "hyperlipidemia": illness("55822004", "E78.5", "Hyperlipidemia"),
    "hypothyroidism": illness("40930008", "E03.9", "Hypothyroidism"),
    "heart-failure": illness("84114007", "I50.9", "Heart failure"),
    "atrial-fibrillation": illness("49436004", "I48.91", "Atrial fibrillation"),
    "kidney-disease": illness("709044004", "N18.30", "Chronic kidney disease"),
    "osteoarthritis": illness("396275006", "M19.90", "Osteoarthritis"),
    "copd": illness("13645005", "J44.9", "Chronic obstructive pulmonary disease"),
    "migraine": illness("37796009", "G43.909", "Migraine"),
    "reflux": illness("235595009", "K21.9", "Gastroesophageal reflux disease"),
    "eczema": illness("43116000", "L30.9", "Eczema"),
    "anemia": illness("87522002", "D50.9", "Iron deficiency anemia"),
}
ACUTE: Final[tuple[Illness, ...]] = (
    illness("444814009", "J01.90", "Viral sinusitis"),
    illness("195662009", "J02.9", "Acute viral pharyngitis"),
    illness("10509002", "J20.9", "Acute bronchitis"),
    illness("65363002", "H66.90", "Otitis media"),
    illness("279039007", "M54.50", "Low back pain"),
)

MEDICINES: Final[dict[str, Code]] = {
    "hypertension": Code(RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
    "diabetes": Code(RXNORM, "860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet"),
    "asthma": Code(RXNORM, "745679", "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"),
    "hyperlipidemia": Code(RXNORM, "617312", "atorvastatin 20 MG Oral Tablet"),
    "hypothyroidism": Code(RXNORM, "966221", "levothyroxine sodium 0.05 MG Oral Tablet"),
    "heart-failure": Code(RXNORM, "310429", "furosemide 20 MG Oral Tablet"),
    "atrial-fibrillation": Code(RXNORM, "1364435", "apixaban 2.5 MG Oral Tablet"),
    "kidney-disease": Code(RXNORM, "979480", "losartan potassium 50 MG Oral Tablet"),
    "osteoarthritis": Code(RXNORM, "310965", "ibuprofen 200 MG Oral Tablet"),
    "copd": Code(RXNORM, "580261", "tiotropium 0.018 MG Inhalation Powder"),
    "migraine": Code(RXNORM, "313161", "sumatriptan 50 MG Oral Tablet"),
    "reflux": Code(RXNORM, "402014", "omeprazole 20 MG Delayed Release Oral Capsule"),
    "eczema": Code(RXNORM, "106258", "hydrocortisone 10 MG/ML Topical Cream"),
    "anemia": Code(RXNORM, "310325", "ferrous sulfate 325 MG Oral Tablet"),
}

VACCINES: Final[tuple[Code, ...]] = (
    Code(CVX, "140", "Influenza, seasonal, injectable, preservative free"),
    Code(CVX, "115", "Tdap"),
    Code(CVX, "208", "COVID-19, mRNA, LNP-S, PF, 30 mcg/0.3 mL dose"),
    Code(CVX, "33", "pneumococcal polysaccharide PPV23"),
)
ALLERGENS: Final[tuple[Code, ...]] = (
    Code(SNOMED, "91936005", "Allergy to penicillin"),
    Code(SNOMED, "91935009", "Allergy to peanut"),
    Code(SNOMED, "300916003", "Allergy to latex"),
    Code(SNOMED, "232350006", "House dust mite allergy"),
)
