# SPDX-License-Identifier: GPL-2.0-or-later
"""A workspace: a work tree of ours in which edk2 is built, again and again, only what changed.

It is found by source repository and recipe. Its files are those of a tree of the repository; changing to another tree
rewrites only what differs, so that the next build compiles only that. Only one process uses it at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.firmware.cache import Progress, cache_root, make_directory, remove, writing
from harness.firmware.edk2.errors import CompileError
from harness.firmware.edk2.git import GitError, Store
from harness.firmware.edk2.recipe import ARCHITECTURE, Recipe
from harness.firmware.edk2.runner import ModuleProgress, run_logged
from harness.firmware.edk2.standin import GRUB, stand_in
from harness.firmware.edk2.tools import Tools

#: Workspaces that are kept; each has 0.8 GB.
KEPT = 6
#: The date of whatever edk2 dates.
_EPOCH = "1735689600"
_COOKIES = 100
_BASETOOLS = "BaseTools/Source/C"


@dataclass(slots=True)
class State:
    """What a workspace was built from. full, sec: trees of the last complete build of all, and of SEC alone since.

    tools: the versions. basetools: the tree of edk2's own tools when they were compiled.
    """

    full: str = ""
    sec: str = ""
    tools: list[str] | None = None
    basetools: str = ""


class Workspace:
    """A workspace that this process holds: see `held`."""

    def __init__(self, directory: Path, store: Store, recipe: Recipe, tool_chain: str) -> None:
        self.directory = directory
        self.store = store
        self.recipe = recipe
        self.tool_chain = tool_chain
        self.source = directory / "source"
        self.log = directory / "build.log"
        self._index = directory / "index"
        self._state = directory / "state.json"

    @property
    def output(self) -> Path:
        """Where `build` puts everything of this recipe."""
        return self.source / self.recipe.platform.output / f"{self.recipe.target}_{self.tool_chain}"

    @property
    def volumes(self) -> Path:
        """Where the images and volumes are."""
        return self.output / "FV"

    @property
    def bin(self) -> Path:
        """Where edk2's own compiled tools are."""
        return self.source / _BASETOOLS / "bin"

    def state(self) -> State:
        """What is built here; nothing if that cannot be told."""
        try:
            return State(**json.loads(self._state.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return State()

    def save(self, state: State) -> None:
        """Write down what is built here."""
        temporary = self._state.with_suffix(".new")
        with writing(self.directory):
            temporary.write_text(json.dumps({name: getattr(state, name) for name in State.__slots__}), encoding="utf-8")
            temporary.replace(self._state)

    def check_out(self, tree: str) -> None:
        """Make the files those of a tree; files that differ, also by somebody's hand, are written, all others kept."""
        make_directory(self.source)
        self.store.ask("update-index", "-q", "--refresh", index=self._index, work_tree=self.source)
        done = self.store.ask("read-tree", "--reset", "-u", tree, index=self._index, work_tree=self.source)
        if done.status:
            # An interrupt left the index locked or torn: the files are written anew.
            remove(self._index.with_name("index.lock"))
            remove(self._index)
            done = self.store.ask("read-tree", "--reset", "-u", tree, index=self._index, work_tree=self.source)
        if done.status:
            raise GitError(f"cannot write the source to {self.source}: {done.said}", "remove that directory")

    def build(self, tree: str, tools: Tools, jobs: int, module: ModuleProgress, progress: Progress) -> None:
        """Build a tree completely, what is there already aside; raises CompileError, ToolError."""
        state = self.state()
        if state.tools is not None and state.tools != list(tools.versions):
            progress("the tools have changed: building everything anew")
            remove(self.source)
            remove(self._index)
            state = State()
        # Until it is done, nothing is known of what is there.
        self.save(State(tools=list(tools.versions), basetools=state.basetools))
        with writing(self.directory):
            self.log.write_bytes(b"")
        self.check_out(tree)
        basetools = self.store.git("rev-parse", f"{tree}:{_BASETOOLS}").line
        if state.basetools != basetools or not self.bin.is_dir():
            progress("compiling edk2's own tools")
            self._compile_basetools(tools, jobs)
        self._configure()
        self._make_repeatable()
        self._put_stand_in()
        argv: list[str | Path] = [
            self.source / "BaseTools" / "BinWrappers" / "PosixLike" / "build",
            *("-p", self.recipe.platform.dsc, "-a", ARCHITECTURE, "-b", self.recipe.target, "-t", self.tool_chain),
            *("-n", str(jobs), "-s"),
            *(part for name, value in self.recipe.defines for part in ("-D", f"{name}={value}")),
        ]
        try:
            run_logged(argv, log=self.log, cwd=self.source, environment=self.environment(tools), module=module)
        finally:
            self.save(State(tools=list(tools.versions), basetools=basetools))
        if not (self.volumes / "OVMF.fd").is_file():
            raise CompileError("the build made no OVMF.fd", f"see {self.log}")
        self.save(State(full=tree, tools=list(tools.versions), basetools=basetools))

    def environment(self, tools: Tools) -> dict[str, str]:
        """The variables that `build` and its makefiles work with."""
        base = tools.environment()
        wrappers = self.source / "BaseTools" / "BinWrappers" / "PosixLike"
        return {
            **base,
            "PATH": os.pathsep.join([str(wrappers), base["PATH"]]),
            "WORKSPACE": str(self.source),
            "EDK_TOOLS_PATH": str(self.source / "BaseTools"),
            "CONF_PATH": str(self.source / "Conf"),
            "PYTHON_COMMAND": sys.executable,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "",
            "SOURCE_DATE_EPOCH": _EPOCH,
        }

    def _compile_basetools(self, tools: Tools, jobs: int) -> None:
        environment = {**tools.environment(), "PYTHON_COMMAND": sys.executable}
        # Not the target above it, which also runs their tests.
        argv = ("make", f"-j{jobs}", "-C", self.source / _BASETOOLS)
        run_logged(argv, log=self.log, cwd=self.source, environment=environment)

    def _configure(self) -> None:
        """Put edk2's own templates where `build` looks for its configuration."""
        configuration = self.source / "Conf"
        with writing(configuration):
            configuration.mkdir(exist_ok=True)
            for name in ("build_rule", "tools_def", "target"):
                content = (self.source / "BaseTools" / "Conf" / f"{name}.template").read_bytes()
                file = configuration / f"{name}.txt"
                if not file.is_file() or file.read_bytes() != content:
                    file.write_bytes(content)

    def _make_repeatable(self) -> None:
        """Fix the stack cookies: `build` draws them at random for a new build directory (BaseTools build.py)."""
        with writing(self.output):
            self.output.mkdir(parents=True, exist_ok=True)
            for bits in (32, 64):
                file = self.output / f"StackCookieValues{bits}.json"
                if not file.exists():
                    draw = random.Random(bits)
                    file.write_text(json.dumps([draw.getrandbits(bits) for _ in range(_COOKIES)]))

    def _put_stand_in(self) -> None:
        """Give AmdSevX64 its boot loader, which it would make with grub-mkimage: see edk2.standin."""
        grub = self.source / GRUB
        if self.recipe.platform.name == "AmdSevX64" and grub.parent.is_dir():
            with writing(grub.parent):
                if not grub.exists():
                    grub.write_bytes(stand_in())
                # grub.sh keeps one that is newer than itself and its configuration.
                os.utime(grub)


def workspace_directory(store: Store, recipe: Recipe, slot: int = 0) -> Path:
    """Where the workspace of a repository and a recipe is. slot: tells apart those used at the same time."""
    key = hashlib.sha256(repr((store.directory.name, recipe.key)).encode()).hexdigest()[:16]
    return cache_root() / "edk2" / "work" / (f"{key}-{slot}" if slot else key)


@contextlib.contextmanager
def held(store: Store, recipe: Recipe, tool_chain: str, progress: Progress, slot: int = 0) -> Iterator[Workspace]:
    """The workspace of a repository and a recipe, for this process alone; waits until it is free."""
    directory = make_directory(workspace_directory(store, recipe, slot))
    with writing(directory):
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that builds the same")
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(directory)
        _prune(directory)
        yield Workspace(directory, store, recipe, tool_chain)
    finally:
        os.close(lock)


def _prune(current: Path) -> None:
    """Remove the workspaces that were used longest ago, but none that is in use."""
    others = sorted(
        (path for path in current.parent.iterdir() if path != current),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    for path in others[KEPT - 1 :]:
        with contextlib.suppress(OSError):
            lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
