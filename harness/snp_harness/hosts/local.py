# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine as a host: QEMU is started by the harness itself, without an agent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.vm.machine import Machine
from snp_harness.vm.machine_base import Devices, MachineBase
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.capture.host_log import RecordLog


class LocalHost:
    """See snp_harness.hosts.host.Host."""

    name = "local"

    def qemu(self, path: Path | None) -> QemuBinary:
        """See Host."""
        return QemuBinary.locate(path)

    def machine(
        self, binary: QemuBinary, arguments: Sequence[str], directory: RunDirectory, devices: Devices
    ) -> MachineBase:
        """See Host."""
        return Machine(binary, arguments, directory, devices)

    def record_log(self, machine: MachineBase, take: Callable[[bytes], None]) -> RecordLog:
        """See Host."""
        from snp_harness.capture.host_log import HostLog

        assert isinstance(machine, Machine)
        ring = machine.devices.ring
        assert ring is not None
        doorbell = machine.channel(ring.doorbell)
        machine.loop.watch(doorbell, lambda: _answer(doorbell, machine))
        return HostLog(machine.memory(ring.memory), machine.devices.memory[ring.memory], take)

    def probe(self, qemu: Path | None) -> object:
        """See Host."""
        from snp_harness.agent.probe import probe

        return probe(str(qemu) if qemu else None)

    def facts(self) -> dict[str, object]:
        """See Host."""
        return {}


def _answer(doorbell: socket.socket, machine: MachineBase) -> None:
    """Take the doorbell's bytes; the session's next step takes the records."""
    if not doorbell.recv(4096):
        machine.loop.forget(doorbell)


LOCAL = LocalHost()
