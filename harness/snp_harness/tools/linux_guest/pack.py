# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the image, a kernel and an initramfs that is the whole system, from unpacked Debian packages by the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from snp_harness.debian.cache import writing
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs import tree
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.initramfs.kernel_modules import available, load_order, module_index
from snp_harness.tools.linux_guest.recipe import PLACES, Recipe

KERNEL = "vmlinuz"
INITRAMFS = "initramfs.cpio"
MANIFEST = "manifest.json"
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


class Manifest(msgspec.Struct, frozen=True):
    """The contents of an image. kernel: its release. packages: versions by name. recipe: its digest."""

    suite: str
    kernel: str
    packages: dict[str, str]
    recipe: str


@dataclass(frozen=True, slots=True)
class LinuxImage:
    """An image in the cache."""

    directory: Path
    manifest: Manifest

    @property
    def kernel(self) -> Path:
        """The file for QEMU's -kernel."""
        return self.directory / KERNEL

    @property
    def initramfs(self) -> Path:
        """The initramfs, without the keys of a run."""
        return self.directory / INITRAMFS

    @classmethod
    def load(cls, directory: Path) -> LinuxImage:
        """Read an image; raises BrokenEnvironmentError if it is not complete."""
        try:
            manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError):
            raise BrokenEnvironmentError(
                f"{directory} contains no complete image of the Linux guest", "remove the directory and fetch it again"
            ) from None
        return cls(directory, manifest)


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
        manifest = Manifest(suite, modules.name, versions, recipe.digest)
        (into / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


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
    """Add programs, and the libraries that they need, once each."""
    libraries = tree.Libraries(packages)
    sources = {place: _source(packages, place) for place in (_BUSYBOX, *recipe.files.programs)}
    sources |= {place: source for place in recipe.files.optional if (source := _source(packages, place)).is_file()}
    for place, source in sources.items():
        data = tree.read(source)
        libraries.need(data, source)
        writer.add(place, data, 0o755)
    for name in recipe.files.libraries:
        libraries.take(name, "the recipe")
    libraries.write(writer)


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
