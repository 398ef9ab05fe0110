# SPDX-License-Identifier: GPL-2.0-or-later
"""Real boots as an SEV-SNP guest on the emulated host."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from harness.apic.access import Access, Phase
from harness.apic.access import Path as AccessPath
from harness.apic.timeline import Timeline
from harness.apic.verdict import Status
from harness.capture.agree import disagreement
from harness.errors import EXIT_ENVIRONMENT, EXIT_USAGE, EXIT_VIOLATED, UsageError
from harness.run import RunResult, RunSpec, run
from harness.svsm.config import load_config
from harness.vm import rundir
from harness.vm.errors import QemuDiedError, QemuLaunchError, QemuTooOldError
from tests.platforms.sec import SEVEN, sec_accesses, told
from tests.vm.processes import children
from tests.vm.test_qemu import script

pytestmark = pytest.mark.emulated


def boot(firmware: Path, out: Path, config: str = "alternate-injection", **more: object) -> RunResult:
    spec = RunSpec(firmware, svsm=load_config(config), **more)  # type: ignore[arg-type]
    return run(spec, "emulated", out)


def check_seven(timeline: Timeline, vmpl: int) -> list[Access]:
    accesses = sec_accesses(timeline)
    assert told(accesses) == SEVEN
    assert {(a.path, a.vcpu, a.vmpl, a.size, a.module) for a in accesses} == {(AccessPath.MMIO, 0, vmpl, 4, "SecMain")}
    return accesses


@pytest.mark.parametrize("firmware", ["trixie_path", "amdsev_path"])
def test_alternate_injection_is_violated(firmware: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    result = boot(request.getfixturevalue(firmware), tmp_path / "out")
    check_seven(result.timeline, 2)
    assert result.timeline.complete
    assert result.timeline.svsm
    assert result.timeline.alternate_injection
    assert result.exit_status == EXIT_VIOLATED
    assert result.verdict.result("x2apic-before-sec").status is Status.VIOLATED
    assert (result.directory / rundir.HOST_LOG).stat().st_size % 64 == 0


def test_an_old_firmware_without_an_svsm(bookworm_path: Path, tmp_path: Path) -> None:
    result = boot(bookworm_path, tmp_path / "out", "no-svsm")
    check_seven(result.timeline, 0)
    assert not result.timeline.alternate_injection


def test_an_old_firmware_with_an_svsm_is_refused_before_qemu_starts(bookworm_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no SVSM CAA section.*use --svsm-config no-svsm, or a newer OVMF") as caught:
        boot(bookworm_path, tmp_path / "out")
    assert caught.value.exit_status == EXIT_USAGE
    assert not (tmp_path / "out" / rundir.COMMAND_LINE).exists()


def test_a_plain_guest_on_the_same_apic(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", "plain")
    check_seven(result.timeline, 0)


def test_more_vcpus_than_the_host_has(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs 1 vCPU, not 2"):
        boot(trixie_path, tmp_path / "out", vcpus=2)


def test_qemu_killed_in_the_middle_keeps_what_was_seen(trixie_path: Path, tmp_path: Path) -> None:
    before = set(children())
    exits: list[int | None] = []

    def kill(phase: Phase, _accesses: int, count: int | None) -> None:
        exits.append(count)
        if phase >= Phase.PEI:
            [qemu] = set(children()) - before
            os.kill(qemu, signal.SIGKILL)

    result = run(RunSpec(trixie_path, until="shell"), "emulated", tmp_path / "out", kill)
    assert isinstance(result.error, QemuDiedError)
    assert result.exit_status >= EXIT_ENVIRONMENT
    check_seven(result.timeline, 2)
    assert not result.timeline.complete
    assert exits[-1]
    assert [count or 0 for count in exits] == sorted(count or 0 for count in exits)


def test_to_the_shell(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", until="shell")
    assert [mark.phase for mark in result.timeline.phases] == [
        Phase.RESET,
        Phase.SEC,
        Phase.PEI,
        Phase.DXE,
        Phase.BDS,
    ]
    assert result.timeline.complete
    assert result.timeline.lost == 0
    assert {access.module for access in result.timeline.accesses} >= {"SecMain", "CpuMpPei", "LocalApicTimerDxe"}
    assert None not in {access.module for access in result.timeline.accesses}
    assert b"Shell> " in (result.directory / rundir.SERIAL).read_bytes()


def test_two_witnesses_agree_access_by_access(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", "two-witnesses", until="dxe")
    assert result.second is not None
    check_seven(result.timeline, 2)
    assert told(sec_accesses(result.second)) == SEVEN
    assert disagreement(result.timeline, result.second) is None
    assert sum(not access.is_base for access in result.second.accesses) > 30
    assert result.timeline.complete
    stored = Timeline.from_jsonl((result.directory / rundir.SECOND_TIMELINE).read_text())
    assert stored == result.second


def test_an_argument_that_qemu_refuses(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(QemuLaunchError, match="no-such-device"):
        boot(trixie_path, tmp_path / "out", extra_args=("-device", "no-such-device"))


def test_a_qemu_that_is_too_old(trixie_path: Path, tmp_path: Path) -> None:
    old = script(tmp_path / "qemu", "QEMU emulator version 6.2.0")
    with pytest.raises(QemuTooOldError, match=r"7\.2 or newer is needed"):
        boot(trixie_path, tmp_path / "out", qemu=old)


def _sec(firmware: Path, out: Path) -> list[dict[str, object]]:
    """SEC's accesses, without their times."""
    timeline = boot(firmware, out).timeline
    assert timeline.complete
    return [access.to_json() | {"time_ns": 0} for access in timeline.accesses if access.phase is Phase.SEC]


def test_two_at_once_give_the_same_timeline(trixie_path: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        first, second = pool.map(_sec, [trixie_path] * 2, [tmp_path / "a", tmp_path / "b"])
    assert len(first) >= 7
    assert first == second


def test_counted_instructions_make_records_repeat(trixie_path: Path, tmp_path: Path) -> None:
    logs = []
    for name in ("a", "b"):
        result = boot(trixie_path, tmp_path / name, icount=True)
        check_seven(result.timeline, 2)
        logs.append((result.directory / rundir.HOST_LOG).read_bytes())
    # Until SEC's end; where the run is cut off after it, is chance.
    shortest = min(map(len, logs))
    assert shortest > 100 * 64
    assert logs[0][:shortest] == logs[1][:shortest]


@pytest.mark.slow
def test_twenty_runs_give_the_same_timeline(trixie_path: Path, tmp_path: Path) -> None:
    runs = [_sec(trixie_path, tmp_path / "out") for _ in range(20)]
    assert all(found == runs[0] for found in runs)
