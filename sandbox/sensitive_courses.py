"""Courses that most people would not want everybody to see, with the labels that a labelling system gives them."""

from __future__ import annotations

from typing import Final

from sandbox.courses import Course
from sandbox.terminology import ETH, GDIS, HIV, PSY, SDV, SEX, STD, SUD, icd, snomed

_PSYCHOTHERAPY: Final = snomed("75516001", "Psychotherapy (regime/therapy)")

SENSITIVE: Final = {
    "depression": Course(
        "Depression",
        (
            icd("F32.1", "Major depressive disorder, single episode, moderate"),
            snomed("370143000", "Major depressive disorder (disorder)"),
        ),
        drugs=("sertraline",),
        surveys=("phq-9",),
        procedure=_PSYCHOTHERAPY,
        goal="PHQ-9 score below 5",
        note="Low mood since the spring, sleeps badly, no thoughts of suicide; continues sertraline.",
        labels=PSY,
    ),
    "anxiety": Course(
        "Anxiety",
        (icd("F41.1", "Generalized anxiety disorder"), snomed("21897009", "Generalized anxiety disorder (disorder)")),
        drugs=("sertraline",),
        surveys=("gad-7",),
        note="Worries most of the day; breathing exercises help a little.",
        labels=PSY,
    ),
    "bipolar": Course(
        "Bipolar disorder",
        (icd("F31.9", "Bipolar disorder, unspecified"), snomed("13746004", "Bipolar disorder (disorder)")),
        drugs=("lithium", "quetiapine"),
        panels=("lithium", "thyroid"),
        surveys=("phq-9",),
        goal="Lithium level between 0.60 and 0.80 mmol/L",
        note="No manic phase this year; lithium level in range.",
        labels=PSY,
    ),
    "schizophrenia": Course(
        "Schizophrenia",
        (icd("F20.9", "Schizophrenia, unspecified"), snomed("58214004", "Schizophrenia (disorder)")),
        drugs=("risperidone",),
        panels=("lipids",),
        note="Hears voices rarely, goes to the day clinic three times a week.",
        labels=PSY,
    ),
    "ptsd": Course(
        "Post-traumatic stress",
        (icd("F43.10", "Post-traumatic stress disorder, unspecified"), snomed("47505003", "PTSD (disorder)")),
        surveys=("phq-9",),
        procedure=_PSYCHOTHERAPY,
        note="Nightmares about the accident; trauma therapy started.",
        labels=PSY,
    ),
    "adhd": Course(
        "ADHD",
        (
            icd("F90.2", "Attention-deficit hyperactivity disorder, combined type"),
            snomed("406506008", "Attention deficit hyperactivity disorder (disorder)"),
        ),
        drugs=("methylphenidate",),
        note="Teacher reports longer attention; appetite lower at noon.",
        labels=PSY,
    ),
    "alcohol": Course(
        "Alcohol dependence",
        (icd("F10.20", "Alcohol dependence, uncomplicated"), snomed("66590003", "Alcohol dependence (disorder)")),
        drugs=("naltrexone", "disulfiram"),
        panels=("liver", "alcohol"),
        surveys=("audit-c",),
        procedure=snomed("56876005", "Drug rehabilitation and detoxification (regime/therapy)"),
        goal="No drinking days for three months",
        note="Ten weeks without a drink, attends the group on Thursdays.",
        labels=ETH,
    ),
    "opioids": Course(
        "Opioid dependence",
        (icd("F11.20", "Opioid dependence, uncomplicated"), snomed("75544000", "Opioid dependence (disorder)")),
        drugs=("buprenorphine", "methadone"),
        panels=("drug-screen",),
        procedure=snomed("310653000", "Drug addiction therapy using methadone (procedure)"),
        goal="Stay on buprenorphine for a year",
        note="Buprenorphine daily, urine screen as expected, works again.",
        labels=SUD,
    ),
    "hiv": Course(
        "HIV",
        (
            icd("B20", "Human immunodeficiency virus [HIV] disease"),
            snomed("86406008", "Human immunodeficiency virus infection (disorder)"),
        ),
        drugs=("bictegravir",),
        panels=("hiv", "blood-count"),
        goal="HIV viral load undetectable",
        note="Takes bictegravir every morning; HIV viral load undetectable.",
        labels=HIV,
    ),
    "hiv-status": Course(
        "HIV positive",
        (
            icd("Z21", "Asymptomatic human immunodeficiency virus [HIV] infection status"),
            snomed("91947003", "Asymptomatic human immunodeficiency virus infection (disorder)"),
        ),
        drugs=("dolutegravir",),
        panels=("hiv",),
        note="Feels well, CD4 count stable.",
        labels=HIV,
    ),
    "prep": Course(
        "HIV prevention",
        (icd("Z29.81", "Encounter for HIV pre-exposure prophylaxis"),),
        drugs=("prep",),
        panels=("hiv-screen", "sti"),
        note="PrEP refilled after a negative HIV test; safer sex discussed.",
        labels=HIV,
    ),
    "chlamydia": Course(
        "Chlamydia",
        (
            icd("A56.00", "Chlamydial infection of lower genitourinary tract, unspecified"),
            snomed("240589008", "Chlamydia trachomatis infection (disorder)"),
        ),
        drugs=("azithromycin",),
        panels=("sti",),
        note="Partner to be told and treated.",
        labels=STD,
        lasting=False,
    ),
    "risky-sex": Course("Sexual health advice", (icd("Z72.51", "High risk heterosexual behavior"),), panels=("sti",)),
    "contraception": Course(
        "Contraception",
        (icd("Z30.41", "Encounter for surveillance of contraceptive pills"),),
        drugs=("levonorgestrel", "medroxyprogesterone"),
        panels=("pregnancy-test",),
        procedure=snomed("65200003", "Insertion of intrauterine contraceptive device (procedure)"),
        labels=SEX,
        note="Happy with the pill, blood pressure normal.",
    ),
    "pregnancy": Course(
        "Pregnancy",
        (
            icd("Z34.90", "Encounter for supervision of normal pregnancy, unspecified, unspecified trimester"),
            snomed("77386006", "Pregnant (finding)"),
        ),
        panels=("pregnancy-test", "blood-count", "hiv-screen"),
        imaging="obstetric",
        goal="Healthy delivery at term",
        note="Fundal height as expected, feels the child move.",
        labels=SEX,
        lasting=False,
    ),
    "abortion": Course(
        "Termination of pregnancy",
        (
            icd("Z33.2", "Encounter for elective termination of pregnancy"),
            snomed("386639001", "Termination of pregnancy (procedure)"),
        ),
        drugs=("mifepristone", "misoprostol"),
        panels=("pregnancy-test",),
        note="Wishes to end the pregnancy at seven weeks; counselled, medicines given.",
        labels=SEX,
        lasting=False,
    ),
    "erection": Course(
        "Erectile dysfunction",
        (icd("N52.9", "Male erectile dysfunction, unspecified"),),
        drugs=("sildenafil",),
        labels=SEX,
    ),
    "gender": Course(
        "Gender care",
        (icd("F64.0", "Transsexualism"),),
        drugs=("estradiol",),
        panels=("liver",),
        labels=SEX,
        note="Hormone treatment for eighteen months, content with it.",
    ),
    "violence": Course(
        "Partner violence",
        (
            icd("T74.11XA", "Adult physical abuse, confirmed, initial encounter"),
            snomed("706893006", "Victim of intimate partner abuse (finding)"),
        ),
        surveys=("hark",),
        procedure=_PSYCHOTHERAPY,
        imaging="wrist",
        goal="A safe place to live",
        note="Hit by her husband again; shelter's number given, must not be called at home.",
        labels=SDV,
    ),
    "brca": Course(
        "BRCA1 mutation",
        (
            icd("Z15.01", "Genetic susceptibility to malignant neoplasm of breast"),
            snomed("412734009", "BRCA1 gene mutation positive (finding)"),
        ),
        panels=("genetics",),
        imaging="mammogram",
        note="BRCA1 variant found; sisters should be offered testing.",
        labels=GDIS,
    ),
    "sickle": Course(
        "Sickle cell disease",
        (
            icd("D57.1", "Sickle-cell disease without crisis"),
            snomed("417357006", "Sickling disorder due to hemoglobin S (disorder)"),
        ),
        drugs=("hydroxyurea",),
        panels=("blood-count",),
        note="One pain crisis since the last visit.",
        labels=GDIS,
    ),
}
