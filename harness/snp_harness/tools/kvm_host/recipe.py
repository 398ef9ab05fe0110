# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe of the image: guests/kvm_host/recipe.toml, and the harness's files in the image."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass

import msgspec

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError

_BUILD_HINT = "build it: make -C guests/kvm_host"
_RECIPE = "recipe.toml"
_INIT = "build/kvm-host-init"
_START = "start.py"


class Packages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of Debian packages."""

    kernel: str
    programs: tuple[str, ...]


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
        text, start, init = _read(_RECIPE), _read(_START), _read(_INIT)
        try:
            parts = msgspec.convert(tomllib.loads(text.decode()), _File)
        except (ValueError, msgspec.ValidationError) as error:
            raise BrokenEnvironmentError(f"{_RECIPE} of the nested host is damaged: {error}", _BUILD_HINT) from None
        digest = hashlib.sha256()
        for part in (text, start, init):
            digest.update(hashlib.sha256(part).digest())
        return cls(parts.packages, parts.kernel, parts.qemu, parts.python, init, start, digest.hexdigest())


def _read(name: str) -> bytes:
    path = data_file(f"guests/kvm_host/{name}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenEnvironmentError(f"cannot read {path}: {error.strerror}", _BUILD_HINT) from None
