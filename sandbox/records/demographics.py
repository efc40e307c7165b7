"""The sandbox's patients: who they are, what they live with, and how much their records hold. All of them made up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True)
class Person:
    """One patient; `visits` tells how much the record holds, `story` which sensitive things, `labels` if marked."""

    id: str
    given: str
    family: str
    gender: str
    born: date
    race: str
    city: str
    illnesses: tuple[str, ...]
    visits: int
    story: tuple[str, ...] = ()
    labels: bool = False

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.given} {self.family}"


COMPLETE: Final = "amelia-okafor"
"""Whose record has something of everything that US Core describes."""
_CITIES: Final = (
    "Boston MA/San Antonio TX/Chicago IL/Seattle WA/Dearborn MI/Portland OR/Milwaukee WI/Atlanta GA/San Francisco CA"
    "/Miami FL/Denver CO/Fargo ND/Houston TX/New York NY/San Jose CA/Flagstaff AZ/Cincinnati OH/Honolulu HI/Detroit MI"
    "/Minneapolis MN/Baltimore MD/Brooklyn NY/Edison NJ/Los Angeles CA/Grand Rapids MI/Austin TX"
)
STATES: Final = {city: state for city, _, state in (place.rpartition(" ") for place in _CITIES.split("/"))}
"""Of each city, its postal code of the state."""

_GENDERS: Final = {"f": "female", "m": "male", "o": "other"}


def _person(patient_id: str, name: str, about: str, visits: int, illnesses: str = "", story: str = "") -> Person:
    """`name` is given/family, `about` gender/birth date/race/city; a story that ends in ! carries security labels."""
    given, family = name.split("/")
    gender, born, race, city = about.split("/")
    return Person(
        patient_id,
        given,
        family,
        _GENDERS[gender],
        date.fromisoformat(born),
        race,
        city,
        tuple(illnesses.split()),
        visits,
        tuple(story.rstrip("!").split()),
        story.endswith("!"),
    )


PEOPLE: Final[tuple[Person, ...]] = (
    _person(
        *("amelia-okafor", "Amelia/Okafor", "f/1992-04-17/black/Boston"),
        *(38, "hypertension asthma", "depression alcohol!"),
    ),
    _person(
        *("carlos-mendoza", "Carlos/Mendoza Rivera", "m/1968-09-30/hispanic/San Antonio"),
        *(52, "diabetes hypertension hyperlipidemia", "opioid"),
    ),
    _person("daniel-obrien", "Daniel/O'Brien", "m/1981-01-05/white/Chicago", 30, "migraine reflux", "hiv!"),
    _person("emi-tanaka", "恵美/田中", "f/1989-11-23/asian/Seattle", 26, "hypothyroidism", "pregnancy"),
    _person("fatima-al-rashid", "Fatima/Al-Rashid", "f/1995-06-02/other/Dearborn", 24, "anemia", "violence depression"),
    _person(
        *("george-whitfield", "George/Whitfield", "m/1929-03-14/white/Portland"),
        *(62, "heart-failure atrial-fibrillation kidney-disease osteoarthritis", ""),
    ),
    _person(
        *("hannah-kowalski", "Hannah/Kowalski", "f/1986-08-19/white/Milwaukee"),
        *(28, "asthma migraine", "pregnancy depression!"),
    ),
    _person("leo-kowalski", "Leo/Kowalski", "m/2018-05-27/white/Milwaukee", 14, "eczema asthma"),
    _person("nina-kowalski", "Nina/Kowalski", "f/2022-02-11/white/Milwaukee", 10, "eczema"),
    _person("adwoa-mensah", "Adwoa/Mensah", "f/1997-12-08/black/Atlanta", 20, "anemia", "pregnancy!"),
    _person("kofi-mensah", "Kofi/Mensah", "m/2026-10-20/black/Atlanta", 2),
    _person("li-wei", "伟/李", "m/1975-07-07/asian/San Francisco", 32, "hyperlipidemia reflux", "hiv"),
    _person("jose-nunez", "José/Núñez", "m/1959-02-28/hispanic/Miami", 44, "copd hypertension"),
    _person("zoe-bronte", "Zoë/Brontë-Smith", "o/2001-10-10/white/Denver", 18, "", "gender depression"),
    _person(
        "siobhan-ni-cheallaigh", "Siobhán/Ní Cheallaigh", "f/1949-05-16/white/Boston", 48, "osteoarthritis diabetes"
    ),
    _person("bjork-jonsdottir", "Björk/Jónsdóttir", "f/1978-03-03/white/Fargo", 20, "migraine"),
    _person("kwame-asante", "Kwame/Asante", "m/1990-08-08/black/Houston", 26, "", "genetic!"),
    _person("ruth-goldberg", "Ruth/Goldberg", "f/1984-01-31/white/New York", 26, "hypothyroidism", "genetic"),
    _person("thanh-nguyen", "Thanh/Nguyễn", "m/1966-12-25/asian/San Jose", 36, "diabetes kidney-disease"),
    _person("maya-begay", "Maya/Begay", "f/2010-04-04/native/Flagstaff", 14, "asthma", "violence!"),
    _person("noah-fischer", "Noah/Fischer", "m/2005-09-09/white/Cincinnati", 16, "", "opioid!"),
    _person("priscilla-kahale", "Priscilla/Kahale", "f/1972-06-18/pacific/Honolulu", 30, "diabetes reflux"),
    _person("omar-haddad", "Omar/Haddad", "m/1954-10-02/other/Detroit", 46, "heart-failure diabetes", "alcohol"),
    _person("ingrid-larsen", "Ingrid/Larsen", "f/1937-07-21/white/Minneapolis", 50, "atrial-fibrillation copd"),
    _person("tyrone-jackson", "Tyrone/Jackson", "m/1999-02-14/black/Baltimore", 18, "asthma", "sti"),
    _person("sofia-petrova", "София/Петрова", "f/1964-11-11/white/Brooklyn", 34, "hypertension osteoarthritis"),
    _person("arjun-patel", "Arjun/Patel", "m/2014-03-19/asian/Edison", 12, "eczema"),
    _person("grace-kim", "Grace/Kim", "f/1982-09-27/asian/Los Angeles", 22, "migraine", "depression"),
    _person("walter-de-vries", "Walter/de Vries", "m/1943-12-30/white/Grand Rapids", 44, "hyperlipidemia copd", ""),
    _person("pat-mckenzie", "Pat/McKenzie", "o/1970-05-05/white/Austin", 3, ""),
)
