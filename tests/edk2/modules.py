# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds some modules of a platform, without an image: whether a change compiles, in a part of the time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from snp_harness.debian.cache import writing
from snp_harness.edk2.tools import Tools
from snp_harness.edk2.workspace import State, Workspace

_OBJECT = re.compile(r"^(\$\(OUTPUT_DIR\)/\S+\.obj) : \$\(MAKE_FILE\)", re.MULTILINE)


def build_modules(
    workspace: Workspace, tree: str, modules: Sequence[str], own: Sequence[str], tools: Tools, jobs: int
) -> None:
    """Compile and link modules of a tree, by the paths of their .inf files; raises CompileError, ToolError.

    own: modules of which only their own sources are compiled. The next complete build begins anew.
    """
    workspace.save(State(tools=list(tools.versions)))
    with writing(workspace.directory):
        workspace.log.write_bytes(b"")
    workspace.check_out(tree)
    command = workspace.command(jobs)
    if not workspace.has_basetools:
        workspace.compile_basetools(tools, jobs)
    for module in modules:
        workspace.run([*command, "-m", module], tools)
    architecture = workspace.recipe.platform.architectures[0]
    for module in own:
        workspace.run([*command, "-m", module, "genmake"], tools)
        makefile = workspace.output / architecture / PurePosixPath(module).with_suffix("") / "GNUmakefile"
        objects = _OBJECT.findall(makefile.read_text(encoding="utf-8", errors="replace"))
        directory = makefile.parent / "OUTPUT"
        targets = [name.replace("$(OUTPUT_DIR)", str(directory)) for name in objects]
        workspace.run(["make", f"-j{jobs}", "-f", makefile, "init", *targets], tools)
