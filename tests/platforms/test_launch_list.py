# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch list: its layout in launch.h, its contents, and the memory that a launch may need."""

from __future__ import annotations

import pytest

from snp_harness.errors import UsageError
from snp_harness.platforms import launch_list
from snp_harness.platforms.launch_list import ENTRY, LIST, Machine, Packed, pack
from snp_harness.svsm.launch import IdBlock, Launch, Pages, PageType
from tests.helpers.c_headers import INCLUDE, assert_same, layout

HEADER = f"{INCLUDE}/launch.h"
FOUR_GIB = 1 << 32
MIB = 1 << 20
MACHINE = Machine(512 * MIB, 0, 40)
BLOCK = IdBlock(b"D" * 48, b"F" * 16, b"I" * 16, 7, 0x30000, b"K" * 48, b"A" * 48)


def written(packed: Packed) -> bytes:
    whole = bytearray(packed.size)
    for offset, part in packed.parts:
        assert not any(whole[offset : offset + len(part)])
        whole[offset : offset + len(part)] = part
    assert len(whole) == packed.size
    return bytes(whole)


def entries(packed: Packed) -> list[tuple[int, ...]]:
    whole = written(packed)
    count = int.from_bytes(whole[LIST.size - 8 : LIST.size], "little")
    return [ENTRY.unpack_from(whole, LIST.size + number * ENTRY.size) for number in range(count)]


def data(packed: Packed, entry: tuple[int, ...]) -> bytes:
    _, _, _, pages, offset, _ = entry
    found = packed.read(offset, pages * 4096)
    assert found == written(packed)[offset : offset + pages * 4096]
    return found


def test_layout() -> None:
    launch = Launch(pages=(Pages(PageType.NORMAL, 0x1000, 1, b"N"),), vmsas=(), policy=0x30001, id_block=BLOCK)
    packed = written(pack(launch, b"", MACHINE))
    expected: dict[str, int | bytes] = {
        "magic": launch_list.MAGIC,
        "size": len(packed),
        "policy": 0x30001,
        "finish.id_block.launch_digest": b"D" * 48,
        "finish.id_block.family_id": b"F" * 16,
        "finish.id_block.image_id": b"I" * 16,
        "finish.id_block.version": 1,
        "finish.id_block.guest_svn": 7,
        "finish.id_block.policy": 0x30000,
        "finish.id_key_digest": b"K" * 48,
        "finish.author_key_digest": b"A" * 48,
        "finish.host_data": bytes(32),
        "finish.id_block_en": 1,
        "finish.author_key_en": 1,
        "entries": 1,
    }
    places = layout([HEADER], "struct launch_list", expected)
    for name, value in expected.items():
        at, size = places[name]
        wanted = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        assert packed[at : at + size] == wanted, name
    assert_same(
        [HEADER],
        {
            "sizeof(struct launch_list)": LIST.size,
            "sizeof(struct launch_entry)": ENTRY.size,
            "LAUNCH_MEMORY": launch_list.LAUNCH_MEMORY,
            "LAUNCH_FIRMWARE": launch_list.LAUNCH_FIRMWARE,
        },
    )
    entry = layout([HEADER], "struct launch_entry", ["kind", "vcpu", "gpa", "pages", "offset", "hashes"])
    assert [at for at, _ in entry.values()] == [0, 4, 8, 16, 24, 32]


def test_a_guest_without_snp_has_its_firmware() -> None:
    packed = pack(None, b"F" * 0x21000, MACHINE)
    [entry] = entries(packed)
    assert entry[:4] == (launch_list.LAUNCH_FIRMWARE, 0, FOUR_GIB - 0x21000, 0x21)
    assert data(packed, entry) == b"F" * 0x21000
    assert packed.firmware == (entry[4], 0x21000)
    assert (entry[4] - entry[2]) % (2 * MIB) == 0, "large pages need it"


