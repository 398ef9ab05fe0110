# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the nested host's image from Debian's packages, in the cache.

The packages are fetched and unpacked without root, and kept, so that a new recipe needs no network.
"""

from __future__ import annotations

from pathlib import Path

from snp_harness.debian.cache import Progress, silent
from snp_harness.debian.packages import Mirror
from snp_harness.errors import HarnessError
from snp_harness.tools.initramfs.image import ImageCache
from snp_harness.tools.initramfs.packages import PackageSet
from snp_harness.tools.kvm_host.pack import WHAT, Image, pack
from snp_harness.tools.kvm_host.recipe import Recipe

#: Linux 6.12 and QEMU 10.0.
DEFAULT_SUITE = "trixie"
#: The code of this package that an image's bytes depend on.
_PACKING = (
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
    return _cache().cached(suite)


def image(suite: str = DEFAULT_SUITE, progress: Progress = silent) -> Image:
    """Return the image of a suite from the cache, or make it; packages are fetched if none are cached.

    Raises HarnessError.
    """
    return _cache().image(suite, progress)


def fetch_image(suite: str = DEFAULT_SUITE, progress: Progress = silent, *, mirror: Mirror | None = None) -> Image:
    """Fetch the suite's current packages, and make their image if it is not cached; raises HarnessError."""
    return _cache().fetch(suite, progress, mirror)


def explain_missing(suite: str = DEFAULT_SUITE) -> HarnessError | None:
    """Return why no image can be made here, None if it is cached or can be made. Starts no process."""
    try:
        images = _cache()
        if images.cached(suite) is not None:
            return None
    except HarnessError as error:
        return error
    return images.packages.explain_missing()


def _cache() -> ImageCache[Image]:
    recipe = Recipe.load()

    def make(packages: Path, suite: str, versions: dict[str, str], into: Path) -> None:
        pack(packages, recipe, suite, versions, into)

    packages = PackageSet("kvm-host", WHAT, recipe.packages.kernel, recipe.packages.programs, _DROPPED)
    return ImageCache(packages, recipe.digest, _PACKING, Image.load, make)
