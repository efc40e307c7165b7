"""Makes `r4.json.gz` from HL7's package hl7.fhir.r4.core: types, search parameters, compartments.

    python -m fhir.r4.data.generate --package PATH

PATH is the package (.tgz) or a wheel that holds it; SOURCE.md says where to get one. `us_core.json` adds the search
parameters that US Core has beyond R4's. The same package gives the same bytes. Needs fhirpathpy, a development
dependency. Fails on any search expression that it doesn't understand, unless the parameter is listed below with the
reason.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from fhirpathpy.parser import parse

from fhir.r4.data.compile_expression import ExpressionCompiler, NotUnderstoodError
from fhir.r4.definitions import Definitions, Element, SearchComponent, SearchParameter

Json = dict[str, Any]

VERSION: Final = "4.0.1"
OUTPUT: Final = Path(__file__).with_name("r4.json.gz")
US_CORE: Final = Path(__file__).with_name("us_core.json")

_LEFT_OUT: Final = {
    # SearchParameter or CompartmentDefinition id -> why it isn't taken over
    "example": "an example",
    "example-reference": "an example",
    "example-extension": "an example",
}

_SPECIAL: Final = {
    # SearchParameter id -> why it has no paths
    "DomainResource-text": "no expression: searches the narrative's text",
    "Resource-content": "no expression: searches the whole text",
    "Resource-query": "no expression: names a stored query",
    "filter": "no expression: a query language",
    "patient-extensions-Patient-age": "no expression: computed from the birth date",
    "patient-extensions-Patient-birthOrderBoolean": "no expression",
    "Bundle-composition": "the first entry's resource stands in the Bundle itself; nothing refers to it",
    "Bundle-message": "the first entry's resource stands in the Bundle itself; nothing refers to it",
    "DocumentReference-relationship": "the package gives its two components each other's definitions",
    "MolecularSequence-chromosome-variant-coordinate": "components start at %resource, `referenceSeq` being no element",
    "MolecularSequence-referenceseqid-variant-coordinate": "components start at %resource, likewise",
    # The package has no definition of these extensions, so the types of their values aren't known.
    "device-extensions-Device-din": "undefined extension; its url is the parameter's own",
    "observation-genetic-Observation-amino-acid-change": "undefined extension",
    "observation-genetic-Observation-dna-variant": "undefined extension",
    "observation-genetic-Observation-gene-amino-acid-change": "undefined extension",
    "observation-genetic-Observation-gene-dnavariant": "undefined extension",
    "patient-extensions-Patient-mothersMaidenName": "undefined extension; its url is misspelt",
}


class Package:
    """The JSON documents of a FHIR package, by resource type and id."""

    def __init__(self, path: Path) -> None:
        self._documents: dict[str, dict[str, Json]] = {}
        with tarfile.open(fileobj=io.BytesIO(_package_bytes(path)), mode="r:gz") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                if folder != "package" or not name.endswith(".json") or name.startswith("."):
                    continue
                stream = archive.extractfile(member)
                document = json.loads(stream.read()) if stream else {}
                if name == "package.json":
                    _check_version(document)
                elif "resourceType" in document:
                    self._documents.setdefault(document["resourceType"], {})[document["id"]] = document

    def all(self, resource_type: str) -> Iterator[Json]:
        """Documents of one resource type in the order of their ids, without those left out."""
        for id_, document in sorted(self._documents.get(resource_type, {}).items()):
            if not (resource_type != "StructureDefinition" and id_ in _LEFT_OUT):
                yield document


def _package_bytes(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith("hl7.fhir.r4.core.tgz")]
        if len(names) != 1:
            raise SystemExit(f"`{path}` holds hl7.fhir.r4.core.tgz {len(names)} times; give a wheel that holds it once")
        return wheel.read(names[0])


def _check_version(manifest: Json) -> None:
    if (manifest.get("name"), manifest.get("version")) != ("hl7.fhir.r4.core", VERSION):
        raise SystemExit(f"`{manifest.get('name')} {manifest.get('version')}` is not hl7.fhir.r4.core {VERSION}")


# Types


def _types(package: Package) -> dict[str, Json]:
    types: dict[str, Json] = {}
    for document in package.all("StructureDefinition"):
        if document["kind"] == "logical" or document.get("derivation") == "constraint":
            continue
        kind = document["kind"]
        record: Json = {"kind": kind, "elements": []}
        if document["abstract"]:
            record["abstract"] = True
        if base := _last_segment(document.get("baseDefinition", "")):
            record["base"] = base
        if kind != "primitive-type":
            snapshot = document["snapshot"]["element"]
            record["elements"] = [_compact(_element(raw, snapshot)) for raw in snapshot[1:]]
        types[document["type"]] = record
    return dict(sorted(types.items()))


def _element(raw: Json, snapshot: list[Json]) -> Element:
    """An ElementDefinition. A content reference takes the types of the element that it points to."""
    content = raw.get("contentReference", "").removeprefix("#")
    typed = next(e for e in snapshot if e["id"] == content) if content else raw
    targets = {
        _last_segment(profile): None
        for entry in typed["type"]
        if entry["code"] == "Reference"
        for profile in entry.get("targetProfile", ())
    }
    return Element(
        path=_below_type(raw["path"]),
        types=tuple(dict.fromkeys(_type_code(entry, raw["path"]) for entry in typed["type"])),
        min=raw["min"],
        max=raw["max"],
        summary=raw.get("isSummary", False),
        targets=tuple(targets),
        content=_below_type(content),
    )


def _type_code(entry: Json, path: str) -> str:
    """The type's code; FHIRPath's System.String (ids and urls) becomes the FHIR type that the extension names."""
    code: str = entry["code"]
    if not code.startswith("http://hl7.org/fhirpath/"):
        return code
    for extension in entry.get("extension", ()):
        if extension["url"].endswith("/structuredefinition-fhir-type"):
            return str(extension.get("valueUrl") or extension["valueUri"])
    raise SystemExit(f"`{path}` has the type `{code}` and no FHIR type for it")


def _code_systems(package: Package) -> dict[tuple[str, str], str]:
    """(type, path) -> the one code system of a required binding, for elements of type code."""
    value_sets = {document["url"]: document for document in package.all("ValueSet")}
    systems: dict[tuple[str, str], str] = {}
    for document in package.all("StructureDefinition"):
        if document.get("derivation") == "constraint":
            continue
        for raw in document.get("snapshot", {}).get("element", ()):
            binding = raw.get("binding", {})
            if binding.get("strength") == "required" and any(t["code"] == "code" for t in raw.get("type", ())):
                value_set = value_sets.get(binding.get("valueSet", "").partition("|")[0], {})
                includes = value_set.get("compose", {}).get("include", ())
                named = {include.get("system", "") for include in includes}
                if len(named) == 1 and not any("valueSet" in include for include in includes):
                    systems[document["type"], _below_type(raw["path"])] = named.pop()
    return systems


def _extension_types(package: Package) -> dict[str, tuple[str, ...]]:
    """Extension url -> types of its value."""
    return {
        document["url"]: tuple(entry["code"] for raw in values for entry in raw.get("type", ()))
        for document in package.all("StructureDefinition")
        if document["type"] == "Extension" and document.get("derivation") == "constraint"
        if (values := [e for e in document["snapshot"]["element"] if e["path"] == "Extension.value[x]"])
    }


# Search parameters


def _parameters(package: Package, compiler: ExpressionCompiler) -> dict[str, list[Json]]:
    by_url = {document["url"]: document for document in (*package.all("SearchParameter"), *_us_core())}
    found: dict[str, dict[str, SearchParameter]] = {}
    problems: list[str] = []
    for document in by_url.values():
        for base in document.get("base", ()):
            try:
                parameter = _parameter(document, base, by_url, compiler)
            except NotUnderstoodError as error:
                problems.append(f"{document['id']} for {base}: {error}")
                continue
            if parameter.code in found.setdefault(base, {}):
                problems.append(f"{document['id']} for {base}: the code `{parameter.code}` is taken")
            found[base][parameter.code] = parameter
    if problems:
        raise SystemExit("search parameters not understood:\n" + "\n".join(problems))
    return {base: [_compact(found[base][code]) for code in sorted(found[base])] for base in sorted(found)}


def _us_core() -> list[Json]:
    """Search parameters that US Core adds to R4's (SOURCE.md)."""
    added: list[Json] = json.loads(US_CORE.read_text())
    return added


