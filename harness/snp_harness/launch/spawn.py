# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting a process that does not outlive its parent."""

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
    """Start argv in a session of its own, with stdin and stdout at /dev/null; the kernel kills it when its parent ends.

    The kernel ties this to the *thread* that calls: it must live as long as the process is wanted. A thread that ends
    earlier takes the process with it, so the mistake is loud and leaves nothing behind.
    stderr: where the process writes to. cwd: where it works.
    pass_fds: descriptors it inherits, under the same numbers. Raises OSError.
    """
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """What a child does before exec, to get a signal when the thread that forked it ends.

    The library is loaded here: between fork and exec nothing may be.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        # The parent may have died before the prctl: then nobody will send the signal.
        if os.getppid() != parent:
            os._exit(1)

    return in_child
