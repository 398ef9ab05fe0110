# SPDX-License-Identifier: GPL-2.0-or-later
"""A firmware image: checked when opened, its modules parsed at their first use."""

from __future__ import annotations

import functools
import os
import stat
import threading
from pathlib import Path

from snp_harness.errors import FirmwareError
from snp_harness.firmware import sections as ffs
from snp_harness.firmware.firmware_modules import Module, ModuleAddress, ModuleScan
from snp_harness.firmware.metadata import FOUR_GIB, SevMetadata, SevSection, SevSectionType, flash_base, parse_metadata
from snp_harness.firmware.split import find_vars, is_flash_size

__all__ = [
    "FirmwareError",
    "FirmwareImage",
    "Module",
    "ModuleAddress",
    "SevMetadata",
    "SevSection",
    "SevSectionType",
]

MIN_SIZE = 64 << 10
#: QEMU's -bios wants a multiple of this (hw/i386/x86.c, x86_bios_rom_init).
ROM_GRANULE = 64 << 10
MAX_SIZE = 64 << 20
_PAGE = 0x1000
_RESET_VECTOR_SIZE = 16
_ERASED = b"\xff"
#: Files that are not firmware images, by their first bytes: what the file is, and what to do.
_OTHER_FILES = (
    (b"IGVM", "an IGVM file, not a firmware image", "name it in the configuration: svsm.igvm"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2"),
    (b"PK\x03\x04", "a zip archive", "unpack it with unzip"),
    (b"!<arch>\n", "an archive such as a Debian package", "unpack it, or use a name such as debian:trixie"),
    (b"QFI\xfb", "a qcow2 image", "convert it with `qemu-img convert -O raw`"),
    (b"\x7fELF", "an ELF file", "use an OVMF image, or a name such as debian:trixie"),
    (b"MZ", "an EFI program", "use an OVMF image, and the program as `-- -kernel FILE`"),
)
_IMAGE_HINT = "use an OVMF image, or a name such as debian:trixie"
_COPY_HINT = "copy or fetch it again"


class FirmwareImage:
    """An x86 UEFI firmware image, flat: its last byte is the one below 4 GiB.

    path: the file it was opened from (the CODE half of a split image). vars_path: the VARS half, None without one.
    data: the flat image.
    Its methods may be called from several threads.
    """

    def __init__(self, path: Path, data: bytes, vars_path: Path | None = None) -> None:
        self.path = path
        self.vars_path = vars_path
        self.data = data
        #: Of the whole scan, and of its start: an address in flash does not wait for the decompression.
        self._lock, self._plain_lock = threading.Lock(), threading.Lock()
        self._scan = ModuleScan(data)
        self._plain: tuple[Module, ...] | None = None
        self._plain_defects: tuple[str, ...] = ()
        self._all: tuple[Module, ...] | None = None

    @classmethod
    def open(cls, path: Path, vars_path: Path | None = None) -> FirmwareImage:
        """Open an image, and the VARS image that belongs to a CODE image.

        vars_path: the VARS image; by default the one that QEMU's firmware descriptors name or that lies next to CODE. A
        CODE image without one is the firmware alone, as with QEMU's -bios.
        Raises FirmwareError: not found, unreadable, a directory, truncated, not firmware, VARS of another image.
        """
        code = _read(path)
        volumes = _volumes(path, code)
        _check_firmware(path, code, volumes)
        try:
            if not _lacks_variables(code, volumes):
                if vars_path is not None:
                    raise FirmwareError("it already contains its variables", "leave the VARS image out")
                return cls(path, code)
            if vars_path is None:
                vars_path = find_vars(path, len(code))
            if vars_path is None:
                # QEMU loads a ROM of whole 64 KiB, which ends at 4 GiB.
                return cls(path, _ERASED * (-len(code) % ROM_GRANULE) + code)
            return cls(path, _join(code, vars_path), vars_path)
        except FirmwareError as error:
            raise FirmwareError(f"firmware {_shown(path)}: {error.message}", error.hint) from None

    @functools.cached_property
    def metadata(self) -> SevMetadata | None:
        """Its SEV metadata, which only a guest with SEV uses; None if it has none.

        Raises FirmwareError if they are invalid.
        """
        try:
            return parse_metadata(self.data)
        except FirmwareError as error:
            raise FirmwareError(f"firmware {_shown(self.path)}: {error.message}", error.hint) from None

    @property
    def size(self) -> int:
        """Bytes of the flat image."""
        return len(self.data)

    @property
    def base(self) -> int:
        """Guest physical address of the flat image's first byte."""
        return flash_base(self.data)

    def flat(self) -> bytes:
        """The image as it is mapped below 4 GiB: of a split image VARS, then CODE."""
        return self.data

    @property
    def modules(self) -> tuple[Module, ...]:
        """All modules, those that are not compressed first. The first call decompresses the image (about 0.2 s)."""
        with self._lock:
            return self._all_modules()

    @property
    def defects(self) -> tuple[str, ...]:
        """The parts of the image that could not be parsed, one line each; their modules are missing from `modules`."""
        with self._lock:
            self._all_modules()
            return tuple(self._scan.defects)

    @property
    def plain_defects(self) -> tuple[str, ...]:
        """Those of `defects` that are found without decompression."""
        self._plain_modules()
        return self._plain_defects

    def locate(self, pc: int) -> ModuleAddress | None:
        """The module that runs at pc by the image's own layout: SEC in flash, PEI where SEC decompresses it.

        None for any other address: `by_identity` finds relocated modules. The layout of PEI is valid until its memory
        is reused; a module header found in guest memory is the better evidence. An address in flash needs no
        decompression.
        """
        in_flash = self.base <= pc < FOUR_GIB
        for module in self._plain_modules() if in_flash else self.modules:
            if module.contains(pc) and module.base is not None:
                return ModuleAddress(module, pc - module.base)
        return None

    def by_identity(self, size_of_image: int, entry_rva: int) -> Module | None:
        """The module whose PE header has these two values; None if none has, or modules of several names have."""
        found = [
            module for module in self.modules if module.size_of_image == size_of_image and module.entry_rva == entry_rva
        ]
        if len({module.guid for module in found}) != 1:
            return None
        return found[0]

    def _plain_modules(self) -> tuple[Module, ...]:
        with self._plain_lock:
            if self._plain is None:
                self._plain = tuple(self._scan.uncompressed())
                self._plain_defects = tuple(self._scan.defects)
            return self._plain

    def _all_modules(self) -> tuple[Module, ...]:
        if self._all is None:
            self._all = self._plain_modules() + tuple(self._scan.compressed())
        return self._all


def _read(path: Path) -> bytes:
    """The file's bytes, after checks of its size; raises FirmwareError."""
    try:
        with open(path, "rb", opener=_open_nonblocking) as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError
            if not stat.S_ISREG(mode):
                raise FirmwareError(f"firmware {_shown(path)} is not a regular file", _IMAGE_HINT)
            data = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise FirmwareError(f"firmware {_shown(path)} not found", _IMAGE_HINT) from None
    except IsADirectoryError:
        raise FirmwareError(f"firmware {_shown(path)} is a directory", "name the image file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FirmwareError(
            f"firmware {_shown(path)} cannot be read: {reason}", "check the path and its permissions"
        ) from None
    if len(data) > MAX_SIZE:
        raise FirmwareError(f"firmware {_shown(path)} is larger than {MAX_SIZE >> 20} MiB", _IMAGE_HINT)
    for magic, what, hint in _OTHER_FILES:
        if data.startswith(magic):
            raise FirmwareError(f"firmware {_shown(path)} is {what}", hint)
    if len(data) < MIN_SIZE:
        raise FirmwareError(f"firmware {_shown(path)} has {len(data)} bytes, too few for firmware", _IMAGE_HINT)
    if len(data) % _PAGE:
        raise FirmwareError(
            f"firmware {_shown(path)} is truncated: {len(data)} bytes are not a multiple of 4 KiB", _COPY_HINT
        )
    return data


def _volumes(path: Path, data: bytes) -> list[ffs.Volume]:
    """The volumes of the image; raises FirmwareError if one is cut off or damaged."""
    try:
        return list(ffs.find_volumes(memoryview(data), ffs.Limits()))
    except ffs.LayoutError as error:
        raise FirmwareError(f"firmware {_shown(path)} is truncated or damaged: {error}", _COPY_HINT) from None


def _check_firmware(path: Path, data: bytes, volumes: list[ffs.Volume]) -> None:
    """Raise FirmwareError unless the image is the code of an x86 UEFI firmware."""
    if not volumes:
        raise FirmwareError(f"{_shown(path)} is not a UEFI firmware image: it has no firmware volume", _IMAGE_HINT)
    if not any(volume.has_files for volume in volumes):
        raise FirmwareError(f"{_shown(path)} is a store of variables, not firmware", "use the CODE image or OVMF.fd")
    reset_vector = data[-_RESET_VECTOR_SIZE:]
    if len(set(reset_vector)) == 1:
        raise FirmwareError(
            f"{_shown(path)} is not an x86 firmware image or is truncated: it does not end with a reset vector",
            _COPY_HINT,
        )


def _lacks_variables(data: bytes, volumes: list[ffs.Volume]) -> bool:
    """True for a CODE half: it has no volume of variables, and not the size of a flash, as stateless images have."""
    return not is_flash_size(len(data)) and all(volume.file_system != ffs.NVDATA_GUID for volume in volumes)


def _join(code: bytes, vars_path: Path) -> bytes:
    """Return VARS followed by CODE, as in flash; raises FirmwareError."""
    variables = _read(vars_path)
    if all(volume.file_system != ffs.NVDATA_GUID for volume in _volumes(vars_path, variables)):
        raise FirmwareError(f"{_shown(vars_path)} is not a VARS image", "use the VARS image that was built with it")
    if not is_flash_size(len(variables) + len(code)):
        raise FirmwareError(
            f"{_shown(vars_path)} does not belong to it: together they have {len(variables) + len(code):#x} bytes",
            "use the VARS image that was built with it",
        )
    return variables + code


def _open_nonblocking(path: str, flags: int) -> int:
    """An opener for open(): opening a FIFO must not wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _shown(path: Path) -> str:
    """Return a path as one line, with special characters escaped."""
    return "".join(character if character.isprintable() else "?" for character in str(path))
