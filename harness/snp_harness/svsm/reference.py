# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference SVSM as an IGVM file: its image, the page tables it starts on, its boot block, and the firmware.

harness/emulator/include/svsm_boot.h has the same structures for C; tests/platforms/test_host_config.py compares them.
"""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.firmware.metadata import FOUR_GIB, SevMetadata, SevSectionType
from snp_harness.svsm import vmsa
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.igvm import PAGE, DataType, HeaderType
from snp_harness.svsm.igvm_build import Builder
from snp_harness.svsm.launch import DEFAULT_POLICY, KVM_VMSA_GPA
from snp_harness.svsm.sections import Timer
from snp_harness.svsm.sev import sev_features

#: Bytes of the SVSM's memory: image, per-vCPU areas, and at its end the pages below.
MEMORY = 4 << 20
#: COM3: the SVSM's console, which the hypervisor hides from the guest.
CONSOLE_PORT = 0x3E8
IMAGE_MAGIC = 0x314D53565346
_IMAGE = struct.Struct("<QQQ")
#: The view of shared memory begins at this address: PML4 entry 1.
_SHARED_ENTRY = 1
#: Entries of region[].
REGIONS = 40
#: struct svsm_boot.
BOOT = struct.Struct(f"<10Q4I{2 * REGIONS}QQ4I3Q")


class Place(enum.IntEnum):
    """Pages from the end of the SVSM's memory."""

    PML4 = 1
    PDPT_PRIVATE = 2
    PDPT_SHARED = 3
    CPUID = 4
    SECRETS = 5
    PARAMETERS = 6
    MEMORY_MAP = 7
    BOOT = 8


class SvsmBoot(enum.IntFlag):
    """SVSM_BOOT_*: options."""

    SCRUB = 0x1
    APIC_PROTOCOL = 0x2
    TIMER = 0x4
    FEATURE_BIT_7 = 0x8
    SELF_TEST = 0x10


class SvsmFault(enum.IntFlag):
    """SVSM_FAULT_*: faults that the SVSM injects."""

    BUSY = 0x1
    INCOMPLETE = 0x2
    RESULT = 0x4
    REGISTER = 0x8
    CALL = 0x10
    PENDING = 0x20
    PROTOCOL = 0x40
    CAA = 0x80


#: By the names of snp_harness.svsm.faults.SVSM_FAULT_NAMES.
SVSM_FAULTS = {
    "busy": SvsmFault.BUSY,
    "incomplete": SvsmFault.INCOMPLETE,
    "wrong-result": SvsmFault.RESULT,
    "refused-register": SvsmFault.REGISTER,
    "answered-call": SvsmFault.CALL,
    "pending-call": SvsmFault.PENDING,
    "lost-protocol": SvsmFault.PROTOCOL,
    "wrong-calling-area": SvsmFault.CAA,
}
_PTE_TABLE, _PTE_1G = 0x03, 0x83
#: Parameter areas.
_GENERAL, _MAP = 0, 1
#: What to do about a missing image of the emulator.
BUILD_HINT = "build it: make -C harness/emulator"


def svsm_boot(config: SvsmConfig) -> SvsmBoot:
    """Return the SVSM's flags of a configuration."""
    flags = SvsmBoot(0)
    for flag, wanted in (
        (SvsmBoot.SCRUB, config.svsm.scrub),
        (SvsmBoot.APIC_PROTOCOL, config.svsm.apic_protocol),
        (SvsmBoot.TIMER, config.hypervisor.timer is Timer.SVSM),
        (SvsmBoot.FEATURE_BIT_7, config.svsm.feature_bit == 7),
        (SvsmBoot.SELF_TEST, config.svsm.self_test),
    ):
        if wanted:
            flags |= flag
    return flags


class BootBlock(Struct, frozen=True):
    """The values of struct svsm_boot, in its order."""

    base: int
    memory_size: int
    secrets_gpa: int
    cpuid_gpa: int
    parameters_gpa: int
    memory_map_gpa: int
    guest_features: int
    caa_gpa: int
    guest_secrets_gpa: int
    guest_cpuid_gpa: int
    cbit: int
    guest_vmpl: int
    console_port: int
    regions: tuple[tuple[int, int], ...]
    flags: int
    faults: int
    fault_every: int
    fault_after: int
    fault_register: int
    fault_result: int
    fault_call: int
    fault_caa: int

    def pack(self) -> bytes:
        """Return the block; the number of regions is before them. Raises ValueError for too many."""
        if len(self.regions) > REGIONS:
            raise ValueError(f"{len(self.regions)} regions do not fit {REGIONS} entries")
        numbers: list[int] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "regions":
                flat = [number for region in value for number in region]
                numbers += (len(value), *flat, *[0] * (2 * REGIONS - len(flat)))
            else:
                numbers.append(value)
        return BOOT.pack(*numbers)


