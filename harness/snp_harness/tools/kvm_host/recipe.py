# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe of the image: guests/kvm_host/recipe.toml, and the harness's files in the image."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from snp_harness.tools.initramfs.recipe import RECIPE, Packages, RecipeSource, digest_of

_SOURCE = RecipeSource("guests/kvm_host", "the nested host", "build it: make -C guests/kvm_host")
_INIT = "build/kvm-host-init"
_START = "start.py"


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kernel modules by name."""

    modules: tuple[str, ...]


class Qemu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """QEMU's program, files of its data directories, and libraries that are loaded at run time."""

    program: str
    data: tuple[str, ...]
    libraries: tuple[str, ...]


class Python(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Patterns of omitted files of the standard library, and names of included extension modules."""

    leave_out: tuple[str, ...]
    extensions: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    packages: Packages
    kernel: Kernel
    qemu: Qemu
    python: Python


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe. init: the first program. start: the Python program that it starts. digest: over all parts."""

    packages: Packages
    kernel: Kernel
    qemu: Qemu
    python: Python
    init: bytes
    start: bytes
    digest: str

    @classmethod
    def load(cls) -> Recipe:
        """Read the recipe; raises BrokenEnvironmentError if a part is missing."""
        text, start, init = map(_SOURCE.read, (RECIPE, _START, _INIT))
        parts = _SOURCE.parse(text, _File)
        digest = digest_of(text, start, init)
        return cls(parts.packages, parts.kernel, parts.qemu, parts.python, init, start, digest)
