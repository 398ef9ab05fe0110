# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the Linux guest's image from Debian's packages, in the cache.

apt downloads and checks the packages and dpkg-deb unpacks them, without root, as for every other image. The image's
name in the cache is a hash over packages, recipe and code, and the same of these gives the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from snp_harness.debian.cache import Entries, Progress, locked, silent, version_of
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import Mirror
from snp_harness.tools.initramfs.packages import PackageSet, versions
from snp_harness.tools.linux_guest.pack import MANIFEST, LinuxImage, pack
from snp_harness.tools.linux_guest.recipe import Recipe

DEFAULT_SUITE = "trixie"
_IMAGE = "linux-guest"
#: The code that an image's bytes depend on.
_PACKING = (
    "initramfs/cpio.py",
    "initramfs/elf.py",
    "initramfs/kernel_modules.py",
    "initramfs/tree.py",
    "linux_guest/pack.py",
)
_DROPPED = ("usr/share", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd", "usr/share/perl")


def cached_image(suite: str = DEFAULT_SUITE) -> LinuxImage | None:
    """Return the image of this recipe and the packages fetched last, None without one. Needs no network."""
    recipe = Recipe.load()
    packages = _packages(recipe).cached(suite)
    if packages is None:
        return None
    entry = Entries(package_directory(suite, _IMAGE)).find(_version(packages, recipe))
    return None if entry is None or not (entry / MANIFEST).is_file() else LinuxImage.load(entry)


def image(suite: str = DEFAULT_SUITE, progress: Progress = silent) -> LinuxImage:
    """Return the image of a suite from the cache, or make it; packages are fetched if none are cached.

    Raises HarnessError.
    """
    found = cached_image(suite)
    if found is not None:
        return found
    packages = _packages(Recipe.load()).cached(suite)
    return fetch_image(suite, progress) if packages is None else _make(suite, packages, progress)


def fetch_image(suite: str = DEFAULT_SUITE, progress: Progress = silent, *, mirror: Mirror | None = None) -> LinuxImage:
    """Fetch the suite's current packages, and make their image if it is not cached; raises HarnessError."""
    return _make(suite, _packages(Recipe.load()).fetch(suite, progress, mirror), progress)


def _packages(recipe: Recipe) -> PackageSet:
    return PackageSet(_IMAGE, "the Linux guest", recipe.packages.kernel, recipe.packages.programs, _DROPPED)


def _make(suite: str, packages: Path, progress: Progress) -> LinuxImage:
    recipe = Recipe.load()
    entries = Entries(package_directory(suite, _IMAGE))
    version = _version(packages, recipe)
    with locked(entries.directory.with_name(f"{_IMAGE}.lock"), progress):
        if entries.find(version) is None:
            progress(f"{suite}: making the image of the Linux guest")
            with entries.adding(version) as directory:
                pack(packages, recipe, suite, versions(packages), directory)
        made = LinuxImage.load(entries.select(version))
    progress(f"{suite}: the guest has Linux {made.manifest.kernel}")
    return made


def _version(packages: Path, recipe: Recipe) -> str:
    """Hash over packages, recipe and the code that packs."""
    digest = hashlib.sha256(version_of(packages).encode())
    digest.update(recipe.digest.encode())
    for name in _PACKING:
        digest.update(hashlib.sha256((Path(__file__).parent.parent / name).read_bytes()).digest())
    return digest.hexdigest()[:16]
