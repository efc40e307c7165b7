"""What the import linter can't see, because `fhir` shares its name with a distribution's package."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ("assent", "portal", "authz", "smart", "fhir", "policies", "sandbox")


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_the_models_import_fhir_resources() -> None:
    """That library's models reject unknown elements and rewrite numbers; nothing that is proxied may pass them."""
    guilty = {
        str(file.relative_to(ROOT))
        for floor in FLOORS
        for file in (ROOT / floor).rglob("*.py")
        if any(name == "fhir.resources" or name.startswith("fhir.resources.") for name in imported(file))
    }
    assert guilty <= {"fhir/r4/models.py"}
