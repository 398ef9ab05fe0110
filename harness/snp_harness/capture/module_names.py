# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the module of the firmware that contains a pc, and the phase that it shows.

A module is named by an address: by the PE header around it in guest memory, or by the image's own layout. It is proven
by bytes: those that the processor executed there are the module's, relocated to where it runs.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Protocol

from snp_harness.apic.access import Phase
from snp_harness.firmware.firmware_modules import Module, ModuleAddress
from snp_harness.firmware.metadata import FOUR_GIB

#: Bound on the images of a run; an OVMF loads about 130.
IMAGE_LIMIT = 4096
#: Addresses from here on belong to an operating system's kernel (the upper half of the 64-bit address space).
KERNEL_HALF = 1 << 63
_CACHE_LIMIT = 1 << 16


class Firmware(Protocol):
    """The part of a snp_harness.firmware.image.FirmwareImage that is used here."""

    @property
    def base(self) -> int:
        """Guest physical address of its first byte."""
        ...

    @property
    def data(self) -> bytes:
        """The flat image, whose last byte is the one below 4 GiB."""
        ...

    def locate(self, pc: int) -> ModuleAddress | None:
        """Return the module that runs at pc by the image's own layout."""
        ...

    def by_identity(self, size_of_image: int, entry_rva: int) -> Module | None:
        """Return the module with these values in its PE header."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a pc. module: None outside all modules. phase: None if the location shows none.

    source: the module itself, with its bytes.
    """

    module: str | None
    base: int
    phase: Phase | None
    source: Module | None = field(default=None, compare=False, repr=False)

    def offset(self, pc: int) -> int | None:
        """The pc's distance from the module's base."""
        return None if self.module is None else pc - self.base

    def name(self, pc: int) -> str:
        """The pc in its module: "SecMain+8300"; outside all modules the pc alone."""
        return f"{pc:X}" if self.module is None else f"{self.module}+{pc - self.base:X}"


#: Code of which no module is known.
UNKNOWN_CODE = Place(None, 0, None)


class ModuleMap:
    """Modules by address: those found in guest memory first, then the image's own layout."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._bases: list[int] = []
        self._images: list[tuple[int, Place]] = []
        self._cache: dict[int, Place] = {}

    def add_image(self, base: int, size: int, entry_rva: int) -> None:
        """Add the image of a PE header in guest memory at `base`; it replaces an image that was loaded there before."""
        found = self._firmware.by_identity(size, entry_rva)
        place = Place(found.name, base, found.phase, found) if found else Place(None, base, None)
        if size and len(self._bases) < IMAGE_LIMIT:
            self._cache.clear()
            end = base + size
            kept = [entry for entry in self._images if entry[1].base >= end or entry[0] <= base]
            kept.append((end, place))
            kept.sort(key=lambda entry: entry[1].base)
            self._images = kept
            self._bases = [entry[1].base for entry in kept]

    def place(self, pc: int) -> Place:
        """Return the location of `pc`."""
        found = self._cache.get(pc)
        if found is None:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            found = self._cache[pc] = self._find(pc)
        return found

    def describe(self, pc: int) -> str:
        """Return a pc with its module: "FFFD4394 (SecMain+8300)"."""
        place = self.place(pc)
        return f"{pc:X}" if place.module is None else f"{pc:X} ({place.name(pc)})"

    def proven(self, pc: int, code: bytes) -> Place:
        """Return the location of `pc`, where these bytes were executed; UNKNOWN_CODE if they are not a module's there.

        In flash outside all modules they have to be the image's.
        """
        for place in (self._found(pc), self._located(pc)):
            if place is not None and place.source is not None and place.source.has_code(place.base, pc, code):
                return place
        offset = pc - self._firmware.base
        if self._firmware.base <= pc < FOUR_GIB and self._located(pc) is None:
            length = min(len(code), FOUR_GIB - pc)
            if self._firmware.data[offset : offset + length] == code[:length]:
                return Place(None, 0, Phase.RESET)
        return UNKNOWN_CODE

    def _found(self, pc: int) -> Place | None:
        """By a PE header in guest memory."""
        number = bisect_right(self._bases, pc) - 1
        return self._images[number][1] if number >= 0 and pc < self._images[number][0] else None

    def _located(self, pc: int) -> Place | None:
        """By the image's own layout."""
        located = self._firmware.locate(pc)
        if located is None:
            return None
        return Place(located.module.name, pc - located.offset, located.module.phase, located.module)

    def _find(self, pc: int) -> Place:
        found = self._found(pc)
        if found is not None:
            return found
        if pc >= KERNEL_HALF:
            return Place(None, 0, Phase.OS)
        located = self._located(pc)
        if located is not None:
            return located
        if self._firmware.base <= pc < FOUR_GIB:
            # Flash outside all modules: the reset vector's assembler code.
            return Place(None, 0, Phase.RESET)
        return Place(None, 0, None)
