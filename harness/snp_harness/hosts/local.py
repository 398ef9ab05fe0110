# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine as a host: the harness itself starts QEMU, without an agent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.hosts.host import Host
from snp_harness.vm.machine import Machine
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.qemu_binary import QemuBinary, environment_qemu
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.hosts.agent_process import ProcessHost
    from snp_harness.hosts.answers import KvmAnswer, Tracing

#: If set and not empty, the agent on this machine is started through sudo: tracefs and /dev/sev require root.
SUDO_VARIABLE = "SNP_HARNESS_SUDO"
_HERE = "this machine"


class LocalHost(Host):
    """This machine. LOCAL is the only instance."""

    name = "local"
    here = True

    def __init__(self) -> None:
        #: This machine through an agent, by whether the agent runs as root; made at the first use.
        self._agents: dict[bool, ProcessHost] = {}

    def __reduce__(self) -> str:
        return "LOCAL"

    def qemu(self, path: Path | None) -> QemuBinary:
        """The QEMU at `path`, else the one that a run would use."""
        return QemuBinary.locate(path)

    def machine(
        self, binary: QemuBinary, arguments: Sequence[str], directory: RunDirectory, devices: Devices
    ) -> Machine:
        """A QEMU that is started when the machine is entered."""
        return Machine(binary, arguments, directory, devices)

    def probe(self, qemu: Path | None) -> object:
        """What snp_harness/agent/probe.py finds, unchecked."""
        from snp_harness.agent.probe import probe

        found = qemu or environment_qemu()
        return probe(str(found) if found else None)

    def kvm(self) -> KvmAnswer:
        """Whether KVM runs a guest."""
        from snp_harness.agent.kvm_probe import kvm_facts
        from snp_harness.hosts.answers import KvmAnswer, checked

        return checked(_HERE, "kvm", kvm_facts(), KvmAnswer)

    def tracing(self, events: Sequence[str]) -> Tracing:
        """Which of KVM's trace events can be recorded."""
        from snp_harness.agent.tracefs import survey
        from snp_harness.hosts.answers import Tracing, checked

        return checked(_HERE, "tracing", survey(events), Tracing)

    def facts(self) -> dict[str, object]:
        """Nothing: environment.json has this machine's own facts."""
        return {}

    def as_root(self) -> Host:
        """Return this machine through an agent started by sudo if SUDO_VARIABLE is set, otherwise this host.

        Raises HarnessError if the agent does not start.
        """
        if not os.environ.get(SUDO_VARIABLE):
            return self
        host = self.traced()
        host.link()
        return host

    def traced(self) -> ProcessHost:
        """Return this machine through an agent, which runs as root if SUDO_VARIABLE is set."""
        from snp_harness.hosts.agent_process import ProcessHost

        sudo = bool(os.environ.get(SUDO_VARIABLE))
        if sudo not in self._agents:
            self._agents[sudo] = ProcessHost(sudo=sudo)
        return self._agents[sudo]

    def close(self) -> None:
        """End the agents of this machine."""
        for host in self._agents.values():
            host.close()
        self._agents.clear()


LOCAL = LocalHost()
