# SPDX-License-Identifier: GPL-2.0-or-later
"""A series with any one patch missing is caught or harmless, as without.toml has recorded."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.ovmf_patches.conftest import SERIES, Base, debian_base
from tests.ovmf_patches.without import RECORD, RUNS, outcome

RECORDED = tomllib.loads(RECORD.read_text())
#: Of the README's table of patches left out.
ROW = re.compile(r"^\| (?P<number>[a-z/]*\d{4}) \| (?P<without>[^|]+) \|", re.MULTILINE)


def harmless(recorded: dict[str, str]) -> bool:
    """Whether every run comes to the shell and every rule holds."""
    return set(recorded.values()) == {"shell"}


def test_the_readme_has_the_same_table() -> None:
    assert {tuple(recorded) for recorded in RECORDED.values()} <= {("series",), tuple(RUNS)}
    section = (SERIES.parent / "README.md").read_text().partition("\n## Without one patch\n")[2]
    rows = {row["number"]: row["without"] for row in ROW.finditer(section)}
    assert {patch for patch, words in rows.items() if words == "not tried"} == rows.keys() - RECORDED.keys()
    for patch, recorded in RECORDED.items():
        assert rows[patch].startswith("harmless") == harmless(recorded), patch
        rules = {rule for words in recorded.values() for rule in words.split("; ")[1:]}
        assert all(f"`{rule}`" in rows[patch] for rule in rules), patch


@pytest.fixture(scope="module")
def debian() -> Base:
    return debian_base()


@pytest.mark.edk2
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.emulated
@pytest.mark.parametrize("without", RECORDED)
def test_without_one_patch(without: str, debian: Base, tmp_path: Path) -> None:
    assert outcome(debian, without, tmp_path) == RECORDED[without]
