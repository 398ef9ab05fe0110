# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of unpacked packages: the kernel, programs, and the libraries that these need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from snp_harness.debian.qemu_bundle import LIBRARY_DIRECTORIES, find_loader
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.initramfs.elf import Dynamic, dynamic, is_elf

HINT = "use another suite"
_LIBRARIES = "lib/x86_64-linux-gnu"
_LOADER = "lib64/ld-linux-x86-64.so.2"


def kernel_image(tree: Path) -> bytes:
    """Return the packages' only kernel, a bzImage. Raises BrokenEnvironmentError."""
    return read(_only(tree, ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"), "a kernel"))


def modules_directory(tree: Path) -> Path:
    """Return the directory of the kernel's modules, named as its release. Raises BrokenEnvironmentError."""
    return _only(tree, ("lib/modules/*", "usr/lib/modules/*"), "modules of a kernel")


def read(path: Path) -> bytes:
    """Return a file's bytes. Raises BrokenEnvironmentError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"{path} cannot be read: {error.strerror}", "fetch it again") from None


def add_programs(writer: CpioWriter, tree: Path, programs: Mapping[str, Path], libraries: Iterable[str]) -> None:
    """Add programs, and the libraries that they need, once each. programs: files by their places in the image.

    tree: the packages. libraries: names of further ones. Raises BrokenEnvironmentError.
    """
    found = _Libraries(tree)
    for place, source in programs.items():
        data = read(source)
        found.need(data, source)
        writer.add(place, data, 0o755)
    for name in libraries:
        found.take(name, "the recipe")
    found.write(writer)


class _Libraries:
    """Shared libraries, found in the tree as the dynamic linker would find them."""

    def __init__(self, tree: Path) -> None:
        self._found: dict[str, bytes] = {}
        self._tree = tree

    def need(self, data: bytes, source: Path) -> None:
        """Add the libraries that a program or library needs, and theirs."""
        if not is_elf(data):
            raise BrokenEnvironmentError(f"{source} is not a program", HINT)
        names = dynamic(data, str(source))
        for name in names.needed:
            self.take(name, source.name, names)

    def take(self, name: str, asked_by: str, names: Dynamic | None = None) -> None:
        """Add a library by its name; the loader is one that all need, with a path of its own."""
        if name in self._found or name == Path(_LOADER).name:
            return
        search = (*(path.strip("/") for path in (names.search if names else ())), *LIBRARY_DIRECTORIES)
        path = next((self._tree / place / name for place in search if (self._tree / place / name).is_file()), None)
        if path is None:
            raise BrokenEnvironmentError(f"the fetched packages have no {name}, which {asked_by} needs", HINT)
        data = read(path)
        self._found[name] = data
        self.need(data, path)

    def write(self, writer: CpioWriter) -> None:
        """Add the libraries and the loader to an archive."""
        for name, data in sorted(self._found.items()):
            writer.add(f"{_LIBRARIES}/{name}", data, 0o755)
        writer.add(_LOADER, read(find_loader(self._tree)), 0o755)


def _only(tree: Path, patterns: tuple[str, ...], what: str) -> Path:
    found = [path for pattern in patterns for path in sorted(tree.glob(pattern))]
    if len(found) != 1:
        raise BrokenEnvironmentError(f"the fetched packages have {what} {len(found)} times", HINT)
    return found[0]
