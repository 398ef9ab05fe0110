# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that QEMU shares with the process that starts it."""

from __future__ import annotations

import os


def shared_memory(name: str, size: int) -> int:
    """Return a descriptor of `size` bytes of memory, which QEMU maps as /proc/self/fd/N and the caller closes.

    Raises OSError.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    return fd