def _parameter(document: Json, base: str, by_url: Mapping[str, Json], compiler: ExpressionCompiler) -> SearchParameter:
    code, url, targets = document["code"], document["url"], tuple(document.get("target", ()))
    if document["id"] in _SPECIAL or document["type"] == "special":
        return SearchParameter(code, "special", url, targets=targets)
    if "expression" not in document:
        raise NotUnderstoodError("no expression")
    paths = compiler.paths(document["expression"], base, document["type"])
    components = []
    for entry in document.get("component", ()):
        part = by_url[entry["definition"]]
        part_paths = {
            path: None
            for focus in paths
            for path in compiler.component_paths(entry["expression"], base, focus, part["type"])
        }
        components.append(SearchComponent(part["code"], part["type"], tuple(part_paths)))
    return SearchParameter(code, document["type"], url, paths, targets, tuple(components))


def _compartments(package: Package) -> dict[str, Json]:
    """Compartment -> resource type -> parameter codes; none for the type that the compartment itself is (`{def}`)."""
    return {
        document["code"]: {
            entry["code"]: [code for code in entry["param"] if code != "{def}"]
            for entry in document["resource"]
            if entry.get("param")
        }
        for document in package.all("CompartmentDefinition")
    }


# Writing

_Record = TypeVar("_Record", Element, SearchParameter)


