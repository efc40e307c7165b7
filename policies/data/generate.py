"""Makes `policies/catalogue_files/code_sets/assent.json` from `choices.json` and releases of ICD-10-CM and SNOMED CT.

    python -m policies.data.generate --icd-10-cm PATH --snomed-gps PATH

The paths are the tabular list (XML) of ICD-10-CM, or a wheel that holds it, and the package hl7.terminology.r4 (.tgz),
which holds SNOMED CT's Global Patient Set; SOURCE.md says where to get them. The same releases give the same bytes.
Nothing of them is taken over but codes. It fails on a chosen ICD-10-CM code that the release doesn't have, and on a
SNOMED CT or LOINC code whose check digit is wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from policies.codes import ICD_10_CM_SYSTEM, LOINC_SYSTEM, SNOMED_SYSTEM

Json = dict[str, Any]

CHOICES: Final = Path(__file__).with_name("choices.json")
OUTPUT: Final = Path(__file__).parents[1] / "catalogue_files" / "code_sets" / "assent.json"

# Verhoeff's check digit, over the dihedral group of order 10, as SNOMED CT's identifiers carry it.
_FIVE: Final = range(5)
_PERMUTATION: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


class NotInReleaseError(ValueError):
    """A chosen code can't be what it was taken for; the message names it."""


def main(arguments: list[str]) -> int:
    """Read the choices and the release, write the code sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--icd-10-cm", required=True, type=Path, metavar="PATH")
    parser.add_argument("--snomed-gps", required=True, type=Path, metavar="PATH")
    given = parser.parse_args(arguments)
    choices: Json = json.loads(CHOICES.read_text(encoding="utf-8"))
    sets = [
        *titled_sets(choices, "icd-10-cm", ICD_10_CM_SYSTEM, read_icd_10_cm(given.icd_10_cm)),
        *titled_sets(choices, "snomed-gps", SNOMED_SYSTEM, read_snomed_gps(given.snomed_gps)),
    ]
    OUTPUT.write_text(render(choices["sources"], [*sets, *listed_sets(choices, sets)]), encoding="utf-8")
    return 0


def read_snomed_gps(path: Path) -> Mapping[str, str]:
    """Fully specified names by concept of the Global Patient Set."""
    with tarfile.open(path) as package:
        member = package.extractfile("package/ValueSet-snomed-intl-gps.json")
        content: Json = json.load(member) if member is not None else {}
    return {concept["code"]: concept["display"] for concept in content["compose"]["include"][0]["concept"]}


def read_icd_10_cm(path: Path) -> Mapping[str, str]:
    """Titles of ICD-10-CM by code, blocks of codes included."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            (name,) = (n for n in wheel.namelist() if n.endswith(".xml"))
            content = wheel.read(name)
    else:
        content = path.read_bytes()
    tree = ElementTree.fromstring(content)  # noqa: S314 - a release that the developer got and names
    return {item.findtext("name", ""): item.findtext("desc", "") for item in tree.iter("diag")}


def titled_sets(choices: Json, source: str, system: str, release: Mapping[str, str]) -> Iterator[Json]:
    """One set for each sensitivity: the codes chosen by name and those chosen by title. Raises NotInReleaseError.

    A title stands in ICD-10-CM for all that is below it.
    """
    below = "*" if system == ICD_10_CM_SYSTEM else ""
    for sensitivity, choice in choices["by_title"][source].items():
        codes = set(choice.get("codes", "").split())
        for code in codes:
            _must_stand_in(release, code)
        for rule in choice.get("titles", ()):
            codes |= {f"{code}{below}" for code, title in release.items() if _has_title(rule, code, title)}
        yield _set(sensitivity, system, source, without_covered(codes))


