# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the reference SVSM: each of them fails the points that test for what it lacks, and no others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.platforms import rom
from snp_harness.svsm.config import load_config
from tests.guests.mutants import MORE_MUTANTS, MUTANTS

pytestmark = pytest.mark.emulated

EMULATOR = Path(__file__).parents[2] / "harness" / "emulator"
TIMEOUT_S = 900.0


def mutant(directory: Path, source: str, text: str, replacement: str) -> bytes:
    """The SVSM's image, compiled with a change."""
    copy = directory / "emulator"
    shutil.copytree(EMULATOR, copy)  # with what is built: only the changed file is compiled
    code = (copy / source).read_text(encoding="utf-8")
    assert code.count(text) == 1, f"{source} has not just one {text!r}"
    (copy / source).write_text(code.replace(text, replacement), encoding="utf-8")
    image = str(rom.SVSM_IMAGE.relative_to(EMULATOR))
    command = ["make", "-s", "-C", str(copy), image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return (copy / image).read_bytes()


@pytest.mark.parametrize("name", [*MUTANTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_MUTANTS)])
def test_mutant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, text, replacement, failing = {**MUTANTS, **MORE_MUTANTS}[name]
    svsm = mutant(tmp_path, source, text, replacement)
    monkeypatch.setattr(rom, "read_svsm", lambda: svsm)
    result = run_conformance(load_config("alternate-injection"), out=tmp_path / "run", timeout_s=TIMEOUT_S, icount=True)
    assert {point.name for point in result.of(PointStatus.FAILED)} == failing
    assert not result.tap.defects