def _compact(record: _Record) -> Json:
    """A dataclass as JSON, without the fields that have their default."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        if not hasattr(value, "__dataclass_fields__"):
            return value
        return {
            f.name: plain(getattr(value, f.name))
            for f in fields(value)
            if f.default is MISSING or getattr(value, f.name) != f.default
        }

    compact: Json = plain(record)
    return compact


def content_of(package: Package) -> bytes:
    """The definitions as JSON, in the layout that `fhir.r4.definitions` reads."""
    types = _types(package)
    content: Json = {
        "version": VERSION,
        "primitives": [name for name, record in types.items() if record["kind"] == "primitive-type"],
        "resources": [n for n, r in types.items() if r["kind"] == "resource" and not r.get("abstract")],
        "types": types,
        "parameters": {},
        "compartments": _compartments(package),
    }
    without_search = Definitions(_json(content))
    compiler = ExpressionCompiler(without_search, parse, _code_systems(package), _extension_types(package))
    content["parameters"] = _parameters(package, compiler)
    return _json(content)


def _json(content: Json) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _below_type(path: str) -> str:
    return path.partition(".")[2]


def _last_segment(url: str) -> str:
    return url.rpartition("/")[2]


def main() -> None:
    """Writes the file and says how large it is."""
    arguments = argparse.ArgumentParser(description="Makes r4.json.gz from the package hl7.fhir.r4.core.")
    arguments.add_argument("--package", type=Path, required=True, help="the package (.tgz) or a wheel that holds it")
    arguments.add_argument("--output", type=Path, default=OUTPUT)
    chosen = arguments.parse_args()
    packed = gzip.compress(content_of(Package(chosen.package)), compresslevel=9, mtime=0)
    chosen.output.write_bytes(packed)
    sys.stdout.write(f"{chosen.output}: {len(packed)} bytes\n")


if __name__ == "__main__":
    main()
