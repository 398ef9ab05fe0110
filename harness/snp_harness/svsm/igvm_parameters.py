# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters that a loader writes for the guest of an IGVM file, as QEMU does for a q35 machine."""

from __future__ import annotations

import struct

from msgspec import Struct

from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.svsm.igvm import HeaderType
from snp_harness.svsm.launch import PAGE

#: IGVM_VHS_MEMORY_MAP_ENTRY: first page, pages, type (0: memory), flags.
MAP_ENTRY = struct.Struct("<QQHHI")
#: IgvmEnvironmentInfo: QEMU sets memory_is_shared (backends/igvm.c, qigvm_directive_environment_info).
_MEMORY_IS_SHARED = 1
_APIC_BASE = 0xFEE00000
_IOAPIC_BASE = 0xFEC00000
#: Interrupts of the ISA bus that are level-triggered, active high: 5, 9, 10, 11 (QEMU hw/i386/acpi-common.c).
_PCI_INTERRUPTS = (5, 9, 10, 11)


class MachineFacts(Struct, frozen=True):
    """What parameters tell. ram_low, ram_high: bytes of guest RAM from 0 and from 4 GiB."""

    vcpus: int
    ram_low: int
    ram_high: int = 0


def parameter(kind: HeaderType, machine: MachineFacts) -> bytes:
    """Return the value of a parameter; b"" for a device tree, which a PC does not have."""
    values = {
        HeaderType.VP_COUNT_PARAMETER: _vp_count,
        HeaderType.ENVIRONMENT_INFO_PARAMETER: _environment,
        HeaderType.MEMORY_MAP: memory_map,
        HeaderType.MADT: madt,
        HeaderType.DEVICE_TREE: _nothing,
    }
    return values[kind](machine)


def _nothing(_machine: MachineFacts) -> bytes:
    return b""


def _vp_count(machine: MachineFacts) -> bytes:
    return struct.pack("<I", machine.vcpus)


def _environment(_machine: MachineFacts) -> bytes:
    return struct.pack("<I", _MEMORY_IS_SHARED)


def memory_map(machine: MachineFacts) -> bytes:
    """Return the memory map: RAM below and above 4 GiB, as one range each, with the legacy area."""
    ranges = [(0, machine.ram_low), (FOUR_GIB, machine.ram_high)]
    return b"".join(MAP_ENTRY.pack(gpa // PAGE, size // PAGE, 0, 0, 0) for gpa, size in ranges if size)


def madt(machine: MachineFacts) -> bytes:
    """Return the MADT (ACPI 6.5, section 5.2.12): local APICs, the I/O APIC, overrides, NMI (acpi_build_madt)."""
    body = struct.pack("<II", _APIC_BASE, 1)
    body += b"".join(struct.pack("<BBBBI", 0, 8, number, number, 1) for number in range(machine.vcpus))
    body += struct.pack("<BBBBII", 1, 12, 0, 0, _IOAPIC_BASE, 0)
    body += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)
    body += b"".join(struct.pack("<BBBBIH", 2, 10, 0, number, number, 0xD) for number in _PCI_INTERRUPTS)
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)
    table = bytearray(
        struct.pack("<4sIBB6s8sI4sI", b"APIC", 36 + len(body), 3, 0, b"BOCHS ", b"BXPC    ", 1, b"BXPC", 1)
    )
    table += body
    table[9] = -sum(table) & 0xFF
    return bytes(table)
