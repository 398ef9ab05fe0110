# SPDX-License-Identifier: GPL-2.0-or-later
"""A firmware of a few modules, as far as a timeline looks at it."""

from __future__ import annotations

from uuid import UUID

from snp_harness.apic.access import Phase
from snp_harness.firmware.firmware_modules import FileType, Module, ModuleAddress


def module(name: str, phase: Phase, base: int | None, size: int, entry: int) -> Module:
    """base: where the image runs; None if it is moved."""
    return Module(name, UUID(int=hash(name) & 0xFFFF), FileType.DRIVER, phase, base, size, entry)


class Firmware:
    """What FirmwareImage answers of modules."""

    base = 0xFFC00000

    def __init__(self, *modules: Module) -> None:
        self.modules = modules

    def locate(self, pc: int) -> ModuleAddress | None:
        """As FirmwareImage."""
        found = (m for m in self.modules if m.base is not None and m.contains(pc))
        return next((ModuleAddress(m, pc - (m.base or 0)) for m in found), None)

    def by_identity(self, size_of_image: int, entry_rva: int) -> Module | None:
        """As FirmwareImage."""
        return next((m for m in self.modules if (m.size_of_image, m.entry_rva) == (size_of_image, entry_rva)), None)
