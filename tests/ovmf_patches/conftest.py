# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware built for these tests: stock, with the series of ovmf_patches/, and with a wrong fix on top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from snp_harness.debian.cache import silent
from snp_harness.edk2.build import Builder
from snp_harness.edk2.recipe import Recipe
from snp_harness.edk2.series import Entry, Patch, load_series
from snp_harness.edk2.source import Source, find_source
from snp_harness.edk2.tools import find_tools
from snp_harness.errors import FetchError
from tests.edk2.trees import upstream_repository

SOURCE = "debian:trixie"
SERIES = Path(__file__).parents[2] / "ovmf_patches" / "series"
MUTANTS = Path(__file__).parent / "mutants"
#: The branch of edk2 that development goes on in.
NEWEST = "master"

#: Builds the series with these mutants on top.
Build = Callable[..., Path]


@dataclass(frozen=True, slots=True)
class Base:
    """A source without the series. slot: of the workspace in which it is built."""

    source: Source
    slot: int = 0

    def image(self, patches: tuple[Patch, ...], recipe: Recipe | None = None) -> Path:
        """The image of these patches, from the cache if it is there; raises PatchError, CompileError."""
        recipe = recipe or Recipe.of()
        source = self.source.with_series(patches).prepared(recipe)
        return Builder(recipe, find_tools(silent, recipe.toolchain), slot=self.slot).build(source).path


def debian_base() -> Base:
    """Debian's source; skips the test if it cannot be had."""
    try:
        return Base(find_source(SOURCE))
    except FetchError as error:
        pytest.skip(f"{SOURCE} is not in the cache and cannot be fetched: {error}")


def newest_base() -> Base:
    """edk2's newest source in the user's clone; skips the test if there is none.

    A workspace of its own: all of edk2 is built again where one workspace goes from one source to the other.
    """
    repository = upstream_repository()
    return Base(repository.source(repository.commit(NEWEST)), slot=1)


BASES = {"debian": debian_base, "newest": newest_base}


def mutants(*names: str) -> tuple[Patch, ...]:
    """Wrong fixes, for the end of the series."""
    return tuple(Patch(Entry(path.name), path.read_bytes()) for path in (MUTANTS / f"{name}.patch" for name in names))


def build_image(series: Path | None, recipe: Recipe | None = None) -> Path:
    """The image of a series on Debian's source."""
    return debian_base().image(load_series(series) if series is not None else (), recipe)


@pytest.fixture(scope="session")
def stock() -> Path:
    """Debian's source, without a patch of the series."""
    return build_image(None)


@pytest.fixture(scope="session")
def fixed() -> Path:
    """With the whole series."""
    return build_image(SERIES)


@pytest.fixture(scope="session", params=["debian", pytest.param("newest", marks=pytest.mark.long)])
def base(request: pytest.FixtureRequest) -> Base:
    """Each of the sources that wrong fixes are tried on."""
    return BASES[request.param]()


@pytest.fixture(scope="session")
def fixed_base(base: Base) -> Path:
    """Each of them with the whole series."""
    return base.image(load_series(SERIES))


@pytest.fixture(scope="session")
def mutant(base: Base) -> Build:
    """A function that builds the series with patches of mutants/ on top."""

    def build(*names: str) -> Path:
        return base.image((*load_series(SERIES), *mutants(*names)))

    return build
