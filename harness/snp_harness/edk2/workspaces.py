# SPDX-License-Identifier: GPL-2.0-or-later
"""The workspaces of the cache: one for each recipe, which one process at a time may use."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from snp_harness.debian.cache import Progress, cache_root, make_directory, writing
from snp_harness.edk2.git import Store
from snp_harness.edk2.leftovers import end_leftovers
from snp_harness.edk2.recipe import Recipe
from snp_harness.edk2.tools import ToolError
from snp_harness.edk2.workspace import Workspace

#: Workspaces that are kept; each has 0.8 GB.
KEPT = 6
_LOCK = "lock"
#: A path without characters that makefiles, shells and search lists treat as separators.
_PATH = re.compile(r"[A-Za-z0-9_./+~@-]+")
#: Prefix of a workspace that is being removed.
_OLD = ".old-"


def workspace_directory(recipe: Recipe, slot: int = 0) -> Path:
    """Return the directory of a recipe's workspace. slot: distinguishes those that are used at the same time."""
    key = hashlib.sha256(recipe.key.encode()).hexdigest()[:16]
    return cache_root() / "edk2" / "work" / (f"{key}-{slot}" if slot else key)


def can_build_in(directory: Path) -> bool:
    """Return whether edk2 can be built below a directory: its makefiles do not quote paths."""
    return _PATH.fullmatch(str(directory)) is not None


@contextlib.contextmanager
def held(store: Store, recipe: Recipe, tool_chain: str, progress: Progress, slot: int = 0) -> Iterator[Workspace]:
    """Return the workspace of a recipe, for this process and a source's repository; waits until it is free."""
    directory = workspace_directory(recipe, slot)
    if not can_build_in(directory):
        raise ToolError(
            f"edk2 cannot be built in {str(directory)!a}", "set XDG_CACHE_HOME to a path of plain characters"
        )
    lock = _lock(directory, progress)
    try:
        end_leftovers(directory)
        with writing(directory):
            os.utime(directory)
        _prune(directory)
        yield Workspace(directory, store, recipe, tool_chain)
    finally:
        os.close(lock)


def _lock(directory: Path, progress: Progress) -> int:
    """Make a workspace's directory, and lock it once it is free; returns the lock's descriptor."""
    while True:
        make_directory(directory)
        with writing(directory):
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another process that builds the same")
                fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), (directory / _LOCK).stat()):
                    return lock
        except BaseException:
            os.close(lock)
            raise
        # It was removed during the wait.
        os.close(lock)


def _prune(current: Path) -> None:
    """Remove the workspaces that were used longest ago and are not in use."""
    for path in current.parent.glob(f"{_OLD}*"):
        shutil.rmtree(path, ignore_errors=True)
    others: list[Path] = []
    # Another process is removing it.
    with contextlib.suppress(OSError):
        others = sorted(
            (path for path in current.parent.iterdir() if path != current and not path.name.startswith(_OLD)),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        )
    for path in others[KEPT - 1 :]:
        with contextlib.suppress(OSError):
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A process that needs it now makes another one instead of using this one while it is removed.
                old = path.rename(path.with_name(f"{_OLD}{os.getpid()}-{path.name}"))
                shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(lock)
