"""`assent policy`: the catalogue of data categories, purposes and masks: is it right, what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assent.commands.output import NO, JsonOption, show_record, show_rows
from assent.language_files import load_languages
from assent.load_settings import load_settings
from assent.policy_files import load_catalogue
from policies.catalogue import Catalogue, CatalogueError, Category

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
    except CatalogueError as error:
        show_record({"ok": False, "error": str(error)}, as_json=json)
        raise typer.Exit(NO) from None
    record = {"ok": True, "version": catalogue.version, "categories": len(catalogue.categories)}
    text = {"policy_text_sha256": spoken.english.policy.sha256, "languages": list(spoken.by_tag)}
    show_record(record | text, as_json=json)


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


def kind_of(category: Category) -> str:
    """How a category takes part in a decision, in a word."""
    if category.always:
        return "always"
    return "sensitive" if category.sensitive else "everyday"


def types_of(category: Category) -> list[str]:
    """The resource types that belong to a category."""
    return sorted({scope.resource_type for scope in category.scopes})


def catalogue_page(catalogue: Catalogue) -> str:
    """The catalogue as Markdown: what people are asked, and what each answer covers."""
    lines = [f"# Data categories (catalogue {catalogue.version})", ""]
    for kind, heading in (
        ("everyday", "Everyday"),
        ("sensitive", "Sensitive, each asked apart"),
        ("always", "Never asked"),
    ):
        lines += [f"## {heading}", "", "| code | title | what it means | resource types |", "| --- | --- | --- | --- |"]
        for category in catalogue.categories.values():
            if kind_of(category) == kind:
                types = ", ".join(types_of(category)) or "any, by label or code"
                lines.append(f"| `{category.code}` | {category.title} | {category.description} | {types} |")
        lines.append("")
    lines += ["## Purposes of use", "", "| code | title | mask |", "| --- | --- | --- |"]
    lines += [f"| `{purpose.code}` | {purpose.title} | `{purpose.mask}` |" for purpose in catalogue.purposes.values()]
    return "\n".join(lines) + "\n"
