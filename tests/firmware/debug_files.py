# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a module and its debug file with gcc, and an image that has the module."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile

from snp_harness.firmware import sections as ffs
from snp_harness.firmware.firmware_modules import FileType
from snp_harness.firmware.image import FirmwareImage
from tests.firmware import builder

SOURCE = """\
static inline __attribute__ ((always_inline)) unsigned MmioRead32 (unsigned *At)
{
  return *(volatile unsigned *)At;
}

unsigned ReadLocalApicReg (unsigned *Base)
{
  if (Base == 0) {
    return 1;
  }
  return MmioRead32 (Base + 0xF0);
}

unsigned ModuleEntryPoint (unsigned *Base)
{
  return ReadLocalApicReg (Base) + 1;
}
"""
#: The lines of SOURCE with the access and with its call.
ACCESS_LINE, CALL_LINE = 3, 11
#: Where the linker puts the code; the module's file has it at its headers' end.
TEXT = 0x240
_STRIPPED = 0x200
PACKAGE = "UefiCpuPkg/Library/LocalApicLib/LocalApicLib.c"


def build(directory: Path, name: str = "Driver", source: str = SOURCE, *options: str) -> Path:
    """Compile and link a module; returns its debug file, in `directory`."""
    tree = directory / "tree" / Path(PACKAGE).parent
    tree.mkdir(parents=True, exist_ok=True)
    (tree / Path(PACKAGE).name).write_text(source)
    output = directory / f"{name}.debug"
    arguments = ("-g", "-O1", "-fno-inline-functions", "-fno-asynchronous-unwind-tables", "-fno-pic", "-no-pie")
    link = ("-nostdlib", "-static", "-Wl,-e,ModuleEntryPoint", f"-Wl,-Ttext={TEXT:#x}", "-Wl,--build-id=none")
    subprocess.run(
        ("gcc", *arguments, *options, *link, "-o", output, tree / Path(PACKAGE).name), check=True, timeout=60
    )
    return output


def access_offset(debug: Path) -> int:
    """The offset of the instruction that reads the APIC: `mov 0x3c0(%rdi),...`."""
    code, _ = _code(debug)
    return TEXT + code.index(bytes.fromhex("c0030000")) - 2


def _code(debug: Path) -> tuple[bytes, int]:
    with debug.open("rb") as file:
        elf = ELFFile(file)
        text = elf.get_section_by_name(".text")
        assert text is not None
        return text.data(), elf["e_entry"]


def te_image(debug: Path, record: bytes = b"") -> bytes:
    """The TE image of a debug file. record: of CodeView, which a debug directory names."""
    code, entry = _code(debug)
    at = TEXT + len(code)
    if record:
        code += struct.pack("<12xIII4x", 2, len(record), at + 28) + record
    header = bytearray(builder.te(0, entry, ((TEXT, len(code)),), _STRIPPED))
    if record:
        struct.pack_into("<II", header, 32, at, 28)
    shift = 40 - _STRIPPED
    return bytes(header) + bytes(TEXT + shift - len(header)) + code


def firmware(debug: Path, path: Path, name: str = "Driver", record: bytes = b"", count: int = 1) -> FirmwareImage:
    """An image with the module, `count` times."""
    body = b"".join(
        builder.file(guid, FileType.DRIVER, builder.section(ffs.SECTION_TE, te_image(debug, record)) + builder.ui(name))
        for guid in (builder.DXE_GUID, builder.PEI_GUID)[:count]
    )
    path.write_bytes(builder.image(files=body))
    return FirmwareImage.open(path)
