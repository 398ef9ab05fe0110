# SPDX-License-Identifier: GPL-2.0-or-later
"""edk2's own `build` reads the description of each stable version, as it is prepared here, without an error.

Half a minute each.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snp_harness.debian.cache import silent
from snp_harness.edk2.recipe import Recipe, tool_chain
from snp_harness.edk2.source import Repository
from snp_harness.edk2.tools import ToolError, find_tools
from snp_harness.edk2.workspace import Workspace
from snp_harness.edk2.workspaces import can_build_in
from snp_harness.errors import FetchError
from tests.edk2.trees import upstream_repository

pytestmark = [pytest.mark.edk2, pytest.mark.slow]
TAGS = (
    *("202402", "202405", "202408", "202408.01", "202411", "202502", "202505", "202508", "202508.01"),
    *("202511", "202602", "202605"),
)


@pytest.fixture(scope="module")
def repository() -> Repository:
    return upstream_repository()


@pytest.mark.parametrize("platform", ["OvmfX64", "AmdSevX64"])
@pytest.mark.parametrize("version", TAGS)
def test_the_description_of_a_stable_version_is_read(
    repository: Repository, version: str, platform: str, tmp_path: Path
) -> None:
    if not can_build_in(tmp_path):
        pytest.skip(f"edk2 cannot be built in {str(tmp_path)!a}")
    recipe = Recipe.of(platform)
    source = repository.source(repository.commit(f"edk2-stable{version}")).prepared(recipe)
    try:
        tools = find_tools(silent)
    except (FetchError, ToolError) as error:
        pytest.skip(str(error))
    workspace = Workspace(tmp_path, source.store, recipe, tool_chain(source.store, source.tree))
    workspace.check_out(source.tree)
    workspace.read_description(tools, os.cpu_count() or 1)
