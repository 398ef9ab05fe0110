# SPDX-License-Identifier: GPL-2.0-or-later
"""An SVSM that ends the run in the middle: the other points are reached, and a seed repeats the requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.conformance.guest_run import ConformanceResult
from snp_harness.conformance.image import Fuzz
from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.errors import EXIT_HOLDS, EXIT_VIOLATED
from snp_harness.svsm.config_files import load_config
from tests.guests.mutants import mutant
from tests.guests.points import all_points
from tests.helpers.reference_svsm import use_svsm

pytestmark = pytest.mark.emulated

TIMEOUT_S = 900.0


def ended(result: ConformanceResult) -> dict[str, dict[str, str]]:
    return {point.name: dict(point.diagnostic) for point in result.of(PointStatus.ENDED_THE_RUN)}


@pytest.mark.slow
def test_points_behind_those_that_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last deregistration this SVSM ends the APIC again, which the hypervisor refuses."""
    use_svsm(monkeypatch, mutant(tmp_path, "svsm/alternate.c", "\tvcpu->emulation = false;\n}", "}"))
    config = load_config("alternate-injection")
    result = run_conformance(config, vcpus=1, out=tmp_path / "run", timeout_s=TIMEOUT_S, icount=True)
    assert list(ended(result)) == ["registration/query-again", "registration/deregister-again"]
    assert [point.name for point in result.tap.points] == all_points()
    calls = [diagnostic["call"] for diagnostic in ended(result).values()]
    assert calls == [f"apic CONFIGURE, RCX {rcx}, RDX 0: no answer at the end of the run" for rcx in (0, 1)]
    assert all("the SVSM asked to be ended" in diagnostic["message"] for diagnostic in ended(result).values())
    assert (result.exit_status, result.tap.defects) == (EXIT_VIOLATED, ())


def test_requests_are_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\tcase SVSM_CORE_CREATE_VCPU:\n"
    ends = f"{text}\t\tif (request->rdx & 0x1000)\n\t\t\t__builtin_trap();\n"
    use_svsm(monkeypatch, mutant(tmp_path, "svsm/protocol_core.c", text, ends))
    config = load_config("alternate-injection")
    seen = []
    for number, seed in enumerate((11, 11, 13)):
        out = tmp_path / f"run-{number}"
        result = run_conformance(config, Fuzz(seed, 20_000), vcpus=1, out=out, timeout_s=TIMEOUT_S, icount=True)
        seen.append(ended(result)["fuzz/survived"]["call"])
    assert seen[0].startswith("core CREATE_VCPU, RCX ")
    assert seen[0] == seen[1] != seen[2]
    out = tmp_path / "without"
    result = run_conformance(
        config, Fuzz(11, 500), vcpus=1, out=out, timeout_s=TIMEOUT_S, icount=True, skip=("call/0/2",)
    )
    assert (result.exit_status, result.tap.defects) == (EXIT_HOLDS, ())
