# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU on the agent's host: in a clean run directory, with its character devices, pipes and shared memory.

open     run                   a name the near side chose
start    run
         argv                  with tokens (snp_harness/launch/tokens.py) for paths and descriptors
         chardevs              {name: stream, or null}: a socket each, `fd:name` in argv; null: for the ring only
         pipes                 {name: stream}: what QEMU writes there, `path:name` in argv
         memory                {name: bytes}: shared memory, `path:name` in argv
         stderr                stream
         ring                  null, or {"memory": name, "doorbell": name of a chardev, "stream", "arm", "layout"}
kill     run, signal
release  run
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import RunDirectories, Store, base_directory, file_name, from_os_error
from snp_harness.agent.mux import Stream
from snp_harness.agent.ring import Layout, RingForwarder
from snp_harness.launch import tokens
from snp_harness.launch.fifo import ConsoleFifo, enlarge, fifo_name
from snp_harness.launch.shared_memory import shared_memory
from snp_harness.launch.spawn import spawn

if TYPE_CHECKING:
    from snp_harness.agent.__main__ import Agent

#: Shared memory that one run may ask for, bytes.
_MEMORY_MAX = 1 << 30
#: Seconds for which what a console or a trace says is gathered: a serial port writes byte by byte.
_PACE_S = 0.005
#: Seconds that a process that was killed may take to end.
_KILL_S = 30.0


