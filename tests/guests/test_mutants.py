# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the reference SVSM: each of them fails the points that test for what it lacks, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.svsm.config_files import load_config
from tests.guests.mutants import MORE_MUTANTS, MUTANTS, mutant
from tests.helpers.reference_svsm import use_svsm

pytestmark = pytest.mark.emulated

TIMEOUT_S = 900.0


@pytest.mark.parametrize("name", [*MUTANTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_MUTANTS)])
def test_mutant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, text, replacement, failing = {**MUTANTS, **MORE_MUTANTS}[name]
    use_svsm(monkeypatch, mutant(tmp_path, source, text, replacement))
    config = load_config("alternate-injection")
    # Each page with an exit of its own: pages that are mapped in groups hide exits that cut a delivery short.
    config = replace(config, exits=replace(config.exits, shortcuts=False))
    result = run_conformance(config, out=tmp_path / "run", timeout_s=TIMEOUT_S, icount=True)
    failed = {point.name for point in result.of(PointStatus.FAILED)}
    assert failed == failing
    assert not result.tap.defects
