# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT's boot parameter block: the measured page of its IGVM files with the settings of the SVSM.

Source: coconut-svsm/svsm, boot/defs/src/boot_params.rs (BootParamBlock), before that bootlib/src/igvm_params.rs
(IgvmParamBlock); igvmbuilder/src/igvm_builder.rs writes it. No header in the file names the page. It is found by its
contents: its offsets to the parameter page and to the memory map give the addresses at which the file inserts
parameter areas.
"""

from __future__ import annotations

from dataclasses import dataclass

from snp_harness.svsm.igvm import (
    PAGE,
    DataType,
    HeaderType,
    IgvmFile,
    PageData,
    PageFlags,
    Parameter,
    ParameterInsert,
)

_PARAM_PAGE_OFFSET = 4
#: Offsets of debug_serial_port and use_alternate_injection.
_PORT = 24
ALTERNATE_INJECTION = 26


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between versions of the block. name: as shown. memory_map: offset of memory_map_offset."""

    name: str
    memory_map: int


#: The block contains the MADT's location: since 2025, and the present BootParamBlock.
CURRENT = Layout("with a MADT", 16)
#: 2024 to 2025: the addresses of the CPUID and the secrets page are between memory map and port.
EARLIER = Layout("without a MADT", 8)
_CPUID_PAGE = 16
_SECRETS_PAGE = 20
#: From use_alternate_injection to the firmware's part of the block there are flags of one byte each.
_FLAGS_END = 32
#: The firmware's part begins with its address and size (GuestFwInfoBlock), in both layouts.
_FIRMWARE = 32


@dataclass(frozen=True, slots=True)
class ParameterBlock:
    """The block. page: the header of its page. port: the SVSM console's I/O port.

    firmware: guest address and size of the firmware in the file; size 0 without one.
    """

    page: PageData
    layout: Layout
    port: int
    use_alternate_injection: bool
    firmware: tuple[int, int]


def find_parameter_blocks(file: IgvmFile, mask: int) -> list[ParameterBlock]:
    """Return a platform's boot parameter blocks: one in COCONUT's files, none in others."""
    places = _Places.of(file, mask)
    found = []
    for header in file.headers:
        if not isinstance(header, PageData) or not header.applies(mask) or not header.offset:
            continue
        if header.data_type != DataType.NORMAL or header.flags & PageFlags.UNMEASURED:
            continue
        data = file.contents(header)[:PAGE]
        layout = places.layout(header.gpa, data)
        if layout is not None:
            firmware = _u32(data, _FIRMWARE), _u32(data, _FIRMWARE + 4)
            use = bool(data[ALTERNATE_INJECTION])
            found.append(ParameterBlock(header, layout, _u16(data, _PORT), use, firmware))
    return found


@dataclass(frozen=True, slots=True)
class _Places:
    """The guest addresses that a block's fields give."""

    maps: frozenset[int]
    inserts: frozenset[int]
    cpuid: frozenset[int]
    secrets: frozenset[int]

    @classmethod
    def of(cls, file: IgvmFile, mask: int) -> _Places:
        headers = [header for header in file.headers if header.applies(mask)]
        inserts = {header.index: header.gpa for header in headers if isinstance(header, ParameterInsert)}
        maps = {
            inserts[header.index] + header.byte_offset
            for header in headers
            if isinstance(header, Parameter) and header.kind is HeaderType.MEMORY_MAP and header.index in inserts
        }
        pages = {
            kind: frozenset(one.gpa for one in headers if isinstance(one, PageData) and one.data_type == kind)
            for kind in (DataType.CPUID_DATA, DataType.SECRETS)
        }
        return cls(frozenset(maps), frozenset(inserts.values()), pages[DataType.CPUID_DATA], pages[DataType.SECRETS])

    def layout(self, gpa: int, data: bytes) -> Layout | None:
        """Return the layout of a page that is a parameter block; None if it is not one in any layout."""
        if gpa + _u32(data, _PARAM_PAGE_OFFSET) not in self.inserts:
            return None
        for layout in (CURRENT, EARLIER):
            if gpa + _u32(data, layout.memory_map) not in self.maps:
                continue
            if any(flag > 1 for flag in data[ALTERNATE_INJECTION:_FLAGS_END]):
                continue
            if layout is EARLIER and not (
                _u32(data, _CPUID_PAGE) in self.cpuid and _u32(data, _SECRETS_PAGE) in self.secrets
            ):
                continue
            return layout
        return None


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
