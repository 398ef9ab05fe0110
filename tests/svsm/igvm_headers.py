# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes an IGVM file apart into its variable headers, to change them, and puts it together with a right checksum."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable
from dataclasses import dataclass

#: Where a header's content has an offset into the file data.
_OFFSETS = {0x301: 12, 0x302: 12, 0x304: 12}
_FIXED = struct.Struct("<4sIIIII")

PLATFORM, POLICY, AREA, PAGE, INSERT, CONTEXT, REQUIRED = 0x001, 0x101, 0x301, 0x302, 0x303, 0x304, 0x305
VP_COUNT, MADT, ID_BLOCK, MEMORY_MAP, ENVIRONMENT = 0x307, 0x309, 0x30B, 0x30C, 0x313


@dataclass
class Headers:
    """The headers as type and content, and the file data. Offsets in contents count from the data's start, plus 1."""

    headers: list[tuple[int, bytes]]
    data: bytes

    @classmethod
    def split(cls, file: bytes) -> Headers:
        _, _, at, size, _, _ = _FIXED.unpack_from(file)
        end = at + size
        headers = []
        while at < end:
            kind, length = struct.unpack_from("<II", file, at)
            content = file[at + 8 : at + 8 + length]
            place = _OFFSETS.get(kind)
            if place is not None and (offset := int.from_bytes(content[place : place + 4], "little")):
                content = content[:place] + (offset - end + 1).to_bytes(4, "little") + content[place + 4 :]
            headers.append((kind, content))
            at += 8 + (length + 7) // 8 * 8
        return cls(headers, file[end:])

    def join(self) -> bytes:
        size = sum(8 + (len(content) + 7) // 8 * 8 for _, content in self.headers)
        end = _FIXED.size + size
        variable = b""
        for kind, content in self.headers:
            place = _OFFSETS.get(kind)
            if place is not None and (offset := int.from_bytes(content[place : place + 4], "little")):
                content = content[:place] + (offset - 1 + end & 0xFFFFFFFF).to_bytes(4, "little") + content[place + 4 :]
            variable += struct.pack("<II", kind, len(content)) + content.ljust((len(content) + 7) // 8 * 8, b"\0")
        fixed = _FIXED.pack(b"IGVM", 1, _FIXED.size, size, end + len(self.data), 0)
        checksum = binascii.crc32(fixed + variable)
        return fixed[:20] + checksum.to_bytes(4, "little") + variable + self.data

    def index(self, kind: int, number: int = 0) -> int:
        """Where the n-th header of a type is."""
        return [at for at, (found, _) in enumerate(self.headers) if found == kind][number]

    def change(self, kind: int, at: int, value: bytes, number: int = 0) -> Headers:
        """Overwrite bytes of a header."""
        place = self.index(kind, number)
        content = self.headers[place][1]
        self.headers[place] = kind, content[:at] + value + content[at + len(value) :]
        return self

    def add(self, kind: int, content: bytes, before: int | None = None) -> Headers:
        self.headers.insert(len(self.headers) if before is None else self.index(before), (kind, content))
        return self

    def drop(self, kind: int, number: int = 0) -> Headers:
        del self.headers[self.index(kind, number)]
        return self

    def repeat(self, kind: int, number: int = 0) -> Headers:
        self.headers.append(self.headers[self.index(kind, number)])
        return self

    def vmsa(self, change: Callable[[bytearray], None]) -> Headers:
        """Change the page of the first VP context."""
        content = self.headers[self.index(CONTEXT)][1]
        at = int.from_bytes(content[12:16], "little") - 1
        page = bytearray(self.data[at : at + 4096])
        change(page)
        self.data = self.data[:at] + bytes(page) + self.data[at + 4096 :]
        return self
