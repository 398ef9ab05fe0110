# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the image, a kernel and an initramfs, from unpacked Debian packages by the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from snp_harness.debian.cache import remove, writing
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs import image
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.initramfs.kernel_modules import load_order
from snp_harness.tools.initramfs.tree import HINT, add_programs, kernel_image, modules_directory, read
from snp_harness.tools.kvm_host.kernel import vmlinux
from snp_harness.tools.kvm_host.patch import MODULE, intercept_cr8
from snp_harness.tools.kvm_host.python_library import PythonFiles, python_files
from snp_harness.tools.kvm_host.recipe import Recipe

KERNEL = "kernel"
#: The image in messages.
WHAT = "the nested host"
_QEMU = "usr/bin/qemu-system-x86_64"
_QEMU_DATA = "usr/share/qemu"
_DATA_PLACES = ("usr/share/qemu", "usr/share/seabios")
_PYTHON = "usr/bin/python3"
_START = "usr/lib/kvm-host/start.py"
_MODULES = "lib/modules"
_MODULE_LIST = "lib/modules.list"


class Manifest(image.Manifest, frozen=True):
    """The contents of an image. elf: the kernel is an ELF file. python: its version."""

    elf: bool
    python: str


@dataclass(frozen=True, slots=True)
class Image(image.Image[Manifest]):
    """An image of the nested host in the cache."""

    KERNEL: ClassVar[str] = KERNEL

    @classmethod
    def load(cls, directory: Path) -> Image:
        """Read an image; raises BrokenEnvironmentError if it is not complete."""
        return cls(directory, image.read_manifest(directory, Manifest, WHAT))


def pack(tree: Path, recipe: Recipe, suite: str, packages: dict[str, str], into: Path) -> None:
    """Make the image. tree: the unpacked packages. into: a directory. Raises HarnessError."""
    modules, bzimage = modules_directory(tree), kernel_image(tree)
    scratch = into / ".scratch"
    with writing(into):
        python = python_files(tree, recipe.python, scratch)
        elf = vmlinux(bzimage)
        (into / KERNEL).write_bytes(elf or bzimage)
        with (into / image.INITRAMFS).open("wb") as file:
            writer = CpioWriter(file)
            _system(writer, recipe)
            _kernel_modules(writer, modules, recipe)
            _programs(writer, tree, recipe, python)
            writer.finish()
        Manifest(suite, modules.name, packages, recipe.digest, elf is not None, python.version).write(into)
    remove(scratch)


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
    """Add QEMU and Python, with what they need."""
    programs = {_QEMU: tree / recipe.qemu.program, _PYTHON: python.program, **python.extensions}
    add_programs(writer, tree, programs, recipe.qemu.libraries)
    for name in recipe.qemu.data:
        path = next((tree / place / name for place in _DATA_PLACES if (tree / place / name).is_file()), None)
        if path is None:
            raise BrokenEnvironmentError(f"the fetched QEMU has no {name}", HINT)
        writer.add(f"{_QEMU_DATA}/{name}", read(path))
    for place, source in sorted(python.compiled.items()):
        writer.add(place, read(source))
