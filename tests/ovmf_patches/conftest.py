# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware built for these tests: stock, with the series of ovmf_patches/, and with a wrong fix on top."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.edk2.build import build_firmware
from snp_harness.edk2.recipe import Recipe
from snp_harness.errors import FetchError

SOURCE = "debian:trixie"
SERIES = Path(__file__).parents[2] / "ovmf_patches" / "series"
MUTANTS = Path(__file__).parent / "mutants"

#: Builds the series with these mutants on top.
Build = Callable[..., Path]


def build_image(series: Path | None, recipe: Recipe | None = None) -> Path:
    """The image of a series, from the cache if it is there; skips the test if the source cannot be had."""
    try:
        return build_firmware(SOURCE, recipe or Recipe.of(), series).path
    except FetchError as error:
        pytest.skip(f"{SOURCE} is not in the cache and cannot be fetched: {error}")


@pytest.fixture(scope="session")
def stock() -> Path:
    """Debian's source, without a patch of the series."""
    return build_image(None)


@pytest.fixture(scope="session")
def fixed() -> Path:
    """With the whole series."""
    return build_image(SERIES)


@pytest.fixture(scope="session")
def mutant(tmp_path_factory: pytest.TempPathFactory, fixed: Path) -> Build:
    """A function that builds the series with patches of mutants/ on top. The fixed firmware is built before."""

    def build(*names: str) -> Path:
        directory = tmp_path_factory.mktemp("-".join(names))
        shutil.copytree(SERIES.parent, directory, dirs_exist_ok=True)
        for name in names:
            shutil.copy(MUTANTS / f"{name}.patch", directory)
        series = directory / "series"
        series.write_text(SERIES.read_text() + "".join(f"{name}.patch\n" for name in names))
        return build_image(series)

    return build
