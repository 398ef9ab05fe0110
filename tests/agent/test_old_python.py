# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent runs on Python 3.9, which may be absent here: its source is searched for newer features."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import snp_harness.agent

PACKAGE = Path(snp_harness.agent.__file__).parents[1]
FILES = sorted(path for room in ("agent", "launch") for path in (PACKAGE / room).glob("*.py"))
OLDEST = (3, 9)
#: Keywords of calls that Python 3.9 does not support.
KEYWORDS = {"strict", "slots", "kw_only", "weakref_slot"}
#: Names of the standard library that are newer.
NAMES = {
    "F_SETPIPE_SZ",
    "F_GETPIPE_SZ",
    "eventfd",
    "splice",
    "EFD_NONBLOCK",
    "EFD_CLOEXEC",
    "pairwise",
    "StrEnum",
    "bit_count",
    "ExceptionGroup",
    "TaskGroup",
    "tomllib",
    "batched",
    "Self",
}


def unions(tree: ast.AST) -> Iterator[int]:
    """Lines where types are joined by | when the program runs: annotations are texts, these are not."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            yield from (inner.lineno for inner in ast.walk(node.args[1]) if isinstance(inner, ast.BinOp))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr):
            sides = (node.value.left, node.value.right)
            if any(isinstance(side, ast.Constant) and side.value is None for side in sides):
                yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_newer_is_used(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=OLDEST)
    assert not list(unions(tree))
    nodes = list(ast.walk(tree))
    assert not [node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg in KEYWORDS]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)} | {
        alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    }
    assert not used & NAMES
    if any(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in nodes):
        assert "from __future__ import annotations" in source
