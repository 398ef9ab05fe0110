# SPDX-License-Identifier: GPL-2.0-or-later
"""PE images in a guest's memory: found from an address in them, and nothing else is."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.images import IMAGE_MAX, SEARCH_PAGES, find_image, find_images, guest_mapping

SIZE = 4 << 20
PE_AT = 0x80


def header(size: int, entry: int, pe_at: int = PE_AT) -> bytes:
    """Return the start of an image, up to the last field that is read."""
    data = bytearray(pe_at + 0x54)
    data[:2] = b"MZ"
    struct.pack_into("<I", data, 0x3C, pe_at)
    data[pe_at : pe_at + 4] = b"PE\0\0"
    struct.pack_into("<I", data, pe_at + 0x28, entry)
    struct.pack_into("<I", data, pe_at + 0x50, size)
    return bytes(data)


class Memory(bytearray):
    """A guest's memory; a call reads from it."""

    def __call__(self, address: int, count: int) -> bytes:
        return bytes(self[address : address + count]) if 0 <= address < len(self) else b""


@pytest.fixture
def memory() -> Memory:
    return Memory(SIZE)


def put(memory: Memory, at: int, data: bytes) -> None:
    memory[at : at + len(data)] = data


def test_the_image_around_an_address(memory: Memory) -> None:
    put(memory, 0x10000, header(0x8000, 0x1234))
    assert find_image(memory, 0x10000) == (0x10000, 0x8000, 0x1234)
    assert find_image(memory, 0x17FFF) == (0x10000, 0x8000, 0x1234)
    assert find_image(memory, 0x18000) is None
    assert find_image(memory, 0xFFFF) is None


def test_the_nearest_that_holds_it(memory: Memory) -> None:
    put(memory, 0x10000, header(0x10000, 1))
    put(memory, 0x12000, header(0x1000, 2))
    assert find_image(memory, 0x12800) == (0x12000, 0x1000, 2)
    assert find_image(memory, 0x13800) == (0x10000, 0x10000, 1)
    assert find_images(memory, [0x12800, 0x12900, 0x13800, 0x100]) == [[0x10000, 0x10000, 1], [0x12000, 0x1000, 2]]


@pytest.mark.parametrize(
    "data",
    [
        b"MZ" + bytes(100),
        header(0x8000, 1).replace(b"PE\0\0", b"PE\0\1"),
        header(0x8000, 1, 0xFC0),
        header(IMAGE_MAX + 1, 1),
        b"MZ" + b"\xff" * 0x100,
    ],
)
def test_what_is_no_image(memory: Memory, data: bytes) -> None:
    put(memory, 0x10000, data)
    assert find_image(memory, 0x10000) is None


def test_bounds(memory: Memory) -> None:
    put(memory, 0, header(SIZE, 1))
    assert find_image(memory, (SEARCH_PAGES - 1) << 12) == (0, SIZE, 1)
    assert find_image(memory, SEARCH_PAGES << 12) is None
    for address in (-1, SIZE, 1 << 64):
        assert find_image(memory, address) is None
    put(memory, SIZE - 0x1000, b"MZ" + b"\xff" * 0xFFE)
    assert find_image(memory, SIZE - 1) is None


@settings(max_examples=50)
@given(st.binary(max_size=0x200), st.integers(-10, SIZE + 10))
def test_any_memory(data: bytes, address: int) -> None:
    area = Memory(SIZE)
    put(area, 0x1000, b"MZ" + data)
    found = find_image(area, address)
    assert found is None or found[0] <= address < found[0] + found[1]


MAPS = """\
55d0c0000000-55d0c0a00000 r--p 00000000 08:01 1 /usr/bin/qemu-system-x86_64
7f0000000000-7f0000021000 rw-p 00000000 00:00 0
7f1000000000-7f1020000000 rw-p 00000000 00:00 0
7f1040000000-7f1060000000 rw-p 00000000 00:00 0
no line of a map
"""


def test_the_mapping_of_the_guests_memory() -> None:
    assert guest_mapping(MAPS, 512 << 20) == 0x7F1000000000
    with pytest.raises(AgentError, match="no mapping of 256 MiB of guest memory"):
        guest_mapping(MAPS, 256 << 20)
