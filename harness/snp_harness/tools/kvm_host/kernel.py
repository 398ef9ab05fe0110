# SPDX-License-Identifier: GPL-2.0-or-later
"""Extracts the kernel from its bzImage: QEMU starts an ELF kernel by its PVH entry, without decompression under TCG.

Linux, Documentation/arch/x86/boot.rst: the setup header, payload_offset and payload_length.
"""

from __future__ import annotations

import lzma
import struct
import zlib

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.elf import is_elf

_MAGIC_AT = 0x202
_MAGIC = b"HdrS"
_SETUP_SECTORS_AT = 0x1F1
_VERSION_AT = 0x206
#: Protocol 2.08 has the payload's offset.
_MINIMUM_VERSION = 0x208
_PAYLOAD_AT = 0x248
_SECTOR = 512
_XZ = b"\xfd7zXZ\0"
_GZIP = b"\x1f\x8b"
#: A Debian cloud kernel has some 50 MiB.
_MAX_SIZE = 256 << 20


def vmlinux(image: bytes) -> bytes | None:
    """Return the ELF kernel in a bzImage; None if Python cannot decompress it (zstd, lz4).

    Raises BrokenEnvironmentError for a file that is not a bzImage, or is damaged.
    """
    try:
        if image[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            raise ValueError("no setup header")
        (version,) = struct.unpack_from("<H", image, _VERSION_AT)
        if version < _MINIMUM_VERSION:
            raise ValueError(f"boot protocol {version:#x} is too old")
        offset, length = struct.unpack_from("<II", image, _PAYLOAD_AT)
        start = ((image[_SETUP_SECTORS_AT] or 4) + 1) * _SECTOR + offset
        payload = image[start : start + length]
        kernel = _unpacked(payload)
        if kernel is not None and not is_elf(kernel):
            raise ValueError("its payload is not an ELF file")
    except (ValueError, IndexError, struct.error, lzma.LZMAError, zlib.error) as error:
        raise BrokenEnvironmentError(f"the fetched kernel is damaged: {error}", "use another suite") from None
    return kernel


def _unpacked(payload: bytes) -> bytes | None:
    if payload.startswith(_XZ):
        return lzma.LZMADecompressor().decompress(payload, _MAX_SIZE)
    if payload.startswith(_GZIP):
        return zlib.decompressobj(wbits=31).decompress(payload, _MAX_SIZE)
    return None
