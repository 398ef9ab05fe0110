# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine as a host: QEMU is started by the harness itself, without an agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snp_harness.vm.machine import Machine
from snp_harness.vm.machine_base import Devices, MachineBase
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory


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

    def probe(self, qemu: Path | None) -> object:
        """See Host."""
        from snp_harness.agent.probe import probe

        return probe(str(qemu) if qemu else None)

    def facts(self) -> dict[str, object]:
        """See Host."""
        return {}


LOCAL = LocalHost()
