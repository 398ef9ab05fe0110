# SPDX-License-Identifier: GPL-2.0-or-later
"""isa-debug-exit in QEMU's arguments and in its exit status."""

from __future__ import annotations

import pytest

from snp_harness.vm.debug_exit import debug_exit_ports, has_debug_exit, written


@pytest.mark.parametrize(
    ("device", "ports"),
    [
        ("isa-debug-exit", (0x501, 2)),
        ("isa-debug-exit,iobase=0xf4,iosize=0x04", (0xF4, 4)),
        ("driver=isa-debug-exit,iosize=1,iobase=244", (0xF4, 1)),
        ("iosize=1,driver=isa-debug-exit", (0x501, 1)),
        ('{"driver": "isa-debug-exit", "iobase": 244, "iosize": 4}', (0xF4, 4)),
        ('{"driver": "isa-debug-exit", "iobase": []}', None),
        # Not more than there are.
        ("isa-debug-exit,iobase=0xffff,iosize=0xffffffff", (0xFFFF, 1)),
        ("isa-debug-exit,iobase=0x10000", None),
        ("isa-debug-exit,iobase=port", None),
        ("isa-debugcon,iobase=0xf4", None),
    ],
)
def test_ports(device: str, ports: tuple[int, int] | None) -> None:
    assert debug_exit_ports(("-device", device)) == ports
    assert has_debug_exit(("-device", device)) == ("debug-exit" in device)


@pytest.mark.parametrize(("status", "wrote"), [(1, 0), (3, 1), (255, 127), (0, None), (2, None), (-9, None)])
def test_status(status: int, wrote: int | None) -> None:
    assert written(status) == wrote
