# SPDX-License-Identifier: GPL-2.0-or-later
"""Sources of edk2: from Debian, a directory of the user, or a commit of the user's repository.

A user's directory and repository are only read: their files are copied into a repository of the cache, unchanged, with
uncommitted changes and submodules.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from snp_harness.debian.cache import Progress, cache_root, locked, remove, silent, writing
from snp_harness.defaults import DEBIAN, DEFAULT_SOURCE
from snp_harness.edk2.archive import MAX_FILE_BYTES
from snp_harness.edk2.debian_source import cached_source, debian_commit, debian_store, fetch_source
from snp_harness.edk2.git import GitError, GitResult, Store, TreeEditor, git
from snp_harness.edk2.recipe import Recipe, prepare
from snp_harness.edk2.series import Patch, apply_series
from snp_harness.errors import FirmwareError

_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,40}")
_STABLE_TAG = re.compile(r"edk2-stable(20\d{4})")
#: A file that identifies a directory of edk2.
_LANDMARK = Path("OvmfPkg", "OvmfPkg.dec")
#: The file with the path of a store's origin, a directory or repository of the user.
_ORIGIN = "origin"
#: Seconds after which a store whose origin is gone cannot be in use by a build.
_UNUSED_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Source:
    """A source of edk2. commit: in store. name: for messages. version: upstream's as 202502, None if unknown.

    missing: submodules without content; most builds do not need them.
    """

    store: Store
    commit: str
    name: str
    version: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def tree(self) -> str:
        """The git tree of its content."""
        return self.store.tree(self.commit)

    def with_series(self, patches: tuple[Patch, ...]) -> Source:
        """Return the source with a patch series on top; raises PatchError."""
        return replace(self, commit=apply_series(self.store, self.commit, patches, self.version))

    def prepared(self, recipe: Recipe) -> Source:
        """Return the source with the edits that the platform's build needs. Raises SourceError."""
        tree = self.tree
        with self.store.editing(tree) as editor:
            prepare(editor, tree, recipe.platform)
            edited = editor.tree()
        if edited == tree:
            return self
        return replace(self, commit=self.store.commit(edited, "Edits for the build\n", (self.commit,)))


def find_source(spec: str, progress: Progress = silent) -> Source:
    """Return the source for the user's argument: debian:SUITE, from the cache or fetched, or a directory.

    Raises FirmwareError if it is not a source of edk2, FetchError if it cannot be fetched.
    """
    if not spec.startswith(DEBIAN):
        return directory_source(Path(spec).expanduser(), progress)
    suite = debian_suite(spec)
    package = cached_source(suite) or fetch_source(suite, progress)
    return Source(debian_store(), debian_commit(package, progress), package.name, package.upstream)


def debian_suite(spec: str) -> str:
    """Return the suite of debian:SUITE; raises FirmwareError."""
    suite = spec.removeprefix(DEBIAN)
    if not _SUITE.fullmatch(suite):
        raise FirmwareError(f"{spec!a} does not name a suite of Debian", f"names are like {DEFAULT_SOURCE}")
    return suite


def directory_source(path: Path, progress: Progress = silent) -> Source:
    """Return a directory's present files, without those that its .gitignore excludes. The directory is only read."""
    top = _edk2(path)
    store = user_store(top)
    with locked(store.directory.with_suffix(".lock"), progress):
        progress(f"{top}: reading the source")
        tree, missing = _snapshot(store, top, store.directory / "snapshot.index")
        commit = store.commit(tree, f"Content of {top}\n")
        store.name("refs/source/current", commit)
    described = git(
        "describe", "--tags", "--match=edk2-stable*", "--abbrev=0", directory=top, environment=_reading(top)
    )
    return Source(store, commit, str(top), _stable(described.line), missing)


def user_store(path: Path) -> Store:
    """Return the store of a user's directory or repository, made if it is missing; raises GitError, FetchError.

    Stores whose directory is gone, and that have not been used for long, are removed: each has 100 MB.
    """
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    store = Store.open(cache_root() / "edk2" / "stores" / name)
    with writing(store.directory):
        (store.directory / _ORIGIN).write_bytes(os.fsencode(path))
        os.utime(store.directory)
    _prune_stores(store.directory)
    return store


def _prune_stores(current: Path) -> None:
    for path in current.parent.iterdir():
        with contextlib.suppress(OSError):
            origin = Path(os.fsdecode((path / _ORIGIN).read_bytes()))
            unused = time.time() - path.stat().st_mtime > _UNUSED_S
            if unused and path != current and not origin.exists():
                remove(path)
                path.with_suffix(".lock").unlink(missing_ok=True)


