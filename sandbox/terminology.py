"""Diagnoses, encounter types, procedures and vaccines of the sandbox: codes of public code systems, as facts."""

from __future__ import annotations

from typing import Final

from sandbox.elements import ACT_CODE, CONFIDENTIALITY, CVX, ICD10CM, SNOMED, Code


def icd(code: str, display: str) -> Code:
    """A code of ICD-10-CM."""
    return Code(ICD10CM, code, display)


def snomed(code: str, display: str) -> Code:
    """A concept of SNOMED CT."""
    return Code(SNOMED, code, display)


def label(code: str, display: str) -> Code:
    """A sensitivity of v3-ActCode."""
    return Code(ACT_CODE, code, display)


RESTRICTED: Final = Code(CONFIDENTIALITY, "R", "restricted")
VERY_RESTRICTED: Final = Code(CONFIDENTIALITY, "V", "very restricted")
PSY: Final = (label("PSY", "psychiatry disorder information sensitivity"), RESTRICTED)
SUD: Final = (label("SUD", "substance use disorder information sensitivity"), RESTRICTED)
ETH: Final = (label("ETH", "substance abuse information sensitivity"), RESTRICTED)
HIV: Final = (label("HIV", "HIV/AIDS information sensitivity"), RESTRICTED)
SEX: Final = (label("SEX", "sexuality and reproductive health information sensitivity"), RESTRICTED)
STD: Final = (label("STD", "sexually transmitted disease information sensitivity"), RESTRICTED)
SDV: Final = (
    label("SDV", "sexual assault, abuse, or domestic violence information sensitivity"),
    VERY_RESTRICTED,
)
GDIS: Final = (label("GDIS", "genetic disease information sensitivity"), RESTRICTED)
PSYTHPN: Final = (label("PSYTHPN", "psychotherapy note information sensitivity"), VERY_RESTRICTED)

CHECK_UP: Final = snomed("185349003", "Encounter for check up (procedure)")
WELL_CHILD: Final = snomed("410620009", "Well child visit (procedure)")
SYMPTOM: Final = snomed("185345009", "Encounter for symptom (procedure)")
FOLLOW_UP: Final = snomed("390906007", "Follow-up encounter (procedure)")
ADMISSION: Final = snomed("32485007", "Hospital admission (procedure)")
EMERGENCY: Final = snomed("50849002", "Emergency room admission (procedure)")
TELEHEALTH: Final = snomed("448337001", "Telemedicine consultation with patient (procedure)")

ADULT_EXAM: Final = icd("Z00.00", "Encounter for general adult medical examination without abnormal findings")
CHILD_EXAM: Final = icd("Z00.129", "Encounter for routine child health examination without abnormal findings")


def cvx(code: str, display: str) -> Code:
    """A vaccine."""
    return Code(CVX, code, display)


# Years of age at which a vaccine is given.
CHILDHOOD_VACCINES: Final = (
    (0.0, cvx("08", "Hep B, adolescent or pediatric")),
    (0.17, cvx("08", "Hep B, adolescent or pediatric")),
    (0.17, cvx("119", "rotavirus, monovalent")),
    (0.17, cvx("20", "DTaP")),
    (0.17, cvx("133", "Pneumococcal conjugate PCV 13")),
    (0.33, cvx("20", "DTaP")),
    (0.33, cvx("10", "IPV")),
    (0.5, cvx("20", "DTaP")),
    (1.0, cvx("03", "MMR")),
    (1.0, cvx("21", "varicella")),
    (1.25, cvx("48", "Hib (PRP-T)")),
    (4.5, cvx("03", "MMR")),
    (11.0, cvx("115", "Tdap")),
    (11.0, cvx("114", "meningococcal MCV4P")),
    (12.0, cvx("165", "HPV9")),
)
ADULT_VACCINES: Final = (
    (21.0, cvx("115", "Tdap")),
    (31.0, cvx("115", "Tdap")),
    (41.0, cvx("115", "Tdap")),
    (51.0, cvx("187", "zoster recombinant")),
    (66.0, cvx("33", "pneumococcal polysaccharide PPV23")),
)
INFLUENZA: Final = cvx("150", "Influenza, injectable, quadrivalent, preservative free")
COVID: Final = cvx("208", "COVID-19, mRNA, LNP-S, PF, 30 mcg/0.3 mL dose")

ALLERGENS: Final = {
    "penicillin": (Code("http://www.nlm.nih.gov/research/umls/rxnorm", "7980", "penicillin G"), "medication"),
    "sulfa": (snomed("387406002", "Sulfonamide (substance)"), "medication"),
    "peanut": (snomed("762952008", "Peanut (substance)"), "food"),
    "latex": (snomed("111088007", "Latex (substance)"), "environment"),
    "bee": (snomed("288328004", "Bee venom (substance)"), "environment"),
    "egg": (snomed("102263004", "Eggs (edible) (substance)"), "food"),
}
REACTIONS: Final = (
    snomed("247472004", "Wheal (finding)"),
    snomed("271807003", "Eruption of skin (disorder)"),
    snomed("39579001", "Anaphylaxis (disorder)"),
    snomed("422587007", "Nausea (finding)"),
)

SMOKING: Final = {
    "never": snomed("266919005", "Never smoked tobacco (finding)"),
    "former": snomed("8517006", "Ex-smoker (finding)"),
    "current": snomed("77176002", "Smoker (finding)"),
}
