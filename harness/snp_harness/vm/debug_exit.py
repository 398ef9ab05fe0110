# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's device isa-debug-exit: what a guest writes to its port ends QEMU, and is in QEMU's exit status."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

_DEVICE = "isa-debug-exit"
#: Its properties, and QEMU's defaults.
_DEFAULTS = (("iobase", "0x501"), ("iosize", "2"))
_PORTS = 1 << 16


def has_debug_exit(arguments: Sequence[str]) -> bool:
    """Whether QEMU's arguments have the device."""
    return any(_is_device(argument) for argument in arguments)


def debug_exit_ports(arguments: Sequence[str]) -> tuple[int, int] | None:
    """Return the first port and the number of ports of the device in QEMU's arguments; None without one.

    Numbers that QEMU refuses are the same as none.
    """
    for argument in filter(_is_device, arguments):
        given = _properties(argument)
        with contextlib.suppress(ValueError):
            base, size = (int(given.get(name, default), 0) for name, default in _DEFAULTS)
            if 0 <= base < _PORTS and size >= 0:
                return base, min(size, _PORTS - base)
    return None


def _is_device(argument: str) -> bool:
    return argument.split(",")[0] == _DEVICE or _properties(argument).get("driver") == _DEVICE


def _properties(argument: str) -> dict[str, str]:
    """Return the properties of a device, as text: of QEMU's list or its JSON."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(given := json.loads(argument), dict):
            return {key: str(value) for key, value in given.items()}
    return dict(each.partition("=")[::2] for each in argument.split(","))


def written(status: int) -> int | None:
    """Return what the guest wrote, modulo 128, if QEMU's exit status can come from the device; else None.

    It is the lower byte of 2n + 1 for n (hw/misc/debugexit.c). QEMU's own failures have status 1, too, but come with a
    message.
    """
    return status >> 1 if status > 0 and status & 1 else None
