# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the Linux guest's image from Debian's packages, in the cache.

apt downloads and checks the packages and dpkg-deb unpacks them, without root, as for every other image. The same
packages, recipe and code give the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from snp_harness.debian.cache import Progress, silent
from snp_harness.debian.packages import Mirror
from snp_harness.tools.initramfs.image import ImageCache
from snp_harness.tools.initramfs.packages import PackageSet
from snp_harness.tools.linux_guest.pack import WHAT, LinuxImage, pack
from snp_harness.tools.linux_guest.recipe import Recipe

DEFAULT_SUITE = "trixie"
_DROPPED = ("usr/share", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd", "usr/share/perl")


def cached_image(suite: str = DEFAULT_SUITE) -> LinuxImage | None:
    """Return the image of this recipe and the packages fetched last, None without one. Needs no network."""
    return _cache().cached(suite)


def image(suite: str = DEFAULT_SUITE, progress: Progress = silent) -> LinuxImage:
    """Return the image of a suite from the cache, or make it; packages are fetched if none are cached.

    Raises HarnessError.
    """
    return _cache().image(suite, progress)


def fetch_image(suite: str = DEFAULT_SUITE, progress: Progress = silent, *, mirror: Mirror | None = None) -> LinuxImage:
    """Fetch the suite's current packages, and make their image if it is not cached; raises HarnessError."""
    return _cache().fetch(suite, progress, mirror)


def _cache() -> ImageCache[LinuxImage]:
    recipe = Recipe.load()

    def make(packages: Path, suite: str, versions: dict[str, str], into: Path) -> None:
        pack(packages, recipe, suite, versions, into)

    packages = PackageSet("linux-guest", WHAT, recipe.packages.kernel, recipe.packages.programs, _DROPPED)
    return ImageCache(packages, recipe.digest, ("linux_guest/pack.py",), LinuxImage.load, make)
