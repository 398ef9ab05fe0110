# SPDX-License-Identifier: GPL-2.0-or-later
"""The ROM of an emulated run: tested firmware, SVSM, configuration and hypervisor in one image that ends at 4 GiB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.platforms.host_config import PAGE

#: QEMU accepts -bios images that are a multiple of this (hw/i386/x86-common.c, x86_bios_rom_init).
ROM_MULTIPLE = 64 << 10
#: Built by harness/emulator/Makefile.
HYPERVISOR_IMAGE = data_file("harness/emulator/build/snp-host.bin")
SVSM_IMAGE = data_file("harness/emulator/build/snp-svsm.bin")
#: HOST_ROM_SIZE of harness/emulator/common/layout.h: hypervisor, ROM page tables and reset page.
HOST_ROM_SIZE = 0x40000
#: QEMU maps no more below 4 GiB without covering the I/O APIC (FEC00000).
MAX_SIZE = 0x1000000


@dataclass(frozen=True, slots=True)
class RomLayout:
    """Physical addresses and sizes, bytes. size: of the whole ROM."""

    fw_rom: int
    fw_size: int
    svsm_rom: int
    svsm_size: int
    size: int


def read_hypervisor() -> bytes:
    """Return the image of the hypervisor. Raises BrokenEnvironmentError if it is not built or has another size."""
    image = _read(HYPERVISOR_IMAGE)
    if len(image) != HOST_ROM_SIZE:
        raise BrokenEnvironmentError(f"{HYPERVISOR_IMAGE} has {len(image)} bytes, not {HOST_ROM_SIZE}", _BUILD_HINT)
    return image


def read_svsm() -> bytes:
    """Return the image of the reference SVSM. Raises BrokenEnvironmentError if it is not built."""
    return _read(SVSM_IMAGE)


def layout(firmware_size: int, svsm_size: int) -> RomLayout:
    """Return where the parts are placed. Raises ValueError if they do not fit."""
    config = FOUR_GIB - HOST_ROM_SIZE - PAGE
    svsm = config - _pages(svsm_size)
    firmware = svsm - firmware_size
    size = FOUR_GIB - firmware
    size += -size % ROM_MULTIPLE
    if firmware_size % PAGE or size > MAX_SIZE:
        raise ValueError(f"a firmware of {firmware_size:#x} bytes does not fit the ROM")
    return RomLayout(firmware, firmware_size, svsm if svsm_size else 0, svsm_size, size)


def build(firmware: bytes, svsm: bytes, hypervisor: bytes, config: Callable[[RomLayout], bytes]) -> bytes:
    """Return the ROM. config: makes the configuration page for a layout."""
    at = layout(len(firmware), len(svsm))
    svsm_pages = svsm.ljust(_pages(len(svsm)), b"\xff")
    padding = b"\xff" * (at.size - len(firmware) - len(svsm_pages) - PAGE - len(hypervisor))
    return b"".join((padding, firmware, svsm_pages, config(at), hypervisor))


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"{path} cannot be read: {error.strerror}", _BUILD_HINT) from None


_BUILD_HINT = "build it: make -C harness/emulator"
