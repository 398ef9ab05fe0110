# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT's boot parameter block: the measured page of its IGVM files with the settings of the SVSM.

Source: coconut-svsm/svsm, boot/defs/src/boot_params.rs (BootParamBlock), before that bootlib/src/igvm_params.rs
(IgvmParamBlock); igvmbuilder writes it. No header in the file names the page, and its layout changes with COCONUT's
versions. So the page and its fields are found by what their values lead to:

| field | leads to |
|---|---|
| first word | size of the area that begins at the page: the file inserts its parameter areas there |
| words that follow | offsets and sizes of parts of that area; until 2024 addresses of the CPUID and the secrets page |
| port | first word that does not: the SVSM console's I/O port, then flags of one byte, use_alternate_injection first |
| firmware | address and size of pages in the file; zeroes without a firmware |
| kernel | address of the memory that the file requires |
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass, replace

from snp_harness.svsm.igvm import (
    PAGE,
    DataType,
    HeaderType,
    IgvmFile,
    MemoryRange,
    PageData,
    PageFlags,
    Parameter,
    ParameterInsert,
)

#: Blocks of a file that are looked at, copies of one, and secrets pages: COCONUT's files have one of each at most.
BLOCKS_MAX = 2
#: Bound on the firmware, bytes: QEMU's own limit for firmware below 4 GiB is 8 MiB by default.
FIRMWARE_MAX = 64 << 20
#: Bounds on the area's size, on where the port is, and where the kernel's address is, bytes.
AREA_MAX = 1 << 20
_PORT_MAX = 128
_BLOCK_MAX = 512
#: From the port to use_alternate_injection, to the firmware if the file has none, and to the firmware at most.
USE_AFTER_PORT = 2
_FIRMWARE_AFTER_PORT = 8
_FLAGS_MAX = 16
#: Bytes of the firmware's part without the memory map, which it has since Alternate Injection (June 2024) at the
#: latest; then two words and the kernel's address follow.
_OLD_FIRMWARE_PART = 96 + 8

_TABLES = frozenset({HeaderType.MADT, HeaderType.DEVICE_TREE})
_GENERAL = frozenset({HeaderType.VP_COUNT_PARAMETER, HeaderType.ENVIRONMENT_INFO_PARAMETER})


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields are, bytes from the page's start; None for a field that it lacks."""

    parameter_page: int
    madt: int | None
    device_tree: int | None
    memory_map: int
    port: int
    firmware: int
    kernel: int

    @property
    def use_alternate_injection(self) -> int:
        """Offset of the flag."""
        return self.port + USE_AFTER_PORT


@dataclass(frozen=True, slots=True)
class ParameterBlock:
    """The block. page: the header of its page. copies: pages of the kernel's memory with the same contents.

    area_size: bytes of the block and the parameter areas behind it. port: the SVSM console's I/O port.
    firmware, kernel: guest address and size; the firmware's size is 0 if there is none in the file.
    stage2_reads: a loader in the file reads the settings from here, and knows Alternate Injection.
    """

    page: PageData
    copies: tuple[PageData, ...]
    layout: Layout
    area_size: int
    port: int
    use_alternate_injection: bool
    firmware: tuple[int, int]
    kernel: tuple[int, int]
    stage2_reads: bool


def measured_pages(file: IgvmFile, mask: int) -> list[PageData]:
    """Return the pages of a platform that have contents in the file, and are measured."""
    return [
        header
        for header in file.headers
        if isinstance(header, PageData)
        and header.applies(mask)
        and header.offset
        and header.data_type == DataType.NORMAL
        and not header.flags & (PageFlags.UNMEASURED | PageFlags.SHARED | PageFlags.LARGE)
    ]


def find_parameter_blocks(file: IgvmFile, mask: int) -> list[ParameterBlock]:
    """Return a platform's boot parameter blocks: one in COCONUT's files, none in others. At most BLOCKS_MAX."""
    places = _Places.of(file, mask)
    pages = measured_pages(file, mask)
    found: list[ParameterBlock] = []
    for header in pages:
        data = file.contents(header)
        block = places.block(header, data)
        if block is not None and len(found) < BLOCKS_MAX:
            start, size = block.kernel
            inside = (page for page in pages if start <= page.gpa < start + size and page.gpa != header.gpa)
            same = (page for page in inside if file.contents(page) == data)
            found.append(replace(block, copies=tuple(itertools.islice(same, BLOCKS_MAX))))
    return found


