# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch list of the emulated host: struct launch_list of harness/emulator/include/launch.h, with its data.

tests/platforms/test_launch_list.py compares this file with the header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from msgspec import Struct

from snp_harness.errors import UsageError
from snp_harness.firmware.metadata import FIRMWARE_START, FOUR_GIB
from snp_harness.platforms.memory_map import LARGE_PAGE, up
from snp_harness.svsm import vmsa
from snp_harness.svsm.launch import DEFAULT_POLICY, KVM_VMSA_GPA, PAGE, IdBlock, Launch, Pages, PageType

MAGIC = 0x31434E4C504E53
LAUNCH_MEMORY = 0x10
LAUNCH_FIRMWARE = 0x11
NO_HASHES = (1 << 64) - 1
#: struct launch_list without its entries, and an entry.
LIST = struct.Struct("<QQQ48s16s16sIIQ48s48s32sIIQ")
ENTRY = struct.Struct("<IIQQQQ")
#: Ranges that the hypervisor can add to QEMU's (harness/emulator/hardware/hw.h, HW_SLOTS), and bytes of them.
RANGES_MAX = 4
MEMORY_MAX = 64 << 20
#: Devices and the legacy area: no memory of a guest can be there.
_LEGACY = (0xA0000, 0xC0000)
_DEVICES = (0x80000000, FIRMWARE_START)
_HINT = "use an IGVM file for QEMU, or another --memory"


class Machine(Struct, frozen=True):
    """The guest's address space. ram_low, ram_high: bytes of RAM from 0 and from 4 GiB."""

    ram_low: int
    ram_high: int
    phys_bits: int

    def holds(self, gpa: int, size: int) -> bool:
        """Whether the range is all in one of QEMU's ranges of RAM."""
        ranges = ((0, _LEGACY[0]), (_LEGACY[1], self.ram_low), (FOUR_GIB, FOUR_GIB + self.ram_high))
        return any(start <= gpa and gpa + size <= end for start, end in ranges)

    def touches(self, gpa: int, size: int) -> bool:
        """Whether a part of the range is RAM."""
        return any(gpa < end and start < gpa + size for start, end in ((0, self.ram_low), (FOUR_GIB, self.high_end)))

    @property
    def high_end(self) -> int:
        """The first address behind RAM above 4 GiB."""
        return FOUR_GIB + self.ram_high


class Packed(Struct, frozen=True):
    """The list. size: its bytes. parts: offset and data, in order; between them are zeros.

    firmware: offset and bytes of the firmware's image in it; (0, 0) if there is none. features: SEV_FEATURES of the
    VMSAs that are launched, None without SNP. notes: as of the launch.
    """

    size: int
    parts: tuple[tuple[int, bytes], ...]
    firmware: tuple[int, int]
    features: int | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Packed of {self.size} bytes>"

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the list. None of what is launched goes across two parts."""
        at, data = max((part for part in self.parts if part[0] <= offset), key=lambda part: part[0])
        return data[offset - at : offset - at + size].ljust(size, b"\0")


def pack(launch: Launch | None, firmware: bytes, machine: Machine) -> Packed:
    """Return the list for a launch, or for a guest without SNP, which only has its firmware. Raises UsageError.

    firmware: of a guest without SNP.
    """
    ranges = _memory(launch, machine) if launch else [(FOUR_GIB - len(firmware), len(firmware))]
    pages = launch.pages if launch else ()
    vmsas = launch.vmsas if launch else ()
    writer = _Writer(len(ranges) + len(pages) + len(vmsas))
    entries: list[tuple[int, ...]] = []
    image = (0, 0)
    for gpa, size in ranges:
        if gpa + size != FOUR_GIB:
            entries.append((LAUNCH_MEMORY, 0, gpa, size // PAGE, 0, NO_HASHES))
            continue
        offset = writer.place(size, gpa)
        image = offset, size
        writer.put(offset, _contents(gpa, size, pages) if launch else firmware)
        entries.append((LAUNCH_FIRMWARE, 0, gpa, size // PAGE, offset, NO_HASHES))
    for one in pages:
        entries.append(_entry(one, image, writer))
    for vp, page in vmsas:
        offset = writer.place(PAGE)
        writer.put(offset, page)
        entries.append((PageType.VMSA, vp, KVM_VMSA_GPA, 1, offset, NO_HASHES))
    policy = launch.policy if launch else DEFAULT_POLICY
    features = vmsa.Vmsa(vmsas[0][1]).features if vmsas else None
    size, parts = writer.finish(policy, launch.id_block if launch else None, entries)
    return Packed(size, parts, image, features, launch.notes if launch else ())


def _contents(gpa: int, size: int, pages: Iterable[Pages]) -> bytes:
    """Return what pages put into a range."""
    inside = [one for one in pages if gpa <= one.gpa and one.end <= gpa + size]
    if len(inside) == 1 and len(inside[0].data) == size:
        return inside[0].data
    contents = bytearray(size)
    for one in inside:
        at = one.gpa - gpa
        contents[at : at + len(one.data)] = one.data
    return bytes(contents)


def _entry(pages: Pages, image: tuple[int, int], writer: _Writer) -> tuple[int, ...]:
    """Return the entry of pages, after their contents were put behind the list. image: the firmware's, at 4 GiB."""
    hashes = NO_HASHES if pages.hashes is None else pages.hashes
    offset, size = image
    if FOUR_GIB - size <= pages.gpa < FOUR_GIB:
        offset += pages.gpa - (FOUR_GIB - size)
    elif pages.kind is PageType.NORMAL or pages.data:
        offset = writer.place(pages.count * PAGE)
        writer.put(offset, pages.data)
    else:
        offset = 0
    return pages.kind, 0, pages.gpa, pages.count, offset, hashes


