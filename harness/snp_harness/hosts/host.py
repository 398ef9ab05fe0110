# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface of a host, on which QEMU runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snp_harness.hosts.answers import KvmAnswer, Tracing
    from snp_harness.hosts.remote import RemoteHost
    from snp_harness.vm.machine_base import Devices, MachineBase
    from snp_harness.vm.qemu_binary import QemuBinary
    from snp_harness.vm.rundir import RunDirectory


class Host(ABC):
    """A host: this machine (snp_harness.hosts.local.LOCAL) or one that is reached through its agent.

    name: the user's name for it, "local" for this machine. here: the harness starts QEMU itself, without an agent.
    igvm: the IGVM file, on this machine, that the inventory names for the host.
    """

    name: str
    here = False
    igvm: Path | None = None

    @abstractmethod
    def qemu(self, path: Path | None) -> QemuBinary:
        """Return the QEMU at `path` on the host, or its default QEMU for None. `check` checks its version.

        Raises QemuMissingError, NotQemuError, and HarnessError if the host cannot be reached.
        """

    @abstractmethod
    def machine(
        self, binary: QemuBinary, arguments: Sequence[str], directory: RunDirectory, devices: Devices
    ) -> MachineBase:
        """Return a machine; entering it starts QEMU. directory: of the run, on this machine.

        Raises HarnessError if the host cannot be reached.
        """

    @abstractmethod
    def probe(self, qemu: Path | None) -> object:
        """Return the facts of snp_harness/agent/probe.py, unchecked. qemu: as in `qemu`. Raises HarnessError."""

    @abstractmethod
    def kvm(self) -> KvmAnswer:
        """Test whether KVM runs a guest on the host. Raises HarnessError."""

    @abstractmethod
    def tracing(self, events: Sequence[str]) -> Tracing:
        """Find out which of these KVM trace events can be recorded on the host. Raises HarnessError."""

    @abstractmethod
    def facts(self) -> dict[str, object]:
        """Return what environment.json records about the host; empty for this machine."""

    def as_root(self) -> Host:
        """Return the host with the privileges of a run, for `probe`, `kvm` and `tracing`.

        Raises HarnessError if sudo fails on this machine.
        """
        return self

    @abstractmethod
    def traced(self) -> RemoteHost:
        """Return the host through an agent, which can record KVM's trace events."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections. Never raises."""
