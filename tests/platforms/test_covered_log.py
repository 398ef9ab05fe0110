# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock OVMF whose reset vector moves QEMU's MMCONFIG window over the emulator's log before SEC begins."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from snp_harness.apic.event_kinds import AGREEMENT
from snp_harness.apic.verdict import Status
from snp_harness.capture.record import RecordRefused
from tests.platforms.boots import boot, check_seven

pytestmark = pytest.mark.emulated

#: In the last 64 KiB of the image, which are the reset vector's code segment: its jump to 16-bit code, and free space.
JUMP = 0xFFFC
FREE = 0x100
PCIEXBAR = 0x80000060
#: Windows of 256 MiB from 4 GiB on: the emulator's memory and its log are under one of them.
WINDOWS = 8


def _select(register: int) -> bytes:
    """MOV EAX, register; MOV DX, 0CF8h; OUT DX, EAX."""
    return b"\x66\xb8" + struct.pack("<I", register) + b"\xba\xf8\x0c\x66\xef"


def _move(base: int) -> bytes:
    """Code of 16 bits that moves the window as a word and two bytes: disabled, moved, enabled."""
    disable = _select(PCIEXBAR) + b"\xba\xfc\x0c\xb0\x00\xee"
    high = _select(PCIEXBAR + 4) + b"\xba\xfc\x0c\xb0" + bytes([base >> 32]) + b"\xee"
    low = _select(PCIEXBAR) + b"\xba\xfe\x0c\xb8" + struct.pack("<H", base >> 16 & 0xFFFF) + b"\xef"
    return disable + high + low + b"\xba\xfc\x0c\xb0\x01\xee"


def _jump(at: int, to: int) -> bytes:
    return b"\xe9" + struct.pack("<H", (to - at - 3) & 0xFFFF)


def _patch(image: bytes) -> bytes:
    segment = bytearray(image[-0x10000:])
    assert segment[JUMP] == 0xE9
    target = (JUMP + 3 + struct.unpack_from("<H", segment, JUMP + 1)[0]) & 0xFFFF
    code = b"".join(_move((4 << 30) + (window << 28)) for window in range(WINDOWS))
    code += _jump(FREE + len(code), target)
    assert segment[FREE : FREE + len(code)] == b"\xff" * len(code)
    segment[FREE : FREE + len(code)] = code
    segment[JUMP : JUMP + 3] = _jump(JUMP, FREE)
    return image[:-0x10000] + segment


def test_accesses_under_the_window_are_in_the_log(trixie_path: Path, tmp_path: Path) -> None:
    firmware = tmp_path / "covers.fd"
    firmware.write_bytes(_patch(trixie_path.read_bytes()))
    result = boot(firmware, tmp_path / "out", "alternate-injection-native-io", until="dxe")
    events = result.timeline.events
    refused = [event.fields["sort"] for event in events if event.kind == "device-write-refused"]
    assert refused == [RecordRefused.WINDOW] * WINDOWS
    assert result.verdict.status is Status.VIOLATED
    assert result.timeline.lost == 0
    assert AGREEMENT in {event.kind for event in events}
    check_seven(result.timeline, 2)
