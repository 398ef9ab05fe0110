# SPDX-License-Identifier: GPL-2.0-or-later
"""Tokens in QEMU's arguments for paths and descriptors, which are known only when QEMU is started.

A token is kind and name between two NULs, which an argument of a program cannot contain.
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
    """Return the token for `kind` and `name`."""
    return f"\0{kind}:{name}\0"


def substitute(argument: str, value: Callable[[str, str], str]) -> str:
    """Return the argument with each token replaced by value(kind, name).

    In an argument with other text, which is a list of options to QEMU, the value's commas are doubled.
    """

    def replacement(match: re.Match[str]) -> str:
        text = value(match.group(1), match.group(2))
        return text if match.group() == argument else text.replace(",", ",,")

    return _TOKEN.sub(replacement, argument)


def descriptor_path(fd: int) -> str:
    """Return the path by which a process that inherits `fd` can open it."""
    return f"/proc/self/fd/{fd}"
