"""Codes are found however they are written, and documents of code sets are checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policies.catalogue_document import CatalogueError
from policies.code_sets import read_code_sets
from policies.codes import (
    CPT_SYSTEM,
    HCPCS_SYSTEM,
    ICD_9_CM_SYSTEM,
    ICD_10_CM_SYSTEM,
    ICD_10_SYSTEM,
    ICD_11_SYSTEM,
    ICPC_2_SYSTEM,
    LOINC_SYSTEM,
    PLACE_OF_SERVICE_SYSTEM,
    PROVIDER_TAXONOMY_SYSTEM,
    REVENUE_SYSTEM,
    RXNORM_SYSTEM,
    SNOMED_SYSTEM,
)
from policies.model import Coding
from policies.sensitive_codes import SensitiveCodes
from policies.system_names import usual_system

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
        ("urn:example:local", "20447-9", {"hiv"}),
        ("urn:example:local", "86406008", {"hiv"}),
        ("urn:example:local", "b20.9", {"hiv", "viral"}),
        ("urn:example:local", "B20", set()),
        ("urn:example:local", "B20.12345", set()),
        ("urn:example:local", "20447-8", set()),
        ("urn:example:local", "note on B20.9", set()),
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
        ("http://snomed.info:80/sct", SNOMED_SYSTEM),
        ("https://snomed.info:443/sct", SNOMED_SYSTEM),
        ("http://snomed.info./sct", SNOMED_SYSTEM),
        ("http://snomed.info//sct//", SNOMED_SYSTEM),
        ("http://snomed.info/sc%74", SNOMED_SYSTEM),
        ("http%3A%2F%2Fsnomed.info%2Fsct", SNOMED_SYSTEM),
        ("http://snomed.info/sct%23", SNOMED_SYSTEM),
        ("\uff48\uff54\uff54\uff50\uff1a\uff0f\uff0f\uff53nomed.info/sct", SNOMED_SYSTEM),
        ("http://snomed.info/\u200bsct\ufeff", SNOMED_SYSTEM),
        ("http://snomed.info/ sct", SNOMED_SYSTEM),
        ("2.16.840.1.113883.6.96", SNOMED_SYSTEM),
        ("http://purl.bioontology.org/ontology/SNOMEDCT/86406008", SNOMED_SYSTEM),
        ("http://hl7.org/fhir/sid/icd-10-cm/2026", ICD_10_CM_SYSTEM),
        ("http://id.who.int/icd/release/10/2019", ICD_10_SYSTEM),
        ("http://id.who.int/icd/release/11/2024-01/mms", ICD_11_SYSTEM),
        ("https://fhir.de/CodeSystem/bfarm/icd-10-gm|2026", "http://fhir.de/CodeSystem/bfarm/icd-10-gm"),
        ("urn:oid:2.16.840.1.113883.6.104", ICD_9_CM_SYSTEM),
        ("urn:oid:2.16.840.1.113883.15.5", PLACE_OF_SERVICE_SYSTEM),
        ("urn:oid:2.16.840.1.113883.6.301.3", REVENUE_SYSTEM),
        ("urn:oid:2.16.840.1.113883.6.138.12", ICPC_2_SYSTEM),
        ("http://terminology.hl7.org/CodeSystem/v3-nuccProviderCodes", PROVIDER_TAXONOMY_SYSTEM),
        ("https://www.nlm.nih.gov/research/umls/rxnorm/", RXNORM_SYSTEM),
        ("CPT-4", CPT_SYSTEM),
        ("http://snomed.info:8080/sct", "http://snomed.info:8080/sct"),
        ("http://snomed.info.example/sct", "http://snomed.info.example/sct"),
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


def test_a_long_name_of_a_system_is_read_like_any_other() -> None:
    assert usual_system("http://snomed.info" + "/" * 1_000_000 + "sct") == SNOMED_SYSTEM
    assert usual_system("http://" + "a/" * 1_000_000).startswith("http://a/")
