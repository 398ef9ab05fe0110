# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds SEC alone: faster than `build`, which takes ten seconds to find out what has changed.

A complete build generates a makefile for each module. Those of the modules in SEC's volume and of their libraries are
run, the volume is made again, and replaces the old one in the image. That is correct as long as only code has changed:
a change of the files that `build` itself reads (INF, DSC, DEC, FDF, its tools) needs a complete build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from snp_harness.debian.cache import writing
from snp_harness.edk2.runner import run_logged
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import Tools
from snp_harness.edk2.workspace import Since, State, Workspace

VOLUME = "SECFV"
#: Files that are only compiled or included.
_CODE = frozenset({".c", ".h", ".nasm", ".nasmb", ".inc", ".s"})
_FILE_NAME = re.compile(
    r"^EFI_FILE_NAME\s*=\s*\S*/Ffs/(?P<guid>[0-9A-Fa-f-]{36})(?P<module>[A-Za-z0-9_]+)/\S+\.ffs\s*$"
)
_MODULE_GUID = re.compile(r"^MODULE_GUID\s*=\s*(?P<guid>[0-9A-Fa-f-]{36})\s*$", re.MULTILINE)
_MODULE_DIRECTORY = re.compile(r"^MODULE_DIR\s*=\s*(?P<path>/\S+)\s*$", re.MULTILINE)
_LIBRARY = re.compile(
    r"^\t@\"\$\(MAKE\)\" \$\(MAKE_FLAGS\) -f \$\(BIN_DIR\)/(?P<path>\S+/GNUmakefile)\s*$", re.MULTILINE
)
_DRIVER = "harness-sec.mk"


@dataclass(frozen=True, slots=True)
class SecModules:
    """The generated makefiles of the modules in SEC's volume, and of their libraries."""

    modules: tuple[Path, ...]
    libraries: tuple[Path, ...]


def only_code(changed: Iterable[str]) -> bool:
    """Return whether none of the changes needs a complete build."""
    return all(PurePosixPath(path).suffix.lower() in _CODE and not path.startswith("BaseTools/") for path in changed)


def build_sec(workspace: Workspace, tree: str, tools: Tools, jobs: int) -> bool:
    """Build SEC of a tree on top of the last complete build. Returns False if that needs a complete build.

    Raises CompileError, ToolError.
    """
    state = workspace.state()
    if not state.full or state.tools != list(tools.versions):
        return False
    complete, last, now = (workspace.changed(tree, since) for since in (Since.COMPLETE, Since.SEC, Since.NOW))
    if complete is None or last is None or now is None or not only_code(complete):
        return False
    modules = _find(workspace)
    if modules is None:
        return False
    # An interrupt must not leave a partial image that looks complete.
    workspace.save(State(tools=state.tools))
    with writing(workspace.directory):
        workspace.log.write_bytes(b"")
    workspace.check_out(tree)
    # A build that failed in between has left objects of its own source.
    affected = _affected(modules, [str(workspace.source / path) for path in {*last, *now}])
    workspace.save(State(tree, tools=state.tools, cut=True))
    environment = workspace.environment(tools)
    driver = _write_driver(workspace, affected)
    argv = ("make", "--silent", f"-j{jobs}", "-f", driver)
    done = State(tree, state.full, state.tools)
    try:
        run_logged(argv, log=workspace.log, cwd=workspace.source, environment=environment)
        _replace_volume(workspace, environment)
    except CompileError:
        # Compiled objects can be reused: the makefiles continue with them for another tree.
        workspace.save(done)
        raise
    workspace.keep(Since.SEC)
    workspace.save(done)
    return True


def _find(workspace: Workspace) -> SecModules | None:
    """Return the parts of SEC's volume in the last complete build; None if its files are not as expected."""
    root = workspace.output / workspace.recipe.platform.architectures[0]
    try:
        lines = (workspace.volumes / f"{VOLUME}.inf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    wanted = [match for line in lines if (match := _FILE_NAME.match(line))]
    modules: list[Path] = []
    libraries: dict[Path, None] = {}
    for match in wanted:
        found = [
            path for path in root.glob(f"**/{match['module']}/GNUmakefile") if _guid(path) == match["guid"].lower()
        ]
        if len(found) != 1:
            return None
        modules.append(found[0])
        for library in _LIBRARY.finditer(found[0].read_text(encoding="utf-8", errors="replace")):
            libraries[root / library["path"]] = None
    if not modules or not all(path.is_file() for path in libraries):
        return None
    return SecModules(tuple(modules), tuple(libraries))


def _guid(makefile: Path) -> str:
    match = _MODULE_GUID.search(makefile.read_text(encoding="utf-8", errors="replace"))
    return match["guid"].lower() if match else ""


def _affected(modules: SecModules, changed: Sequence[str]) -> SecModules:
    """Return the modules, and the libraries that depend on a changed file.

    The makefiles list the includes that `build` found last; the compiler's own lists are beside the objects. An object
    whose list has a changed file is removed, so that it is made again in any case.
    """
    libraries = []
    for makefile in (*modules.modules, *modules.libraries):
        directory = _MODULE_DIRECTORY.search(makefile.read_text(encoding="utf-8", errors="replace"))
        affected = directory is None or any(path.startswith(f"{directory['path']}/") for path in changed)
        for listing in makefile.parent.glob("OUTPUT/**/*.deps"):
            text = listing.read_text(encoding="utf-8", errors="replace")
            if any(path in text for path in changed):
                affected = True
                listing.with_name(listing.name.split(".")[0]).with_suffix(".obj").unlink(missing_ok=True)
        if affected and makefile in modules.libraries:
            libraries.append(makefile)
    return SecModules(modules.modules, tuple(libraries))


def _write_driver(workspace: Workspace, modules: SecModules) -> Path:
    """Return a makefile that makes the libraries in parallel and then the modules."""
    libraries = [str(path) for path in modules.libraries]
    lines = [".PHONY: all libraries", "all:", "libraries:", ""]
    for number, path in enumerate(libraries):
        lines += [f".PHONY: l{number}", f"libraries: l{number}", f"l{number}:", f"\t@$(MAKE) -s -f '{path}' tbuild", ""]
    for number, makefile in enumerate(modules.modules):
        lines += [
            f".PHONY: m{number}",
            f"all: m{number}",
            f"m{number}: libraries",
            f"\t@$(MAKE) -s -f '{makefile}' tbuild",
            "",
        ]
    driver = workspace.directory / _DRIVER
    with writing(workspace.directory):
        driver.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return driver


def _replace_volume(workspace: Workspace, environment: dict[str, str]) -> None:
    """Make SEC's volume, and replace the old one in the images."""
    volume = workspace.volumes / f"{VOLUME}.Fv"
    before = volume.read_bytes()
    new = workspace.directory / f"{VOLUME}.new"
    argv = (workspace.bin / "GenFv", "-i", volume.with_suffix(".inf"), "-o", new)
    run_logged(argv, log=workspace.log, cwd=workspace.source, environment=environment)
    after = new.read_bytes()
    if len(after) != len(before):
        raise CompileError(f"{VOLUME} has {len(after)} bytes, not {len(before)}", "build it without --sec-only")
    with writing(workspace.volumes):
        for path in workspace.code_images:
            image = path.read_bytes()
            at = image.find(before)
            if at < 0 or image.find(before, at + 1) >= 0:
                raise CompileError(f"{path.name} does not contain {VOLUME} exactly once", "build it without --sec-only")
            path.write_bytes(image[:at] + after + image[at + len(after) :])
        new.replace(volume)
