# SPDX-License-Identifier: GPL-2.0-or-later
"""The ROM of an emulated run, configuration and hypervisor, which ends at 4 GiB; and the images that are built."""

from __future__ import annotations

from pathlib import Path

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.svsm.reference import BUILD_HINT

#: QEMU accepts -bios images that are a multiple of this (hw/i386/x86-common.c, x86_bios_rom_init).
ROM_MULTIPLE = 64 << 10
#: Built by harness/emulator/Makefile.
HYPERVISOR_IMAGE = data_file("harness/emulator/build/snp-host.bin")
SVSM_IMAGE = data_file("harness/emulator/build/snp-svsm.bin")
#: HOST_ROM_SIZE of harness/emulator/common/layout.h: hypervisor, ROM page tables and reset page.
HOST_ROM_SIZE = 0x40000
ROM_SIZE = HOST_ROM_SIZE + ROM_MULTIPLE


def read_hypervisor() -> bytes:
    """Return the image of the hypervisor. Raises BrokenEnvironmentError if it is not built or has another size."""
    image = _read(HYPERVISOR_IMAGE)
    if len(image) != HOST_ROM_SIZE:
        raise BrokenEnvironmentError(f"{HYPERVISOR_IMAGE} has {len(image)} bytes, not {HOST_ROM_SIZE}", BUILD_HINT)
    return image


def read_svsm() -> bytes:
    """Return the image of the reference SVSM. Raises BrokenEnvironmentError if it is not built."""
    return _read(SVSM_IMAGE)


def build(config: bytes, hypervisor: bytes) -> bytes:
    """Return the ROM. config: the configuration page."""
    return config.rjust(ROM_SIZE - len(hypervisor), b"\xff") + hypervisor


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"{path} cannot be read: {error.strerror}", BUILD_HINT) from None
