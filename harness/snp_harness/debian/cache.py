# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache directory, whose entries are either complete or absent.

An entry is a directory suite/name/version. It is filled under a temporary name and renamed when complete; a link
`current` beside the versions refers to the one fetched last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import quote, unquote

from snp_harness.errors import FetchError
from snp_harness.xdg import cache_home

Progress = Callable[[str], None]


@runtime_checkable
class CountingProgress(Protocol):
    """A progress callback that shows how much of a download is done, too."""

    def amount(self, done: int, total: int) -> None:
        """Show the bytes that are there, and how many they will be. Called at any rate."""


#: Begins the names of what is not complete yet.
TEMPORARY = ".incomplete-"
_CURRENT = "current"


def silent(_text: str) -> None:
    """A progress callback that does nothing."""


def cache_root() -> Path:
    """Return $XDG_CACHE_HOME/snp-harness, or ~/.cache/snp-harness if that is not set or not absolute."""
    return cache_home() / "snp-harness"


def make_directory(path: Path) -> Path:
    """Make a directory and its parents; raises FetchError."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def writing(where: Path) -> Iterator[None]:
    """A context manager that turns an OSError into a FetchError that names the directory."""
    try:
        yield
    except OSError as error:
        hint = "free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check its permissions"
        raise FetchError(
            f"cannot write to {where}: {error.strerror or error}", f"{hint}, or set XDG_CACHE_HOME to another directory"
        ) from None


@contextlib.contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """A context manager that holds the lock file `path`. Waits for another process that holds it, and reports that."""
    make_directory(path.parent)
    with writing(path.parent):
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that does the same")
            # The wait ends: everything that a process starts has a timeout, and a dead process holds no lock.
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Entries:
    """The versions of one item in the cache, as directory/version."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def current(self) -> Path | None:
        """Return the entry fetched last, None if there is none."""
        link = self.directory / _CURRENT
        try:
            entry = self.directory / link.readlink()
        except OSError:
            return None
        return entry if entry.is_dir() else None

    def find(self, version: str) -> Path | None:
        """Return the entry of a version, None if it is not in the cache."""
        entry = self.directory / _file_name(version)
        return entry if entry.is_dir() else None

    def select(self, version: str) -> Path:
        """Make a version in the cache the current one, and return it; raises FetchError."""
        entry = self.directory / _file_name(version)
        link = self.directory / f"{TEMPORARY}{os.getpid()}.link"
        with writing(self.directory):
            link.unlink(missing_ok=True)
            link.symlink_to(entry.name)
            link.replace(self.directory / _CURRENT)
        return entry

    @contextlib.contextmanager
    def adding(self, version: str) -> Iterator[Path]:
        """A context manager for a temporary directory, which becomes a version's entry and the current one at its end.

        If the body raises, the directory is removed. The caller holds the lock: leftovers of an interrupted process are
        removed. Of the older versions the one that was current is kept, because a run may be using it.
        """
        import tempfile  # a run does not need it

        make_directory(self.directory)
        for left in self.directory.glob(f"{TEMPORARY}*"):
            remove(left)
        with writing(self.directory):
            temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.directory))
        before = self.current()
        try:
            yield temporary
            with writing(self.directory):
                temporary.chmod(0o755)
                temporary.rename(self.directory / _file_name(version))
            self.select(version)
            for entry in self.directory.iterdir():
                if entry.name not in (_CURRENT, _file_name(version), before.name if before else ""):
                    remove(entry)
        finally:
            remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a tree, also one with directories that are not writable; leftovers do no harm."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def file_digest(path: Path, kind: str = "sha256") -> str:
    """Return the hash of a file, in hexadecimal. Raises OSError."""
    import hashlib  # a run needs none

    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def version_of(entry: Path) -> str:
    """Return the version of an entry's directory."""
    return unquote(entry.name)


def _file_name(version: str) -> str:
    """Return a version as a file name: an epoch's colon would separate paths in a search list."""
    name = quote(version, safe="+~")
    if name in ("", ".", "..", _CURRENT) or name.startswith(TEMPORARY):
        raise FetchError(f"{version!r} is not a version", "the index it comes from is damaged")
    return name
