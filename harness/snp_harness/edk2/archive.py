# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the files of source archives in order, without writing them to disk.

An archive is untrusted, even with the right checksum: names that leave its directory, devices, and more files or bytes
than any edk2 has are refused; links that lead out of it are skipped.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snp_harness.errors import FetchError

#: edk2 2025.02 has 18336 files in 240 MB; the largest has 8 MB.
MAX_MEMBERS = 200_000
MAX_BYTES = 4 << 30
MAX_FILE_BYTES = 256 << 20
_MAX_NAME = 1000
_HINT = "it is not a source archive of edk2: fetch it again"
_DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive. path: relative, without the archive's top directory. data: of a link, its target."""

    path: str
    data: bytes
    executable: bool = False
    link: bool = False

    @property
    def git_mode(self) -> str:
        """The file's mode in a git tree."""
        return "120000" if self.link else "100755" if self.executable else "100644"


class _Bounded(io.RawIOBase):
    """The decompressed archive, up to MAX_BYTES: a small file may unpack to any size."""

    def __init__(self, stream: io.BufferedIOBase | lzma.LZMAFile, name: str) -> None:
        self._stream = stream
        self._left = MAX_BYTES
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise FetchError(f"{self._name} unpacks to more than {MAX_BYTES >> 30} GiB", _HINT)
        buffer[: len(data)] = data
        return len(data)


def members(archive: Path, *, top: str | None = None) -> Iterator[Member]:
    """Yield the files of a .tar.xz; raises FetchError.

    top: the directory of all files, whose name is removed; None: that of the first file.
    """
    name = archive.name
    try:
        with (
            lzma.open(archive) as unpacked,
            tarfile.open(fileobj=io.BufferedReader(_Bounded(unpacked, name), 1 << 20), mode="r|") as tar,
        ):
            for number, entry in enumerate(tar):
                if number >= MAX_MEMBERS:
                    raise FetchError(f"{name} has more than {MAX_MEMBERS} files", _HINT)
                first, _, path = _checked(entry.name, name).partition("/")
                top = top or first
                if first != top:
                    raise FetchError(f"{name}: {entry.name!a} is not in {top}", _HINT)
                member = _member(tar, entry, path, name)
                if member is not None:
                    yield member
    except _DAMAGED as error:
        raise FetchError(f"{name} is damaged: {error}", "fetch it again") from None


def _member(tar: tarfile.TarFile, entry: tarfile.TarInfo, path: str, name: str) -> Member | None:
    if entry.isdir():
        return None
    if not path:
        raise FetchError(f"{name}: {entry.name!a} is in no directory", _HINT)
    if entry.issym():
        if points_out(path, entry.linkname):
            # edk2 has such a link, EmulatorPkg's X11IncludeHack, to /opt/X11/include.
            return None
        return Member(path, entry.linkname.encode(errors="surrogateescape"), link=True)
    if not entry.isreg():
        raise FetchError(f"{name}: {entry.name!a} is neither a file nor a directory", _HINT)
    if entry.size > MAX_FILE_BYTES:
        raise FetchError(f"{name}: {entry.name!a} has {entry.size >> 20} MiB", _HINT)
    content = tar.extractfile(entry)
    assert content is not None
    data = content.read()
    if len(data) != entry.size:
        raise FetchError(f"{name} is damaged: it ends within {entry.name!a}", "fetch it again")
    return Member(path, data, executable=bool(entry.mode & 0o100))


def points_out(path: str, target: str) -> bool:
    """Return whether a link leads out of a source; such links must not be followed. path: the link's in the source.

    A target with ".." after another component counts, because that component may be a link.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    return target.startswith("/") or ".." in parts[up:] or up > path.count("/")


def _checked(path: str, archive: str) -> str:
    """Return a member's name; raises FetchError unless it is a relative path that a git tree can contain."""
    path = path.removeprefix("./").rstrip("/")
    parts = path.split("/")
    if (
        not 0 < len(path) <= _MAX_NAME
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        or path.startswith('"')
        or any(ord(character) < 0x20 for character in path)
    ):
        raise FetchError(f"{archive}: a file is named {path!a}", _HINT)
    return path
