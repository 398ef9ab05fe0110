# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine as a host with an agent, which runs as the user or, through sudo, as root."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from snp_harness.errors import HarnessError
from snp_harness.hosts import bundle
from snp_harness.hosts.host_errors import HostLostError
from snp_harness.hosts.process_connection import ProcessConnection
from snp_harness.hosts.remote import RemoteHost
from snp_harness.vm.qemu_errors import describe_status

#: Seconds that an agent may take to clean up after its stream has ended.
_END_S = 30.0


class AgentProcess(ProcessConnection):
    """An agent as a child process."""

    def __init__(self, argv: Sequence[str]) -> None:
        super().__init__(argv, end_s=_END_S, dies=False)

    def explain(self, why: str) -> HarnessError:
        """The error of a connection that was lost."""
        status = self.status(why)
        how = f"ended with {describe_status(status)}" if status is not None else f"is lost ({why})"
        return HostLostError(f"the harness's agent on this machine {how}{self.last_words()}", "see the system's log")


class ProcessHost(RemoteHost):
    """This machine through an agent. sudo: the agent runs as root, which tracefs and /dev/sev require."""

    def __init__(self, *, sudo: bool = False, qemu_path: Path | None = None) -> None:
        super().__init__("local" if not sudo else "local as root", qemu_path)
        self._sudo = sudo

    def connect(self) -> AgentProcess:
        """Start an agent on this machine. Raises HostError."""
        prefix = ["sudo", "-n"] if self._sudo else []
        return AgentProcess([*prefix, sys.executable, "-I", "-B", "-c", bundle.bootstrap()])
