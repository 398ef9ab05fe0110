# SPDX-License-Identifier: GPL-2.0-or-later
"""A workspace: a work tree of the cache in which edk2 is built repeatedly, compiling only changed files.

Its files are those of a git tree. A change to another tree, of any repository, writes only the files that differ, so
that the next build compiles only those. edk2.workspaces finds workspaces and locks them.
"""

from __future__ import annotations

import enum
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import Progress, make_directory, remove, writing
from snp_harness.edk2.git import GitError, Store
from snp_harness.edk2.images import CODE
from snp_harness.edk2.leftovers import MARK
from snp_harness.edk2.recipe import Recipe
from snp_harness.edk2.runner import ModuleProgress, run_logged
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.standin import GRUB, stand_in
from snp_harness.edk2.tools import Tools

#: With more changed files it is another version of edk2, which is built completely.
MOST_CHANGED = 1000
#: The date that edk2 writes into files.
_EPOCH = "1735689600"
_COOKIES = 100
_BASETOOLS = "BaseTools/Source/C"
#: `build` prints it when it has read the platform's description (BaseTools/Source/Python/build/build.py).
_READ = b"done!"


class Since(enum.Enum):
    """What a tree is compared with: the present files, the last complete build, the last build of at least SEC."""

    NOW = "index"
    COMPLETE = "index.complete"
    SEC = "index.sec"


@dataclass(slots=True)
class State:
    """The contents of a workspace. tree: of its files. full: of the last complete build, on which SEC can be built.

    Fields are empty if unknown, as during a build. tools: their versions. cut: a compilation has begun and did not end
    by itself; a compiler that is killed leaves partial files, which makefiles treat as complete.
    """

    tree: str = ""
    full: str = ""
    tools: list[str] | None = None
    cut: bool = False


