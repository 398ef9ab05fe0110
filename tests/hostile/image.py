# SPDX-License-Identifier: GPL-2.0-or-later
"""The hostile firmware's image: its compiled code as modules of a firmware volume, with a case's parameters."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from snp_harness.firmware import sections as ffs
from snp_harness.firmware.firmware_modules import FileType
from tests.firmware import builder
from tests.helpers.guest_image import with_parameters

SOURCE = Path(__file__).parent / "guest"
#: guest/hostile.h, struct hostile_parameters.
MAGIC = b"$HOSTILE"
_CASE = re.compile(r"^CASE\((\w+)\)", re.MULTILINE)
_PAGE = 0x1000
#: guests/lib/layout.h: IMAGE_BASE, VOLUME with the header of a volume; guest/Makefile: TEXT.
BASE = 0xFFFC0000
_VOLUME = 0x10000 + 72
_TEXT = 0xFFFDB000 - BASE
_FILE_HEADER = 24
#: In front of a module: its file's header, an empty section that aligns it, and its section's header.
_IN_FRONT = _FILE_HEADER + 4 + 4
_SECTION_RAW = 0x19
_PAD_FILE = 0xF0
#: In the headers of builder.pe32: behind the DOS header's 64 bytes.
_NUMBER_OF_SECTIONS = 64 + 6
_PAD_GUID = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class _Module:
    """A module: file type, GUID, name, entry point. fixed: it runs where the image has it; DXE is loaded."""

    kind: FileType
    guid: UUID
    name: str
    entry: int
    fixed: bool = True


_SEC = _Module(FileType.SECURITY_CORE, builder.SEC_GUID, "SecMain", 0x1000)
_MODULES = {
    b"MODULE pei\0": _Module(FileType.PEI_CORE, builder.PEI_GUID, "PeiCore", 0x1008),
    b"MODULE dxe\0": _Module(FileType.DRIVER, builder.DXE_GUID, "Driver", 0x1010, fixed=False),
}


def case_names() -> list[str]:
    """The cases in the guest's sources."""
    return [name for path in sorted(SOURCE.glob("*.c")) for name in _CASE.findall(path.read_text(encoding="utf-8"))]


def build(compiled: bytes, parameters: bytes) -> bytes:
    """The image of a run. compiled: without modules. parameters: what follows the magic number."""
    image = bytearray(with_parameters(compiled, MAGIC, parameters))
    places = [(_TEXT - _PAGE, _SEC)] + [(compiled.index(marker), module) for marker, module in _MODULES.items()]
    ends = [place for place, _ in places[1:]] + [places[-1][0] + 2 * _PAGE]
    used = _VOLUME
    for (place, module), end in zip(places, ends, strict=True):
        # The next file's header lies in front of its module's first page.
        size = end - place - _PAGE // 4
        base = BASE + place if module.fixed else 0
        header = _headers(base, end - place, module.entry, size)
        image[place : place + len(header)] = header
        executable = builder.section(ffs.SECTION_PE32, bytes(image[place : place + size]))
        body = builder.section(_SECTION_RAW, b"") + executable + builder.ui(module.name)
        used = _put(image, used, place - _IN_FRONT, builder.file(module.guid, module.kind, body))
    # Free space of the volume.
    image[used : ends[-1]] = b"\xff" * (ends[-1] - used)
    return bytes(image)


def _headers(base: int, size_of_image: int, entry: int, size: int) -> bytes:
    """PE headers with one section: all pages behind the first. size: of the file."""
    headers = bytearray(builder.pe32(base, size_of_image, entry))
    struct.pack_into("<H", headers, _NUMBER_OF_SECTIONS, 1)
    code = size - _PAGE
    return bytes(headers) + struct.pack("<8s4I16x", b".text", code, _PAGE, code, _PAGE)


def _put(image: bytearray, used: int, start: int, file: bytes) -> int:
    """Put a file at an offset, and in front of it a file without meaning that has what is there. Returns its end."""
    assert used % 8 == start % 8 == 0
    pad = builder.file(_PAD_GUID, _PAD_FILE, bytes(image[used + _FILE_HEADER : start]))
    image[used:start] = pad
    image[start : start + len(file)] = file
    return start + len(file)


def parameters(name: str, vcpus: int, seed: int, sequences: int, log_memory: int, host_memory: int) -> bytes:
    """struct hostile_parameters, without the magic number."""
    return struct.pack("<40s5Q", name.encode(), vcpus, seed, sequences, log_memory, host_memory)
