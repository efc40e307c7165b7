"""Courses of disease: what each brings with it into a record. Codes are facts of the named code systems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sandbox.elements import Code
from sandbox.terminology import icd, snomed


@dataclass(frozen=True, slots=True)
class Course:
    """A condition and what goes with it: medicines, tests, questionnaires, procedures, a plan, what notes say of it."""

    title: str
    codes: tuple[Code, ...]
    drugs: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()
    surveys: tuple[str, ...] = ()
    procedure: Code | None = None
    imaging: str | None = None
    goal: str | None = None
    note: str = "Stable, no change of treatment."
    labels: tuple[Code, ...] = ()
    lasting: bool = True


COMMON: Final = {
    "hypertension": Course(
        "High blood pressure",
        (icd("I10", "Essential (primary) hypertension"), snomed("59621000", "Essential hypertension (disorder)")),
        drugs=("lisinopril", "amlodipine"),
        panels=("basic",),
        goal="Blood pressure below 130/80",
        note="Home readings around 135/85, tolerates the medicine, low-salt diet discussed.",
    ),
    "diabetes": Course(
        "Type 2 diabetes",
        (
            icd("E11.9", "Type 2 diabetes mellitus without complications"),
            snomed("44054006", "Diabetes mellitus type 2 (disorder)"),
        ),
        drugs=("metformin",),
        panels=("a1c", "basic", "urine"),
        procedure=snomed("36228007", "Ophthalmic examination and evaluation (procedure)"),
        goal="HbA1c below 7 %",
        note="Checks glucose in the mornings; feet without lesions, eye examination due yearly.",
    ),
    "diabetes-1": Course(
        "Type 1 diabetes",
        (
            icd("E10.9", "Type 1 diabetes mellitus without complications"),
            snomed("46635009", "Diabetes mellitus type 1 (disorder)"),
        ),
        drugs=("glargine",),
        panels=("a1c", "basic"),
        goal="Time in range above 70 %",
        note="Wears a sensor, few lows, school nurse is informed.",
    ),
    "cholesterol": Course(
        "High cholesterol",
        (icd("E78.5", "Hyperlipidemia, unspecified"), snomed("55822004", "Hyperlipidemia (disorder)")),
        drugs=("atorvastatin",),
        panels=("lipids", "liver"),
        note="Takes the statin most evenings, no muscle pain.",
    ),
    "asthma": Course(
        "Asthma",
        (icd("J45.909", "Unspecified asthma, uncomplicated"), snomed("195967001", "Asthma (disorder)")),
        drugs=("albuterol", "fluticasone"),
        imaging="chest",
        goal="No night-time cough",
        note="Uses the reliever twice a week, technique good.",
    ),
    "copd": Course(
        "COPD",
        (
            icd("J44.9", "Chronic obstructive pulmonary disease, unspecified"),
            snomed("13645005", "Chronic obstructive lung disease (disorder)"),
        ),
        drugs=("albuterol", "prednisone"),
        panels=("blood-count",),
        imaging="chest",
        note="One flare this winter, walks to the shop with one rest.",
    ),
    "heart-failure": Course(
        "Heart failure",
        (icd("I50.9", "Heart failure, unspecified"), snomed("84114007", "Heart failure (disorder)")),
        drugs=("furosemide", "carvedilol"),
        panels=("cardiac", "basic"),
        procedure=snomed("40701008", "Echocardiography (procedure)"),
        imaging="chest",
        goal="Weight stable within 1 kg",
        note="Ankles slightly swollen in the evening, sleeps on two pillows.",
    ),
    "atrial-fibrillation": Course(
        "Atrial fibrillation",
        (icd("I48.91", "Unspecified atrial fibrillation"), snomed("49436004", "Atrial fibrillation (disorder)")),
        drugs=("apixaban",),
        panels=("coagulation",),
        procedure=snomed("29303009", "Electrocardiographic procedure (procedure)"),
        note="Rate controlled, no bleeding.",
    ),
    "coronary": Course(
        "Coronary heart disease",
        (
            icd("I25.10", "Atherosclerotic heart disease of native coronary artery without angina pectoris"),
            snomed("53741008", "Coronary arteriosclerosis (disorder)"),
        ),
        drugs=("aspirin", "atorvastatin"),
        panels=("lipids", "cardiac"),
        note="No chest pain, cardiac rehabilitation finished.",
    ),
    "kidney": Course(
        "Chronic kidney disease",
        (
            icd("N18.30", "Chronic kidney disease, stage 3 unspecified"),
            snomed("433144002", "Chronic kidney disease stage 3 (disorder)"),
        ),
        panels=("basic", "urine"),
        note="Avoids anti-inflammatory pain killers, eGFR followed.",
    ),
    "thyroid": Course(
        "Underactive thyroid",
        (icd("E03.9", "Hypothyroidism, unspecified"), snomed("40930008", "Hypothyroidism (disorder)")),
        drugs=("levothyroxine",),
        panels=("thyroid",),
    ),
    "knee": Course(
        "Osteoarthritis of the knee",
        (
            icd("M17.11", "Unilateral primary osteoarthritis, right knee"),
            snomed("239873007", "Osteoarthritis of knee (disorder)"),
        ),
        drugs=("acetaminophen",),
        procedure=snomed("609588000", "Total knee replacement (procedure)"),
        imaging="knee",
        note="Stairs hurt; physiotherapy twice a week.",
    ),
    "back-pain": Course(
        "Low back pain",
        (icd("M54.50", "Low back pain, unspecified"), snomed("279039007", "Low back pain (finding)")),
        drugs=("ibuprofen",),
        lasting=False,
        note="No red flags, keeps moving.",
    ),
    "migraine": Course(
        "Migraine",
        (
            icd("G43.909", "Migraine, unspecified, not intractable, without status migrainosus"),
            snomed("37796009", "Migraine (disorder)"),
        ),
        drugs=("sumatriptan",),
        note="Three attacks a month, keeps a diary.",
    ),
    "reflux": Course(
        "Reflux",
        (
            icd("K21.9", "Gastro-esophageal reflux disease without esophagitis"),
            snomed("235595009", "Gastroesophageal reflux disease (disorder)"),
        ),
        drugs=("omeprazole",),
    ),
    "otitis": Course(
        "Middle ear infection",
        (icd("H66.90", "Otitis media, unspecified, unspecified ear"), snomed("65363002", "Otitis media (disorder)")),
        drugs=("amoxicillin",),
        lasting=False,
        note="Left drum red and bulging, hearing to be checked in six weeks.",
    ),
    "cold": Course(
        "Cold",
        (
            icd("J06.9", "Acute upper respiratory infection, unspecified"),
            snomed("54150009", "Upper respiratory infection (disorder)"),
        ),
        drugs=("acetaminophen",),
        lasting=False,
    ),
    "fracture": Course(
        "Broken forearm",
        (
            icd("S52.501A", "Unspecified fracture of the lower end of right radius, initial encounter"),
            snomed("65966004", "Fracture of forearm (disorder)"),
        ),
        drugs=("ibuprofen",),
        imaging="wrist",
        lasting=False,
        note="Cast for five weeks, fingers warm and moving.",
    ),
    "pneumonia": Course(
        "Pneumonia",
        (icd("J18.9", "Pneumonia, unspecified organism"), snomed("233604007", "Pneumonia (disorder)")),
        drugs=("doxycycline",),
        panels=("blood-count",),
        imaging="chest",
        lasting=False,
    ),
    "urinary-infection": Course(
        "Urinary infection",
        (
            icd("N39.0", "Urinary tract infection, site not specified"),
            snomed("68566005", "Urinary tract infectious disease (disorder)"),
        ),
        panels=("urine",),
        drugs=("amoxicillin",),
        lasting=False,
    ),
    "breast-cancer": Course(
        "Breast cancer",
        (
            icd("C50.911", "Malignant neoplasm of unspecified site of right female breast"),
            snomed("254837009", "Malignant neoplasm of breast (disorder)"),
        ),
        drugs=("tamoxifen",),
        panels=("blood-count", "liver"),
        imaging="mammogram",
        goal="Finish five years of tamoxifen",
        note="No sign of recurrence, hot flushes bearable.",
    ),
    "anemia": Course(
        "Iron deficiency",
        (icd("D50.9", "Iron deficiency anemia, unspecified"), snomed("87522002", "Iron deficiency anemia (disorder)")),
        drugs=("ferrous",),
        panels=("blood-count", "iron"),
    ),
    "eczema": Course(
        "Eczema", (icd("L20.9", "Atopic dermatitis, unspecified"), snomed("24079001", "Atopic dermatitis (disorder)"))
    ),
    "jaundice": Course(
        "Newborn jaundice",
        (
            icd("P59.9", "Neonatal jaundice, unspecified"),
            snomed("387712008", "Neonatal jaundice (disorder)"),
        ),
        drugs=("cholecalciferol",),
        panels=("bilirubin",),
        lasting=False,
        note="Feeds well, eight wet diapers, bilirubin falling.",
    ),
    "alzheimer": Course(
        "Alzheimer's disease",
        (icd("G30.9", "Alzheimer's disease, unspecified"), snomed("26929004", "Alzheimer's disease (disorder)")),
        drugs=("donepezil",),
        goal="Safe at home with day care",
        note="Daughter manages the pills; gets lost outside the known street.",
    ),
    "glaucoma": Course(
        "Glaucoma", (icd("H40.9", "Unspecified glaucoma"), snomed("23986001", "Glaucoma (disorder)"))
    ),
}
