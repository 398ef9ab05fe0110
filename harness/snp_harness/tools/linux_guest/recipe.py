# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe of the image: guests/linux/recipe.toml, and the harness's files in the image."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from snp_harness.tools.initramfs.recipe import RECIPE, Packages, RecipeSource, digest_of

_SOURCE = RecipeSource("guests/linux", "the Linux guest", "install the harness again")
#: The harness's files: path in the image and mode.
PLACES = {"inittab": ("etc/inittab", 0o644), "rc": ("etc/rc", 0o755), "sshd_config": ("etc/ssh/sshd_config", 0o644)}


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kernel modules by name; of the optional ones those that the kernel has."""

    modules: tuple[str, ...]
    optional: tuple[str, ...]


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths of programs in the packages, and names of libraries that are loaded at run time."""

    programs: tuple[str, ...]
    optional: tuple[str, ...]
    libraries: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    packages: Packages
    kernel: Kernel
    files: Files


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe. own: the harness's files, by their names. digest: over all parts."""

    packages: Packages
    kernel: Kernel
    files: Files
    own: dict[str, bytes]
    digest: str

    @classmethod
    def load(cls) -> Recipe:
        """Read the recipe; raises BrokenEnvironmentError if a part is missing."""
        text, own = _SOURCE.read(RECIPE), {name: _SOURCE.read(name) for name in PLACES}
        parts = _SOURCE.parse(text, _File)
        return cls(parts.packages, parts.kernel, parts.files, own, digest_of(text, *own.values()))
