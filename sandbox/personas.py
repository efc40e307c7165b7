"""Who the sandbox's patients are: names, ages, families, and which courses of disease each goes through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, NamedTuple

from sandbox.elements import years_before


class Episode(NamedTuple):
    """A course of disease in one life: since how many years, and whether the source system labels what belongs to it."""

    course: str
    years: float
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Persona:
    """A patient as written by hand; the rest of the record follows from the seed."""

    id: str
    given: tuple[str, ...]
    family: str
    sex: Literal["female", "male", "other", "unknown"]
    age: float
    visits: int
    years: float
    episodes: tuple[Episode, ...]
    race: str = "white"
    hispanic: bool = False
    language: str = "en"
    smoking: str = "never"
    allergies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As displayed."""
        return f"{self.given[0]} {self.family}"

    def birth(self, today: date) -> date:
        """Date of birth."""
        return years_before(today, self.age)


E_ = Episode

# fmt: off: a life on two or three lines

PERSONAS: Final = (
    Persona("amelia-okafor", ("Amelia", "Ngozi"), "Okafor", "female", 38.4, 26, 9, (
        E_("migraine", 8), E_("depression", 3, True), E_("contraception", 6), E_("anemia", 2)),
        race="black", allergies=("penicillin",)),
    Persona("noah-okafor", ("Noah",), "Okafor", "male", 9.1, 22, 9, (
        E_("asthma", 5), E_("otitis", 7), E_("adhd", 1.5)), race="black", allergies=("peanut",)),
    Persona("ivy-okafor", ("Ivy", "Adaeze"), "Okafor", "female", 0.9, 9, 0.9, (
        E_("jaundice", 0.88), E_("otitis", 0.2)), race="black"),
    Persona("daniel-reyes", ("Daniel",), "Reyes", "male", 44.7, 30, 11, (
        E_("hiv", 9, True), E_("cholesterol", 5), E_("depression", 2), E_("hypertension", 3)),
        hispanic=True, smoking="former"),
    Persona("marcus-webb", ("Marcus",), "Webb", "male", 33.2, 16, 5, (
        E_("hiv-status", 4), E_("chlamydia", 4.5), E_("back-pain", 1)), race="black"),
    Persona("sofia-lindqvist", ("Sofia", "Märta"), "Lindqvist", "female", 29.8, 18, 7, (
        E_("anxiety", 5), E_("abortion", 2.5, True), E_("contraception", 2), E_("migraine", 6)), allergies=("latex",)),
    Persona("rosa-delgado", ("Rosa", "María"), "Delgado Núñez", "female", 67.5, 38, 14, (
        E_("diabetes", 13), E_("hypertension", 14), E_("kidney", 5), E_("cholesterol", 10), E_("knee", 6)),
        hispanic=True, language="es", allergies=("sulfa",)),
    Persona("walter-bauer", ("Walter", "Heinrich"), "Bauer", "male", 97.2, 34, 15, (
        E_("heart-failure", 6), E_("atrial-fibrillation", 9), E_("alzheimer", 4), E_("glaucoma", 11)),
        smoking="former", allergies=("penicillin", "bee")),
    Persona("siobhan-obrien", ("Siobhán",), "O'Brien", "female", 52.3, 28, 10, (
        E_("alcohol", 4, True), E_("hypertension", 6), E_("thyroid", 9), E_("depression", 5)), smoking="current"),
    Persona("kwame-mensah", ("Kwame",), "Mensah", "male", 27.6, 20, 8, (
        E_("sickle", 8, True), E_("pneumonia", 3)), race="black", allergies=("sulfa",)),
    Persona("li-na-zhang", ("Li Na", "李娜"), "Zhang", "female", 41.0, 17, 6, (
        E_("thyroid", 5), E_("pregnancy", 3), E_("reflux", 2)), race="asian", language="zh"),
    Persona("tom-hartley", ("Tom",), "Hartley", "male", 31.9, 22, 6, (
        E_("opioids", 4), E_("fracture", 5), E_("depression", 3)), smoking="current"),
    Persona("grace-nakamura", ("Grace", "恵"), "Nakamura", "female", 74.6, 30, 12, (
        E_("breast-cancer", 7), E_("brca", 6, True), E_("cholesterol", 10), E_("knee", 8)),
        race="asian", allergies=("latex",)),
    Persona("elena-petrova", ("Elena",), "Petrova", "female", 35.5, 18, 6, (
        E_("violence", 2, True), E_("ptsd", 1.5, True), E_("migraine", 5), E_("urinary-infection", 4))),
    Persona("hannah-cole", ("Hannah", "Jo"), "Cole", "female", 26.1, 14, 4, (
        E_("violence", 1.5), E_("fracture", 1.4), E_("contraception", 3))),
    Persona("jamal-harris", ("Jamal",), "Harris", "male", 24.3, 12, 3, (
        E_("prep", 2), E_("risky-sex", 2.5), E_("asthma", 3)), race="black"),
    Persona("priya-raman", ("Priya",), "Raman", "female", 31.2, 20, 5, (
        E_("pregnancy", 0.6), E_("anemia", 0.5), E_("thyroid", 4)), race="asian"),
    Persona("baby-raman", ("Baby girl",), "Raman", "female", 0.03, 3, 0.03, (E_("jaundice", 0.02),), race="asian"),
    Persona("george-whitfield", ("George",), "Whitfield", "male", 81.3, 36, 14, (
        E_("copd", 12), E_("coronary", 9), E_("diabetes", 13), E_("kidney", 6), E_("erection", 8)), smoking="former"),
    Persona("margaret-whitfield", ("Margaret", "Anne"), "Whitfield", "female", 79.8, 26, 13, (
        E_("hypertension", 12), E_("atrial-fibrillation", 5), E_("anxiety", 7))),
    Persona("yusuf-demir", ("Yusuf",), "Demir", "male", 56.4, 24, 9, (
        E_("bipolar", 8, True), E_("thyroid", 4), E_("diabetes", 6)), smoking="current"),
    Persona("francois-lefevre", ("François",), "Lefèvre", "male", 48.8, 14, 6, (
        E_("schizophrenia", 6), E_("cholesterol", 3)), language="fr", smoking="current"),
    Persona("ana-kalani", ("Ana", "Leilani"), "Kalani", "female", 22.7, 12, 4, (
        E_("gender", 1.5), E_("anxiety", 3)), race="pacific"),
    Persona("joseph-begay", ("Joseph",), "Begay", "male", 61.6, 24, 10, (
        E_("diabetes", 9), E_("alcohol", 6), E_("hypertension", 8)), race="native", smoking="former"),
    Persona("emma-schmidt", ("Emma",), "Schmidt", "female", 15.4, 16, 10, (
        E_("diabetes-1", 7), E_("depression", 0.8), E_("contraception", 0.4)), allergies=("egg",)),
    Persona("lucas-silva", ("Lucas",), "Silva", "male", 5.2, 16, 5.2, (
        E_("eczema", 4), E_("otitis", 2), E_("cold", 1)), hispanic=True, language="pt", allergies=("egg", "peanut")),
    Persona("mei-chen", ("Mei", "美"), "Chen", "female", 2.3, 12, 2.3, (
        E_("cold", 1), E_("otitis", 0.6)), race="asian", language="zh"),
    Persona("oliver-jensen", ("Oliver",), "Jensen", "male", 12.6, 14, 8, (E_("asthma", 6), E_("fracture", 2))),
    Persona("fatima-al-sayed", ("Fatima",), "al-Sayed", "female", 46.2, 20, 8, (
        E_("reflux", 4), E_("back-pain", 3), E_("anemia", 6)), language="ar"),
    Persona("robert-kowalski", ("Robert", "J."), "Kowalski", "male", 70.9, 40, 16, (
        E_("coronary", 12), E_("heart-failure", 5), E_("hypertension", 16), E_("diabetes", 10), E_("cholesterol", 15)),
        smoking="former", allergies=("sulfa",)),
    Persona("dorothy-lane", ("Dorothy",), "Lane", "female", 88.1, 22, 12, (
        E_("alzheimer", 3), E_("knee", 9), E_("hypertension", 12)), allergies=("penicillin",)),
    Persona("samuel-green", ("Samuel",), "Green", "male", 19.3, 9, 4, (E_("back-pain", 1), E_("cold", 2))),
    Persona("nguyen-thi-hoa", ("Thị Hoa",), "Nguyễn", "female", 58.7, 20, 9, (
        E_("hypertension", 8), E_("glaucoma", 4), E_("cholesterol", 6)), race="asian", language="vi"),
    Persona("alex-morgan", ("Alex",), "Morgan", "other", 36.6, 10, 4, (E_("prep", 1, True), E_("migraine", 3))),
)
"""In the order of their numbers, from 1."""
