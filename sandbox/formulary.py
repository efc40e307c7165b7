"""Medicines of the sandbox: RxNorm concepts (RXCUI) and how they are taken."""

from __future__ import annotations

from typing import Final, NamedTuple

from sandbox.elements import RXNORM, Code


class Drug(NamedTuple):
    """A medicine and the text of its usual dosage."""

    code: Code
    dosage: str


def _drug(rxcui: str, name: str, dosage: str) -> Drug:
    return Drug(Code(RXNORM, rxcui, name), dosage)


DRUGS: Final = {
    "lisinopril": _drug("314076", "lisinopril 10 MG Oral Tablet", "one tablet by mouth once a day"),
    "amlodipine": _drug("197361", "amlodipine 5 MG Oral Tablet", "one tablet by mouth once a day"),
    "metformin": _drug("861007", "metformin hydrochloride 500 MG Oral Tablet", "one tablet twice a day with meals"),
    "glargine": _drug("274783", "insulin glargine", "18 units under the skin at bedtime"),
    "atorvastatin": _drug("617310", "atorvastatin 20 MG Oral Tablet", "one tablet at bedtime"),
    "albuterol": _drug("435", "albuterol", "two puffs every 4 hours when short of breath"),
    "fluticasone": _drug("41126", "fluticasone", "two puffs twice a day, rinse the mouth"),
    "furosemide": _drug("4603", "furosemide", "40 mg by mouth in the morning"),
    "carvedilol": _drug("20352", "carvedilol", "6.25 mg twice a day with food"),
    "apixaban": _drug("1364430", "apixaban", "5 mg twice a day"),
    "aspirin": _drug("1191", "aspirin", "81 mg once a day"),
    "levothyroxine": _drug("10582", "levothyroxine", "75 mcg once a day on an empty stomach"),
    "omeprazole": _drug("7646", "omeprazole", "20 mg before breakfast"),
    "ibuprofen": _drug("5640", "ibuprofen", "400 mg up to three times a day with food"),
    "acetaminophen": _drug("161", "acetaminophen", "500 mg every 6 hours when needed"),
    "sumatriptan": _drug("37418", "sumatriptan", "50 mg at the start of a headache"),
    "amoxicillin": _drug("723", "amoxicillin", "500 mg three times a day for 7 days"),
    "azithromycin": _drug("18631", "azithromycin", "1 g once"),
    "doxycycline": _drug("3640", "doxycycline", "100 mg twice a day for 7 days"),
    "prednisone": _drug("8640", "prednisone", "40 mg once a day for 5 days"),
    "tamoxifen": _drug("10324", "tamoxifen", "20 mg once a day"),
    "ferrous": _drug("24947", "ferrous sulfate", "325 mg every other day"),
    "cholecalciferol": _drug("2418", "cholecalciferol", "400 units once a day"),
    "donepezil": _drug("135447", "donepezil", "5 mg at bedtime"),
    "hydroxyurea": _drug("5552", "hydroxyurea", "500 mg once a day"),
    "sertraline": _drug("312941", "sertraline 50 MG Oral Tablet", "one tablet every morning"),
    "lithium": _drug("197889", "lithium carbonate 300 MG Oral Capsule", "one capsule three times a day"),
    "quetiapine": _drug("51272", "quetiapine", "100 mg at bedtime"),
    "risperidone": _drug("35636", "risperidone", "2 mg at bedtime"),
    "methylphenidate": _drug("6901", "methylphenidate", "18 mg every school morning"),
    "buprenorphine": _drug("1819", "buprenorphine", "8 mg under the tongue once a day"),
    "methadone": _drug("6813", "methadone", "60 mg once a day, observed"),
    "naltrexone": _drug("7243", "naltrexone", "50 mg once a day"),
    "disulfiram": _drug("3554", "disulfiram", "250 mg once a day"),
    "bictegravir": _drug(
        "1999667",
        "bictegravir / emtricitabine / tenofovir alafenamide",
        "one tablet once a day",
    ),
    "dolutegravir": _drug("1433873", "dolutegravir 50 MG Oral Tablet", "one tablet once a day"),
    "prep": _drug("639888", "emtricitabine / tenofovir disoproxil", "one tablet once a day"),
    "medroxyprogesterone": _drug("6691", "medroxyprogesterone", "150 mg into the muscle every 12 weeks"),
    "levonorgestrel": _drug("6373", "levonorgestrel", "one tablet once a day"),
    "mifepristone": _drug("6916", "mifepristone", "200 mg once"),
    "misoprostol": _drug("317128", "misoprostol 0.2 MG Oral Tablet", "four tablets 24 to 48 hours after the first medicine"),
    "estradiol": _drug("4083", "estradiol", "2 mg once a day"),
    "sildenafil": _drug("136411", "sildenafil", "50 mg when needed"),
}
"""The keys are the sandbox's own short names."""
