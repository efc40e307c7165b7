"""Laboratory tests of the sandbox: LOINC codes, UCUM units and where results usually lie."""

from __future__ import annotations

from typing import Final, NamedTuple

from sandbox.elements import LOINC, SNOMED, Code


def loinc(code: str, display: str) -> Code:
    """A LOINC term."""
    return Code(LOINC, code, display)


class Measured(NamedTuple):
    """A test with a number: results lie between `low` and `high`, written with the decimal places of `low`."""

    code: Code
    unit: str
    low: str
    high: str
    normal: tuple[str, str] | None = None


class Found(NamedTuple):
    """A test with a finding: one of these, the first much more often."""

    code: Code
    findings: tuple[Code, ...]


class Panel(NamedTuple):
    """Tests that are ordered and reported together."""

    code: Code
    tests: tuple[Measured | Found, ...]
    specimen: Code


BLOOD: Final = Code(SNOMED, "119297000", "Blood specimen (specimen)")
URINE: Final = Code(SNOMED, "122575003", "Urine specimen (specimen)")
SWAB: Final = Code(SNOMED, "257261003", "Swab (specimen)")
NEGATIVE: Final = Code(SNOMED, "260385009", "Negative (qualifier value)")
POSITIVE: Final = Code(SNOMED, "10828004", "Positive (qualifier value)")
_EITHER: Final = (NEGATIVE, POSITIVE)

