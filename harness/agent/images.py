# SPDX-License-Identifier: GPL-2.0-or-later
"""PE images around addresses in a guest's memory, so that the near side can name the modules that firmware has moved.

images  run, memory, addresses    the guest's, which are physical ones to firmware -> [[base, size, entry], ...]
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.agent.__main__ import Agent

#: As the emulated host looks for them (harness/emulator/host/image.c): how far back, and how large an image may be.
SEARCH_PAGES = 0x200
IMAGE_MAX = 16 << 20
#: Addresses of one request.
ADDRESSES_MAX = 256
_PAGE = 4096
_DOS_MAGIC = b"MZ"
_PE_MAGIC = b"PE\0\0"
_PE_OFFSET = 0x3C
#: From the PE header: AddressOfEntryPoint and SizeOfImage, in PE32 and PE32+ alike (PE/COFF specification).
_ENTRY = 0x28
_SIZE = 0x50
_U32 = struct.Struct("<I")


def find_image(memory: mmap.mmap, address: int) -> tuple[int, int, int] | None:
    """Base, size and entry point of the image that an address lies in; None if there is none."""
    if not 0 <= address < len(memory):
        return None
    page = address - address % _PAGE
    for base in range(page, max(-1, page - SEARCH_PAGES * _PAGE), -_PAGE):
        identity = _identity(memory, base)
        if identity is not None and address - base < identity[0]:
            return base, *identity
    return None


def find_images(memory: mmap.mmap, addresses: Iterable[int]) -> list[list[int]]:
    """The images that the addresses lie in, each once."""
    found = {image for address in addresses if (image := find_image(memory, address)) is not None}
    return [list(image) for image in sorted(found)]


def serve(agent: Agent) -> None:
    """Add the operation."""

    def images(request: dict[str, Any]) -> list[list[int]]:
        fd = agent.runs.memory(str(request["run"]), str(request["memory"]))
        addresses = [int(address) for address in request["addresses"][:ADDRESSES_MAX]]
        with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            return find_images(memory, addresses)

    agent.ops["images"] = images


def _identity(memory: mmap.mmap, base: int) -> tuple[int, int] | None:
    """Size and entry point of the image that starts at a page, None if none does."""
    if memory[base : base + 2] != _DOS_MAGIC:
        return None
    (offset,) = _U32.unpack_from(memory, base + _PE_OFFSET)
    if offset > _PAGE - _SIZE - _U32.size or memory[base + offset : base + offset + 4] != _PE_MAGIC:
        return None
    (entry,) = _U32.unpack_from(memory, base + offset + _ENTRY)
    (size,) = _U32.unpack_from(memory, base + offset + _SIZE)
    return (size, entry) if size <= IMAGE_MAX else None
