# SPDX-License-Identifier: GPL-2.0-or-later
"""Physical memory of an emulated run: guest RAM as QEMU's q35 places it, and the hidden hypervisor and its log."""

from __future__ import annotations

from msgspec import Struct

from snp_harness.errors import UsageError
from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.launch.ring import HEADER_SIZE, RECORD_SIZE

_GIB = 1 << 30
#: What QEMU's memory is a multiple of, where it is not the guest's RAM.
LARGE_PAGE = 2 << 20
PAGE_SIZE = 4096
#: RAM below 4 GiB: all of it if it is less than the first number, else the second (hw/i386/pc_q35.c, pc_q35_init).
LOW_LIMIT = 0xB0000000
LOW_SPLIT = 0x80000000
#: The emulator's own RAM: memory of the SVSM, page tables; and for each 4 KiB of guest RAM 32 bytes, of which RMP,
#: page states and IOMMU use 17.
HOST_SIZE = 128 << 20
RMP_SHARE = 128
#: Records that the ring holds: four seconds of the busiest boot.
RING_RECORDS = 1 << 16
#: Bytes that the launch list may have, and how often an SNP guest has it: see launch_list.py.
LAUNCH_MAX = 512 << 20
LAUNCH_COPIES = 3
#: The hypervisor's page tables end here (harness/emulator/common/layout.h, PHYSICAL_WINDOW).
HOST_REACH = 1 << 39
DIMM_SLOTS = 6


class MemoryMap(Struct, frozen=True):
    """Addresses and sizes, bytes. ram_low, ram_high: guest RAM from 0 and from 4 GiB. maxmem: QEMU's -m maxmem."""

    ram_low: int
    ram_high: int
    host_base: int
    host_size: int
    ring_base: int
    ring_size: int
    ring_file_size: int
    svsm_gpa: int
    maxmem: int

    @property
    def launch_base(self) -> int:
        """Where the launch list is."""
        return self.ring_base + self.ring_file_size

    @property
    def account_base(self) -> int:
        """Where the hypervisor has its account of the log: the last page of its RAM (struct record_account)."""
        return self.host_base + self.host_size - PAGE_SIZE

    @property
    def view_base(self) -> int:
        """Where the emulated hardware describes itself to a debugger: the page before (struct view)."""
        return self.account_base - PAGE_SIZE


def memory_map(ram: int, phys_bits: int) -> MemoryMap:
    """Return the map for bytes of guest RAM and physical address bits. Raises UsageError if it does not fit."""
    low = ram if ram < LOW_LIMIT else LOW_SPLIT
    high = ram - low
    # QEMU's device memory, where DIMMs are plugged, starts at the next GiB (hw/i386/pc.c, pc_memory_init).
    host_base = up(FOUR_GIB + high, _GIB)
    host_size = HOST_SIZE + up(ram // RMP_SHARE, LARGE_PAGE)
    ring_base = host_base + host_size
    ring_size = HEADER_SIZE + RING_RECORDS * RECORD_SIZE
    ring_file_size = up(ring_size, LARGE_PAGE)
    end = ring_base + ring_file_size + LAUNCH_COPIES * LAUNCH_MAX
    # Below the top eighth of the guest's address space, where OVMF puts 64-bit PCI memory, and far above its RAM.
    svsm_gpa = min(1 << phys_bits, HOST_REACH) // 8 * 5
    if end > svsm_gpa or end > HOST_REACH:
        raise UsageError(
            f"{ram >> 20} MiB of memory do not fit {phys_bits} address bits beside the emulated host",
            "use less memory, or more memory.phys_bits",
        )
    return MemoryMap(
        low,
        high,
        host_base,
        host_size,
        ring_base,
        ring_size,
        ring_file_size,
        svsm_gpa,
        ram + up(end - host_base, _GIB),
    )


def up(value: int, multiple: int) -> int:
    """Return the value rounded up to a multiple."""
    return -(-value // multiple) * multiple
