# SPDX-License-Identifier: GPL-2.0-or-later
"""A substitute for the boot loader of AmdSevX64.

edk2 makes OvmfPkg/AmdSev/Grub/grub.efi with grub-mkimage, whose packages have no effect on the local APIC. It is
replaced by a loader that returns at once, as in Debian's package: the firmware then ends with "no bootable option".
"""

from __future__ import annotations

import struct

GRUB = "OvmfPkg/AmdSev/Grub/grub.efi"
_ALIGNMENT = 0x1000
_FILE_ALIGNMENT = 0x200
#: mov rax, EFI_NOT_FOUND; ret (UEFI specification, appendix D: 14 with the high bit set)
_CODE = b"\x48\xb8" + struct.pack("<Q", 1 << 63 | 14) + b"\xc3"


def stand_in() -> bytes:
    """Return a PE32+ image for x86-64, an EFI application whose entry point returns EFI_NOT_FOUND."""
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22E)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, _FILE_ALIGNMENT, 0, 0, _ALIGNMENT, _ALIGNMENT)
    optional += struct.pack(
        "<QII6HIIIIHHQQQQII",
        0,
        _ALIGNMENT,
        _FILE_ALIGNMENT,
        *(0,) * 6,
        0,
        2 * _ALIGNMENT,
        0x200,
        0,
        10,
        0,
        *(0,) * 4,
        0,
        16,
    )
    optional += bytes(16 * 8)
    section = struct.pack(
        "<8sIIIIIIHHI", b".text", len(_CODE), _ALIGNMENT, _FILE_ALIGNMENT, 0x200, 0, 0, 0, 0, 0x60000020
    )
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    headers = dos + b"PE\0\0" + coff + optional + section
    return headers.ljust(0x200, b"\0") + _CODE.ljust(_FILE_ALIGNMENT, b"\0")
