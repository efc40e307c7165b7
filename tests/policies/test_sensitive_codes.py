"""Codes are found however they are written, and documents of code sets are checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policies.catalogue_document import CatalogueError
from policies.code_sets import read_code_sets
from policies.codes import HCPCS_SYSTEM, ICD_9_CM_SYSTEM, ICD_10_CM_SYSTEM, LOINC_SYSTEM, SNOMED_SYSTEM, usual_system
from policies.model import Coding
from policies.sensitive_codes import SensitiveCodes

SOURCE = {"name": "Facts", "publisher": "Somebody", "version": "1", "licence": "CC0-1.0"}


def _set(**changes: object) -> dict[str, object]:
    return {"sensitivity": "hiv", "system": LOINC_SYSTEM, "source": "facts", "codes": ["20447-9"]} | changes


def _document(*sets: Mapping[str, object], **changes: object) -> dict[str, Any]:
    return {"sources": {"facts": SOURCE}, "sets": list(sets or [_set()])} | changes


CODES = SensitiveCodes(
    read_code_sets(
        "test",
        _document(
            _set(),
            _set(system=ICD_10_CM_SYSTEM, codes=["B20*", "Z21"]),
            _set(system=ICD_10_CM_SYSTEM, codes=["B2*"], sensitivity="viral"),
            _set(system=SNOMED_SYSTEM, codes=["86406008"]),
        ),
        {"hiv", "viral"},
    )
)


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (LOINC_SYSTEM, "20447-9", {"hiv"}),
        (LOINC_SYSTEM, "20447", set()),
        (ICD_10_CM_SYSTEM, "B20", {"hiv", "viral"}),
        (ICD_10_CM_SYSTEM, "b20", {"hiv", "viral"}),
        (ICD_10_CM_SYSTEM, "B20.0", {"hiv", "viral"}),
        (ICD_10_CM_SYSTEM, "B200", {"hiv", "viral"}),
        (ICD_10_CM_SYSTEM, "B25.9", {"viral"}),
        (ICD_10_CM_SYSTEM, "Z21", {"hiv"}),
        (ICD_10_CM_SYSTEM, "Z21.0", set()),
        (ICD_10_CM_SYSTEM, "", set()),
        (SNOMED_SYSTEM, "86406008", {"hiv"}),
        (SNOMED_SYSTEM, "71388002 |Procedure| : 363702006 = 86406008", {"hiv"}),
        (SNOMED_SYSTEM, "864060081", set()),
        (SNOMED_SYSTEM, "1864060080:1", set()),
        ("", "20447-9", {"hiv"}),
        ("", "B20.9", {"hiv", "viral"}),
        ("", "2", set()),
        ("urn:example:local", "20447-9", set()),
    ],
)
def test_a_code_is_found_as_it_is_written(system: str, code: str, expected: set[str]) -> None:
    assert CODES.of(Coding(system, code)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://snomed.info/sct", SNOMED_SYSTEM),
        ("https://snomed.info/sct/", SNOMED_SYSTEM),
        ("http://snomed.info/sct/731000124108/version/20250301", SNOMED_SYSTEM),
        ("http://snomed.info/sct|20250301", SNOMED_SYSTEM),
        ("URN:OID:2.16.840.1.113883.6.96", SNOMED_SYSTEM),
        (" http://LOINC.org ", LOINC_SYSTEM),
        ("http://terminology.hl7.org/CodeSystem/icd10CM", ICD_10_CM_SYSTEM),
        ("http://www.snomed.info/sct", SNOMED_SYSTEM),
        ("http://snomed.info/sct#", SNOMED_SYSTEM),
        ("http://snomed.info/sct?fhir_vs", SNOMED_SYSTEM),
        ("http://snomed.info/xsct/900000000000207008", SNOMED_SYSTEM),
        ("oid:2.16.840.1.113883.6.96", SNOMED_SYSTEM),
        ("http://www.loinc.org/", LOINC_SYSTEM),
        ("http://loinc.org/rdf#", LOINC_SYSTEM),
        ("http://hl7.org/fhir/sid/icd-10-us", ICD_10_CM_SYSTEM),
        ("http://hl7.org/fhir/sid/icd-9-cm/diagnosis", ICD_9_CM_SYSTEM),
        ("urn:oid:2.16.840.1.113883.6.42", ICD_9_CM_SYSTEM),
        ("https://bluebutton.cms.gov/resources/codesystem/hcpcs", HCPCS_SYSTEM),
        ("HTTP://www.cms.gov/medicare/coding/HCPCSReleaseCodeSets", HCPCS_SYSTEM),
        ("http://snomed.info/sctx", "http://snomed.info/sctx"),
        ("urn:oid:2.16.840.1.113883.6.960", "urn:oid:2.16.840.1.113883.6.960"),
        ("urn:Example:Local", "urn:Example:Local"),
        ("", ""),
    ],
)
def test_a_code_system_is_known_by_its_other_names(written: str, expected: str) -> None:
    assert usual_system(written) == expected


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"sets": []}, "test: `sources` is missing"),
        (_document(more=1), "test: `more` is not known here, allowed: sets, sources"),
        (_document(sources={}), "test.sets[0].source: `facts` is not among the sources"),
        (_document(sources={"facts": {"name": "x"}}), "test.sources.facts: `licence` is missing"),
        (
            _document(sources={"facts": SOURCE | {"licence": " "}}),
            "test.sources.facts.licence: must be a text, found ` `",
        ),
        (_document(sources={"facts": SOURCE, "idle": SOURCE}), "test.sources: no set comes from `idle`"),
        (_document(sources=[]), "test.sources: must be a mapping"),
        (_document(_set(sensitivity="hvi")), "test.sets[0].sensitivity: there is no sensitive category `hvi`"),
        (_document(_set(codes=[])), "test.sets[0].codes: must name a code"),
        (_document(_set(codes="B20")), "test.sets[0].codes: must be a list of texts"),
        (_document(_set(codes=[20])), "test.sets[0].codes: must be a text, found `20`"),
        (_document(_set(codes=["*"])), "test.sets[0].codes: `*` must be a code, or the beginning of codes and one `*`"),
        (
            _document(_set(codes=["B*0"])),
            "test.sets[0].codes: `B*0` must be a code, or the beginning of codes and one `*`",
        ),
        (_document(_set(descriptions={})), "test.sets[0]: `descriptions` is not known here, allowed: codes, "),
    ],
)
def test_a_mistake_in_a_document_names_its_place(document: Mapping[str, object], error: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_code_sets("test", document, {"hiv"})
    assert str(caught.value).startswith(error)
