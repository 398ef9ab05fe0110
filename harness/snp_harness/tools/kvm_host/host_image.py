# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the nested host's image from Debian's packages, in the cache.

The packages are fetched and unpacked without root, and kept, so that a new recipe needs no network. The image's name in
the cache is a hash over packages, recipe and code.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from snp_harness.debian.cache import Entries, Progress, locked, remove, silent, version_of
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import Mirror
from snp_harness.errors import HarnessError
from snp_harness.tools.initramfs.packages import PackageSet, versions
from snp_harness.tools.kvm_host.pack import MANIFEST, Image, pack
from snp_harness.tools.kvm_host.recipe import Recipe

#: Linux 6.12 and QEMU 10.0.
DEFAULT_SUITE = "trixie"
_IMAGE = "kvm-host"
#: The code that an image's bytes depend on.
_PACKING = (
    "initramfs/cpio.py",
    "initramfs/elf.py",
    "initramfs/kernel_modules.py",
    "initramfs/tree.py",
    "kvm_host/compile_library.py",
    "kvm_host/kernel.py",
    "kvm_host/pack.py",
    "kvm_host/patch.py",
    "kvm_host/python_library.py",
)
#: Documentation and other parts that recipes do not use, by far the larger part.
_DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/icons", "usr/share/info", "usr/sbin")


def cached_image(suite: str = DEFAULT_SUITE) -> Image | None:
    """Return the image of this recipe and the packages fetched last, None without one. Needs no network."""
    packages = _packages().cached(suite)
    if packages is None:
        return None
    entry = Entries(package_directory(suite, _IMAGE)).find(_image_version(packages, Recipe.load()))
    return None if entry is None or not (entry / MANIFEST).is_file() else Image.load(entry)


def image(suite: str = DEFAULT_SUITE, progress: Progress = silent) -> Image:
    """Return the image of a suite from the cache, or make it; packages are fetched if none are cached.

    Raises HarnessError.
    """
    found = cached_image(suite)
    if found is not None:
        return found
    packages = _packages().cached(suite) or _packages().fetch(suite, progress, None)
    return _make(suite, packages, progress)


def fetch_image(suite: str = DEFAULT_SUITE, progress: Progress = silent, *, mirror: Mirror | None = None) -> Image:
    """Fetch the suite's current packages, and make their image if it is not cached; raises HarnessError."""
    return _make(suite, _packages().fetch(suite, progress, mirror), progress)


def _packages() -> PackageSet:
    wanted = Recipe.load().packages
    return PackageSet(_IMAGE, "the nested host", wanted.kernel, wanted.programs, _DROPPED)


def _make(suite: str, packages: Path, progress: Progress) -> Image:
    recipe = Recipe.load()
    entries = Entries(package_directory(suite, _IMAGE))
    version = _image_version(packages, recipe)
    with locked(entries.directory.with_name(f"{_IMAGE}.lock"), progress):
        if entries.find(version) is None:
            progress(f"{suite}: making the image of the nested host")
            with entries.adding(version) as directory:
                pack(packages, recipe, suite, versions(packages), directory)
                remove(directory / ".scratch")
        made = Image.load(entries.select(version))
    progress(f"{suite}: the nested host has Linux {made.manifest.kernel}")
    return made


def _image_version(packages: Path, recipe: Recipe) -> str:
    """Hash over packages, recipe and the code that packs."""
    digest = hashlib.sha256(version_of(packages).encode())
    digest.update(recipe.digest.encode())
    for name in _PACKING:
        digest.update(hashlib.sha256((Path(__file__).parent.parent / name).read_bytes()).digest())
    return digest.hexdigest()[:16]


def explain_missing(suite: str = DEFAULT_SUITE) -> HarnessError | None:
    """Return why no image can be made here, None if it is cached or can be made. Starts no process."""
    try:
        if cached_image(suite) is not None:
            return None
    except HarnessError as error:
        return error
    return _packages().explain_missing()
