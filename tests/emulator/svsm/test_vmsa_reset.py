# SPDX-License-Identifier: GPL-2.0-or-later
"""A VMSA after reset, field by field at the offsets of APM volume 2, table B-4; values of table 14-1."""

from __future__ import annotations

import struct

import pytest

from tests.emulator.svsm.driver import Svsm

SIGNATURE = 0x00830F10
SEGMENTS = {
    "es": (0x00, 0, 0x93, 0),
    "cs": (0x10, 0xF000, 0x9B, 0xFFFF0000),
    "ss": (0x20, 0, 0x93, 0),
    "ds": (0x30, 0, 0x93, 0),
    "fs": (0x40, 0, 0x93, 0),
    "gs": (0x50, 0, 0x93, 0),
    "gdtr": (0x60, 0, 0, 0),
    "ldtr": (0x70, 0, 0x82, 0),
    "idtr": (0x80, 0, 0, 0),
    "tr": (0x90, 0, 0x8B, 0),
}
FIELDS = {
    0x0D0: 0x1000,  # EFER.SVME
    0x158: 0x60000010,  # CR0
    0x160: 0x400,  # DR7
    0x168: 0xFFFF0FF0,  # DR6
    0x170: 2,  # RFLAGS
    0x178: 0xFFF0,  # RIP
    0x268: 0x0007040600070406,  # PAT
    0x310: SIGNATURE,  # RDX
    0x3C0: (1 << 64) - 1,  # no exit yet
    0x3E8: 1,  # XCR0
    0x408: 0x1F80,  # MXCSR; FTW, FSW 0
    0x410: 0x37F,  # FCW
}


@pytest.mark.parametrize(("features", "vintr_ctrl"), [(0x01, 0), (0x11, 1 << 9), (0x10, 1 << 9)])
def test_reset_state(svsm: Svsm, features: int, vintr_ctrl: int) -> None:
    vmsa = bytearray.fromhex(svsm.command("reset", 2, features, SIGNATURE))
    assert len(vmsa) == 4096
    for name, (offset, selector, attributes, base) in SEGMENTS.items():
        assert struct.unpack_from("<HHIQ", vmsa, offset) == (selector, attributes, 0xFFFF, base), name
        vmsa[offset : offset + 16] = bytes(16)
    assert vmsa[0xCA] == 2
    vmsa[0xCA] = 0
    for offset, value in (FIELDS | {0x3B0: features, 0x3B8: vintr_ctrl}).items():
        assert struct.unpack_from("<Q", vmsa, offset)[0] == value, hex(offset)
        vmsa[offset : offset + 8] = bytes(8)
    assert not any(vmsa)  # all other registers are 0
