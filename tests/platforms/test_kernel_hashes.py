# SPDX-License-Identifier: GPL-2.0-or-later
"""The AmdSev image starts only a kernel whose hash the launch has put into its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.edk2.standin import stand_in
from tests.platforms.boots import boot

pytestmark = pytest.mark.emulated

#: An EFI application's code: mov dx, F4; mov al, 15; out dx, al; jmp $
CODE = bytes.fromhex("66baf400 b015 ee ebfe")
#: Where the stand-in for a boot loader has its code, and a size that QEMU accepts as a kernel.
CODE_AT, KERNEL_SIZE = 0x200, 64 << 10


def test_the_kernel_starts(amdsev_path: Path, qemu: Path | None, tmp_path: Path) -> None:
    image = bytearray(stand_in().ljust(KERNEL_SIZE, b"\0"))
    image[CODE_AT : CODE_AT + len(CODE)] = CODE
    kernel = tmp_path / "kernel.efi"
    kernel.write_bytes(image)
    result = boot(
        amdsev_path,
        tmp_path / "out",
        "alternate-injection-off",
        until="exit",
        qemu=qemu,
        extra_args=("-kernel", str(kernel), "-append", "hello", "-device", "isa-debug-exit,iobase=0xf4"),
    )
    assert result.timeline.guest_exit == 0x15