PANELS: Final = {
    "basic": Panel(
        loinc("51990-0", "Basic metabolic panel - Blood"),
        (
            Measured(loinc("2345-7", "Glucose [Mass/volume] in Serum or Plasma"), "mg/dL", "72", "190", ("70", "99")),
            Measured(
                loinc("2160-0", "Creatinine [Mass/volume] in Serum or Plasma"), "mg/dL", "0.60", "1.90", ("0.60", "1.20")
            ),
            Measured(loinc("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma"), "mg/dL", "8", "34", ("7", "20")),
            Measured(loinc("2951-2", "Sodium [Moles/volume] in Serum or Plasma"), "mmol/L", "133", "146", ("135", "145")),
            Measured(
                loinc("2823-3", "Potassium [Moles/volume] in Serum or Plasma"), "mmol/L", "3.40", "5.20", ("3.50", "5.10")
            ),
            Measured(loinc("2075-0", "Chloride [Moles/volume] in Serum or Plasma"), "mmol/L", "97", "108"),
            Measured(loinc("17861-6", "Calcium [Mass/volume] in Serum or Plasma"), "mg/dL", "8.50", "10.40"),
        ),
        BLOOD,
    ),
    "blood-count": Panel(
        loinc("58410-2", "CBC panel - Blood by Automated count"),
        (
            Measured(loinc("6690-2", "Leukocytes [#/volume] in Blood by Automated count"), "10*3/uL", "3.50", "12.00"),
            Measured(loinc("789-8", "Erythrocytes [#/volume] in Blood by Automated count"), "10*6/uL", "3.60", "5.60"),
            Measured(loinc("718-7", "Hemoglobin [Mass/volume] in Blood"), "g/dL", "9.0", "16.5", ("12.0", "16.0")),
            Measured(loinc("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count"), "%", "30.0", "49.0"),
            Measured(loinc("777-3", "Platelets [#/volume] in Blood by Automated count"), "10*3/uL", "140", "420"),
        ),
        BLOOD,
    ),
    "lipids": Panel(
        loinc("24331-1", "Lipid 1996 panel - Serum or Plasma"),
        (
            Measured(loinc("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma"), "mg/dL", "140", "265"),
            Measured(loinc("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma"), "mg/dL", "70", "290"),
            Measured(loinc("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"), "mg/dL", "34", "75"),
            Measured(loinc("13457-7", "Cholesterol in LDL [Mass/volume] by calculation"), "mg/dL", "60", "180"),
        ),
        BLOOD,
    ),
    "liver": Panel(
        loinc("24325-3", "Hepatic function 2000 panel - Serum or Plasma"),
        (
            Measured(loinc("1742-6", "Alanine aminotransferase [Enzymatic activity/volume]"), "U/L", "9", "120", ("7", "56")),
            Measured(loinc("1920-8", "Aspartate aminotransferase [Enzymatic activity/volume]"), "U/L", "10", "140"),
            Measured(loinc("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma"), "mg/dL", "0.20", "1.60"),
            Measured(loinc("1751-7", "Albumin [Mass/volume] in Serum or Plasma"), "g/dL", "3.20", "4.90"),
        ),
        BLOOD,
    ),
    "a1c": Panel(
        loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"),
        (Measured(loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), "%", "5.90", "9.60", ("4.00", "5.60")),),
        BLOOD,
    ),
    "thyroid": Panel(
        loinc("55204-3", "Thyroid function panel - Serum or Plasma"),
        (
            Measured(loinc("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), "m[IU]/L", "0.0010", "8.0000"),
            Measured(loinc("3024-7", "Thyroxine (T4) free [Mass/volume] in Serum or Plasma"), "ng/dL", "0.70", "1.90"),
        ),
        BLOOD,
    ),
    "coagulation": Panel(
        loinc("34528-0", "PT panel - Platelet poor plasma by Coagulation assay"),
        (Measured(loinc("6301-6", "INR in Platelet poor plasma by Coagulation assay"), "{INR}", "0.90", "3.20"),),
        BLOOD,
    ),
    "cardiac": Panel(
        loinc("30934-4", "Natriuretic peptide B [Mass/volume] in Serum or Plasma"),
        (
            Measured(loinc("30934-4", "Natriuretic peptide B [Mass/volume] in Serum or Plasma"), "pg/mL", "40", "960"),
            Measured(loinc("10839-9", "Troponin I.cardiac [Mass/volume] in Serum or Plasma"), "ng/mL", "0.0010", "0.0400"),
        ),
        BLOOD,
    ),
    "urine": Panel(
        loinc("24356-8", "Urinalysis complete panel - Urine"),
        (
            Measured(loinc("5811-5", "Specific gravity of Urine by Test strip"), "{nominal}", "1.005", "1.030"),
            Measured(loinc("5803-2", "pH of Urine by Test strip"), "[pH]", "5.0", "8.0"),
            Measured(loinc("9318-7", "Albumin/Creatinine [Mass Ratio] in Urine"), "mg/g", "4", "260", ("0", "30")),
            Found(loinc("20454-5", "Protein [Presence] in Urine by Test strip"), _EITHER),
        ),
        URINE,
    ),
    "iron": Panel(
        loinc("2276-4", "Ferritin [Mass/volume] in Serum or Plasma"),
        (Measured(loinc("2276-4", "Ferritin [Mass/volume] in Serum or Plasma"), "ng/mL", "6", "140", ("15", "150")),),
        BLOOD,
    ),
    "bilirubin": Panel(
        loinc("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma"),
        (Measured(loinc("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma"), "mg/dL", "4.50", "14.50"),),
        BLOOD,
    ),
    "lithium": Panel(
        loinc("14334-7", "Lithium [Moles/volume] in Serum or Plasma"),
        (Measured(loinc("14334-7", "Lithium [Moles/volume] in Serum or Plasma"), "mmol/L", "0.50", "1.10"),),
        BLOOD,
    ),
    "alcohol": Panel(
        loinc("5643-2", "Ethanol [Mass/volume] in Serum or Plasma"),
        (Measured(loinc("5643-2", "Ethanol [Mass/volume] in Serum or Plasma"), "mg/dL", "0", "85"),),
        BLOOD,
    ),
    "drug-screen": Panel(
        loinc("3426-4", "Tetrahydrocannabinol [Presence] in Urine"),
        (
            Found(loinc("3426-4", "Tetrahydrocannabinol [Presence] in Urine"), _EITHER),
            Found(loinc("3397-7", "Cocaine [Presence] in Urine"), _EITHER),
            Found(loinc("3879-4", "Opiates [Presence] in Urine"), _EITHER),
        ),
        URINE,
    ),
    "hiv": Panel(
        loinc("20447-9", "HIV 1 RNA [#/volume] (viral load) in Serum or Plasma by NAA with probe detection"),
        (
            Measured(
                loinc("20447-9", "HIV 1 RNA [#/volume] (viral load) in Serum or Plasma by NAA with probe detection"),
                "{copies}/mL",
                "19",
                "240",
            ),
            Measured(loinc("24467-3", "CD3+CD4+ (T4 helper) cells [#/volume] in Blood"), "/uL", "310", "980"),
        ),
        BLOOD,
    ),
    "hiv-screen": Panel(
        loinc("56888-1", "HIV 1+2 Ab+HIV1 p24 Ag [Presence] in Serum or Plasma by Immunoassay"),
        (Found(loinc("56888-1", "HIV 1+2 Ab+HIV1 p24 Ag [Presence] in Serum or Plasma by Immunoassay"), (NEGATIVE,)),),
        BLOOD,
    ),
    "sti": Panel(
        loinc("43304-5", "Chlamydia trachomatis rRNA [Presence] in Specimen by NAA with probe detection"),
        (
            Found(loinc("21613-5", "Chlamydia trachomatis DNA [Presence] in Specimen by NAA"), _EITHER),
            Found(loinc("43305-2", "Neisseria gonorrhoeae rRNA [Presence] in Specimen by NAA"), _EITHER),
            Found(loinc("20507-0", "Reagin Ab [Presence] in Serum by RPR"), _EITHER),
        ),
        SWAB,
    ),
    "pregnancy-test": Panel(
        loinc("2106-3", "Choriogonadotropin (pregnancy test) [Presence] in Urine"),
        (Found(loinc("2106-3", "Choriogonadotropin (pregnancy test) [Presence] in Urine"), _EITHER),),
        URINE,
    ),
    "genetics": Panel(
        loinc("51969-4", "Genetic analysis report"),
        (
            Found(
                loinc("21636-6", "BRCA1 gene mutations found [Identifier] in Blood or Tissue"),
                (Code("http://varnomen.hgvs.org", "NM_007294.4:c.68_69del", "BRCA1 c.68_69del, pathogenic"),),
            ),
        ),
        BLOOD,
    ),
}
