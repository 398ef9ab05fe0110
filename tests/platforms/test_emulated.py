# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs on the emulated host: how failures end, and that runs repeat."""

from __future__ import annotations

import re
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import AGREEMENT
from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_ENVIRONMENT, UsageError
from snp_harness.firmware_run import RunSpec
from snp_harness.hosts.host import Host
from snp_harness.vm.qemu_errors import QemuDiedError, QemuLaunchError
from tests.helpers.run_records import records_to_goal
from tests.platforms.boots import Clock, boot, check_seven, qemus, run, signal_qemu

pytestmark = pytest.mark.emulated


def test_more_vcpus_than_the_host_has(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs 16 vCPUs, not 17"):
        boot(trixie_path, tmp_path / "out", vcpus=17)


def test_qemus_own_apic_serves_one_vcpu(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="QEMU's own APIC serves one vCPU, not 2"):
        boot(trixie_path, tmp_path / "out", "two-witnesses", vcpus=2)


@pytest.mark.parametrize("config", ["alternate-injection", "no-svsm"])
def test_a_guest_may_have_more_memory_than_the_machine(config: str, trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", config, memory_mib=64 << 10, until="sec")
    check_seven(result.timeline, 0 if config == "no-svsm" else 2)
    assert result.timeline.complete


#: At the reset vector: MOV AL, 85h; OUT F4, AL. MOV EAX, 850000h; OUT F2, EAX.
WITH_ONE_BYTE = b"\xb0\x85\xe6\xf4"
FROM_BELOW = b"\x66\xb8\x00\x00\x85\x00\x66\xe7\xf2"


@pytest.mark.parametrize(
    ("until", "code", "pc"),
    [("exit", WITH_ONE_BYTE, "FFFFFFF2"), ("exit", FROM_BELOW, "FFFFFFF6"), ("pei", WITH_ONE_BYTE, "FFFFFFF2")],
    ids=["exit", "exit-from-below", "pei"],
)
def test_the_guest_ends_the_run_by_isa_debug_exit(
    until: str, code: bytes, pc: str, trixie_path: Path, tmp_path: Path
) -> None:
    """The hypervisor serves the port: QEMU would end at once, and the log could not be compared any more."""
    image = bytearray(trixie_path.read_bytes())
    image[-16 : len(code) - 16] = code
    firmware = tmp_path / "exit.fd"
    firmware.write_bytes(image)
    device = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    timeline = boot(firmware, tmp_path / "out", "plain", until=until, extra_args=device).timeline
    assert timeline.guest_exit == 5
    assert AGREEMENT in {event.kind for event in timeline.events}
    (gap,) = timeline.gaps
    assert gap.startswith(f"the guest ended by isa-debug-exit with status 5, at pc {pc}")
    assert gap.endswith("in the reset vector")


def test_qemu_killed_in_the_middle_keeps_what_was_seen(trixie_path: Path, tmp_path: Path) -> None:
    exits: list[int | None] = []
    kill = signal_qemu(signal.SIGKILL, Phase.PEI, exits)
    result = run(RunSpec(trixie_path, until="shell"), "emulated", tmp_path / "out", kill)
    assert isinstance(result.error, QemuDiedError)
    assert result.exit_status >= EXIT_ENVIRONMENT
    check_seven(result.timeline, 2)
    assert not result.timeline.complete
    assert exits[-1]
    assert [count or 0 for count in exits] == sorted(count or 0 for count in exits)


def test_a_qemu_that_hangs_is_given_up_and_killed(
    trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snp_harness.vm.machine_base.STOP_TIMEOUT_S", 0.3)
    before = qemus()
    stop = signal_qemu(signal.SIGSTOP, Phase.PEI)
    clock = Clock(monkeypatch)

    def stop_and_end(phase: Phase, accesses: int, exits: int | None) -> None:
        stop(phase, accesses, exits)
        if phase >= Phase.PEI:
            clock.end()

    result = run(RunSpec(trixie_path, until="shell"), "emulated", tmp_path / "out", stop_and_end)
    assert qemus() <= before
    check_seven(result.timeline, 2)
    [gap] = result.timeline.gaps
    # On a busy machine the signal is late.
    assert re.match("the firmware's prompt was not reached in 120 s: the guest is in (PEI|DXE|BDS)", gap)
    assert result.error is None
    assert result.verdict.result("no-refused-access").status is Status.INCONCLUSIVE


def test_an_argument_that_qemu_refuses(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(QemuLaunchError, match="no-such-device"):
        boot(trixie_path, tmp_path / "out", extra_args=("-device", "no-such-device"))


def _sec(firmware: Path, out: Path) -> list[dict[str, object]]:
    """SEC's accesses, without their times."""
    timeline = boot(firmware, out).timeline
    assert timeline.complete
    return [access.to_json() | {"time_ns": 0} for access in timeline.accesses if access.phase is Phase.SEC]


def test_two_at_once_give_the_same_timeline(trixie_path: Path, tmp_path: Path, snp_host: Host) -> None:
    # A connection to a host is its process's, and serves several threads.
    executor: type[Executor] = ProcessPoolExecutor if snp_host.here else ThreadPoolExecutor
    with executor(2) as pool:  # type: ignore[call-arg]
        first, second = pool.map(_sec, [trixie_path] * 2, [tmp_path / "a", tmp_path / "b"])
    assert len(first) >= 7
    assert first == second


def test_counted_instructions_make_records_repeat(trixie_path: Path, tmp_path: Path) -> None:
    results = [boot(trixie_path, tmp_path / name, icount=True) for name in ("a", "b")]
    check_seven(results[0].timeline, 2)
    assert results[0].timeline == results[1].timeline
    first, second = (list(records_to_goal(result.directory)) for result in results)
    assert len(first) > 100
    assert first == second


@pytest.mark.slow
def test_twenty_runs_give_the_same_timeline(trixie_path: Path, tmp_path: Path) -> None:
    runs = [_sec(trixie_path, tmp_path / "out") for _ in range(20)]
    assert all(found == runs[0] for found in runs)
