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


since = Episode

# fmt: off: a life on two or three lines

PERSONAS: Final = (
    Persona("amelia-okafor", ("Amelia", "Ngozi"), "Okafor", "female", 38.4, 26, 9, (
        since("migraine", 8), since("depression", 3, True), since("contraception", 6), since("anemia", 2)),
        race="black", allergies=("penicillin",)),
    Persona("noah-okafor", ("Noah",), "Okafor", "male", 9.1, 22, 9, (
        since("asthma", 5), since("otitis", 7), since("adhd", 1.5)), race="black", allergies=("peanut",)),
    Persona("ivy-okafor", ("Ivy", "Adaeze"), "Okafor", "female", 0.9, 9, 0.9, (
        since("jaundice", 0.88), since("otitis", 0.2)), race="black"),
    Persona("daniel-reyes", ("Daniel",), "Reyes", "male", 44.7, 30, 11, (
        since("hiv", 9, True), since("cholesterol", 5), since("depression", 2), since("hypertension", 3)),
        hispanic=True, smoking="former"),
    Persona("marcus-webb", ("Marcus",), "Webb", "male", 33.2, 16, 5, (
        since("hiv-status", 4), since("chlamydia", 4.5), since("back-pain", 1)), race="black"),
    Persona("sofia-lindqvist", ("Sofia", "Märta"), "Lindqvist", "female", 29.8, 18, 7, (
        since("anxiety", 5), since("abortion", 2.5, True), since("contraception", 2), since("migraine", 6)), allergies=("latex",)),
    Persona("rosa-delgado", ("Rosa", "María"), "Delgado Núñez", "female", 67.5, 38, 14, (
        since("diabetes", 13), since("hypertension", 14), since("kidney", 5), since("cholesterol", 10), since("knee", 6)),
        hispanic=True, language="es", allergies=("sulfa",)),
    Persona("walter-bauer", ("Walter", "Heinrich"), "Bauer", "male", 97.2, 34, 15, (
        since("heart-failure", 6), since("atrial-fibrillation", 9), since("alzheimer", 4), since("glaucoma", 11)),
        smoking="former", allergies=("penicillin", "bee")),
    Persona("siobhan-obrien", ("Siobhán",), "O'Brien", "female", 52.3, 28, 10, (
        since("alcohol", 4, True), since("hypertension", 6), since("thyroid", 9), since("depression", 5)), smoking="current"),
    Persona("kwame-mensah", ("Kwame",), "Mensah", "male", 27.6, 20, 8, (
        since("sickle", 8, True), since("pneumonia", 3)), race="black", allergies=("sulfa",)),
    Persona("li-na-zhang", ("Li Na", "李娜"), "Zhang", "female", 41.0, 17, 6, (
        since("thyroid", 5), since("pregnancy", 3), since("reflux", 2)), race="asian", language="zh"),
    Persona("tom-hartley", ("Tom",), "Hartley", "male", 31.9, 22, 6, (
        since("opioids", 4), since("fracture", 5), since("depression", 3)), smoking="current"),
    Persona("grace-nakamura", ("Grace", "恵"), "Nakamura", "female", 74.6, 30, 12, (
        since("breast-cancer", 7), since("brca", 6, True), since("cholesterol", 10), since("knee", 8)),
        race="asian", allergies=("latex",)),
    Persona("elena-petrova", ("Elena",), "Petrova", "female", 35.5, 18, 6, (
        since("violence", 2, True), since("ptsd", 1.5, True), since("migraine", 5), since("urinary-infection", 4))),
    Persona("hannah-cole", ("Hannah", "Jo"), "Cole", "female", 26.1, 14, 4, (
        since("violence", 1.5), since("fracture", 1.4), since("contraception", 3))),
    Persona("jamal-harris", ("Jamal",), "Harris", "male", 24.3, 12, 3, (
        since("prep", 2), since("risky-sex", 2.5), since("asthma", 3)), race="black"),
    Persona("priya-raman", ("Priya",), "Raman", "female", 31.2, 20, 5, (
        since("pregnancy", 0.6), since("anemia", 0.5), since("thyroid", 4)), race="asian"),
    Persona("baby-raman", ("Baby girl",), "Raman", "female", 0.03, 3, 0.03, (since("jaundice", 0.02),), race="asian"),
    Persona("george-whitfield", ("George",), "Whitfield", "male", 81.3, 36, 14, (
        since("copd", 12), since("coronary", 9), since("diabetes", 13), since("kidney", 6), since("erection", 8)), smoking="former"),
    Persona("margaret-whitfield", ("Margaret", "Anne"), "Whitfield", "female", 79.8, 26, 13, (
        since("hypertension", 12), since("atrial-fibrillation", 5), since("anxiety", 7))),
    Persona("yusuf-demir", ("Yusuf",), "Demir", "male", 56.4, 24, 9, (
        since("bipolar", 8, True), since("thyroid", 4), since("diabetes", 6)), smoking="current"),
    Persona("francois-lefevre", ("François",), "Lefèvre", "male", 48.8, 14, 6, (
        since("schizophrenia", 6), since("cholesterol", 3)), language="fr", smoking="current"),
    Persona("ana-kalani", ("Ana", "Leilani"), "Kalani", "female", 22.7, 12, 4, (
        since("gender", 1.5), since("anxiety", 3)), race="pacific"),
    Persona("joseph-begay", ("Joseph",), "Begay", "male", 61.6, 24, 10, (
        since("diabetes", 9), since("alcohol", 6), since("hypertension", 8)), race="native", smoking="former"),
    Persona("emma-schmidt", ("Emma",), "Schmidt", "female", 15.4, 16, 10, (
        since("diabetes-1", 7), since("depression", 0.8), since("contraception", 0.4)), allergies=("egg",)),
    Persona("lucas-silva", ("Lucas",), "Silva", "male", 5.2, 16, 5.2, (
        since("eczema", 4), since("otitis", 2), since("cold", 1)), hispanic=True, language="pt", allergies=("egg", "peanut")),
    Persona("mei-chen", ("Mei", "美"), "Chen", "female", 2.3, 12, 2.3, (
        since("cold", 1), since("otitis", 0.6)), race="asian", language="zh"),
    Persona("oliver-jensen", ("Oliver",), "Jensen", "male", 12.6, 14, 8, (since("asthma", 6), since("fracture", 2))),
    Persona("fatima-al-sayed", ("Fatima",), "al-Sayed", "female", 46.2, 20, 8, (
        since("reflux", 4), since("back-pain", 3), since("anemia", 6)), language="ar"),
    Persona("robert-kowalski", ("Robert", "J."), "Kowalski", "male", 70.9, 40, 16, (
        since("coronary", 12), since("heart-failure", 5), since("hypertension", 16), since("diabetes", 10), since("cholesterol", 15)),
        smoking="former", allergies=("sulfa",)),
    Persona("dorothy-lane", ("Dorothy",), "Lane", "female", 88.1, 22, 12, (
        since("alzheimer", 3), since("knee", 9), since("hypertension", 12)), allergies=("penicillin",)),
    Persona("samuel-green", ("Samuel",), "Green", "male", 19.3, 9, 4, (since("back-pain", 1), since("cold", 2))),
    Persona("nguyen-thi-hoa", ("Thị Hoa",), "Nguyễn", "female", 58.7, 20, 9, (
        since("hypertension", 8), since("glaucoma", 4), since("cholesterol", 6)), race="asian", language="vi"),
    Persona("alex-morgan", ("Alex",), "Morgan", "other", 36.6, 10, 4, (since("prep", 1, True), since("migraine", 3))),
)
"""In the order of their numbers, from 1."""
