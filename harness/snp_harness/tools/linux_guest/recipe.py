# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe of the image: guests/linux/recipe.toml, and the harness's files in the image."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass

import msgspec

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError

_RECIPE = "recipe.toml"
#: The harness's files: path in the image and mode.
PLACES = {"inittab": ("etc/inittab", 0o644), "rc": ("etc/rc", 0o755), "sshd_config": ("etc/ssh/sshd_config", 0o644)}


class Packages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of Debian packages."""

    kernel: str
    programs: tuple[str, ...]


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
        text, own = _read(_RECIPE), {name: _read(name) for name in PLACES}
        try:
            parts = msgspec.convert(tomllib.loads(text.decode()), _File)
        except (ValueError, msgspec.ValidationError) as error:
            raise BrokenEnvironmentError(
                f"{_RECIPE} of the Linux guest is damaged: {error}", "install the harness again"
            ) from None
        digest = hashlib.sha256()
        for part in (text, *own.values()):
            digest.update(hashlib.sha256(part).digest())
        return cls(parts.packages, parts.kernel, parts.files, own, digest.hexdigest())


def _read(name: str) -> bytes:
    path = data_file(f"guests/linux/{name}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"cannot read {path}: {error.strerror}", "install the harness again") from None
