# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock of a run directory: one run at a time writes to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from snp_harness.errors import UsageError


class RunLock:
    """Reserves a directory for one run until it is released, at most as long as the object exists.

    Raises UsageError if another one has it.
    """

    def __init__(self, path: Path) -> None:
        self._pid = os.getpid()
        self._fd = -1
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise UsageError(f"another run is writing to {path}", "name another directory with --out") from None
        except OSError:
            # A file system without locks.
            return

    @property
    def held(self) -> bool:
        """Whether it is not released yet."""
        return self._fd >= 0

    def release(self) -> None:
        """Let another run use the directory. May be called again."""
        if self.held:
            # A process that another thread starts inherits the descriptor until it executes its program.
            if os.getpid() == self._pid:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    __del__ = release


def in_use(path: Path) -> bool:
    """Return whether a run is writing to a directory."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # A file system without locks.
        return False
    finally:
        os.close(fd)
    return False
