# SPDX-License-Identifier: GPL-2.0-or-later
"""PE images around addresses in a guest's memory, which identify modules that the firmware has relocated.

images  run, memory, addresses    memory: the guest's, bytes; addresses: physical, which the firmware uses directly
        -> [[base, size, entry], ...]

The guest's memory is read from the QEMU process that maps it; the guest runs on meanwhile.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.agent.agent_errors import AgentError

if TYPE_CHECKING:
    from snp_harness.agent.__main__ import Agent

#: Limits of the search, as in harness/emulator/hardware/image.c: pages before the address, and bytes of an image.
SEARCH_PAGES = 0x200
IMAGE_MAX = 16 << 20
#: Most addresses of one request.
ADDRESSES_MAX = 256
#: Memory that q35 always maps in one piece from address 0 (QEMU hw/i386/pc_q35.c), bytes.
LOW_MEMORY = 2 << 30
#: A mapping of guest memory may be longer than the memory by as many bytes: QEMU aligns it.
_SLACK = 4 << 20
_PAGE = 4096
_DOS_MAGIC = b"MZ"
_PE_MAGIC = b"PE\0\0"
_PE_OFFSET = 0x3C
#: From the PE header: AddressOfEntryPoint and SizeOfImage, in PE32 and PE32+ alike (PE/COFF specification).
_ENTRY = 0x28
_SIZE = 0x50
_U32 = struct.Struct("<I")
_MAPPING = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) rw[-x]")

#: Called with a guest address and a number of bytes; returns fewer where there is no memory.
Read = Callable[[int, int], bytes]


def find_image(read: Read, address: int) -> tuple[int, int, int] | None:
    """Return base, size and entry point of the image that contains an address; None if there is none."""
    page = address - address % _PAGE
    for base in range(page, max(-1, page - SEARCH_PAGES * _PAGE), -_PAGE):
        identity = _identity(read, base)
        if identity is not None and address - base < identity[0]:
            return base, *identity
    return None


def find_images(read: Read, addresses: Iterable[int]) -> list[list[int]]:
    """Return the images that contain the addresses, sorted and without duplicates."""
    found = {image for address in addresses if (image := find_image(read, address)) is not None}
    return [list(image) for image in sorted(found)]


def guest_mapping(maps: str, size: int) -> int:
    """Return the address at which a process maps the guest's memory. maps: /proc/PID/maps. size: of the memory, bytes.

    Raises AgentError if there is no such mapping.
    """
    for line in maps.splitlines():
        found = _MAPPING.match(line)
        if found is not None:
            start, end = (int(text, 16) for text in found.groups())
            if size <= end - start <= size + _SLACK:
                return start
    raise AgentError("system", f"no mapping of {size >> 20} MiB of guest memory was found")


def serve(agent: Agent) -> None:
    """Add the operation `images` to an agent."""

    def images(request: dict[str, Any]) -> list[list[int]]:
        pid = agent.runs.pid(str(request["run"]))
        if pid is None:
            raise AgentError("usage", f"the run {request['run']!a} has no process")
        size = int(request["memory"])
        addresses = [int(address) for address in request["addresses"][:ADDRESSES_MAX]]
        process = Path("/proc") / str(pid)
        start = guest_mapping((process / "maps").read_text(encoding="utf-8", errors="replace"), size)
        memory = os.open(process / "mem", os.O_RDONLY | os.O_CLOEXEC)
        limit = min(size, LOW_MEMORY)

        def read(address: int, count: int) -> bytes:
            if not 0 <= address <= limit - count:
                return b""
            try:
                return os.pread(memory, count, start + address)
            except OSError:
                return b""

        try:
            return find_images(read, addresses)
        finally:
            os.close(memory)

    agent.ops["images"] = images


def _identity(read: Read, base: int) -> tuple[int, int] | None:
    """Return size and entry point of the image that starts at `base`, None if none does."""
    if read(base, 2) != _DOS_MAGIC:
        return None
    page = read(base, _PAGE)
    if len(page) < _PAGE:
        return None
    (offset,) = _U32.unpack_from(page, _PE_OFFSET)
    if offset > _PAGE - _SIZE - _U32.size or page[offset : offset + 4] != _PE_MAGIC:
        return None
    (entry,) = _U32.unpack_from(page, offset + _ENTRY)
    (size,) = _U32.unpack_from(page, offset + _SIZE)
    return (size, entry) if size <= IMAGE_MAX else None
