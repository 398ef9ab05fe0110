# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that is reached through its agent, over any kind of byte stream."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import socket
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from snp_harness.hosts import bundle
from snp_harness.hosts.answers import Found, KvmAnswer, Tracing
from snp_harness.hosts.host import Host
from snp_harness.hosts.link import PATIENCE_S, Link
from snp_harness.hosts.remote_machine import RemoteMachine
from snp_harness.vm.qemu_binary import QemuBinary, version_line
from snp_harness.vm.qemu_errors import printable

if TYPE_CHECKING:
    from snp_harness.agent.mux import Port
    from snp_harness.errors import HarnessError
    from snp_harness.vm.machine_base import Devices
    from snp_harness.vm.rundir import RunDirectory

#: Seconds from the connection to the agent's first answer.
START_S = 120.0
#: Timeout of `probe`, which calls QEMU several times, seconds.
PROBE_S = 300.0
_FACT_MAX = 200
#: Seconds that a lost agent may need to detect the loss and to clean up.
_LATE_S = 30.0


@dataclass(frozen=True)
class RemoteQemu(QemuBinary):
    """A QEMU of another machine. line: the first line of its -version."""

    host: str
    line: str

    @cached_property
    def version_text(self) -> str:
        """The first line of `-version`, as the agent sent it."""
        return self.line

    @property
    def name(self) -> str:
        """The path and the host."""
        return f"{self.path} on {self.host}"

    def start_check(self) -> Callable[[], None]:
        """Return `check`: the version is already known."""
        return self.check


class Connection(ABC):
    """A byte stream to a host, where Python is ready to read the agent from it."""

    port: Port

    @abstractmethod
    def explain(self, why: str) -> HarnessError:
        """Return the error of a lost connection. why: the reason, used if the carrier has none of its own."""

    @abstractmethod
    def close(self) -> None:
        """Close the stream. Never raises."""


@dataclass(frozen=True)
class LockRequest:
    """The host's lock. path: its file there, None for the default. wait_s: seconds to wait for it."""

    path: str | None = None
    wait_s: float = 0.0


class RemoteHost(Host):
    """A host with an agent. All runs of this process use one connection and one agent.

    name: the user's name for it. qemu_path: the host's default QEMU, None for the installed one.
    lock: None if the host is not to be locked.
    """

    def __init__(self, name: str, qemu_path: Path | None = None, lock: LockRequest | None = None) -> None:
        self.name = name
        self._qemu_path = qemu_path
        self._lock = lock
        self._link: Link | None = None
        self._process = os.getpid()
        self._connecting = threading.Lock()
        self._facts: dict[str, object] = {}
        self._qemus: dict[Path | None, RemoteQemu] = {}
        # A weak reference: atexit must not keep a host alive that is no longer used.
        atexit.register(_close, weakref.ref(self))

    @abstractmethod
    def connect(self) -> Connection:
        """Open the byte stream to the host. Raises HarnessError."""

    def link(self) -> Link:
        """Return the connection to the agent; connects at the first use and after a loss. Raises HarnessError."""
        with self._connecting:
            return self._connected()

    def _connected(self) -> Link:
        if self._process != os.getpid():
            # After a fork no thread serves the link here, and the parent still uses it.
            self._link = None
        if self._link is not None and self._link.error is None:
            return self._link
        # The agent of a lost connection holds the lock until it detects the loss.
        wait_s = 0.0 if self._link is None else PATIENCE_S + _LATE_S
        self.close()
        connection = self.connect()
        link = Link(self.name, connection.port, bundle.payload(), connection.explain, connection.close)
        try:
            hello = link.take("hello", dict[str, object], START_S, patience_s=PATIENCE_S)
            if self._lock is not None:
                wait_s = max(wait_s, self._lock.wait_s)
                link.call("lock", START_S + wait_s, path=self._lock.path, owner=_owner(), wait_s=wait_s)
        except BaseException:
            link.close()
            raise
        self._facts = {key[:_FACT_MAX]: printable(str(value), _FACT_MAX) for key, value in hello.items()}
        self._link = link
        self._process = os.getpid()
        return link

    def close(self) -> None:
        """Close the connection, if there is one; the agent cleans up. Never raises."""
        if self._link is not None:
            if self._process == os.getpid():
                self._link.close()
            self._link = None
            self._qemus.clear()

    def qemu(self, path: Path | None) -> QemuBinary:
        """Return the QEMU at `path` on the host, or its default QEMU for None.

        Raises QemuMissingError, NotQemuError, and HarnessError if the host cannot be reached.
        """
        path = path or self._qemu_path
        link = self.link()
        if path not in self._qemus:
            found = link.take("find", Found, qemu=str(path) if path else None)
            line = version_line(f"{found.path} on {self.name}", found.status, found.stdout, found.stderr)
            self._qemus[path] = RemoteQemu(Path(PurePosixPath(found.path)), tuple(found.prefix), self.name, line)
        return self._qemus[path]

    def machine(
        self, binary: QemuBinary, arguments: Sequence[str], directory: RunDirectory, devices: Devices
    ) -> RemoteMachine:
        """A QEMU that is started when the machine is entered."""
        return RemoteMachine(self.link(), binary, arguments, directory, devices)

    def probe(self, qemu: Path | None) -> object:
        """What snp_harness/agent/probe.py finds, unchecked."""
        path = qemu or self._qemu_path
        return self.link().call("probe", PROBE_S, qemu=str(path) if path else None)

    def kvm(self) -> KvmAnswer:
        """Whether KVM runs a guest."""
        return self.link().take("kvm", KvmAnswer)

    def tracing(self, events: Sequence[str]) -> Tracing:
        """Which of KVM's trace events can be recorded."""
        return self.link().take("tracing", Tracing, events=list(events))

    def traced(self) -> RemoteHost:
        """The host itself."""
        return self

    def facts(self) -> dict[str, object]:
        """For environment.json: what is known of another machine than this one."""
        return {"host": self.name, "host_facts": self._facts}


def _close(reference: weakref.ref[RemoteHost]) -> None:
    host = reference()
    if host is not None:
        host.close()


def _owner() -> str:
    """Return the user, machine and process that hold a lock."""
    user = str(os.getuid())
    with contextlib.suppress(KeyError, OSError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"
