# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host is to a platform."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from snp_harness.vm.machine_base import Devices, MachineBase
    from snp_harness.vm.qemu_binary import QemuBinary
    from snp_harness.vm.rundir import RunDirectory


class Host(Protocol):
    """Where QEMU runs. name: as the user gave it, "local" for this machine."""

    @property
    def name(self) -> str:
        """See the class."""
        ...

    def qemu(self, path: Path | None) -> QemuBinary:
        """The QEMU at `path` there, else the one that is installed there. Its version is checked by `check`."""
        ...

    def machine(
        self, binary: QemuBinary, arguments: Sequence[str], directory: RunDirectory, devices: Devices
    ) -> MachineBase:
        """A QEMU that is started when the machine is entered. directory: the run's, on this machine."""
        ...

    def probe(self, qemu: Path | None) -> object:
        """What snp_harness/agent/probe.py finds out there. qemu: as for `qemu`."""
        ...

    def facts(self) -> dict[str, object]:
        """For environment.json: what is known of another machine than this one."""
        ...
