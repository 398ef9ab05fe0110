# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the image, a kernel and an initramfs that is the whole system, from unpacked Debian packages by the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from snp_harness.debian.cache import writing
from snp_harness.tools.initramfs import tree
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.initramfs.image import INITRAMFS, Image, Manifest, read_manifest
from snp_harness.tools.initramfs.kernel_modules import available, load_order, module_index
from snp_harness.tools.linux_guest.recipe import PLACES, Recipe

KERNEL = "vmlinuz"
#: The image in messages.
WHAT = "the Linux guest"
_BUSYBOX = "usr/bin/busybox"
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "usr/bin/sh": "busybox", "init": _BUSYBOX}
_DIRECTORIES = {"proc": 0o755, "sys": 0o755, "dev": 0o755, "run": 0o755, "tmp": 0o1777, "root": 0o700, "mnt": 0o755}
#: root has no password on the console, which is the harness's; sshd accepts keys only.
_TEXTS = {
    "etc/passwd": "root::0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost linux-guest\n",
    "etc/issue": "Linux guest of snp-harness\n\n",
}


@dataclass(frozen=True, slots=True)
class LinuxImage(Image[Manifest]):
    """An image of the Linux guest in the cache."""

    KERNEL: ClassVar[str] = KERNEL

    @classmethod
    def load(cls, directory: Path) -> LinuxImage:
        """Read an image; raises BrokenEnvironmentError if it is not complete."""
        return cls(directory, read_manifest(directory, Manifest, WHAT))


def pack(packages: Path, recipe: Recipe, suite: str, versions: dict[str, str], into: Path) -> None:
    """Make the image. packages: unpacked. versions: theirs, by name. into: a directory. Raises HarnessError."""
    modules = tree.modules_directory(packages)
    with writing(into):
        (into / KERNEL).write_bytes(tree.kernel_image(packages))
        with (into / INITRAMFS).open("wb") as file:
            writer = CpioWriter(file)
            _system(writer, recipe)
            _programs(writer, packages, recipe)
            _kernel_modules(writer, modules, recipe)
            writer.finish()
        Manifest(suite, modules.name, versions, recipe.digest).write(into)


def _system(writer: CpioWriter, recipe: Recipe) -> None:
    # The kernel opens the console before anything is mounted.
    writer.character_device("dev/console", 5, 1)
    for name, mode in _DIRECTORIES.items():
        writer.directory(name, mode)
    for place in ("usr/bin", "usr/sbin"):
        writer.directory(place)
    for place, target in _LINKS.items():
        writer.link(place, target)
    for place, text in _TEXTS.items():
        writer.add(place, text.encode())
    for name, (place, mode) in PLACES.items():
        writer.add(place, recipe.own[name], mode)


def _programs(writer: CpioWriter, packages: Path, recipe: Recipe) -> None:
    sources = {place: _source(packages, place) for place in (_BUSYBOX, *recipe.files.programs)}
    sources |= {place: source for place in recipe.files.optional if (source := _source(packages, place)).is_file()}
    tree.add_programs(writer, packages, sources, recipe.files.libraries)


def _source(packages: Path, place: str) -> Path:
    """Return the file of the packages that has this place: Debian 12's may have it outside of usr."""
    return next(
        (path for path in (packages / place, packages / place.removeprefix("usr/")) if path.is_file()), packages / place
    )


def _kernel_modules(writer: CpioWriter, directory: Path, recipe: Recipe) -> None:
    has = available(directory)
    optional = tuple(name for name in recipe.kernel.optional if name in has)
    modules = load_order(directory, (*recipe.kernel.modules, *optional))
    place = f"lib/modules/{directory.name}"
    for module in modules:
        writer.add(f"{place}/{module.name}.ko", module.data)
    for name, data in module_index(modules).items():
        writer.add(f"{place}/{name}", data)
    writer.add(f"{place}/modules.builtin", tree.read(directory / "modules.builtin"))
