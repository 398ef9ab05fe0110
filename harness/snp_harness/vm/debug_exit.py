# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's device isa-debug-exit: what a guest writes to its port ends QEMU, and is in QEMU's exit status."""

from __future__ import annotations

from collections.abc import Sequence

_DEVICE = "isa-debug-exit"


def has_debug_exit(arguments: Sequence[str]) -> bool:
    """Whether QEMU's arguments have the device."""
    return any(argument.split(",")[0] in (_DEVICE, f"driver={_DEVICE}") for argument in arguments)


def written(status: int) -> int | None:
    """Return what the guest wrote, modulo 128, if QEMU's exit status can come from the device; else None.

    It is the lower byte of 2n + 1 for n (hw/misc/debugexit.c). QEMU's own failures have status 1, too, but come with a
    message.
    """
    return status >> 1 if status > 0 and status & 1 else None
