# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes an initramfs: a cpio archive in the "newc" format (Linux, Documentation/driver-api/early-userspace).

Owners and devices are written without reading them from a file system, so root is not needed. The output depends on
the entries and their order only.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

_MAGIC = b"070701"
_END = "TRAILER!!!"
_ALIGNMENT = 4
#: The greatest number in the format's eight hexadecimal digits.
_MAX_SIZE = 0xFFFFFFFF


class CpioWriter:
    """Writes entries to `file` in order. Missing parent directories are added before an entry, readable by all."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self._directories: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory. path: without a leading slash."""
        if path and path not in self._directories:
            self._above(path)
            self._directories.add(path)
            self._entry(path, stat.S_IFDIR | mode, links=2)

    def add(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._above(path)
        self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._above(path)
        self._entry(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self._above(path)
        self._entry(path, stat.S_IFCHR | mode, device=(major, minor))

    def finish(self) -> None:
        """Write the archive's end. Nothing can be added after it."""
        self._number = -1
        self._entry(_END, 0)

    def _above(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not a path in an archive")
        self.directory(parent)

    def _entry(self, path: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0), links: int = 1) -> None:
        name = os.fsencode(path) + b"\0"
        if len(data) > _MAX_SIZE:
            raise ValueError(f"{path}: {len(data)} bytes are too many for an archive")
        self._number += 1
        # Inode, mode, owner, group, links, time, size, device of the file system, device, length of the name, checksum.
        fields = (self._number, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
        header = _MAGIC + b"".join(b"%08X" % field for field in fields)
        self._padded(header + name)
        self._padded(data)

    def _padded(self, data: bytes) -> None:
        self._file.write(data)
        self._file.write(bytes(-len(data) % _ALIGNMENT))
