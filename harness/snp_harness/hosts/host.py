# SPDX-License-Identifier: GPL-2.0-or-later
"""The interface of a host: where QEMU runs."""

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
    """Where QEMU runs: this machine (snp_harness.hosts.local.LOCAL) or one that is reached through its agent.

    name: as the user gave it, "local" for this machine. here: the harness starts QEMU itself, without an agent.
    igvm: the IGVM file, on this machine, that the inventory names for the host.
    """

    name: str
    here = False
    igvm: Path | None = None

    @abstractmethod
    def qemu(self, path: Path | None) -> QemuBinary:
        """The QEMU at `path` there, else the one that is installed there. Its version is checked by `check`.

        Raises QemuMissingError, NotQemuError, and HarnessError if the host cannot be reached.
        """

    @abstractmethod
    def machine(
        self, binary: QemuBinary, arguments: Sequence[str], directory: RunDirectory, devices: Devices
    ) -> MachineBase:
        """A QEMU that is started when the machine is entered. directory: the run's, on this machine.

        Raises HarnessError if the host cannot be reached.
        """

    @abstractmethod
    def probe(self, qemu: Path | None) -> object:
        """What snp_harness/agent/probe.py finds there, unchecked. qemu: as for `qemu`. Raises HarnessError."""

    @abstractmethod
    def kvm(self) -> KvmAnswer:
        """Whether KVM runs a guest there. Raises HarnessError."""

    @abstractmethod
    def tracing(self, events: Sequence[str]) -> Tracing:
        """Which of KVM's trace events can be recorded there. Raises HarnessError."""

    @abstractmethod
    def facts(self) -> dict[str, object]:
        """For environment.json: what is known of another machine than this one."""

    def as_root(self) -> Host:
        """The host with the privileges of a run, for `probe`, `kvm` and `tracing`.

        Raises HarnessError if sudo refuses them on this machine.
        """
        return self

    @abstractmethod
    def traced(self) -> RemoteHost:
        """The host through an agent, which records KVM's trace events."""

    @abstractmethod
    def close(self) -> None:
        """End its connections, if there are any. Never raises."""
