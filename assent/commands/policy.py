"""`assent policy`: the catalogue of data categories, purposes and masks: is it right, what is in it, adding to it."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from assent.catalogue_page import catalogue_page
from assent.commands.output import NO, JsonOption, show_record, show_rows
from assent.language_files import load_languages
from assent.load_settings import load_settings
from assent.policy_files import load_catalogue
from fhir.minimization.mask_plan import MaskError
from fhir.minimization.masks import Masks
from fhir.r4.definitions import load_definitions
from fhir.r4.value_set_codes import NotListed, value_set_codes
from policies.catalogue import Catalogue, Category
from policies.catalogue_document import CatalogueError
from portal.languages import ENGLISH, Language

app = typer.Typer(help="The catalogue of data categories, purposes and masks.", no_args_is_help=True)

FolderArgument = Annotated[
    Path | None, typer.Argument(help="A policy folder; else ASSENT_POLICY_DIR, else Assent's own.")
]


@app.command("check")
def check(folder: FolderArgument = None, json: JsonOption = False) -> None:
    """Check a policy folder; exit code 1 and the place of the mistake when it can't be used."""
    folder = folder or load_settings().policy_dir
    try:
        catalogue = load_catalogue(folder)
        spoken = load_languages(catalogue, folder)
        Masks(catalogue, load_definitions())
    except (CatalogueError, MaskError) as error:
        show_record({"ok": False, "error": str(error)}, as_json=json)
        raise typer.Exit(NO) from None
    record: dict[str, object] = {"ok": True, "version": catalogue.version, "categories": len(catalogue.categories)}
    record |= {"code_sets": len(catalogue.code_sets), "codes": sum(len(s.codes) for s in catalogue.code_sets)}
    record["sensitive_words"] = catalogue.sensitive_words.count
    text = {"policy_text_sha256": spoken.english.policy.sha256, "languages": list(spoken.by_tag)}
    left = [f"{tag}: {code}" for tag, language in spoken.by_tag.items() for code in _still_english(language, catalogue)]
    show_record(record | text | {"still_in_english": left}, as_json=json)


def _still_english(language: Language, catalogue: Catalogue) -> Sequence[str]:
    """Codes of what has no words in a language yet."""
    if language.tag == ENGLISH:
        return ()
    told = language.catalogue
    pairs = [
        *((told.categories[code].description, c.code, c.description) for code, c in catalogue.categories.items()),
        *((told.purposes[code].title, p.code, p.title) for code, p in catalogue.purposes.items()),
        *((told.durations[code].title, d.code, d.title) for code, d in catalogue.durations.items()),
    ]
    return [code for there, code, here in pairs if there == here]


@app.command("show")
def show(json: JsonOption = False) -> None:
    """List the data categories in force."""
    catalogue = load_catalogue(load_settings().policy_dir)
    rows = [
        {"code": category.code, "title": category.title, "kind": kind_of(category), "types": types_of(category)}
        for category in catalogue.categories.values()
    ]
    show_rows(rows, ("code", "title", "kind", "types"), as_json=json)


@app.command("docs")
def docs() -> None:
    """Print the catalogue in force as a page (Markdown)."""
    typer.echo(catalogue_page(load_catalogue(load_settings().policy_dir)), nl=False)


@app.command("import-codes")
def import_codes(
    value_sets: Annotated[list[Path], typer.Argument(help="FHIR ValueSets (JSON), expanded or listing their codes.")],
    sensitivity: Annotated[str, typer.Option(help="Code of the sensitive category that the codes belong to.")],
    licence: Annotated[str, typer.Option(help="On what terms you may use them.")],
    output: Annotated[Path, typer.Option(help="File to write, for the folder `code_sets` of your policy folder.")],
) -> None:
    """Write the codes of value sets, and nothing else of them, as code sets for a policy folder."""
    document: dict[str, dict[str, object]] = {"sources": {}}
    sets: list[dict[str, object]] = []
    written = 0
    for path in value_sets:
        try:
            value_set = json_format.loads(path.read_text(encoding="utf-8"))
            codes = value_set_codes(value_set)
        except (OSError, ValueError) as error:
            why = str(error) if isinstance(error, NotListed) else "it can't be read as JSON"
            typer.echo(f"`{path}` can't be used: {why}", err=True)
            raise typer.Exit(NO) from None
        document["sources"][path.stem] = _source_of(value_set, licence)
        written += sum(map(len, codes.values()))
        sets += [
            {"sensitivity": sensitivity, "system": system, "source": path.stem, "codes": found}
            for system, found in codes.items()
        ]
    output.write_text(json_format.dumps(document | {"sets": sets}, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"codes written: {written}")


def _source_of(value_set: dict[str, object], licence: str) -> dict[str, str]:
    """What a value set says of itself: FHIR R4 ValueSet.url, .publisher, .version."""
    told = {key: str(value_set.get(key) or "not stated") for key in ("publisher", "version")}
    return {"name": str(value_set.get("url") or value_set.get("id") or "not stated"), **told, "licence": licence}


def kind_of(category: Category) -> str:
    """How a category takes part in a decision, in a few words."""
    if category.always:
        return "always"
    if category.part_of:
        return f"part of {category.part_of}"
    return "sensitive" if category.sensitive else "everyday"


def types_of(category: Category) -> list[str]:
    """The resource types that belong to a category."""
    return sorted({scope.resource_type for scope in category.scopes})