class Run:
    """One run directory and the process in it."""

    def __init__(self, agent: Agent, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._agent = agent
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._memory: dict[str, int] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._streams: list[Stream] = []
        self._ring: RingForwarder | None = None

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """The operation `start`."""
        if self._process is not None:
            raise AgentError("usage", f"the run {self.name} was started before", "")
        values: dict[tuple[str, str], str] = {}
        with contextlib.ExitStack() as theirs:
            inherited = self._make_descriptors(request, values, theirs)

            def value(kind: str, name: str) -> str:
                if kind == tokens.FILE:
                    return str(self.path / file_name(name))
                if (kind, name) not in values:
                    raise AgentError("usage", f"nothing is named {name}", "")
                return values[kind, name]

            argv = [tokens.substitute(str(argument), value) for argument in request["argv"]]
            error_read, error_write = os.pipe()
            theirs.callback(os.close, error_write)
            self._streams.append(self._agent.mux.open(int(request["stderr"]), error_read, writes=False))
            try:
                self._process = spawn(argv, stderr=error_write, pass_fds=inherited, cwd=self.path)
            except OSError as error:
                raise AgentError("missing", f"{argv[0]} cannot be started: {error.strerror}", "see the host") from None
        self._pidfd = os.pidfd_open(self._process.pid)
        self._agent.loop.watch(self._pidfd, self._exited)
        if request.get("ring"):
            self._start_ring(request["ring"])
        return {"pid": self._process.pid, "argv": argv}

    def kill(self, number: int) -> None:
        """The operation `kill`."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.Signals(number))

    def close(self) -> None:
        """Kill what runs, and give all back but the directory."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_S)
        if self._pidfd >= 0:
            self._agent.loop.forget(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        for stream in self._streams:
            stream.close()
        for ours in self._sockets.values():
            self._agent.loop.forget(ours.fileno())
            ours.close()
        for fd in self._memory.values():
            os.close(fd)
        self._streams, self._sockets, self._memory = [], {}, {}

    def _make_descriptors(
        self, request: dict[str, Any], values: dict[tuple[str, str], str], theirs: contextlib.ExitStack
    ) -> list[int]:
        """Make what QEMU inherits; `theirs` closes it here. Fills values: what stands for the tokens."""
        inherited = []
        for name, number in request["consoles"].items():
            fifo = self._fifo(fifo_name(file_name(name)))
            # QEMU's current directory is the run's.
            values[tokens.PATH, name] = fifo_name(name)
            self._streams.append(self._agent.mux.open(int(number), fifo, pace_s=_PACE_S))
        for name, number in request["chardevs"].items():
            ours, other = socket.socketpair()
            theirs.callback(other.close)
            inherited.append(other.fileno())
            values[tokens.NUMBER, name] = str(other.fileno())
            if number is None:
                self._sockets[name] = ours
            else:
                self._streams.append(self._agent.mux.open(int(number), ours))
        for name, number in request["pipes"].items():
            read_fd, write_fd = os.pipe()
            theirs.callback(os.close, write_fd)
            enlarge(write_fd)
            inherited.append(write_fd)
            values[tokens.PATH, name] = tokens.descriptor_path(write_fd)
            self._streams.append(self._agent.mux.open(int(number), read_fd, writes=False, pace_s=_PACE_S))
        for name, size in request["memory"].items():
            if not 0 < size <= _MEMORY_MAX:
                raise AgentError("usage", f"a shared memory of {size} bytes cannot be", "")
            try:
                self._memory[name] = shared_memory(name, size)
            except OSError as error:
                raise from_os_error(error, f"{size >> 10} KiB of shared memory cannot be had") from None
            inherited.append(self._memory[name])
            values[tokens.PATH, name] = tokens.descriptor_path(self._memory[name])
        return inherited

    def _fifo(self, name: str) -> ConsoleFifo:
        try:
            return ConsoleFifo(self.path, name)
        except OSError as error:
            raise from_os_error(error, f"the FIFOs of the console {name} cannot be made") from None

    def _start_ring(self, given: dict[str, Any]) -> None:
        fd = self._memory[given["memory"]]
        stream = self._agent.mux.open(int(given["stream"]), None, writes=False)
        self._streams.append(stream)
        self._ring = RingForwarder(
            self._agent.loop,
            stream,
            fd,
            os.fstat(fd).st_size,
            Layout(given["layout"]),
            self._pump,
            arm=bool(given["arm"]),
        )
        doorbell = self._sockets[given["doorbell"]]
        doorbell.setblocking(False)
        self._agent.loop.watch(doorbell.fileno(), lambda: self._rung(doorbell))

    def _rung(self, doorbell: socket.socket) -> None:
        try:
            data = doorbell.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._agent.loop.forget(doorbell.fileno())
        if self._ring is not None:
            self._ring.look()

    def _pump(self) -> None:
        """Send what QEMU has written so far."""
        for stream in self._streams:
            stream.pump()

    def _exited(self) -> None:
        assert self._process is not None
        status = self._process.poll()
        if status is None:
            return
        self._agent.loop.forget(self._pidfd)
        self._pump()
        if self._ring is not None:
            self._ring.finish()
        self._agent.tell({"event": "exit", "run": self.name, "status": status})


class Runs:
    """The runs of one agent, and the store that their files come from."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._runs: dict[str, Run] = {}
        self._made: tuple[Store, RunDirectories] | None = None
        self._expected: list[tuple[int, str, int]] = []
        agent.on_end.append(self._end)
        agent.ops.update(
            {
                "has": lambda request: {"missing": self.store.missing(request["sha256"])},
                "put": self._put,
                "open": self._open,
                "place": self._place,
                "start": lambda request: self._run(request).start(request),
                "kill": lambda request: self._run(request).kill(int(request["signal"])),
                "release": self._release,
            }
        )
        agent.on_blob = self._take

    @property
    def store(self) -> Store:
        """Made when it is first used."""
        return self._disk()[0]

    def pid(self, name: str) -> int | None:
        """The process of a run, None if it has none."""
        run = self._runs.get(name)
        return run._process.pid if run is not None and run._process is not None else None

    def _disk(self) -> tuple[Store, RunDirectories]:
        if self._made is None:
            base = base_directory()
            self._made = (Store(base / "store"), RunDirectories(base / "runs"))
        return self._made

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        name = file_name(request["run"])
        if name in self._runs:
            raise AgentError("usage", f"a run {name} is open", "")
        self._runs[name] = Run(self._agent, name, self._disk()[1].create())
        return {"path": str(self._runs[name].path)}

    def _run(self, request: dict[str, Any]) -> Run:
        run = self._runs.get(request["run"])
        if run is None:
            raise AgentError("usage", f"no run {request['run']!a} is open", "")
        return run

    def _put(self, request: dict[str, Any]) -> object:
        self._expected.append((int(request["id"]), str(request["sha256"]), int(request["size"])))
        return self._agent.LATER

    def _take(self, content: bytes) -> None:
        """A blob: the content that the oldest `put` announced."""
        if not self._expected:
            return
        number, digest, size = self._expected.pop(0)

        def keep() -> None:
            if len(content) != size:
                raise AgentError("usage", f"{len(content)} bytes came, {size} were announced", "")
            self.store.put(digest, content)

        self._agent.answer(number, keep)

    def _place(self, request: dict[str, Any]) -> object:
        run = self._run(request)
        return {"size": self.store.join(request["parts"], run.path / file_name(request["name"]))}

    def _release(self, request: dict[str, Any]) -> None:
        run = self._runs.pop(request["run"], None)
        if run is not None:
            run.close()
            self._disk()[1].remove(run.path)

    def _end(self) -> None:
        for name in list(self._runs):
            self._release({"run": name})
        if self._made is not None:
            self.store.tidy()
