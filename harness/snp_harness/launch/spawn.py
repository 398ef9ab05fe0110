# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts processes that do not outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

#: prctl(2): the signal that the kernel sends to a process when the thread that forked it ends.
_PR_SET_PDEATHSIG = 1


def spawn(
    argv: Sequence[str], *, stderr: BinaryIO | int, pass_fds: Sequence[int] = (), cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start argv in a process group of its own, stdin and stdout from and to /dev/null; its parent's end kills it.

    For the kernel the parent is the *thread* that calls: it must live as long as the process is needed. If it ends
    earlier, the process is killed, so the mistake is noticed and leaves nothing behind.
    stderr: file for the process's messages. cwd: its working directory, None for this process's.
    pass_fds: descriptors it inherits, under the same numbers. Raises OSError.
    """
    # Ctrl-C on the terminal interrupts the harness only. In a session of its own, a program also had a share of the
    # processors as large as that of all harnesses together (sched(7), autogroup), and ran on behind their backs.
    dies = die_with_parent()

    def in_child() -> None:
        os.setpgid(0, 0)
        dies()

    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        cwd=cwd,
        preexec_fn=in_child,
    )


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Return a function for a child to call before exec: the kernel then sends it `number` when its parent thread ends.

    The C library is loaded here, since a child must not load it between fork and exec.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        # If the parent ended before the prctl, the signal would not be sent.
        if os.getppid() != parent:
            os._exit(1)

    return in_child
