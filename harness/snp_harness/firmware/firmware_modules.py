# SPDX-License-Identifier: GPL-2.0-or-later
"""The executable modules of a firmware image: their addresses and phases."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from snp_harness.apic.access import Phase
from snp_harness.firmware import pe
from snp_harness.firmware import sections as ffs


class FileType(enum.IntEnum):
    """EFI_FV_FILETYPE of the files that hold an executable (PI 1.8, volume 3, section 2.1.4.1)."""

    SECURITY_CORE = 0x03
    PEI_CORE = 0x04
    DXE_CORE = 0x05
    PEIM = 0x06
    DRIVER = 0x07
    COMBINED_PEIM_DRIVER = 0x08
    APPLICATION = 0x09
    MM = 0x0A
    COMBINED_MM_DXE = 0x0C
    MM_CORE = 0x0D
    MM_STANDALONE = 0x0E
    MM_CORE_STANDALONE = 0x0F


_VOLUME_IMAGE_FILE = 0x0B
_FILES_TO_OPEN = frozenset({_VOLUME_IMAGE_FILE, *FileType})
_PHASE_OF_TYPE = {
    FileType.SECURITY_CORE: Phase.SEC,
    FileType.PEI_CORE: Phase.PEI,
    FileType.PEIM: Phase.PEI,
    FileType.COMBINED_PEIM_DRIVER: Phase.PEI,
    # Started by boot options: the set-up menus and the shell.
    FileType.APPLICATION: Phase.BDS,
}
#: MdeModulePkg/Universal/BdsDxe/BdsDxe.inf: its type is that of a driver, and it implements the boot device selection.
_BDS_DRIVER = UUID("6d33944a-ec75-4855-a54d-809c75241f6c")
_MAX_DEPTH = 8
_MAX_MODULES = 4096
_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Module:
    """An executable of the firmware.

    name: its user interface name, or its GUID. file_type: EFI_FV_FILETYPE. base: the address it runs at, None if the
    firmware chooses it when loading. size_of_image: bytes in memory. entry_rva: entry point relative to base.
    image: its bytes.
    """

    name: str
    guid: UUID
    file_type: FileType
    phase: Phase
    base: int | None
    size_of_image: int
    entry_rva: int
    image: pe.CodeImage | None = field(default=None, compare=False, repr=False)

    def has_code(self, base: int, address: int, code: bytes) -> bool:
        """Return whether the module, loaded at `base`, has these bytes at an address."""
        return self.image is not None and self.image.bytes_at(base, address - base, len(code)) == code

    def contains(self, address: int) -> bool:
        """True if the module runs at a fixed address and this address is in it."""
        return self.base is not None and self.base <= address < self.base + self.size_of_image


@dataclass(frozen=True, slots=True)
class ModuleAddress:
    """An address as a module and the offset from the module's base."""

    module: Module
    offset: int

    def __str__(self) -> str:
        return f"{self.module.name}+{self.offset:#x}"


class ModuleScan:
    """Finds the modules of an image, first those that need no decompression.

    uncompressed() and compressed() each return their modules once, in the image's order. defects: the parts that could
    not be read, one line each; their modules are missing.
    """

    def __init__(self, image: bytes, limits: ffs.Limits | None = None) -> None:
        self._image = memoryview(image)
        self._limits = limits or ffs.Limits()
        self._packed: list[tuple[ffs.File, ffs.Section, int]] = []
        self._count = 0
        self.defects: list[str] = []

    def uncompressed(self) -> Iterator[Module]:
        """Modules that are stored uncompressed: SEC, and in images without compression all others."""
        yield from self._volumes(self._image, 0)

    def compressed(self) -> Iterator[Module]:
        """Modules in compressed sections; must be called after uncompressed(), which finds these sections."""
        while self._packed:
            file, section, depth = self._packed.pop(0)
            try:
                contents = ffs.open_guided(section, self._limits)
            except ffs.LayoutError as error:
                self.defects.append(f"{file.guid}: {error}")
                continue
            yield from self._sections(file, contents, depth)

    def _volumes(self, data: memoryview, depth: int) -> Iterator[Module]:
        try:
            for volume in ffs.find_volumes(data, self._limits):
                if volume.has_files:
                    yield from self._files(volume, depth)
        except ffs.LayoutError as error:
            self.defects.append(str(error))

    def _files(self, volume: ffs.Volume, depth: int) -> Iterator[Module]:
        try:
            for file in ffs.files(volume, self._limits):
                if file.file_type in _FILES_TO_OPEN:
                    yield from self._sections(file, file.body, depth)
        except ffs.LayoutError as error:
            self.defects.append(str(error))

    def _sections(self, file: ffs.File, data: memoryview, depth: int) -> Iterator[Module]:
        """Modules of one file, or of the volumes in it."""
        if depth > _MAX_DEPTH:
            self.defects.append(f"{file.guid}: nested too deeply")
            return
        images: list[tuple[pe.ExecutableHeader, memoryview]] = []
        name = ""
        try:
            for section in ffs.sections(data, self._limits):
                match section.section_type:
                    case ffs.SECTION_VOLUME:
                        yield from self._volumes(section.body, depth + 1)
                    case ffs.SECTION_GUIDED:
                        self._packed.append((file, section, depth + 1))
                    case ffs.SECTION_COMPRESSION:
                        yield from self._sections(file, ffs.open_compression(section), depth + 1)
                    case ffs.SECTION_DISPOSABLE:
                        yield from self._sections(file, section.body, depth + 1)
                    case ffs.SECTION_PE32:
                        images.append((pe.parse_pe(section.body), section.body))
                    case ffs.SECTION_TE:
                        images.append((pe.parse_te(section.body), section.body))
                    case ffs.SECTION_UI:
                        name = _text(section.body)
        except (ffs.LayoutError, pe.ImageFormatError) as error:
            self.defects.append(f"{file.guid}: {error}")
        if file.file_type == _VOLUME_IMAGE_FILE:
            return
        for header, body in images:
            self._count += 1
            if self._count > _MAX_MODULES:
                self.defects.append("too many modules")
                return
            yield _module(file, header, name, body)


def _module(file: ffs.File, header: pe.ExecutableHeader, name: str, body: memoryview) -> Module:
    file_type = FileType(file.file_type)
    phase = _PHASE_OF_TYPE.get(file_type, Phase.DXE)
    if file.guid == _BDS_DRIVER:
        phase = Phase.BDS
    # SEC and PEI run at the address that the build wrote into their headers; later modules are relocated when loaded.
    fixed = phase <= Phase.PEI and header.image_base != 0
    return Module(
        name=name or str(file.guid),
        guid=file.guid,
        file_type=file_type,
        phase=phase,
        base=header.image_base if fixed else None,
        size_of_image=header.size_of_image,
        entry_rva=header.entry_rva,
        image=pe.CodeImage(body),
    )


def _text(body: memoryview) -> str:
    """A name in the image as printable text: it is shown on terminals and in reports."""
    text = bytes(body[: 2 * _MAX_NAME]).decode("utf-16-le", errors="replace").partition("\0")[0]
    return "".join(character if character.isprintable() else "?" for character in text)
