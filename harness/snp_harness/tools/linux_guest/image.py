# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the Linux guest's image from Debian's packages, in the cache.

apt downloads and checks the packages and dpkg-deb unpacks them, without root, as for every other image. The same
packages, recipe and code give the same bytes.
"""

from __future__ import annotations

from snp_harness.tools.initramfs.image import ImageCache
from snp_harness.tools.initramfs.packages import PackageSet
from snp_harness.tools.linux_guest.pack import WHAT, LinuxImage, pack
from snp_harness.tools.linux_guest.recipe import Recipe

_DROPPED = ("usr/share", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd", "usr/share/perl")


def images() -> ImageCache[LinuxImage]:
    """Return the images of this recipe. Raises HarnessError if that cannot be read."""
    recipe = Recipe.load()
    packages = PackageSet("linux-guest", WHAT, recipe.packages.kernel, recipe.packages.programs, _DROPPED)
    return ImageCache(
        packages,
        recipe.digest,
        ("linux_guest/pack.py",),
        LinuxImage.load,
        lambda packages, *how: pack(packages, recipe, *how),
    )
