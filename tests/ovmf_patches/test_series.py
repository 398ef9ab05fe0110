# SPDX-License-Identifier: GPL-2.0-or-later
"""The patch series as files: complete, in edk2's style, and accepted by edk2's checker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness.edk2.series import load_series, parse_series
from snp_harness.edk2.source import find_source
from tests.ovmf_patches.conftest import MUTANTS, SERIES, SOURCE
from tests.ovmf_patches.files import BACKPORTS, CHECKER, COVER_LETTER, PATCHES, SENT


def test_each_patch_is_listed_once_and_in_order() -> None:
    listed = [SERIES.parent / entry.path for entry in parse_series(SERIES.read_text())]
    assert listed == PATCHES
    assert [path.name[:4] for path in SENT] == [f"{number:04}" for number in range(1, len(SENT) + 1)]


def test_only_what_upstream_has_is_for_some_versions() -> None:
    """What is sent is the same text for each."""
    for entry in parse_series(SERIES.read_text()):
        everywhere = not entry.bounds and entry.without is None
        assert everywhere is not entry.path.startswith("backports/")


@pytest.mark.parametrize("patch", load_series(SERIES), ids=lambda patch: patch.entry.path[:-6])
def test_a_message_says_why_where_it_is_specified_and_what_was_tested(patch) -> None:  # type: ignore[no-untyped-def]
    subject, _, body = patch.message.partition("\n\n")
    assert re.fullmatch(r"(MdePkg|OvmfPkg|UefiCpuPkg)/\w+: [A-Z].*[^.]", subject)
    for part in ("\nSpecification: ", "\nTested: ", "\nSigned-off-by: "):
        assert part in body


@pytest.mark.parametrize("path", [*PATCHES, *sorted(MUTANTS.glob("*.patch"))], ids=lambda path: path.name)
def test_lines_end_as_edk2s_do(path: Path) -> None:
    hunks = path.read_bytes().partition(b"\n@@ ")[2]
    added = [line for line in hunks.split(b"\n") if re.match(rb"\+(?!\+\+ )", line)]
    assert all(line.endswith(b"\r") for line in added)


def test_a_patch_changes_one_package() -> None:
    for patch in PATCHES:
        packages = set(re.findall(rb"^\+\+\+ b/(\w+)/", patch.read_bytes(), re.MULTILINE))
        assert len(packages) == 1, patch.name


def _size(patch: Path) -> tuple[int, int]:
    """Lines that a patch adds and removes."""
    hunks = re.split(rb"^(?=@@ )", patch.read_bytes().split(b"\n---\n", 1)[1], flags=re.MULTILINE)[1:]
    lines = [line for hunk in hunks for line in hunk.split(b"\ndiff --git ")[0].split(b"\n")[1:]]
    return sum(line.startswith(b"+") for line in lines), sum(line.startswith(b"-") for line in lines)


def test_the_cover_letter_is_about_this_series() -> None:
    """Its table is what is expected here: paste it if it is not."""
    subjects = [patch.message.partition("\n")[0] for patch in load_series(SERIES)[len(BACKPORTS) :]]
    rows = (f"| {p.name[:4]} {s} | {_size(p)[0]} | {_size(p)[1]} |\n" for p, s in zip(SENT, subjects, strict=True))
    assert f"| patch | + | - |\n|---|---|---|\n{''.join(rows)}\n" in COVER_LETTER.read_text()


@pytest.mark.edk2
@pytest.mark.slow
def test_edk2s_checker_passes(tmp_path: Path) -> None:
    source = find_source(SOURCE)
    content = source.store.read(source.tree, CHECKER)
    assert content is not None
    checker = tmp_path / "PatchCheck.py"
    checker.write_bytes(content)
    command = [sys.executable, str(checker), *map(str, PATCHES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The code passed all checks.") == len(PATCHES)
    assert "WARNING" not in done.stdout