class _Writer:
    """The list's data."""

    def __init__(self, entries: int) -> None:
        self._size = up(LIST.size + entries * ENTRY.size, PAGE)
        self._parts: list[tuple[int, bytes]] = []

    def place(self, size: int, like: int = 0) -> int:
        """Return the offset of `size` bytes. like: an address with the same offset in its 2 MiB page, 0 for any."""
        offset = self._size
        if like:
            offset += (like - offset) % LARGE_PAGE
        self._size = offset + up(size, PAGE)
        return offset

    def put(self, offset: int, data: bytes) -> None:
        self._parts.append((offset, data))

    def finish(
        self, policy: int, block: IdBlock | None, entries: list[tuple[int, ...]]
    ) -> tuple[int, tuple[tuple[int, bytes], ...]]:
        """Return the bytes of the list, and its parts."""
        size = up(self._size, LARGE_PAGE)  # it fills a DIMM
        head = LIST.pack(MAGIC, size, policy, *_finish(block), len(entries))
        table = b"".join(ENTRY.pack(*entry) for entry in entries)
        return size, ((0, head + table), *self._parts)


def _finish(block: IdBlock | None) -> tuple[bytes | int, ...]:
    """The values of struct psp_finish."""
    if block is None:
        return b"", b"", b"", 0, 0, 0, b"", b"", b"", 0, 0
    return (
        block.launch_digest,
        block.family_id,
        block.image_id,
        1,
        block.guest_svn,
        block.policy,
        block.id_key_digest,
        block.author_key_digest,
        b"",
        1,
        int(bool(block.author_key_digest)),
    )


def _memory(launch: Launch, machine: Machine) -> list[tuple[int, int]]:
    """Return the ranges of memory that the launch needs and QEMU's machine does not have. Raises UsageError."""
    wanted: list[tuple[int, int]] = []
    firmware = FOUR_GIB
    for gpa, size in launch.ranges:
        if machine.holds(gpa, size):
            continue
        if gpa >= FIRMWARE_START and gpa + size <= FOUR_GIB:
            firmware = min(firmware, gpa)
            continue
        _check(gpa, size, machine)
        wanted.append((gpa, gpa + size))
    merged: list[list[int]] = []
    for start, end in sorted(wanted):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    ranges = [(start, end - start) for start, end in merged]
    if firmware < FOUR_GIB:
        ranges.append((firmware, FOUR_GIB - firmware))
    if len(ranges) > RANGES_MAX or sum(size for _, size in ranges) > MEMORY_MAX:
        total = sum(size for _, size in ranges)
        raise UsageError(
            f"the launch needs {total >> 20} MiB in {len(ranges)} places without RAM, {MEMORY_MAX >> 20} MiB in"
            f" {RANGES_MAX} are possible",
            _HINT,
        )
    return ranges


def _check(gpa: int, size: int, machine: Machine) -> None:
    where = f"the launch needs memory at {gpa:X}, {size:#x} bytes"
    if gpa + size > 1 << machine.phys_bits:
        raise UsageError(f"{where}: beyond the guest's {machine.phys_bits} address bits", _HINT)
    for start, end in (_LEGACY, _DEVICES):
        if gpa < end and start < gpa + size:
            raise UsageError(f"{where}: devices are there", _HINT)
    if machine.touches(gpa, size):
        raise UsageError(f"{where}: only a part of it is RAM", _HINT)
