# SPDX-License-Identifier: GPL-2.0-or-later
"""The boundaries of the architecture: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports(path: Path) -> set[str]:
    """Every module of this package that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.split(".")[0] == "harness"}


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ("harness/snp_harness/apic/**/*.py", ("snp_harness.apic", "snp_harness.errors")),
        ("harness/snp_harness/svsm/protocol.py", ("snp_harness.apic",)),
        ("harness/snp_harness/svsm/sev.py", ()),
        ("harness/snp_harness/svsm/config.py", ("snp_harness.svsm", "snp_harness.errors")),
        ("harness/snp_harness/report/*.py", ("snp_harness.apic", "snp_harness.report", "snp_harness.errors")),
    ],
)
def test_who_imports_whom(files: str, allowed: tuple[str, ...]) -> None:
    paths = sorted(ROOT.glob(files))
    assert paths
    for path in paths:
        for name in imports(path) - {"harness"}:
            assert any(name == entry or name.startswith(entry + ".") for entry in allowed), f"{path} imports {name}"
