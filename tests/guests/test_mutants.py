# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the reference SVSM: each of them fails the points that test for what it lacks, and no others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.conformance.guest_run import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.platforms import rom
from snp_harness.svsm.config import load_config

pytestmark = pytest.mark.emulated

EMULATOR = Path(__file__).parents[2] / "harness" / "emulator"
TIMEOUT_S = 900.0

#: File of the SVSM, its text, what replaces it, and the points that fail.
MUTANTS = {
    "loses an interrupt that an exit cut short": (
        "svsm/lapic.c",
        "\tvmsa->event_inj = info;\n",
        "",
        {"delivery/cut-short"},
    ),
}


def _mutant(directory: Path, source: str, text: str, replacement: str) -> bytes:
    """The SVSM's image, compiled with a change."""
    copy = directory / "emulator"
    shutil.copytree(EMULATOR, copy, ignore=shutil.ignore_patterns("build"))
    code = (copy / source).read_text(encoding="utf-8")
    assert code.count(text) == 1, f"{source} has not just one {text!r}"
    (copy / source).write_text(code.replace(text, replacement), encoding="utf-8")
    done = subprocess.run(["make", "-s", "-C", str(copy)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return (copy / rom.SVSM_IMAGE.relative_to(EMULATOR)).read_bytes()


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, text, replacement, failing = MUTANTS[name]
    svsm = _mutant(tmp_path, source, text, replacement)
    monkeypatch.setattr(rom, "read_svsm", lambda: svsm)
    result = run_conformance(load_config("alternate-injection"), out=tmp_path / "run", timeout_s=TIMEOUT_S, icount=True)
    assert {point.name for point in result.of(PointStatus.FAILED)} == failing
    assert not result.tap.defects
