# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent is sent to hosts without the harness: it may import only the standard library and itself."""

from __future__ import annotations

import ast
import io
import sys
import zipfile
from pathlib import Path

import pytest

import snp_harness.agent
from snp_harness.hosts import bundle

PACKAGE = Path(snp_harness.agent.__file__ or "").parents[1]
FILES = sorted(path for room in ("agent", "launch") for path in (PACKAGE / room).glob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, at any place."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_but_the_standard_library_and_what_is_sent(path: Path) -> None:
    # launch/ is also used without the agent.
    rooms = [["snp_harness", "launch"], *([["snp_harness", "agent"]] if path.parent.name == "agent" else [])]
    for name in imports(path):
        assert name.split(".")[0] in sys.stdlib_module_names or name.split(".")[:2] in rooms, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_grammar_of_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_what_is_sent() -> None:
    payload = bundle.payload()
    # It is sent before the other side reads: it has to fit the smallest buffer in between.
    assert len(payload) < 100_000
    size, data = int(payload[:8]), payload[8:]
    assert size == len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert set(archive.namelist()) == {
            "snp_harness/__init__.py",
            *(f"snp_harness/{path.relative_to(PACKAGE)}" for path in FILES),
        }


def test_the_command_survives_any_login_shell() -> None:
    line = bundle.command("python3")
    assert line.count("'") == 2
    assert line.endswith("'")
    assert "\n" not in line
    assert "!" not in line
