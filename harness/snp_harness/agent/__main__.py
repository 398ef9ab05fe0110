# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent: serves the requests on its byte stream, and cleans up everything it started when the stream ends."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from snp_harness.agent import frames, images, qemu_program
from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import from_os_error
from snp_harness.agent.lock import HostLock
from snp_harness.agent.mux import DescriptorPort, Mux
from snp_harness.agent.qemu_process import Runs
from snp_harness.agent.trace import Traces
from snp_harness.launch.loop import Loop
from snp_harness.launch.patience import Silence

#: Seconds without a frame after which the near side is treated as lost; `hello` sets another number.
PATIENCE_S = 60.0
_PATIENCE = (0.2, 3600.0)
#: Checks of the silence within that time.
_LOOKS = 6


class Agent:
    """One agent on one byte stream.

    ops: functions by operation; each gets the request and returns the answer, or LATER if `answer` is called later;
    raises AgentError or OSError. on_end: called in reverse order when the agent ends. on_blob: called with each blob.
    """

    #: Returned by an operation that answers later.
    LATER = object()

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.loop = Loop()
        self.ops: dict[str, Callable[[dict[str, Any]], object]] = {
            "hello": self._hello,
            "find": _find,
            "probe": _probe,
            "bye": self._bye,
        }
        self.on_end: list[Callable[[], None]] = []
        self.on_blob: Callable[[bytes], None] = _drop
        self.mux = Mux(DescriptorPort(read_fd, write_fd), self.loop, self._request, self._blob, self._lost)
        self._patience_s = PATIENCE_S
        self._silence = Silence()
        self._ending = False
        HostLock(self)
        self.runs = Runs(self)
        Traces(self)
        images.serve(self)
        self._timer = self.loop.later(self._patience_s / _LOOKS, self._check)

    def run(self) -> None:
        """Serve until the byte stream ends or no frame was received for too long; then clean up."""
        try:
            self.mux.send(frames.GREETING)
            self.mux.flush()
            while not self._ending:
                self.loop.turn()
        finally:
            for call in reversed(self.on_end):
                with contextlib.suppress(Exception):
                    call()

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event."""
        self.mux.send_control(event)

    def answer(self, number: int, call: Callable[[], object]) -> None:
        """Answer request `number` with the result of `call`, or with the error that it raises."""
        try:
            value = call()
            if value is not self.LATER:
                self.tell({"id": number, "ok": value})
            return
        except AgentError as error:
            failure = error
        except OSError as error:
            failure = from_os_error(error, str(error.filename or "the host"))
        except (KeyError, TypeError, ValueError) as error:
            failure = AgentError("usage", f"invalid request: {error!r}"[:400], "")
        except Exception as error:
            # The agent continues: other runs may be active.
            failure = AgentError("system", f"the agent failed: {error!r}"[:400], "report it")
        self.tell({"id": number, "error": failure.to_json()})

    def _request(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if not isinstance(number, int):
            return
        operation = self.ops.get(str(message.get("op")))

        def call() -> object:
            if operation is None:
                raise AgentError("usage", f"no operation is named {str(message.get('op'))[:80]!a}", "")
            return operation(message)

        self.answer(number, call)

    def _blob(self, content: bytes) -> None:
        self.on_blob(content)

    def _lost(self, _why: str) -> None:
        self._ending = True

    def _hello(self, request: dict[str, Any]) -> object:
        low, high = _PATIENCE
        self._patience_s = min(max(low, float(request["patience_s"])), high)
        self._timer.cancel()
        self._check()
        return {
            "python": platform.python_version(),
            "pid": os.getpid(),
            "user": _user(),
            "host": socket.gethostname(),
            "kernel": platform.release(),
        }

    def _bye(self, _request: dict[str, Any]) -> None:
        self._ending = True

    def _check(self) -> None:
        """End the agent if the near side was silent for too long."""
        interval_s = self._patience_s / _LOOKS
        if self._silence.seconds(self.mux.received_at, interval_s) >= self._patience_s:
            self._ending = True
        else:
            self._timer = self.loop.later(interval_s, self._check)


def _find(request: dict[str, Any]) -> object:
    """The operation `find`."""
    named = request.get("qemu")
    path, prefix = qemu_program.locate(Path(named).expanduser() if named else None)
    try:
        status, out, said = qemu_program.version_output(prefix)
    except subprocess.TimeoutExpired:
        raise AgentError(
            "missing", f"{path} -version did not answer in {qemu_program.VERSION_TIMEOUT_S:g} s", qemu_program.INSTALL
        ) from None
    except OSError as error:
        raise AgentError("missing", f"QEMU {path} cannot be executed: {error.strerror}", qemu_program.INSTALL) from None
    return {
        "path": str(path),
        "prefix": list(prefix),
        "status": status,
        "stdout": _first_line(out),
        "stderr": _first_line(said),
    }


def _first_line(said: bytes) -> str:
    return said.decode(errors="replace").strip().partition("\n")[0]


def _probe(request: dict[str, Any]) -> object:
    """The operation `probe`."""
    from snp_harness.agent.probe import probe

    named = request.get("qemu")
    return probe(str(named) if named else None)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _drop(_content: bytes) -> None:
    """Discard a blob that was not announced."""


def _take_stdio() -> tuple[int, int]:
    """Move the byte stream from stdin and stdout to other descriptors: a print must not write into it."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return read_fd, write_fd


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Run an agent on stdin and stdout."""
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _terminate)
    Agent(*_take_stdio()).run()


if __name__ == "__main__":
    main()
