"""Every way that docs/leaks.md lists has a test, and every test of a way names one that is listed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "leaks.md"
ROW = re.compile(r"^\| (L\d\d) \|", re.MULTILINE)
ID = re.compile(r"L\d\d")


def _marked() -> Iterator[tuple[str, str]]:
    """Every id marked on a test, with the place where it stands."""
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for call in (d for d in node.decorator_list if isinstance(d, ast.Call)):
                    if ast.unparse(call.func) == "pytest.mark.leak":
                        yield from ((str(ast.literal_eval(arg)), f"{path.name}: {node.name}") for arg in call.args)


def test_every_way_listed_has_a_test() -> None:
    listed = ROW.findall(PAGE.read_text())
    assert len(listed) > 50
    assert sorted(set(listed) - {wanted for wanted, _ in _marked()}) == []


def test_every_way_tested_is_listed_once() -> None:
    listed = ROW.findall(PAGE.read_text())
    assert len(listed) == len(set(listed))
    assert [place for place in _marked() if place[0] not in listed] == []


def test_no_id_stands_on_the_page_without_a_row_of_its_own() -> None:
    text = PAGE.read_text()
    assert set(ID.findall(text)) == set(ROW.findall(text))


def test_a_test_that_names_a_way_is_marked_with_it() -> None:
    marked = set(_marked())
    for path in sorted(HERE.glob("test_*.py")):
        for name in re.findall(r"def (test_\w+)", path.read_text()):
            for number in re.findall(r"_l(\d\d)(?=_)", name):
                assert (f"L{number}", f"{path.name}: {name}") in marked
