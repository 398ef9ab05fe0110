# SPDX-License-Identifier: GPL-2.0-or-later
"""A UEFI application from one C file: compiled to position-independent code, wrapped in a PE header."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

#: Where the only section is, in memory and in the file; also the alignment.
_SECTION = 0x1000
_FLAGS = (
    "-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fpie -fno-stack-protector -fno-asynchronous-unwind-tables"
    " -fcf-protection=none -mno-red-zone -mno-sse -nostdlib -static -Wl,--build-id=none,--oformat=binary"
)
#: Zeroed data too: what is left out of the file would have to be in the header.
_LAYOUT = """
SECTIONS {{
    . = {start:#x};
    .text : {{ *(.text.entry) *(.text*) *(.rodata*) *(.data*) *(.bss*) . = ALIGN({start:#x}); }}
    /DISCARD/ : {{ *(.comment) *(.note*) }}
}}
ENTRY(entry)
"""


def build_app(source: Path, out: Path, *defines: str) -> Path:
    """Compile a C file with these macros defined to `out`, which is returned.

    The entry point is its function of section .text.entry. The code must not need relocations.
    """
    layout = out.with_suffix(".lds")
    layout.write_text(_LAYOUT.format(start=_SECTION))
    flat = out.with_suffix(".bin")
    command = ["gcc", *_FLAGS.split(), *(f"-D{name}" for name in defines), f"-Wl,-T,{layout}", str(source)]
    subprocess.run([*command, "-o", str(flat)], check=True, timeout=300)
    out.write_bytes(_pe(flat.read_bytes()))
    return out


def _pe(code: bytes) -> bytes:
    """A PE32+ image with one section that begins with the entry point (Microsoft PE and COFF specification)."""
    size = len(code)
    file_header = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 112 + 16 * 8, 0x22E)
    standard = struct.pack("<HBBIIIII", 0x20B, 0, 0, size, 0, 0, _SECTION, _SECTION)
    windows = struct.pack("<QII6H4I2H", 0, _SECTION, _SECTION, 0, 0, 0, 0, 0, 0, 0, _SECTION + size, _SECTION, 0, 10, 0)
    directories = struct.pack("<QQQQII", 0, 0, 0, 0, 0, 16) + bytes(16 * 8)
    section = struct.pack("<8sIIIIIIHHI", b".text", size, _SECTION, size, _SECTION, 0, 0, 0, 0, 0xE0000060)
    header = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    header += file_header + standard + windows + directories + section
    return header.ljust(_SECTION, b"\0") + code
