# SPDX-License-Identifier: GPL-2.0-or-later
"""Places in QEMU's arguments for what is known only where QEMU is started: paths and descriptors.

A token is a NUL, kind and name, a NUL: no argument of a program can hold one by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: The path of a file of the run directory.
FILE = "file"
#: The number of a descriptor: of a character device's socket, a pipe, a shared memory.
NUMBER = "fd"
#: A path by which QEMU opens such a descriptor.
PATH = "path"
_TOKEN = re.compile("\0(file|fd|path):([A-Za-z0-9._-]{1,64})\0")


def token(kind: str, name: str) -> str:
    """What stands for it in an argument."""
    return f"\0{kind}:{name}\0"


def substitute(argument: str, value: Callable[[str, str], str]) -> str:
    """The argument with each token replaced by value(kind, name)."""
    return _TOKEN.sub(lambda match: value(match.group(1), match.group(2)), argument)


def descriptor_path(fd: int) -> str:
    """The path by which a process that inherits `fd` can open it."""
    return f"/proc/self/fd/{fd}"
