# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of builds agrees with its results, and cells of it can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snp_harness.debian.cache import silent
from snp_harness.defaults import DEFAULT_SOURCE
from snp_harness.edk2.recipe import Platform, Recipe, tool_chain
from snp_harness.edk2.series import load_series
from snp_harness.edk2.source import Repository
from snp_harness.edk2.tools import find_tools
from snp_harness.edk2.workspace import Workspace
from snp_harness.edk2.workspaces import can_build_in
from tests.edk2.modules import build_modules
from tests.edk2.trees import upstream_repository
from tests.ovmf_patches import builds
from tests.ovmf_patches.cells import IMAGE, MAIN, MODULES, Cell, compiled, measure
from tests.ovmf_patches.conftest import SERIES

RESULTS = builds.load()
#: Platforms that have a module of the series, and cannot be booted here: description, architectures, defines.
OTHERS: list[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]] = [
    ("OvmfPkg/OvmfXen.dsc", ("X64",), ()),
    ("OvmfPkg/Microvm/MicrovmX64.dsc", ("X64",), ()),
    ("OvmfPkg/Bhyve/BhyveX64.dsc", ("X64",), ()),
    ("UefiCpuPkg/UefiCpuPkg.dsc", ("IA32", "X64"), ()),
    ("UefiPayloadPkg/UefiPayloadPkg.dsc", ("IA32", "X64"), (("BUILD_ARCH", "X64"),)),
]


def name(found: dict[str, Any]) -> str:
    """A test's name for a cell."""
    return "-".join([found["version"], found["platform"], found["target"], found["toolchain"], *found["defines"]])


def images() -> list[Any]:
    """The cells of which images were built."""
    return [pytest.param(found, id=name(found)) for found in RESULTS if found["builds"] == IMAGE]


def modules() -> list[Any]:
    """The cells of which modules were built."""
    return [pytest.param(found, id=name(found)) for found in RESULTS if found["builds"] == MODULES]


def repository(cell: Cell) -> Repository | None:
    """The user's clone of edk2, None for Debian's source."""
    return None if cell.version == DEFAULT_SOURCE else upstream_repository()


def test_the_table_is_that_of_the_results() -> None:
    assert builds.TABLE.read_text(encoding="utf-8") == builds.render(RESULTS)


def test_each_cell_is_there_once_and_is_one_that_can_be_built() -> None:
    cells = [builds.cell_of(found) for found in RESULTS]
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize("found", RESULTS, ids=name)
def test_a_result_says_what_was_found_or_why_not(found: dict[str, Any]) -> None:
    cell = builds.cell_of(found)
    assert found["builds"] in (IMAGE, MODULES)
    if found["builds"] == MODULES:
        assert {"verdict", "same"}.isdisjoint(found)
    else:
        assert set(found["same"]) == set(cell.configurations)
        assert all(text.startswith("same to ") for text in found["same"].values())
        assert found["verdict" if cell.is_snp else "why"]


@pytest.mark.edk2
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.emulated
@pytest.mark.parametrize("found", images())
def test_an_image_is_built_and_does_what_the_table_says(found: dict[str, Any], tmp_path: Path) -> None:
    cell = builds.cell_of(found)
    now = measure(cell, repository(cell), tmp_path)
    assert (now.get("verdict"), sorted(now["same"].items())) == (found.get("verdict"), sorted(found["same"].items()))


@pytest.mark.edk2
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("found", modules())
def test_modules_are_built_as_the_table_says(found: dict[str, Any], tmp_path: Path) -> None:
    if not can_build_in(tmp_path):
        pytest.skip(f"edk2 cannot be built in {str(tmp_path)!a}")
    cell = builds.cell_of(found)
    assert compiled(cell, repository(cell), tmp_path)["builds"] == MODULES


@pytest.mark.edk2
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("description", "architectures", "defines"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_other_platforms_have_the_libraries_that_the_series_needs(
    description: str, architectures: tuple[str, ...], defines: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    """A class without an instance is an error of edk2's `build` when it reads a platform."""
    if not can_build_in(tmp_path):
        pytest.skip(f"edk2 cannot be built in {str(tmp_path)!a}")
    source = Cell(MAIN).source(upstream_repository()).with_series(load_series(SERIES))
    recipe = Recipe(Platform("other", description, "", "Build/Other", 1, architectures), defines=defines)
    workspace = Workspace(tmp_path, source.store, recipe, tool_chain(source.store, source.tree))
    workspace.check_out(source.tree)
    workspace.read_description(find_tools(silent), 1)


@pytest.mark.edk2
@pytest.mark.slow
@pytest.mark.long
def test_each_patch_builds(tmp_path: Path) -> None:
    """The modules of OvmfPkgX64 that the series is in, after each patch."""
    if not can_build_in(tmp_path):
        pytest.skip(f"edk2 cannot be built in {str(tmp_path)!a}")
    cell = Cell(MAIN)
    source = cell.source(upstream_repository())
    patches = load_series(SERIES)
    tools = find_tools(silent, cell.toolchain)
    for count in range(1, len(patches) + 1):
        patched = source.with_series(patches[:count]).prepared(cell.recipe)
        workspace = Workspace(tmp_path, patched.store, cell.recipe, tool_chain(patched.store, patched.tree))
        build_modules(workspace, patched.tree, cell.modules, cell.own, tools, 1)