def test_contents_lie_where_the_guest_has_them() -> None:
    launch = Launch(
        pages=(
            Pages(PageType.NORMAL, FOUR_GIB - 0x2000, 1, b"a" * 4096),
            Pages(PageType.NORMAL, FOUR_GIB - 0x1000, 1, b"b" * 100),
            Pages(PageType.NORMAL, 0x10000, 2, b"c" * 5000),
            Pages(PageType.ZERO, 0x20000, 2),
            Pages(PageType.UNMEASURED, 0x5000001000, 1, b"d"),
        ),
        vmsas=((0, b"V" * 4096), (1, b"W" * 4096)),
        memory=((0x5000000000, 0x400000),),
    )
    packed = pack(launch, b"", MACHINE)
    memory, firmware, *others = entries(packed)
    assert memory[:5] == (launch_list.LAUNCH_MEMORY, 0, 0x5000000000, 0x400, 0)
    assert firmware[:4] == (launch_list.LAUNCH_FIRMWARE, 0, FOUR_GIB - 0x2000, 2)
    image = b"a" * 4096 + b"b" * 100 + bytes(3996)
    assert data(packed, firmware) == image
    assert [entry[:4] for entry in others] == [
        (1, 0, FOUR_GIB - 0x2000, 1),
        (1, 0, FOUR_GIB - 0x1000, 1),
        (1, 0, 0x10000, 2),
        (3, 0, 0x20000, 2),
        (4, 0, 0x5000001000, 1),
        (2, 0, 0xFFFFFFFFF000, 1),
        (2, 1, 0xFFFFFFFFF000, 1),
    ]
    assert [bool(entry[4]) for entry in others] == [True, True, True, False, True, True, True]
    assert [entry[4] for entry in others[:2]] == [firmware[4], firmware[4] + 4096], "they are in the image"
    assert data(packed, others[1]) == b"b" * 100 + bytes(3996)
    assert data(packed, others[2]) == b"c" * 5000 + bytes(3192)
    assert data(packed, others[4]) == b"d" + bytes(4095)
    assert data(packed, others[6]) == b"W" * 4096
    assert packed.size % (2 * MIB) == 0


def test_hashes_of_a_kernel_have_a_page_that_is_measured() -> None:
    launch = Launch(pages=(Pages(PageType.NORMAL, 0x10000, 1, hashes=0xC00),), vmsas=())
    [entry] = entries(pack(launch, b"", MACHINE))
    assert entry[5] == 0xC00
    assert entry[4]


@pytest.mark.parametrize(
    ("gpa", "size", "message"),
    [
        (0xA0000, 0x1000, "at A0000, 0x1000 bytes: devices are there"),
        (0x9F000, 0x2000, "at 9F000, 0x2000 bytes: devices are there"),
        (0xFEE00000, 0x1000, "at FEE00000, 0x1000 bytes: devices are there"),
        (0xFEFFF000, 0x2000, "at FEFFF000, 0x2000 bytes: devices are there"),
        (512 * MIB - 0x1000, 0x2000, "only a part of it is RAM"),
        (1 << 40, 0x1000, "beyond the guest's 40 address bits"),
        (512 * MIB, 65 * MIB, "65 MiB in 1 places without RAM"),
    ],
)
def test_no_memory_can_be_there(gpa: int, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pack(Launch(pages=(), vmsas=(), memory=((gpa, size),)), b"", MACHINE)


def test_places_are_bounded() -> None:
    memory = tuple((0x5000000000 + number * 0x2000, 0x1000) for number in range(5))
    with pytest.raises(UsageError, match="in 5 places without RAM"):
        pack(Launch(pages=(), vmsas=(), memory=memory), b"", MACHINE)


@pytest.mark.parametrize(
    ("gpa", "size"), [(0, 0xA0000), (0xC0000, 0x1000), (512 * MIB - 0x1000, 0x1000), (1 << 32, MIB)]
)
def test_ram_needs_no_place(gpa: int, size: int) -> None:
    launch = Launch(pages=(), vmsas=(), memory=((gpa, size),))
    assert not entries(pack(launch, b"", Machine(512 * MIB, MIB, 40)))
