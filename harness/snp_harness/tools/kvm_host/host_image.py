# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the nested host's image from Debian's packages, in the cache.

The packages are fetched and unpacked without root, and kept, so that a new recipe needs no network.
"""

from __future__ import annotations

from snp_harness.defaults import DEFAULT_SUITE
from snp_harness.errors import HarnessError
from snp_harness.tools.initramfs.image import ImageCache
from snp_harness.tools.initramfs.packages import PackageSet
from snp_harness.tools.kvm_host.pack import WHAT, Image, pack
from snp_harness.tools.kvm_host.recipe import Recipe

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


def explain_missing(suite: str = DEFAULT_SUITE) -> HarnessError | None:
    """Return why no image can be made here, None if it is cached or can be made. Starts no process."""
    try:
        cache = images()
        if cache.cached(suite) is not None:
            return None
    except HarnessError as error:
        return error
    return cache.packages.explain_missing()


def images() -> ImageCache[Image]:
    """Return the images of this recipe. Raises HarnessError if that cannot be read."""
    recipe = Recipe.load()
    packages = PackageSet("kvm-host", WHAT, recipe.packages.kernel, recipe.packages.programs, _DROPPED)
    return ImageCache(
        packages, recipe.digest, _PACKING, Image.load, lambda packages, *how: pack(packages, recipe, *how)
    )
