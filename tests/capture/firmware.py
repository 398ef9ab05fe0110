# SPDX-License-Identifier: GPL-2.0-or-later
"""A firmware of a few modules, as far as a timeline looks at it."""

from __future__ import annotations

import hashlib
from uuid import UUID

from snp_harness.apic.access import Phase
from snp_harness.firmware.firmware_modules import FileType, Module, ModuleAddress
from snp_harness.firmware.pe import CodeImage


class Pattern(CodeImage):
    """Code that is different at each address."""

    def __init__(self, name: str) -> None:
        super().__init__(b"")
        self._name = name

    def bytes_at(self, base: int, rva: int, size: int) -> bytes | None:
        """As CodeImage."""
        return hashlib.sha256(f"{self._name}+{rva:X}".encode()).digest()[:size]


def module(name: str, phase: Phase, base: int | None, size: int, entry: int) -> Module:
    """base: where the image runs; None if it is moved."""
    return Module(name, UUID(int=hash(name) & 0xFFFF), FileType.DRIVER, phase, base, size, entry, Pattern(name))


class Firmware:
    """What FirmwareImage answers of modules."""

    base = 0xFFC00000
    defects: tuple[str, ...] = ()
    data = bytes(range(256)) * 0x4000

    def __init__(self, *modules: Module) -> None:
        self.modules = modules

    def locate(self, pc: int) -> ModuleAddress | None:
        """As FirmwareImage."""
        found = (m for m in self.modules if m.base is not None and m.contains(pc))
        return next((ModuleAddress(m, pc - (m.base or 0)) for m in found), None)

    def code(self, pc: int) -> bytes:
        """The bytes of an instruction by the image's layout."""
        found = self.locate(pc)
        if found is not None and found.module.image is not None:
            return found.module.image.bytes_at(0, found.offset, 24) or b""
        offset = pc - self.base
        return self.data[offset : offset + 24] if 0 <= offset < len(self.data) else b"\x90" * 24

    def by_identity(self, size_of_image: int, entry_rva: int) -> Module | None:
        """As FirmwareImage."""
        return next((m for m in self.modules if (m.size_of_image, m.entry_rva) == (size_of_image, entry_rva)), None)
