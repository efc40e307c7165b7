"""Which tests prove which requirement: the marks `@pytest.mark.smart(14, 15)` of all tests, read without running."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Proof:
    """A test and the requirements that it proves."""

    file: str
    """Path below the root of the project."""
    name: str
    requirements: tuple[int, ...]


def collect(root: Path = ROOT) -> tuple[Proof, ...]:
    """Every marked test, by file and then as it stands there. Raises ValueError for a mark that isn't plain numbers."""
    found: list[Proof] = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        if "node_modules" not in path.parts:
            found += proofs_in(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    return tuple(found)


def proofs_in(source: str, file: str) -> Iterator[Proof]:
    """The marked tests of one file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            numbers = tuple(n for mark in node.decorator_list for n in _numbers(mark, f"{file}::{node.name}"))
            if numbers:
                yield Proof(file, node.name, numbers)


def _numbers(decorator: ast.expr, test: str) -> Iterator[int]:
    if not ast.unparse(decorator).startswith("pytest.mark.smart"):
        return
    if not isinstance(decorator, ast.Call) or not decorator.args or decorator.keywords:
        raise ValueError(f"the mark of `{test}` must name requirements")
    for argument in decorator.args:
        if not isinstance(argument, ast.Constant) or type(argument.value) is not int:
            raise ValueError(f"the mark of `{test}` must be plain numbers")
        yield argument.value