def _boot_block(config: SvsmConfig, firmware_size: int, metadata: SevMetadata, base: int) -> BootBlock:
    def page(place: Place) -> int:
        return base + MEMORY - place * PAGE

    regions = [(FOUR_GIB - firmware_size, firmware_size), *((one.gpa, one.size) for one in metadata.sections)]
    return BootBlock(
        base=base,
        memory_size=MEMORY,
        secrets_gpa=page(Place.SECRETS),
        cpuid_gpa=page(Place.CPUID),
        parameters_gpa=page(Place.PARAMETERS),
        memory_map_gpa=page(Place.MEMORY_MAP),
        guest_features=sev_features(config.sev_status(config.guest_vmpl)),
        caa_gpa=metadata.gpa_of(SevSectionType.SVSM_CAA),
        guest_secrets_gpa=metadata.gpa_of(SevSectionType.SECRETS),
        guest_cpuid_gpa=metadata.gpa_of(SevSectionType.CPUID),
        cbit=config.memory.cbit,
        guest_vmpl=config.guest_vmpl,
        console_port=CONSOLE_PORT,
        regions=tuple(regions),
        flags=svsm_boot(config),
        faults=sum(SVSM_FAULTS.get(name, 0) for name in set(config.faults.inject)),
        fault_every=config.faults.every,
        fault_after=config.faults.after,
        fault_register=config.faults.register,
        fault_result=config.faults.result,
        fault_call=config.faults.call,
        fault_caa=config.faults.calling_area,
    )


def _page_tables(base: int, cbit: int) -> dict[Place, bytes]:
    """Return the page tables: GPA 0 to 512 GiB private, and behind that shared."""
    private = 1 << cbit
    pml4 = [0] * 512
    pml4[0] = base + MEMORY - Place.PDPT_PRIVATE * PAGE | private | _PTE_TABLE
    pml4[_SHARED_ENTRY] = base + MEMORY - Place.PDPT_SHARED * PAGE | private | _PTE_TABLE
    gibs = [number << 30 | _PTE_1G for number in range(512)]
    return {
        Place.PML4: struct.pack("<512Q", *pml4),
        Place.PDPT_PRIVATE: struct.pack("<512Q", *(gib | private for gib in gibs)),
        Place.PDPT_SHARED: struct.pack("<512Q", *gibs),
    }


def build(image: bytes, firmware: bytes, metadata: SevMetadata, config: SvsmConfig, base: int) -> bytes:
    """Return the IGVM file. image: of the SVSM; base: the address of its memory. Raises BrokenEnvironmentError."""
    magic, entry, size = _IMAGE.unpack_from(image.ljust(_IMAGE.size, b"\0"))
    if magic != IMAGE_MAGIC or size > MEMORY - Place.BOOT * PAGE or len(image) > size:
        raise BrokenEnvironmentError("the image of the reference SVSM is damaged", BUILD_HINT)
    end = base + MEMORY
    builder = Builder()
    builder.policy(DEFAULT_POLICY)
    builder.required_memory(base, MEMORY)
    builder.area(_GENERAL, PAGE)
    builder.area(_MAP, PAGE)
    builder.parameter(HeaderType.VP_COUNT_PARAMETER, _GENERAL)
    builder.parameter(HeaderType.ENVIRONMENT_INFO_PARAMETER, _GENERAL, 4)
    builder.parameter(HeaderType.MEMORY_MAP, _MAP)
    builder.insert(_MAP, end - Place.MEMORY_MAP * PAGE)
    builder.insert(_GENERAL, end - Place.PARAMETERS * PAGE)
    builder.pages(FOUR_GIB - len(firmware), firmware)
    for section in metadata.sections:
        builder.pages(section.gpa, b"", section.size // PAGE)
    builder.pages(base, image, size // PAGE)
    builder.pages(end - Place.BOOT * PAGE, _boot_block(config, len(firmware), metadata, base).pack())
    for place, table in _page_tables(base, config.memory.cbit).items():
        builder.pages(end - place * PAGE, table)
    builder.pages(end - Place.CPUID * PAGE, b"", 1, data_type=DataType.CPUID_DATA)
    builder.pages(end - Place.SECRETS * PAGE, b"", 1, data_type=DataType.SECRETS)
    page = vmsa.long_mode_page(
        sev_features(config.sev_status(0)),
        cr3=end - Place.PML4 * PAGE | 1 << config.memory.cbit,
        rip=base + entry,
        rdi=end - Place.BOOT * PAGE,
    )
    builder.vmsa(KVM_VMSA_GPA, page)
    return builder.build()
