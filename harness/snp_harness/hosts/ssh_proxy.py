# SPDX-License-Identifier: GPL-2.0-or-later
"""ssh's ProxyCommand: a program whose input and output are the connection. It is gone with the connection."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence

from snp_harness.hosts.host_errors import HostUnreachableError, last_words, words_of
from snp_harness.launch.spawn import die_with_parent
from snp_harness.vm.qemu_errors import describe_status

#: Seconds that the program may take to end when its input has ended, and again after SIGTERM.
_END_S = 1.0
#: Seconds that it may take to end when it has closed the connection.
_STATUS_S = 30.0
_SAID = 300


class ProxyProcess:
    """A running ProxyCommand. connection: the near end. Raises HostUnreachableError if it cannot be started.

    A thread of its own starts it and waits for it: the kernel kills it when the harness ends, however that is.
    """

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        self.connection, self._theirs = socket.socketpair()
        # Tells when the other end is closed, whatever has been done with the connection.
        self._near = self.connection.dup()
        self._argv = tuple(argv)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""
        self._there = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{name}", daemon=True)
        self._thread.start()
        self._there.wait()
        if self._failure:
            self.close()
            raise HostUnreachableError(
                f"{name}: the ProxyCommand {argv[0]} cannot be started: {self._failure}",
                "see ProxyCommand in ssh's configuration",
            )

    def describe(self) -> str:
        """How it ended, if it has, and what it said last."""
        # It closes its output a moment before it can be waited for.
        self._thread.join(_STATUS_S if self._hung_up() else _END_S)
        status = self._process.returncode if self._process is not None else None
        self._stderr.seek(0)
        how = f" ended with {describe_status(status)}" if status is not None else " runs"
        said = last_words(self._stderr.read(1 << 16).decode(errors="replace"), _SAID)
        return f"the ProxyCommand {self._argv[0]}{how}{said}"

    def close(self) -> None:
        """End it and all that it started in its session. Never raises."""
        self.connection.close()
        self._near.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._thread.join(_END_S)
            self._signal(number)
        self._thread.join()
        self._stderr.close()

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._near, 0)
        return bool(poll.poll(0))

    def _run(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=self._theirs.fileno(),
                stdout=self._theirs.fileno(),
                stderr=self._stderr,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            self._failure = words_of(error)
        finally:
            self._theirs.close()
            self._there.set()
        if self._process is None:
            return
        # While it is not waited for, its number is its own, and so is its group's.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._signal(signal.SIGKILL)
        with self._lock:
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
