# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the image, a kernel and an initramfs, from unpacked Debian packages by the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from snp_harness.debian.cache import writing
from snp_harness.debian.qemu_bundle import LIBRARY_DIRECTORIES, find_loader
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.kvm_host.cpio import CpioWriter
from snp_harness.tools.kvm_host.elf import Dynamic, dynamic, is_elf
from snp_harness.tools.kvm_host.kernel import vmlinux
from snp_harness.tools.kvm_host.kernel_modules import load_order
from snp_harness.tools.kvm_host.patch import MODULE, intercept_cr8
from snp_harness.tools.kvm_host.python_library import PythonFiles, python_files
from snp_harness.tools.kvm_host.recipe import Recipe

KERNEL = "kernel"
INITRAMFS = "initramfs.cpio"
MANIFEST = "manifest.json"
_HINT = "use another suite"
_LIBRARIES = "lib/x86_64-linux-gnu"
_LOADER = "lib64/ld-linux-x86-64.so.2"
_QEMU = "usr/bin/qemu-system-x86_64"
_QEMU_DATA = "usr/share/qemu"
_DATA_PLACES = ("usr/share/qemu", "usr/share/seabios")
_PYTHON = "usr/bin/python3"
_START = "usr/lib/kvm-host/start.py"
_MODULES = "lib/modules"
_MODULE_LIST = "lib/modules.list"


class Manifest(msgspec.Struct, frozen=True):
    """The contents of an image. kernel: its release. elf: the kernel is an ELF file. packages: versions by name."""

    suite: str
    kernel: str
    elf: bool
    python: str
    packages: dict[str, str]
    recipe: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the cache."""

    directory: Path
    manifest: Manifest

    @property
    def kernel(self) -> Path:
        """The file for QEMU's -kernel."""
        return self.directory / KERNEL

    @property
    def initramfs(self) -> Path:
        """The file for QEMU's -initrd."""
        return self.directory / INITRAMFS

    @classmethod
    def load(cls, directory: Path) -> Image:
        """Read an image; raises BrokenEnvironmentError if it is not complete."""
        try:
            manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError):
            raise BrokenEnvironmentError(
                f"{directory} contains no complete image of the nested host", "remove the directory and fetch it again"
            ) from None
        return cls(directory, manifest)


def pack(tree: Path, recipe: Recipe, suite: str, packages: dict[str, str], into: Path) -> None:
    """Make the image. tree: the unpacked packages. into: a directory. Raises HarnessError."""
    modules_directory = _only(tree, ("lib/modules/*", "usr/lib/modules/*"), "modules of a kernel")
    bzimage = _only(tree, ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"), "a kernel").read_bytes()
    scratch = into / ".scratch"
    with writing(into):
        python = python_files(tree, recipe.python, scratch)
        elf = vmlinux(bzimage)
        (into / KERNEL).write_bytes(elf or bzimage)
        with (into / INITRAMFS).open("wb") as file:
            writer = CpioWriter(file)
            _system(writer, recipe)
            _kernel_modules(writer, modules_directory, recipe)
            _programs(writer, tree, recipe, python)
            writer.finish()
        manifest = Manifest(suite, modules_directory.name, elf is not None, python.version, packages, recipe.digest)
        (into / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


def _system(writer: CpioWriter, recipe: Recipe) -> None:
    # The kernel opens the console before anything is mounted.
    writer.character_device("dev/console", 5, 1)
    writer.add("init", recipe.init, 0o755)
    writer.add(_START, recipe.start)
    for name in ("proc", "sys", "tmp"):
        writer.directory(name)


def _kernel_modules(writer: CpioWriter, directory: Path, recipe: Recipe) -> None:
    lines = []
    for module in load_order(directory, recipe.kernel.modules):
        path = f"{_MODULES}/{module.name}.ko"
        writer.add(path, intercept_cr8(module.data) if module.name == MODULE else module.data)
        lines.append(f"/{path}\n")
    writer.add(_MODULE_LIST, "".join(lines).encode())


def _programs(writer: CpioWriter, tree: Path, recipe: Recipe, python: PythonFiles) -> None:
    """Add QEMU, Python, and the libraries that they need, once each."""
    libraries = _Libraries(tree)
    for place, source in ((_QEMU, tree / recipe.qemu.program), (_PYTHON, python.program), *python.extensions.items()):
        data = _read(source)
        libraries.need(data, source)
        writer.add(place, data, 0o755)
    for name in recipe.qemu.libraries:
        libraries.take(name, "the recipe")
    for name, data in sorted(libraries.found.items()):
        writer.add(f"{_LIBRARIES}/{name}", data, 0o755)
    writer.add(_LOADER, _read(find_loader(tree)), 0o755)
    for name in recipe.qemu.data:
        path = next((tree / place / name for place in _DATA_PLACES if (tree / place / name).is_file()), None)
        if path is None:
            raise BrokenEnvironmentError(f"the fetched QEMU has no {name}", _HINT)
        writer.add(f"{_QEMU_DATA}/{name}", _read(path))
    for place, source in sorted(python.compiled.items()):
        writer.add(place, _read(source))


class _Libraries:
    """Shared libraries, found in the tree as the dynamic linker would find them."""

    def __init__(self, tree: Path) -> None:
        self.found: dict[str, bytes] = {}
        self._tree = tree

    def need(self, data: bytes, source: Path) -> None:
        """Add the libraries that a program or library needs, and theirs."""
        if not is_elf(data):
            raise BrokenEnvironmentError(f"{source} is not a program", _HINT)
        names = dynamic(data, str(source))
        for name in names.needed:
            self.take(name, source.name, names)

    def take(self, name: str, asked_by: str, names: Dynamic | None = None) -> None:
        """Add a library by its name; the loader is one that all need, with a path of its own."""
        if name in self.found or name == Path(_LOADER).name:
            return
        search = (*(path.strip("/") for path in (names.search if names else ())), *LIBRARY_DIRECTORIES)
        path = next((self._tree / place / name for place in search if (self._tree / place / name).is_file()), None)
        if path is None:
            raise BrokenEnvironmentError(f"the fetched packages have no {name}, which {asked_by} needs", _HINT)
        data = _read(path)
        self.found[name] = data
        self.need(data, path)


def _only(tree: Path, patterns: tuple[str, ...], what: str) -> Path:
    found = [path for pattern in patterns for path in sorted(tree.glob(pattern))]
    if len(found) != 1:
        raise BrokenEnvironmentError(f"the fetched packages have {what} {len(found)} times", _HINT)
    return found[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"{path} cannot be read: {error.strerror}", "fetch it again") from None
