# SPDX-License-Identifier: GPL-2.0-or-later
"""Images in the cache, a kernel and an initramfs: made from Debian's packages by a recipe, and read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from snp_harness.debian.cache import Entries, Progress, locked, silent, version_of
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import Mirror
from snp_harness.defaults import DEFAULT_SUITE
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.packages import PackageSet, versions

INITRAMFS = "initramfs.cpio"
MANIFEST = "manifest.json"
#: The code that every image's bytes depend on; a path is relative to `tools`.
_PACKING = ("initramfs/cpio.py", "initramfs/elf.py", "initramfs/kernel_modules.py", "initramfs/tree.py")


class Manifest(msgspec.Struct, frozen=True):
    """The contents of an image. kernel: its release. packages: versions by name. recipe: its digest."""

    suite: str
    kernel: str
    packages: dict[str, str]
    recipe: str

    def write(self, into: Path) -> None:
        """Write it as the last file of an image, which is complete then."""
        (into / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(self)))


_Manifest = TypeVar("_Manifest", bound=Manifest)


@dataclass(frozen=True, slots=True)
class Image(Generic[_Manifest]):
    """An image in the cache. KERNEL: the name of the kernel's file."""

    KERNEL: ClassVar[str]

    directory: Path
    manifest: _Manifest

    @property
    def kernel(self) -> Path:
        """The file for QEMU's -kernel."""
        return self.directory / self.KERNEL

    @property
    def initramfs(self) -> Path:
        """The file for QEMU's -initrd, without what a run adds to it."""
        return self.directory / INITRAMFS


def read_manifest(directory: Path, kind: type[_Manifest], what: str) -> _Manifest:
    """Read the manifest of an image. what: the image in messages. Raises BrokenEnvironmentError without a whole one."""
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        raise BrokenEnvironmentError(
            f"{directory} contains no complete image of {what}", "remove the directory and fetch it again"
        ) from None


_Image = TypeVar("_Image", bound=Image[Any])


@dataclass(frozen=True, slots=True)
class ImageCache(Generic[_Image]):
    """The images of one kind in the cache. An image's name is a hash over packages, recipe and code.

    recipe: its digest. code: files that an image's bytes depend on, relative to `tools`. load: reads an image. pack:
    makes one, of unpacked packages, a suite and the packages' versions by name, in a directory.
    """

    packages: PackageSet
    recipe: str
    code: tuple[str, ...]
    load: Callable[[Path], _Image]
    pack: Callable[[Path, str, dict[str, str], Path], None]

    def cached(self, suite: str = DEFAULT_SUITE) -> _Image | None:
        """Return the image of this recipe and the packages fetched last, None without one. Needs no network."""
        packages = self.packages.cached(suite)
        entry = None if packages is None else self._entries(suite).find(self._version(packages))
        return None if entry is None or not (entry / MANIFEST).is_file() else self.load(entry)

    def image(self, suite: str = DEFAULT_SUITE, progress: Progress = silent) -> _Image:
        """Return the image of a suite, or make it; packages are fetched if none are cached. Raises HarnessError."""
        found = self.cached(suite)
        if found is not None:
            return found
        packages = self.packages.cached(suite)
        return self.fetch(suite, progress) if packages is None else self._make(suite, packages, progress)

    def fetch(self, suite: str, progress: Progress = silent, mirror: Mirror | None = None) -> _Image:
        """Fetch the suite's current packages, and make their image if it is not cached. Raises HarnessError."""
        return self._make(suite, self.packages.fetch(suite, progress, mirror), progress)

    def _make(self, suite: str, packages: Path, progress: Progress) -> _Image:
        entries, version, what = self._entries(suite), self._version(packages), self.packages.what
        with locked(entries.directory.with_name(f"{self.packages.name}.lock"), progress):
            if entries.find(version) is None:
                progress(f"{suite}: making the image of {what}")
                with entries.adding(version) as directory:
                    self.pack(packages, suite, versions(packages), directory)
            made = self.load(entries.select(version))
        progress(f"{suite}: {what} has Linux {made.manifest.kernel}")
        return made

    def _entries(self, suite: str) -> Entries:
        return Entries(package_directory(suite, self.packages.name))

    def _version(self, packages: Path) -> str:
        digest = hashlib.sha256(version_of(packages).encode())
        digest.update(self.recipe.encode())
        for name in sorted((*_PACKING, *self.code)):
            digest.update(hashlib.sha256((Path(__file__).parent.parent / name).read_bytes()).digest())
        return digest.hexdigest()[:16]
