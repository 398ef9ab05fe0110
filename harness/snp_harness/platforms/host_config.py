# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration block of the emulated SNP host: struct host_config of harness/emulator/include/config.h.

tests/platforms/test_host_config.py compares this file with the header, field by field.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence

from msgspec import Struct

from snp_harness.svsm.sections import ApicServer, ExitsSection, Policy

MAGIC = 0x3147464354534F48
VERSION = 6
VMPLS = 4
#: Bytes of the page that the block fills.
PAGE = 4096


class Fault(enum.IntFlag):
    """CONFIG_FAULT_*: faults that the hypervisor injects."""

    LOST_INTERRUPT = 0x1
    DELAYED_INTERRUPT = 0x2
    DOORBELL_STORM = 0x4
    NAE = 0x8
    BASE_WRITE = 0x10
    BASE_READ = 0x20
    SVSM = 0x40
    REFUSAL = 0x80
    CPUID_ID = 0x100
    ID_LIST = 0x200


#: By the names of snp_harness.svsm.faults.HYPERVISOR_FAULT_NAMES.
HYPERVISOR_FAULTS = {
    "lost-interrupt": Fault.LOST_INTERRUPT,
    "delayed-interrupt": Fault.DELAYED_INTERRUPT,
    "doorbell-storm": Fault.DOORBELL_STORM,
    "wrong-nae": Fault.NAE,
    "lost-apic-base": Fault.BASE_WRITE,
    "wrong-apic-base": Fault.BASE_READ,
    "skipped-svsm": Fault.SVSM,
    "refused-nae": Fault.REFUSAL,
    "wrong-cpuid-id": Fault.CPUID_ID,
    "wrong-id-list": Fault.ID_LIST,
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
    CPUID = 0x200


class Hidden(enum.IntFlag):
    """CONFIG_HIDE_*: features of the virtual APIC that CPUID does not offer."""

    X2APIC = 0x1
    TSC_DEADLINE = 0x2


#: By the names of snp_harness.svsm.sections.HIDDEN_NAMES.
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


class HostConfig(Struct, frozen=True):
    """The block's values, in the order and with the names of struct host_config."""

    host_base: int
    host_size: int
    ring_base: int
    ring_size: int
    rom_base: int
    launch_base: int
    launch_size: int
    fw_size: int
    ram_low: int
    ram_high: int
    sev_status: Sequence[int]
    hv_features: int
    vc_exits: int
    log_key: int
    psp_seed: int
    started_s: int
    fault_apic_base: int
    fault_apic_id: int
    fault_vcpu: int
    fault_info1: int
    fault_info2: int
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
    fault_after: int
    fault_delay_us: int
    fault_register: int
    hidden_features: int
    debug_exit_port: int
    debug_exit_size: int
    shortcuts: int
    rmp_batches: int
    log_console: int

    def pack(self) -> bytes:
        """Return the page."""
        numbers: list[int] = [MAGIC, VERSION, LAYOUT.size]
        for name in self.__struct_fields__:
            value = getattr(self, name)
            numbers += value if name == "sev_status" else (value,)
        return LAYOUT.pack(*numbers, VERSION).ljust(PAGE, b"\0")


#: struct host_config.
LAYOUT = struct.Struct(f"<QII10Q{VMPLS}Q11Q21II")