def listed_sets(choices: Json, others: Iterable[Json]) -> Iterator[Json]:
    """The sets chosen code by code, less what stands in others already. Raises NotInReleaseError."""
    known = {(item["sensitivity"], item["system"], code) for item in others for code in item["codes"]}
    for item in choices["sets"]:
        codes = {c for c in item["codes"].split() if (item["sensitivity"], item["system"], c) not in known}
        for code in codes:
            if item["system"] == SNOMED_SYSTEM and not is_snomed_identifier(code):
                raise NotInReleaseError(f"`{code}` is no SNOMED CT identifier: its check digit is wrong")
            if item["system"] == LOINC_SYSTEM and not is_loinc_number(code):
                raise NotInReleaseError(f"`{code}` is no LOINC number: its check digit is wrong")
        yield _set(item["sensitivity"], item["system"], item["source"], without_covered(codes))


def without_covered(codes: Iterable[str]) -> list[str]:
    """The codes, less those that a shorter block among them takes in, in order."""
    found: list[str] = []
    beginnings: set[str] = set()
    for code in sorted(set(codes), key=lambda c: (len(c), c)):
        bare = code.removesuffix("*")
        if not any(bare[:length] in beginnings for length in range(1, len(bare) + 1)):
            found.append(code)
            if code.endswith("*"):
                beginnings.add(bare)
    return sorted(c for c in found if c.endswith("*") or f"{c}*" not in found)


def is_snomed_identifier(code: str) -> bool:
    """Whether the last digit is right: SNOMED CT Technical Implementation Guide, "Check-digit"."""
    if not (code.isascii() and code.isdigit() and 6 <= len(code) <= 18):
        return False
    check = 0
    for position, digit in enumerate(map(int, reversed(code))):
        for _ in range(position % 8):
            digit = _PERMUTATION[digit]
        check = _product(check, digit)
    return check == 0


def is_loinc_number(code: str) -> bool:
    """Whether the digit after the hyphen is right: LOINC Users' Guide, "Mod 10 algorithm"."""
    body, hyphen, check = code.partition("-")
    if not (hyphen and body.isdigit() and check.isdigit() and len(check) == 1):
        return False
    doubled = (int(d) * (2 if index % 2 == 0 else 1) for index, d in enumerate(reversed(body)))
    return (10 - sum(d // 10 + d % 10 for d in doubled) % 10) % 10 == int(check)


def render(sources: Json, sets: list[Json]) -> str:
    """The document, one set a line."""
    compact = [json.dumps(item, separators=(",", ":"), ensure_ascii=False) for item in sets]
    named = ",\n".join(f"{json.dumps(key)}:{json.dumps(item, ensure_ascii=False)}" for key, item in sources.items())
    return '{"sources":{\n' + named + '\n},"sets":[\n' + ",\n".join(compact) + "\n]}\n"


def _must_stand_in(release: Mapping[str, str], code: str) -> None:
    beginning = code.removesuffix("*")
    below = [c for c in release if c.startswith(beginning) and c != beginning]
    if not (beginning in release or below):
        raise NotInReleaseError(f"`{code}` isn't in this release of ICD-10-CM")
    if below and not code.endswith("*"):
        raise NotInReleaseError(f"`{code}` has codes below it in this release of ICD-10-CM; write `{code}*`")


def _has_title(rule: Json, code: str, title: str) -> bool:
    if not code.startswith(tuple(rule.get("within", [""]))):
        return False
    found = re.search(rule["pattern"], title, re.IGNORECASE)
    return found is not None and not ("except" in rule and re.search(rule["except"], title, re.IGNORECASE))


def _set(sensitivity: str, system: str, source: str, codes: list[str]) -> Json:
    return {"sensitivity": sensitivity, "system": system, "source": source, "codes": codes}


def _product(left: int, right: int) -> int:
    """Multiplication in the group: 0 to 4 turn, 5 to 9 turn and flip."""
    if left in _FIVE:
        return (left + right) % 5 + (0 if right in _FIVE else 5)
    return (left - right) % 5 + (5 if right in _FIVE else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
