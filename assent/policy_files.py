"""Reads the catalogue's files (YAML; JSON for code sets) and the policy texts, so that `policies` stays pure."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from assent.read_yaml import read_yaml
from assent.settings import variable
from fhir.consents.writing import PolicyText
from policies.catalogue import Catalogue, read_catalogue
from policies.catalogue_document import CatalogueError

_DOCUMENTS = ("categories", "sensitivities", "masks")
_WORDS = "sensitive_words"
"""A folder without them recognises nothing by words, as folders did that were copied before there were any."""
_CODE_SETS = "code_sets"


def policy_folder(folder: Path | Traversable | None = None) -> Traversable:
    """The operator's folder, or the one that comes with Assent."""
    return folder if folder is not None else resources.files("policies") / "catalogue_files"


def load_catalogue(folder: Path | None = None) -> Catalogue:
    """Read and check the catalogue. Raises CatalogueError, which names the file and the place."""
    found = policy_folder(folder)
    documents: dict[str, dict[str, object]] = {_CODE_SETS: _code_sets(found / _CODE_SETS)}
    for name in (*_DOCUMENTS, *([_WORDS] if (found / f"{_WORDS}.yaml").is_file() else [])):
        try:
            content = read_yaml((found / f"{name}.yaml").read_text(encoding="utf-8"))
        except FileNotFoundError as missing:
            raise CatalogueError(
                f"`{name}.yaml` is missing in the policy folder `{found}`; see `{variable('policy_dir')}`"
            ) from missing
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as broken:
            raise CatalogueError(f"`{name}.yaml` can't be read as YAML: {broken}") from broken
        if not isinstance(content, dict):
            raise CatalogueError(f"`{name}.yaml` must be a mapping")
        documents[name] = content
    return read_catalogue(documents)


def _code_sets(folder: Traversable) -> dict[str, object]:
    """The documents of code sets by file name; a folder without any recognises sensitive data by labels alone."""
    documents: dict[str, object] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name.endswith(".json"):
            name = f"{_CODE_SETS}/{file.name}"
            try:
                documents[name] = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as broken:
                raise CatalogueError(f"`{name}` can't be read as JSON") from broken
    return documents


def load_policy_text(
    catalogue: Catalogue, folder: Path | Traversable | None = None, language: str = "en"
) -> PolicyText:
    """The text that people agree to, in one language, with its hash. Raises CatalogueError."""
    name = f"sharing.{language}.md"
    try:
        text = (policy_folder(folder) / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as broken:
        raise CatalogueError(f"`{name}` can't be read in the policy folder") from broken
    digest = hashlib.sha256(text.encode()).hexdigest()
    return PolicyText(f"urn:assent:policy:sharing:{catalogue.version}", catalogue.version, language, text, digest)
