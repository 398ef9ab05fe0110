# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads cpio archives of the newc format (Linux, early-userspace/buffer-format), and checks images in them."""

from __future__ import annotations

from dataclasses import dataclass

from snp_harness.tools.initramfs.elf import dynamic, is_elf

_LIBRARIES = "lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Entry:
    """An entry. device: major and minor. number: of its inode."""

    name: str
    mode: int
    data: bytes
    device: tuple[int, int]
    number: int


def read(archive: bytes) -> list[Entry]:
    """All entries of an archive. Each begins at a multiple of 4, as its data does."""
    entries: list[Entry] = []
    at = 0
    while True:
        assert at % 4 == 0
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        number, mode, owner, group, _, time, size, _, _, major, minor, name_size, check = fields
        assert (owner, group, time, check) == (0, 0, 0, 0)
        name = archive[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = at + 110 + name_size
        start += -start % 4
        at = start + size
        at += -at % 4
        if name == b"TRAILER!!!\0":
            assert archive[at:] == b""
            return entries
        entries.append(Entry(name[:-1].decode(), mode, archive[start : start + size], (major, minor), number))


def by_name(archive: bytes) -> dict[str, Entry]:
    """All entries of an archive by their names."""
    return {entry.name: entry for entry in read(archive)}


def assert_every_program_finds_its_libraries(entries: dict[str, Entry]) -> None:
    """The libraries that the programs of an image need are in it, where the dynamic linker looks."""
    programs = [entry for name, entry in entries.items() if is_elf(entry.data) and not name.endswith(".ko")]
    assert len(programs) > 20
    for entry in programs:
        for needed in dynamic(entry.data, entry.name).needed:
            assert f"{_LIBRARIES}/{needed}" in entries or f"lib64/{needed}" in entries, f"{entry.name} needs {needed}"
