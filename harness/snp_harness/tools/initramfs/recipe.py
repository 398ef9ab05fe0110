# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads recipes of images: a recipe.toml, and the harness's files in the image."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from snp_harness.data import data_file
from snp_harness.errors import BrokenEnvironmentError

RECIPE = "recipe.toml"
_Parts = TypeVar("_Parts", bound=msgspec.Struct)


class Packages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of Debian packages."""

    kernel: str
    programs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """Where a recipe is. directory: of the harness's data. what: the image in messages. hint: if a file is missing."""

    directory: str
    what: str
    hint: str

    def read(self, name: str) -> bytes:
        """Return a file of the recipe. Raises BrokenEnvironmentError."""
        path = data_file(f"{self.directory}/{name}")
        try:
            return path.read_bytes()
        except OSError as error:
            raise BrokenEnvironmentError(f"cannot read {path}: {error.strerror}", self.hint) from None

    def parse(self, text: bytes, kind: type[_Parts]) -> _Parts:
        """Return what recipe.toml has. Raises BrokenEnvironmentError."""
        try:
            return msgspec.convert(tomllib.loads(text.decode()), kind)
        except (ValueError, msgspec.ValidationError) as error:
            raise BrokenEnvironmentError(f"{RECIPE} of {self.what} is damaged: {error}", self.hint) from None


def digest_of(*parts: bytes) -> str:
    """Return a digest over all parts of a recipe."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()
