# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes IGVM files for SEV-SNP, of version 1 of the format."""

from __future__ import annotations

import struct

from snp_harness.svsm.igvm import (
    FIXED,
    LARGE_PAGE,
    MAGIC,
    PAGE,
    HeaderType,
    PageFlags,
    PlatformType,
    checksum_of,
    pack_header,
)

#: The compatibility mask of the only platform, SEV-SNP.
MASK = 1


class Builder:
    """Collects headers and file data. The contents of pages of 4 KiB that occur again are stored once."""

    def __init__(self) -> None:
        self._headers: list[tuple[int, bytes, int | None]] = []
        self._data: list[bytes] = []
        self._places: dict[bytes, int] = {}
        self._size = 0
        #: 2: VTL2 is the highest that is described, as COCONUT's builder has it for a guest with firmware.
        self.header(HeaderType.SUPPORTED_PLATFORM, struct.pack("<IBBHQ", MASK, 2, PlatformType.SEV_SNP, 1, 0))

    def header(self, kind: HeaderType, content: bytes, data: bytes = b"", offset_at: int | None = None) -> None:
        """Add a header. data: what it refers to by a file offset at `offset_at` of its content; b"" for zeros."""
        if not data or offset_at is None:
            self._headers.append((kind, content, None))
            return
        place = self._size if len(data) > PAGE else self._places.setdefault(data, self._size)
        if place == self._size:
            self._data.append(data)
            self._size += len(data)
        content = content[:offset_at] + place.to_bytes(4, "little") + content[offset_at + 4 :]
        self._headers.append((kind, content, offset_at))

    def policy(self, policy: int) -> None:
        """Add the guest policy."""
        self.header(HeaderType.GUEST_POLICY, struct.pack("<QII", policy, MASK, 0))

    def required_memory(self, gpa: int, size: int) -> None:
        """Add memory that the guest has to have."""
        self.header(HeaderType.REQUIRED_MEMORY, struct.pack("<QIIII", gpa, MASK, size, 0, 0))

    def pages(self, gpa: int, data: bytes, count: int | None = None, *, data_type: int = 0) -> None:
        """Add consecutive pages, of 2 MiB where they fit. count: of 4 KiB; those behind `data` are zero pages."""
        at, end = 0, len(data) + -len(data) % PAGE if count is None else count * PAGE
        while at < end:
            large = not (gpa + at) % LARGE_PAGE and at + LARGE_PAGE <= (len(data) if at < len(data) else end)
            size = LARGE_PAGE if large else PAGE
            page = data[at : at + size]
            flags = PageFlags.LARGE if large else 0
            content = struct.pack("<QIIIHH", gpa + at, MASK, 0, flags, data_type, 0)
            self.header(HeaderType.PAGE_DATA, content, page.ljust(size, b"\0") if page else b"", 12)
            at += size

    def area(self, index: int, size: int) -> None:
        """Add a parameter area."""
        self.header(HeaderType.PARAMETER_AREA, struct.pack("<QII", size, index, 0))

    def parameter(self, kind: HeaderType, index: int, offset: int = 0) -> None:
        """Add a value that the loader writes into an area."""
        self.header(kind, struct.pack("<II", index, offset))

    def insert(self, index: int, gpa: int) -> None:
        """Load an area at an address."""
        self.header(HeaderType.PARAMETER_INSERT, struct.pack("<QII", gpa, MASK, index))

    def vmsa(self, gpa: int, page: bytes, vp: int = 0) -> None:
        """Add a vCPU's first state."""
        self.header(HeaderType.VP_CONTEXT, struct.pack("<QIIHH", gpa, MASK, 0, vp, 0), page, 12)

    def build(self) -> bytes:
        """Return the file."""
        size = sum(8 + len(content) + -len(content) % 8 for _, content, _ in self._headers)
        first = FIXED.size + size
        headers = []
        for kind, content, at in self._headers:
            if at is not None:
                place = int.from_bytes(content[at : at + 4], "little") + first
                content = content[:at] + place.to_bytes(4, "little") + content[at + 4 :]
            headers.append(pack_header(kind, content))
        whole = b"".join((FIXED.pack(MAGIC, 1, FIXED.size, size, first + self._size, 0), *headers))
        return b"".join((whole[:20], checksum_of(whole).to_bytes(4, "little"), whole[24:], *self._data))