class Workspace:
    """A workspace that this process holds: see edk2.workspaces."""

    def __init__(self, directory: Path, store: Store, recipe: Recipe, tool_chain: str) -> None:
        self.directory = directory
        self.store = store
        self.recipe = recipe
        self.tool_chain = tool_chain
        self.source = directory / "source"
        self.log = directory / "build.log"
        self._index = self._index_of(Since.NOW)
        self._state = directory / "state.json"

    @property
    def output(self) -> Path:
        """The directory of `build`'s output for this recipe."""
        return self.source / self.recipe.platform.output / f"{self.recipe.target}_{self.tool_chain}"

    @property
    def volumes(self) -> Path:
        """The directory of the images and volumes."""
        return self.output / "FV"

    @property
    def image(self) -> Path:
        """The combined image."""
        return self.volumes / self.recipe.platform.image

    @property
    def code_images(self) -> tuple[Path, ...]:
        """The images that have SEC's volume: the combined one, and the half with the code if there is one."""
        code = self.volumes / CODE
        return (self.image, code) if code.is_file() else (self.image,)

    @property
    def bin(self) -> Path:
        """The directory of edk2's own compiled tools."""
        return self.source / _BASETOOLS / "bin"

    def state(self) -> State:
        """Read the state of the workspace; empty if it is unknown."""
        try:
            return State(**json.loads(self._state.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return State()

    def save(self, state: State) -> None:
        """Write the state of the workspace."""
        temporary = self._state.with_suffix(".new")
        with writing(self.directory):
            temporary.write_text(json.dumps({name: getattr(state, name) for name in State.__slots__}), encoding="utf-8")
            temporary.replace(self._state)

    def check_out(self, tree: str) -> None:
        """Check out a tree: files that differ, also by a user's edit, are written, all others are kept."""
        make_directory(self.source)
        self.store.ask("update-index", "-q", "--refresh", index=self._index, work_tree=self.source)
        done = self.store.ask("read-tree", "--reset", "-u", tree, index=self._index, work_tree=self.source)
        if done.status:
            # An interrupt left the index locked or incomplete: all files are written again.
            remove(self._index.with_name("index.lock"))
            remove(self._index)
            done = self.store.ask("read-tree", "--reset", "-u", tree, index=self._index, work_tree=self.source)
        if done.status:
            raise GitError(f"cannot write the source to {self.source}: {done.said}", "remove that directory")

    def build(self, tree: str, tools: Tools, jobs: int, module: ModuleProgress | None, progress: Progress) -> None:
        """Build a tree completely, except for what is up to date; raises CompileError, ToolError."""
        state = self.state()
        reason = self._stale(state, tree, tools)
        if reason:
            progress(f"{reason}: building everything again")
            remove(self.source)
            remove(self._index)
            state = State()
        versions = list(tools.versions)
        self.save(State(tools=versions))
        with writing(self.directory):
            self.log.write_bytes(b"")
        self.check_out(tree)
        argv = self.command(jobs)
        if not self.has_basetools:
            progress("reading the platform's description")
            self.read_description(tools, jobs)
            progress("compiling edk2's own tools")
            self.compile_basetools(tools, jobs)
        # From here on the makefiles can continue after an interrupt, except for partial files.
        self.save(State(tree, tools=versions, cut=True))
        try:
            try:
                self.run(argv, tools, module)
            except CompileError:
                if not state.cut:
                    raise
                progress("the files of an interrupted build do not build: building everything again")
                remove(self.output)
                self._make_repeatable()
                self.run(argv, tools, module)
            if not self.image.is_file():
                raise CompileError(f"the build made no {self.image.name}", f"see {self.log}")
        except CompileError:
            self.save(State(tree, tools=versions))
            raise
        self.keep(Since.COMPLETE, Since.SEC)
        self.save(State(tree, full=tree, tools=versions))

    def read_description(self, tools: Tools, jobs: int) -> None:
        """Read the platform's description in the files that are checked out, and make what `build` makes of it in C.

        This finds the description's mistakes, and needs none of edk2's compiled tools. What fails after the reading may
        be for want of one. Raises CompileError, ToolError.
        """
        try:
            self.run([*self.command(jobs), "genc"], tools)
        except CompileError:
            if _READ not in self.log.read_bytes():
                raise

    @property
    def has_basetools(self) -> bool:
        """Whether edk2's own tools are compiled."""
        return (self.bin / "GenFv").is_file()

    def command(self, jobs: int) -> list[str | Path]:
        """Make the files that `build` needs beside the source; returns its command."""
        self._configure()
        self._make_repeatable()
        self._put_stand_in()
        return [
            self.source / "BaseTools" / "BinWrappers" / "PosixLike" / "build",
            *("-p", self.recipe.platform.dsc),
            *(part for name in self.recipe.platform.architectures for part in ("-a", name)),
            *("-b", self.recipe.target, "-t", self.tool_chain, "-n", str(jobs), "-s"),
            *(part for name, value in self.recipe.defines for part in ("-D", f"{name}={value}")),
        ]

    def changed(self, tree: str, since: Since = Since.NOW) -> tuple[str, ...] | None:
        """Return the files that differ between a tree and the workspace, or its last build; None if unknown.

        The index is compared with the tree's names, so that they may be of different repositories.
        """
        index = self._index_of(since)
        if not index.is_file():
            return None
        done = self.store.ask("diff-index", "--cached", "--name-only", "--no-renames", "-z", tree, index=index)
        if done.status:
            return None
        return tuple(os.fsdecode(name) for name in done.stdout.split(b"\0") if name)

    def keep(self, *since: Since) -> None:
        """Record the present files as those of the last build."""
        with writing(self.directory):
            for one in since:
                shutil.copyfile(self._index, self._index_of(one))

    def _index_of(self, since: Since) -> Path:
        return self.directory / since.value

    def _stale(self, state: State, tree: str, tools: Tools) -> str:
        """Return why the workspace's objects cannot be used for a tree, empty if they can.

        The makefiles have the dependencies on sources, but not those on edk2's tools and their settings.
        """
        if not self.source.is_dir():
            return ""
        if state.tools != list(tools.versions):
            return "the tools have changed"
        if not state.tree:
            return "what was built here is not known"
        changed = self.changed(tree)
        if changed is None:
            return "what was built here is not known"
        if any(path.startswith("BaseTools/") for path in changed):
            return "edk2's own tools have changed"
        if len(changed) > MOST_CHANGED:
            return f"{len(changed)} files have changed"
        return ""

    def environment(self, tools: Tools) -> dict[str, str]:
        """The environment of `build` and its makefiles."""
        base = self._environment(tools)
        wrappers = self.source / "BaseTools" / "BinWrappers" / "PosixLike"
        return {
            **base,
            "PATH": os.pathsep.join([str(wrappers), base["PATH"]]),
            "TMPDIR": str(self._temporary()),
            "WORKSPACE": str(self.source),
            "EDK_TOOLS_PATH": str(self.source / "BaseTools"),
            "CONF_PATH": str(self.source / "Conf"),
            "PYTHON_COMMAND": sys.executable,
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": _EPOCH,
        }

    def _environment(self, tools: Tools) -> dict[str, str]:
        """The environment that all processes here share."""
        return {**tools.environment(), MARK: str(self.directory)}

    def _temporary(self) -> Path:
        """Return an empty directory for temporary files of the compiler, which it leaves when it is killed."""
        directory = self.directory / "tmp"
        remove(directory)
        return make_directory(directory)

    def run(self, argv: Sequence[str | Path], tools: Tools, module: ModuleProgress | None = None) -> None:
        """Run a program in the environment of `build`, its output in the log; raises CompileError, ToolError."""
        run_logged(argv, log=self.log, cwd=self.source, environment=self.environment(tools), module=module)

    def compile_basetools(self, tools: Tools, jobs: int) -> None:
        """Compile edk2's own tools; raises CompileError, ToolError."""
        environment = {**self._environment(tools), "PYTHON_COMMAND": sys.executable}
        # Not the target above it, which also runs their tests.
        argv = ("make", f"-j{jobs}", "-C", self.source / _BASETOOLS)
        run_logged(argv, log=self.log, cwd=self.source, environment=environment)

    def _configure(self) -> None:
        """Copy edk2's own templates to `build`'s configuration directory."""
        configuration = self.source / "Conf"
        with writing(configuration):
            configuration.mkdir(exist_ok=True)
            for name in ("build_rule", "tools_def", "target"):
                content = (self.source / "BaseTools" / "Conf" / f"{name}.template").read_bytes()
                file = configuration / f"{name}.txt"
                if not file.is_file() or file.read_bytes() != content:
                    file.write_bytes(content)

    def _make_repeatable(self) -> None:
        """Make the stack cookies constant: `build` makes random ones for a new build directory (BaseTools build.py)."""
        with writing(self.output):
            self.output.mkdir(parents=True, exist_ok=True)
            for bits in (32, 64):
                file = self.output / f"StackCookieValues{bits}.json"
                if not file.exists():
                    draw = random.Random(bits)
                    file.write_text(json.dumps([draw.getrandbits(bits) for _ in range(_COOKIES)]))

    def _put_stand_in(self) -> None:
        """Add the boot loader of AmdSevX64, which edk2 would make with grub-mkimage (edk2.standin)."""
        grub = self.source / GRUB
        if self.recipe.platform.name == "AmdSevX64" and grub.parent.is_dir():
            with writing(grub.parent):
                if not grub.exists():
                    grub.write_bytes(stand_in())
                # grub.sh keeps a loader that is newer than itself and its configuration.
                os.utime(grub)
