# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU on the agent's host: snp_harness/launch starts it in a clean run directory; streams carry its descriptors.

open     run                   a name that the near side chooses
start    run
         argv                  with tokens (snp_harness/launch/tokens.py) for paths and descriptors
         chardevs              {name: stream, or null}: sockets, `fd:name` in argv; null: for the ring only
         pipes                 {name: stream}: pipes that QEMU writes to, `path:name` in argv
         memory                {name: bytes}: shared memory, `path:name` in argv
         stderr                stream
         ring                  null, or {"memory": name, "doorbell": name of a chardev, "stream", "arm"}
kill     run, signal
release  run
"""

from __future__ import annotations

import os
import signal
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import RunDirectories, Store, base_directory, file_name, from_os_error
from snp_harness.agent.mux import LocalFile, Stream
from snp_harness.agent.ring import RingForwarder
from snp_harness.launch.qemu_launch import LaunchError, ProgramError, QemuLaunch
from snp_harness.launch.ring import RingReader

if TYPE_CHECKING:
    from snp_harness.agent.__main__ import Agent

#: Limit of a shared memory, bytes.
_MEMORY_MAX = 1 << 30
#: Seconds for which output of a console or a trace is collected: a serial port writes byte by byte.
_PACE_S = 0.005


class Run:
    """One run directory and the process in it."""

    def __init__(self, agent: Agent, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._agent = agent
        self._launch: QemuLaunch | None = None
        self._streams: list[Stream] = []
        self._ring: RingForwarder | None = None

    @property
    def pid(self) -> int | None:
        """QEMU's process id, None before the start."""
        return None if self._launch is None else self._launch.pid

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Serve `start`: start QEMU and join its descriptors with streams. Raises AgentError."""
        if self._launch is not None:
            raise AgentError("usage", f"the run {self.name} was started before", "")
        try:
            self._launch = launch = self._make_launch(request)
            self._join(launch, request)
        except BaseException as error:
            self.close()
            if isinstance(error, LaunchError):
                raise _wire_error(error) from None
            raise
        return {"pid": launch.pid, "argv": list(launch.command)}

    def kill(self, number: int) -> None:
        """Serve `kill`: send QEMU a signal; ignored before the start."""
        if self._launch is not None:
            self._launch.kill(signal.Signals(number))

    def close(self) -> None:
        """Kill QEMU, and release everything except the directory."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        for stream in self._streams:
            stream.close()
        self._streams = []
        if self._launch is not None:
            self._launch.close()
            self._launch = None

    def _make_launch(self, request: dict[str, Any]) -> QemuLaunch:
        for size in request["memory"].values():
            if not 0 < size <= _MEMORY_MAX:
                raise AgentError("usage", f"a shared memory of {size} bytes is not possible", "")
        return QemuLaunch(
            self.path,
            [str(argument) for argument in request["argv"]],
            consoles=[file_name(name) for name in request["consoles"]],
            sockets=list(request["chardevs"]),
            pipes=list(request["pipes"]),
            memory=request["memory"],
        )

    def _join(self, launch: QemuLaunch, request: dict[str, Any]) -> None:
        """Join each descriptor with its stream, and start QEMU."""
        for name, number in request["consoles"].items():
            self._open(number, launch.consoles[name], pace_s=_PACE_S)
        for name, number in request["chardevs"].items():
            if number is not None:
                self._open(number, launch.sockets[name])
        for name, number in request["pipes"].items():
            self._open(number, launch.pipes[name], writes=False, pace_s=_PACE_S)
        read_fd, stderr = os.pipe()
        try:
            self._open(request["stderr"], FileIO(read_fd), writes=False)
            launch.start(stderr, self._agent.loop, self._ended, self.path)
        finally:
            os.close(stderr)
        if request.get("ring"):
            self._start_ring(launch, request["ring"])

    def _open(self, number: Any, file: LocalFile | None, **more: Any) -> Stream:
        """Join one of QEMU's descriptors with a stream."""
        stream = self._agent.mux.open(int(number), file, **more)
        self._streams.append(stream)
        return stream

    def _start_ring(self, launch: QemuLaunch, given: dict[str, Any]) -> None:
        fd, doorbell = launch.memory[given["memory"]], launch.sockets[given["doorbell"]]
        stream = self._open(given["stream"], None, writes=False)
        ring = RingReader(fd, os.fstat(fd).st_size)
        self._ring = RingForwarder(self._agent.loop, stream, ring, self._pump, arm=bool(given["arm"]))
        ring.listen(doorbell, self._agent.loop, self._ring.look)

    def _pump(self) -> None:
        """Send QEMU's output so far."""
        for stream in self._streams:
            stream.pump()

    def _ended(self, status: int) -> None:
        self._pump()
        if self._ring is not None:
            self._ring.finish()
        self._agent.tell({"event": "exit", "run": self.name, "status": status})


def _wire_error(error: LaunchError) -> AgentError:
    if isinstance(error, ProgramError):
        return AgentError("missing", str(error), "see the host")
    return from_os_error(error.cause, error.what)


class Runs:
    """The runs of one agent, and the store of their files."""

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
        """The store; made at the first use. Raises AgentError."""
        return self._disk()[0]

    def pid(self, name: str) -> int | None:
        """Return the process id of a run, None if it has no process."""
        run = self._runs.get(name)
        return None if run is None else run.pid

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
        """Store a blob: the content that the oldest open `put` announced."""
        if not self._expected:
            return
        number, digest, size = self._expected.pop(0)

        def keep() -> None:
            if len(content) != size:
                raise AgentError("usage", f"{len(content)} bytes were received, {size} were announced", "")
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