class Repository:
    """A user's git repository of edk2, whose commits are built; it is only read."""

    def __init__(self, path: Path) -> None:
        self.path = _edk2(path)
        common = self._ask("rev-parse", "--path-format=absolute", "--git-common-dir")
        if common.status:
            raise FirmwareError(
                f"{self.path} is not a git repository: {common.said}", "name a clone of edk2 with --repo"
            )
        self._common = Path(common.line)
        self._partial = (
            self._ask("config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$").status == 0
        )
        self.store = user_store(self._common)
        modules = sorted(
            path.parent for path in (self._common / "modules").rglob("HEAD") if (path.parent / "objects").is_dir()
        )
        self.store.borrow([self._common / "objects", *(module / "objects" for module in modules)])
        self.store.end_history_at(self._common / "shallow")

    def commit(self, revision: str) -> str:
        """Return the commit of the user's name for it; raises FirmwareError."""
        found = self._ask("rev-parse", "--quiet", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        if found.status or not found.line:
            raise FirmwareError(f"{self.path} has no commit {revision!a}", "name a commit, a tag or a branch")
        return found.line

    def subject(self, commit: str) -> str:
        """The first line of a commit's message."""
        return self.git("show", "--no-patch", "--format=%s", commit)

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits; None if they have none."""
        return self._ask("merge-base", one, other).line or None

    def git(self, *arguments: str) -> str:
        """Return the output of a git command that only reads; raises GitError."""
        result = self._ask(*arguments)
        if result.status:
            raise GitError(f"git {arguments[0]} failed in {self.path}: {result.said}", "check the repository")
        return result.line

    def source(self, commit: str) -> Source:
        """Return the source at a commit, with the submodules that the repository has fetched.

        Raises FirmwareError if the repository lacks a part of it, which is not a fault of the commit.
        """
        if self._partial:
            self._refuse_lacking(commit)
        missing = []
        with self.store.editing(f"{commit}^{{tree}}") as editor:
            for path, module in sorted(editor.submodules().items()):
                tree = self.store.resolve(f"{module}^{{tree}}")
                if tree is None:
                    missing.append(path)
                else:
                    editor.graft(path, tree)
            tree = editor.tree()
        described = self._ask("describe", "--tags", "--match=edk2-stable*", "--abbrev=0", commit)
        flat = self.store.commit(tree, f"Content of {commit}\n")
        self.store.name(f"refs/source/{commit}", flat)
        return Source(self.store, flat, f"{self.path} {commit[:12]}", _stable(described.line), tuple(missing))

    def _refuse_lacking(self, commit: str) -> None:
        """Raise FirmwareError for a partial clone that lacks files: reading them would fetch them into the clone."""
        listed = self.git("rev-list", "--objects", "--no-walk", "--missing=print", commit)
        lacking = sum(line.startswith("?") for line in listed.splitlines())
        if lacking:
            raise FirmwareError(
                f"{self.path} is a partial clone, and lacks {lacking} files of {commit[:12]}", "use a complete clone"
            )

    def _ask(self, *arguments: str) -> GitResult:
        return git(*arguments, directory=self.path, environment=_reading(self.path))


def _snapshot(store: Store, top: Path, index: Path) -> tuple[str, tuple[str, ...]]:
    """Return a directory's tree, and its empty submodules. index: a file kept for the next call, which is then fast."""
    _refuse_large(store, top, index)
    taken = store.ask("add", "--all", "--", ".", index=index, work_tree=top)
    if taken.status:
        # These errors are not of a commit: a bisection must not skip them.
        hint = "check its permissions"
        if "does not have a commit checked out" in taken.said:
            hint = "that is a git repository without a commit: commit in it, or move it out"
        raise FirmwareError(f"cannot read {top}: {taken.said}", hint)
    _take_tracked(store, top, index)
    with tempfile.TemporaryDirectory(prefix="snp-harness-index-") as directory:
        editor = TreeEditor(store, Path(directory) / "index")
        shutil.copyfile(index, editor.index)
        for path in sorted(editor.submodules()):
            name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
            tree, _ = _snapshot(store, top / path, index.with_name(f"snapshot-{name}.index"))
            editor.graft(path, tree)
        listed = git("config", "--file", ".gitmodules", "--get-regexp", r"\.path$", directory=top).line
        modules = sorted(line.partition(" ")[2] for line in listed.splitlines())
        return editor.tree(), tuple(path for path in modules if not any((top / path).glob("*")))


def _take_tracked(store: Store, top: Path, index: Path) -> None:
    """Add files that a .gitignore names although they are committed: mbedtls' releases have some."""
    listing = ("ls-files", "--cached", "--ignored", "--exclude-standard", "-z")
    asked = git(*listing, directory=top, environment=_reading(top))
    names = {os.fsdecode(name) for name in asked.stdout.split(b"\0") if name} if asked.status == 0 else set()
    wanted = {name for name in names if os.path.lexists(top / name)}
    asked = store.ask(*listing, index=index, work_tree=top)
    taken = {os.fsdecode(name) for name in asked.stdout.split(b"\0") if name}
    if wanted - taken:
        listed = b"\0".join(os.fsencode(name) for name in sorted(wanted - taken))
        options = ("--literal-pathspecs", "add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul")
        added = store.ask(*options, input=listed, index=index, work_tree=top)
        if added.status:
            raise FirmwareError(f"cannot read {top}: {added.said}", "check its permissions")
    TreeEditor(store, index).leave_out(taken - wanted)


def _refuse_large(store: Store, top: Path, index: Path) -> None:
    """Raise FirmwareError for a file too large for a source, such as a disk image, before it is copied to the cache."""
    asked = store.ask("ls-files", "--others", "--modified", "--exclude-standard", "-z", index=index, work_tree=top)
    for name in asked.stdout.split(b"\0"):
        path = top / os.fsdecode(name)
        with contextlib.suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_size > MAX_FILE_BYTES:
                raise FirmwareError(
                    f"{path} has {found.st_size >> 20} MiB, more than any file of edk2",
                    "move it out, or name it in a .gitignore",
                )


def _edk2(path: Path) -> Path:
    top = path.resolve()
    if not top.is_dir():
        raise FirmwareError(f"{path} is not a directory", "name the top directory of edk2")
    if not (top / _LANDMARK).is_file():
        raise FirmwareError(f"{path} is not a source of edk2: it has no {_LANDMARK}", "name its top directory")
    return top


def _reading(path: Path) -> dict[str, str]:
    """Environment for git in a user's repository, which may belong to another user and is only read."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(path)}


def _stable(described: str) -> int | None:
    match = _STABLE_TAG.match(described)
    return int(match[1]) if match else None
