# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine through an agent of its own: as the user, or as root by sudo."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from snp_harness.agent.mux import CLOSED, DescriptorPort
from snp_harness.errors import HarnessError
from snp_harness.hosts import bundle
from snp_harness.hosts.host_errors import HostError, HostLostError, last_words
from snp_harness.hosts.remote import Connection, RemoteHost
from snp_harness.vm.qemu_errors import describe_status

_SAID = 400
#: Seconds that an agent may take to clean up after its stream has ended, and to end when it has closed it.
_END_S = 30.0


class AgentProcess(Connection):
    """An agent as a child process, on a socket."""

    def __init__(self, argv: list[str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self.process = subprocess.Popen(
                argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._stderr, start_new_session=True
            )
        except OSError as error:
            self._socket.close()
            self._stderr.close()
            raise HostError(f"{argv[0]} cannot be started: {error.strerror}", "see PATH") from None
        finally:
            theirs.close()
        self.port = DescriptorPort(self._socket.fileno(), self._socket.fileno())

    def explain(self, why: str) -> HarnessError:
        """See Connection."""
        if why.startswith(CLOSED):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_S)
        self._stderr.seek(0)
        said = last_words(self._stderr.read(1 << 16).decode(errors="replace"), _SAID)
        status = self.process.returncode if why.startswith(CLOSED) else None
        how = f"ended with {describe_status(status)}" if status is not None else f"is lost ({why})"
        return HostLostError(f"the harness's agent on this machine {how}{said}", "see the system's log")

    def close(self) -> None:
        """See Connection."""
        self._socket.close()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._stderr.close()


class ProcessHost(RemoteHost):
    """This machine. sudo: the agent runs as root, for what only root may (tracefs, /dev/sev)."""

    def __init__(self, *, sudo: bool = False, qemu_path: Path | None = None) -> None:
        super().__init__("local" if not sudo else "local as root", qemu_path)
        self._sudo = sudo

    def connect(self) -> AgentProcess:
        """See RemoteHost."""
        prefix = ["sudo", "-n"] if self._sudo else []
        return AgentProcess([*prefix, sys.executable, "-I", "-B", "-c", bundle.bootstrap()])
