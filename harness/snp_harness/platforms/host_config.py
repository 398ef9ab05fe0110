# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration block of the emulated SNP host: struct host_config of harness/emulator/include/config.h.

tests/platforms/test_host_config.py compares this file with the header, field by field.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields

from snp_harness.firmware.metadata import SevSection
from snp_harness.svsm.config import ApicServer, ExitsSection, Policy, SvsmConfig, Timer

MAGIC = 0x3147464354534F48
VERSION = 2
#: Entries of section[].
SECTIONS = 32
VMPLS = 4
#: Bytes of the page that the block fills.
PAGE = 4096


class SvsmBoot(enum.IntFlag):
    """SVSM_BOOT_* of svsm_boot.h: options of the reference SVSM."""

    SCRUB = 0x1
    APIC_PROTOCOL = 0x2
    TIMER = 0x4
    FEATURE_BIT_7 = 0x8


class Fault(enum.IntFlag):
    """CONFIG_FAULT_*: faults that the hypervisor injects."""

    LOST_INTERRUPT = 0x1
    DELAYED_INTERRUPT = 0x2
    DOORBELL_STORM = 0x4
    NAE = 0x8


class SvsmFault(enum.IntFlag):
    """SVSM_FAULT_* of svsm_boot.h: faults that the SVSM injects."""

    BUSY = 0x1
    INCOMPLETE = 0x2
    RESULT = 0x4
    REGISTER = 0x8


#: By the names of snp_harness.svsm.config.FAULT_NAMES.
HYPERVISOR_FAULTS = {
    "lost-interrupt": Fault.LOST_INTERRUPT,
    "delayed-interrupt": Fault.DELAYED_INTERRUPT,
    "doorbell-storm": Fault.DOORBELL_STORM,
    "wrong-nae": Fault.NAE,
}
SVSM_FAULTS = {
    "busy": SvsmFault.BUSY,
    "incomplete": SvsmFault.INCOMPLETE,
    "wrong-result": SvsmFault.RESULT,
    "refused-register": SvsmFault.REGISTER,
}

#: enum config_policy.
POLICY = {Policy.KVM: 0, Policy.X2APIC_ON_ALTINJ: 1, Policy.X2APIC_AT_RESET: 2}


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


class Hidden(enum.IntFlag):
    """CONFIG_HIDE_*: features of the virtual APIC that CPUID does not offer."""

    X2APIC = 0x1
    TSC_DEADLINE = 0x2


#: By the names of snp_harness.svsm.config.HIDDEN_NAMES.
HIDDEN = {"x2apic": Hidden.X2APIC, "tsc-deadline": Hidden.TSC_DEADLINE}
#: enum config_apic.
APIC = {ApicServer.VIRTUAL: 0, ApicServer.QEMU: 1}


def vc_exits(exits: ExitsSection) -> VcExit:
    """Return the bits of an [exits] section, whose keys have the bits' names."""
    bits = VcExit(0)
    for bit in VcExit:
        assert bit.name is not None
        if getattr(exits, bit.name.lower()):
            bits |= bit
    return bits


def svsm_boot(config: SvsmConfig) -> SvsmBoot:
    """Return the SVSM's flags of a configuration."""
    flags = SvsmBoot(0)
    for flag, wanted in (
        (SvsmBoot.SCRUB, config.svsm.scrub),
        (SvsmBoot.APIC_PROTOCOL, config.svsm.apic_protocol),
        (SvsmBoot.TIMER, config.hypervisor.timer is Timer.SVSM),
        (SvsmBoot.FEATURE_BIT_7, config.svsm.feature_bit == 7),
    ):
        if wanted:
            flags |= flag
    return flags


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
    log_key: int
    psp_seed: int
    vmsa_features: int
    cbit: int
    phys_bits: int
    vcpus: int
    guest_vmpl: int
    log_level: int
    apic: int
    doorbell_port: int
    svsm_console_port: int
    strict: int
    policy: int
    faults: int
    fault_every: int
    fault_delay_us: int
    svsm_faults: int
    svsm_fault_register: int
    svsm_fault_result: int
    hidden_features: int
    debug_exit_port: int
    debug_exit_size: int
    hash_table_gpa: int
    hash_table_size: int
    sections: Sequence[SevSection]

    def pack(self) -> bytes:
        """Return the page. Raises ValueError for too many sections."""
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


#: struct host_config.
LAYOUT = struct.Struct(f"<QII12Q{VMPLS}Q6Q22I{4 * SECTIONS}II4x")
