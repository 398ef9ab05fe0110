# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of a kernel's hashes, as QEMU makes it with kernel-hashes=on and edk2's AmdSev image reads it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.emulator.native import Driver, compile_driver

SOURCES = ("hypervisor/kernel_hashes.c", "common/sha256.c")
#: By name: the items of fw_cfg, and the GUID in the table.
SETUP = (0x17, 0x18)
KERNEL = (0x08, 0x11)
INITRD = (0x0B, 0x12)
CMDLINE = (0x14, 0x15)
TABLE = UUID("9438d606-4f22-4cc9-b479-a793d411fd21")
ENTRIES = (
    (UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a"), (CMDLINE,)),
    (UUID("44baf731-3a2f-4bd7-9af1-41e29169781d"), (INITRD,)),
    (UUID("4de79437-abd2-427f-b835-d5b172d2045b"), (SETUP, KERNEL)),
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with Driver(compile_driver(tmp_path_factory.mktemp("hashes"), "hashes_driver.c", *SOURCES)) as running:
        yield running


def content(size: int, seed: int) -> bytes:
    """An item of the driver."""
    return bytes((seed + 7 * i) & 0xFF for i in range(size))


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 1, 0, 1),
        (0x200, 0x5000, 0x3001, 40),
        *((size, size + 1, size + 2, size + 3) for size in (54, 55, 56, 62, 63, 64, 118, 119, 4095)),
    ],
    ids=str,
)
def test_table(driver: Driver, sizes: tuple[int, ...]) -> None:
    items = dict(zip((SETUP, KERNEL, INITRD, CMDLINE), enumerate(sizes, start=1), strict=True))
    for (size_item, data_item), (seed, size) in items.items():
        driver.ask("item", size_item, data_item, size, seed)
    expected = struct.pack("<16sH", TABLE.bytes_le, 168)
    for guid, parts in ENTRIES:
        data = b"".join(content(items[part][1], items[part][0]) for part in parts)
        expected += struct.pack("<16sH", guid.bytes_le, 50) + hashlib.sha256(data).digest()
    assert bytes(driver.ask("table")) == expected.ljust(176, b"\0")


def test_without_a_kernel_there_is_none(driver: Driver) -> None:
    driver.ask("item", *KERNEL, 0, 0)
    assert not any(driver.ask("table"))
