# SPDX-License-Identifier: GPL-2.0-or-later
"""Single modules are built, or only their own sources compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.edk2 import workspaces
from snp_harness.edk2.build import Builder
from snp_harness.edk2.recipe import Recipe
from snp_harness.edk2.source import Source, directory_source
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import Tools
from tests.edk2.conftest import Said
from tests.edk2.modules import build_modules
from tests.edk2.trees import write_tree, write_with_build

TOOLS = Tools(("gcc 1",))
#: A build whose image is its arguments, with an error where the source has one. genmake writes a module's makefile.
BUILD = b"""#!/bin/sh
! grep error: Pkg/code.c || exit 1
echo "$@" >> said
mkdir -p Build/OvmfX64/DEBUG_GCC5/FV
cat Pkg/code.c > Build/OvmfX64/DEBUG_GCC5/FV/OVMF.fd
case "$*" in *genmake)
    directory=Build/OvmfX64/DEBUG_GCC5/X64/Pkg/Sec
    mkdir -p $directory
    cp Pkg/makefile $directory/GNUmakefile
esac
"""
MAKEFILE = rb"""
OUTPUT_DIR = $(WORKSPACE)/Build/OvmfX64/DEBUG_GCC5/X64/Pkg/Sec/OUTPUT
MAKE_FILE =
init:
	mkdir -p $(OUTPUT_DIR)
$(OUTPUT_DIR)/Sec.obj : $(MAKE_FILE)
$(OUTPUT_DIR)/Sec.obj : $(WORKSPACE)/Pkg/code.c
	cp $(WORKSPACE)/Pkg/code.c $(OUTPUT_DIR)/Sec.obj
library:
	exit 1
"""


@pytest.fixture
def edk2(tmp_path: Path, cache: Path) -> Path:
    return write_with_build(tmp_path / "edk2", BUILD, {"Pkg/makefile": MAKEFILE, "Pkg/code.c": b"code"})


def source(edk2: Path, code: bytes = b"code") -> Source:
    write_tree(edk2, {"Pkg/code.c": code})
    return directory_source(edk2).prepared(Recipe())


def test_modules_are_built_alone_and_the_next_complete_build_begins_anew(edk2: Path, said: Said) -> None:
    Builder(Recipe(), TOOLS, said).build(source(edk2))
    changed = source(edk2, b"other")
    with workspaces.held(changed.store, Recipe(), "GCC5", said) as workspace:
        build_modules(workspace, changed.tree, ["Pkg/One.inf", "Pkg/Two.inf"], [], TOOLS, 1)
        lines = (workspace.source / "said").read_text().splitlines()
        assert [line.split()[-2:] for line in lines][-2:] == [["-m", "Pkg/One.inf"], ["-m", "Pkg/Two.inf"]]
    assert Builder(Recipe(), TOOLS, said).build(changed).path.read_bytes() == b"other"
    assert "what was built here is not known: building everything again" in said


def test_a_modules_own_sources_are_compiled_without_its_libraries(edk2: Path, said: Said) -> None:
    one = source(edk2)
    with workspaces.held(one.store, Recipe(), "GCC5", said) as workspace:
        build_modules(workspace, one.tree, [], ["Pkg/Sec.inf"], TOOLS, 1)
        assert (workspace.output / "X64/Pkg/Sec/OUTPUT/Sec.obj").read_bytes() == b"code"


def test_a_module_that_does_not_compile(edk2: Path, said: Said) -> None:
    wrong = source(edk2, b"1: error: x")
    with workspaces.held(wrong.store, Recipe(), "GCC5", said) as workspace, pytest.raises(CompileError, match="error"):
        build_modules(workspace, wrong.tree, ["Pkg/One.inf"], [], TOOLS, 1)
