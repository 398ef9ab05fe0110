# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings the processor of an emulated host out of the guest: only then can QEMU load what it saves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from snp_harness.launch.patience import Patience
from snp_harness.launch.ring import Gate
from snp_harness.platforms.saved import SnapshotError
from snp_harness.platforms.stuck import Sample

if TYPE_CHECKING:
    from snp_harness.vm.machine import Machine

#: Seconds for a guest to leave by itself; guests compute for long without a #VMEXIT.
LEAVE_S = 20.0
#: Seconds that it runs before the registers are looked at again: the hypervisor may wait for an interrupt.
_RUN_S = 0.2
_POLL_S = 0.001


def leave_guest(machine: Machine, ring: str, *, interrupt: bool) -> None:
    """Have a stopped machine stop in the hypervisor: where it is, or when the guest has left. ring: its memory.

    interrupt: an NMI is an exit of the guest, which then executes nothing more; else it has to leave by itself.
    Raises SnapshotError if it does not, QemuError.
    """
    patience = Patience(LEAVE_S)
    with Gate(machine.memory(ring)) as gate:
        while not _in_hypervisor(machine):
            if patience.step() <= 0:
                raise SnapshotError(f"the guest did not leave for the hypervisor in {LEAVE_S:g} s", "try again later")
            gate.close()
            if interrupt:
                # The guest is on the processor: an NMI is an exit. The gate shows the host that it is not the guest's.
                machine.qmp.execute("inject-nmi")
            machine.qmp.execute("cont")
            until = time.monotonic() + _RUN_S
            while not gate.closed and time.monotonic() < until:
                machine.loop.turn(_POLL_S)
            machine.qmp.execute("stop")


def _in_hypervisor(machine: Machine) -> bool:
    printed = machine.qmp.execute("human-monitor-command", command_line="info registers -a")
    sample = Sample.parse(str(printed))
    return sample is not None and sample.in_hypervisor
