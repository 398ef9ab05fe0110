# SPDX-License-Identifier: GPL-2.0-or-later
"""What test modules share is in modules of its own: nothing imports from a module of tests."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def imported(source: str) -> set[str]:
    """Modules that a source imports, or imports names from."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def of_tests(names: set[str]) -> set[str]:
    """Those of them that are modules of tests, or names in one."""
    return {name for name in names if (part := name.split("."))[0] == "tests" and any(p[:5] == "test_" for p in part)}


def test_nothing_imports_from_a_module_of_tests() -> None:
    found = {path: of_tests(imported(path.read_text(encoding="utf-8"))) for path in TESTS.rglob("*.py")}
    assert len(found) > 200
    assert {str(path.relative_to(TESTS)): names for path, names in found.items() if names} == {}


def test_an_import_anywhere_is_found() -> None:
    assert of_tests(imported("def f():\n    from tests.vm.test_qmp import answer")) == {
        "tests.vm.test_qmp",
        "tests.vm.test_qmp.answer",
    }
    assert of_tests(imported("import tests.vm.test_qmp")) == {"tests.vm.test_qmp"}
    assert of_tests(imported("from tests.vm import test_qmp")) == {"tests.vm.test_qmp"}
    assert of_tests(imported("from tests.vm.processes import children")) == set()
