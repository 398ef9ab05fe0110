# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a process runs, what it has started, and what it writes to a FIFO."""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_for_end(pid: int, timeout_s: float) -> bool:
    """Wait until the process has ended; False if it has not in time."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout_s)[0])
    finally:
        os.close(fd)


def descendants(pid: int) -> list[int]:
    """Its children, and those that they have."""
    found = children(pid)
    return found + [other for child in found for other in descendants(child)]


def fifo(path: Path) -> Path:
    """A new FIFO: a process that opens it waits until somebody reads."""
    os.mkfifo(path)
    return path


def line_of(path: Path, timeout_s: float = 300.0) -> str:
    """The line that a process writes to a FIFO, once it does. Raises TimeoutError."""
    fd = os.open(path, os.O_RDWR)
    try:
        if not select.select([fd], [], [], timeout_s)[0]:
            raise TimeoutError(f"nothing was written to {path} in {timeout_s:g} s")
        return os.read(fd, select.PIPE_BUF).decode().strip()
    finally:
        os.close(fd)


def children(pid: int | None = None) -> list[int]:
    """Processes that a process (None: this one) has started and that have not been reaped."""
    parent = str(os.getpid() if pid is None else pid)
    found = []
    # Not every kernel has a file that lists them.
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1] == parent:
                    found.append(int(entry.name))
    return sorted(found)
