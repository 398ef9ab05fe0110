# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs through an agent, and the processes of one."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.hosts.host import Host
from tests.vm.processes import children, is_running, wait_for_end


def boot(host: Host, firmware: Path, out: Path, platform: str = "emulated", **more: object) -> RunResult:
    return run(RunSpec(firmware, host=host, **more), platform, out)  # type: ignore[arg-type]


def untimed(timeline: Timeline, until: Phase = Phase.SEC) -> list[dict[str, object]]:
    """Accesses without their times."""
    return [access.to_json() | {"time_ns": 0} for access in timeline.accesses if access.phase <= until]


def far_qemu(agent: int) -> int:
    """The process of the QEMU that an agent has started."""
    [qemu] = children(agent)
    return qemu


def end_the_harness(command: list[str], number: signal.Signals) -> None:
    """Send a signal to a harness that has printed its agent's process; agent and QEMU end with it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as harness:
        assert harness.stdout is not None
        agent = int(harness.stdout.readline())
        qemu = far_qemu(agent)
        assert is_running(qemu)
        harness.send_signal(number)
    assert wait_for_end(qemu, 60)
    assert wait_for_end(agent, 60)
