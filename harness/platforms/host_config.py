# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration block of the emulated SNP host: struct host_config of harness/emulator/include/config.h.

tests/platforms/test_host_config.py compares this file with the header, field by field.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields

from harness.firmware.metadata import SevSection
from harness.svsm.config import ApicServer, ExitsSection

MAGIC = 0x3147464354534F48
VERSION = 1
#: Entries of section[].
SECTIONS = 32
VMPLS = 4
#: Bytes of the page that the block fills.
PAGE = 4096

#: svsm_boot.h, SVSM_BOOT_SCRUB: the SVSM zeroes every page that the guest validates.
SVSM_BOOT_SCRUB = 1


class VcExit(enum.IntFlag):
    """CONFIG_VC_*: exits of the guest that become #VC."""

    IOIO = 0x001
    MMIO = 0x002
    MSR = 0x004
    RDTSC = 0x008
    RDTSCP = 0x010
    DR7 = 0x020
    WBINVD = 0x040
    MONITOR = 0x080
    RDPMC = 0x100


#: enum config_apic.
APIC = {ApicServer.VIRTUAL: 0, ApicServer.QEMU: 1}


def vc_exits(exits: ExitsSection) -> VcExit:
    """The bits of an [exits] section, whose keys have the bits' names."""
    bits = VcExit(0)
    for bit in VcExit:
        assert bit.name is not None
        if getattr(exits, bit.name.lower()):
            bits |= bit
    return bits


@dataclass(frozen=True, slots=True)
class HostConfig:
    """The block's values, in the order and with the names of struct host_config."""

    host_base: int
    host_size: int
    ring_base: int
    ring_size: int
    fw_rom: int
    fw_size: int
    svsm_rom: int
    svsm_size: int
    svsm_gpa: int
    svsm_memory: int
    ram_low: int
    ram_high: int
    sev_status: Sequence[int]
    hv_features: int
    vc_exits: int
    svsm_flags: int
    cbit: int
    phys_bits: int
    vcpus: int
    guest_vmpl: int
    log_level: int
    apic: int
    doorbell_port: int
    svsm_console_port: int
    strict: int
    sections: Sequence[SevSection]

    def pack(self) -> bytes:
        """The page."""
        if len(self.sections) > SECTIONS:
            raise ValueError(f"{len(self.sections)} sections do not fit {SECTIONS} entries")
        numbers: list[int] = [MAGIC, VERSION, LAYOUT.size]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "sev_status":
                numbers += value
            elif field.name == "sections":
                numbers.append(len(value))
            else:
                numbers.append(value)
        for section in self.sections:
            numbers += (section.gpa, section.size, section.type, 0)
        numbers += [0] * 4 * (SECTIONS - len(self.sections))
        return LAYOUT.pack(*numbers, VERSION).ljust(PAGE, b"\0")


#: struct host_config; the four bytes at its end are padding.
LAYOUT = struct.Struct(f"<QII12Q{VMPLS}Q3Q10I{4 * SECTIONS}II4x")
