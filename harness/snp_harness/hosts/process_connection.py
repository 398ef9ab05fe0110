# SPDX-License-Identifier: GPL-2.0-or-later
"""A byte stream to a child process: an agent on this machine, or an `ssh` connected to one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence

from snp_harness.agent.mux import CLOSED, DescriptorPort
from snp_harness.hosts.host_errors import HostError, last_words
from snp_harness.hosts.remote import Connection
from snp_harness.launch.spawn import die_with_parent

#: Seconds from the end of the byte stream to the end of the process.
_STATUS_S = 30.0
#: Seconds from SIGTERM to SIGKILL.
_TERMINATE_S = 1.0
#: Bytes of stderr that are kept: the capacity of a pipe.
_STDERR_MAX = 64 << 10
LINE_MAX = 400


class ProcessConnection(Connection):
    """A child process with the byte stream on its stdin and stdout.

    It runs in its own session, without a terminal. A thread starts it, reads its stderr and waits for it, so that it is
    always reaped.
    argv: the command. environment: of the process, None for this process's. end_s: timeout of its end after the byte
    stream was closed, seconds. dies: the kernel sends it SIGTERM when the harness ends for any reason; an agent ends
    with its byte stream, and a signal would interrupt its cleanup. Raises HostError if it cannot be started.
    """

    def __init__(
        self, argv: Sequence[str], *, end_s: float, dies: bool, environment: Mapping[str, str] | None = None
    ) -> None:
        self._argv = tuple(argv)
        self._dies = dies
        self._environment = environment
        self._end_s = end_s
        self._stderr = b""
        self._start_error = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._started = threading.Event()
        self._socket, self._theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"process-{argv[0]}", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._start_error:
            self._socket.close()
            raise HostError(f"{argv[0]} cannot be started: {self._start_error}", "check PATH")
        self.port = DescriptorPort(self._socket.fileno(), self._socket.fileno())

    def status(self, why: str) -> int | None:
        """Wait for the end of a process that has closed its byte stream, and return its exit status.

        why: the reason for the loss of the connection. None if it is another reason, or the process does not end in
        time.
        """
        if not why.startswith(CLOSED) or self._process is None:
            return None
        self._thread.join(_STATUS_S)
        return self._process.returncode

    def stderr(self) -> list[str]:
        """Return the last lines of its stderr, without empty ones, at most LINE_MAX characters of each."""
        lines = self._stderr.decode(errors="replace").splitlines()
        return [line.strip()[:LINE_MAX] for line in lines if line.strip()]

    def last_words(self) -> str:
        """What follows how the process ended: the last line that it wrote to stderr; "" without one."""
        return last_words("\n".join(self.stderr()), LINE_MAX)

    def close(self) -> None:
        """Close the stream, and end the process and all others of its session. Never raises."""
        self._socket.close()
        self._thread.join(self._end_s)
        self._signal(signal.SIGTERM)
        self._thread.join(_TERMINATE_S)
        self._signal(signal.SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=self._theirs.fileno(),
                stdout=self._theirs.fileno(),
                stderr=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM) if self._dies else None,
            )
        except OSError as error:
            self._start_error = error.strerror or str(error)
            return
        finally:
            self._theirs.close()
            self._started.set()
        self._read_stderr(self._process)
        # Its process id and its group's cannot be reused before it is reaped.
        self._signal(signal.SIGKILL)
        with self._lock:
            self._process.wait()

    def _read_stderr(self, process: subprocess.Popen[bytes]) -> None:
        """Read stderr until the process has ended. A process that it started may keep the pipe open for longer."""
        assert process.stderr is not None
        ended = os.pidfd_open(process.pid)
        with process.stderr as pipe:
            poll = select.poll()
            for fd in (ended, pipe.fileno()):
                poll.register(fd, select.POLLIN)
            ready: set[int] = set()
            while ended not in ready:
                ready = {fd for fd, _ in poll.poll()}
                if pipe.fileno() in ready:
                    data = os.read(pipe.fileno(), _STDERR_MAX)
                    self._stderr = (self._stderr + data)[-_STDERR_MAX:]
                    if not data:
                        poll.unregister(pipe.fileno())
        os.close(ended)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process is not None and self._process.returncode is None:
                os.killpg(self._process.pid, number)
