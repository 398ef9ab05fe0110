# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads cpio archives of the newc format, as Linux' early-userspace/buffer-format describes them."""

from __future__ import annotations

from dataclasses import dataclass


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