@dataclass(frozen=True, slots=True)
class _Places:
    """The guest addresses that a block's fields lead to.

    inserts: of parameter areas, with the kinds of the values in them; in_order: the same, sorted.
    maps: of the memory map itself.
    special: of the CPUID and the secrets page. pages: of all pages. required: sizes by address.
    """

    inserts: dict[int, frozenset[HeaderType]]
    in_order: list[int]
    maps: frozenset[int]
    special: frozenset[int]
    pages: frozenset[int]
    required: dict[int, int]

    @classmethod
    def of(cls, file: IgvmFile, mask: int) -> _Places:
        headers = [header for header in file.headers if header.applies(mask)]
        kinds: dict[int, set[HeaderType]] = {}
        at: dict[int, set[int]] = {}
        for header in headers:
            if isinstance(header, Parameter) and header.kind is not None:
                kinds.setdefault(header.index, set()).add(header.kind)
                if header.kind is HeaderType.MEMORY_MAP and len(at.setdefault(header.index, set())) < BLOCKS_MAX:
                    at[header.index].add(header.byte_offset)
        areas = [header for header in headers if isinstance(header, ParameterInsert)]
        inserts: dict[int, set[HeaderType]] = {}
        for area in areas:
            inserts.setdefault(area.gpa, set()).update(kinds.get(area.index, ()))
        maps = {area.gpa + offset for area in areas for offset in at.get(area.index, ())}
        pages = [header for header in headers if isinstance(header, PageData)]
        required = {
            header.gpa: header.size
            for header in headers
            if isinstance(header, MemoryRange) and header.kind is HeaderType.REQUIRED_MEMORY
        }
        return cls(
            {gpa: frozenset(of_area) for gpa, of_area in inserts.items()},
            sorted(inserts),
            frozenset(maps),
            frozenset(page.gpa for page in pages if page.data_type in (DataType.CPUID_DATA, DataType.SECRETS)),
            frozenset(page.gpa for page in pages),
            required,
        )

    def block(self, page: PageData, data: bytes) -> ParameterBlock | None:
        """Return the block in a page, None if there is none."""
        size = u32(data, 0)
        if size % PAGE or not 2 * PAGE <= size <= AREA_MAX or page.gpa + u32(data, 4) not in self.inserts:
            return None
        port = self._port(data, size)
        offsets = self._offsets(page.gpa, data, port)
        first, last = (bisect.bisect_left(self.in_order, gpa) for gpa in (page.gpa, page.gpa + size))
        inside = set(self.in_order[first:last])
        if port >= _PORT_MAX or not inside <= set(offsets.values()) or not u16(data, port):
            return None
        memory_map = [at for at, gpa in offsets.items() if gpa in self.maps]
        general = self._leading(offsets, _GENERAL)
        kernel = self._kernel(data, port)
        firmware = None if kernel is None else self._firmware(data, port, kernel)
        if not memory_map or general is None or kernel is None or firmware is None:
            return None
        layout = Layout(
            general,
            self._leading(offsets, {HeaderType.MADT}),
            self._leading(offsets, {HeaderType.DEVICE_TREE}),
            memory_map[-1],
            port,
            firmware,
            kernel,
        )
        base = u64(data, kernel)
        return ParameterBlock(
            page,
            (),
            layout,
            size,
            u16(data, port),
            bool(data[layout.use_alternate_injection]),
            (u32(data, firmware), u32(data, firmware + 4)),
            (base, self.required[base]),
            _stage2_reads(data, firmware, kernel, self.required[base]),
        )

    def _port(self, data: bytes, size: int) -> int:
        """Return the offset of the first word that leads to nothing."""
        at = 4
        while at < _PORT_MAX:
            word = u32(data, at)
            if not (word % PAGE == 0 and word < size) and word not in self.special:
                break
            at += 4
        return at

    def _offsets(self, gpa: int, data: bytes, port: int) -> dict[int, int]:
        """Return the addresses that the words before the port lead to, without the sizes behind tables' offsets."""
        leads = {at: gpa + u32(data, at) for at in range(4, port, 4)}
        tables = [at for at, place in leads.items() if self.inserts.get(place, frozenset()) & _TABLES]
        return {at: place for at, place in leads.items() if at - 4 not in tables}

    def _leading(self, offsets: dict[int, int], kinds: frozenset[HeaderType] | set[HeaderType]) -> int | None:
        """Return the offset of the first word that leads to an area with a value of these kinds."""
        found = (at for at, gpa in offsets.items() if self.inserts.get(gpa, frozenset()) & kinds)
        return next(found, None)

    def _kernel(self, data: bytes, port: int) -> int | None:
        found = [at for at in range(port + _FIRMWARE_AFTER_PORT, _BLOCK_MAX, 4) if u64(data, at) in self.required]
        return found[0] if found else None

    def _firmware(self, data: bytes, port: int, kernel: int) -> int | None:
        """Return the offset of the firmware's address and size; only flags are between it and the port."""
        for at in range(port + 4, min(port + _FLAGS_MAX, kernel - 8) + 1, 4):
            if any(flag > 1 for flag in data[port + USE_AFTER_PORT : at]):
                return None
            start, size = u32(data, at), u32(data, at + 4)
            last = start + size - 1 & ~(PAGE - 1)
            if 0 < size <= FIRMWARE_MAX and {start, last} & self.pages:
                return at
        at = port + _FIRMWARE_AFTER_PORT
        return at if u64(data, at) == 0 else None


def _stage2_reads(data: bytes, firmware: int, kernel: int, size: int) -> bool:
    """Whether the file is of a version whose stage 2 reads the block when it makes the kernel's launch information.

    Until 2026-02-12 the block has, before the kernel's address, the size of the page reserved for the VMSA (until
    2025-01 with the kernel's size between them). From then to 2026-04-01 stage 2 did not look at
    use_alternate_injection; since then the launch information is in the file.
    """
    with_size = u32(data, kernel - 8) == PAGE and u32(data, kernel - 4) == size
    part = kernel - firmware
    return (with_size and part > _OLD_FIRMWARE_PART) or (
        u32(data, kernel - 4) == PAGE and part > _OLD_FIRMWARE_PART + 8
    )


def u16(data: bytes, at: int) -> int:
    """Return the 16-bit number at an offset."""
    return int.from_bytes(data[at : at + 2], "little")


def u32(data: bytes, at: int) -> int:
    """Return the 32-bit number at an offset."""
    return int.from_bytes(data[at : at + 4], "little")


def u64(data: bytes, at: int) -> int:
    """Return the 64-bit number at an offset."""
    return int.from_bytes(data[at : at + 8], "little")
