# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's files on its host: contents by hash, and the run directories.

$XDG_CACHE_HOME/snp-harness/store/SHA256    contents, private; the oldest unused are removed beyond a limit
$XDG_CACHE_HOME/snp-harness/runs/*          run directories, each locked until its agent ends
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snp_harness.agent.agent_errors import AgentError

#: Limit of the store's size when an agent ends, bytes.
STORE_LIMIT = 2 << 30
#: Limit of a file of a run, bytes.
FILE_MAX = 1 << 30
#: Seconds after which a half-written file of an agent that was killed is removed.
_STALE_S = 3600.0
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}\Z")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def base_directory() -> Path:
    """Return the directory of all files of the agent."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "snp-harness"


def from_os_error(error: OSError, what: str) -> AgentError:
    """Return the AgentError for an error of the kernel. what: the failed step."""
    text = f"{what}: {error.strerror}"
    if error.errno in _FULL:
        return AgentError("disk", f"the host's disk is full: {text}", "make room on the host")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AgentError("permission", text, "check the owner and mode of the directory on the host")
    return AgentError("system", text, "see the host")


def private_directory(path: Path) -> None:
    """Make the directory, for this user only; its parents too. Raises AgentError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise from_os_error(error, f"cannot make {path}") from None
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise AgentError("permission", f"{path} can be written by others", "chmod 700 it on the host")


class Store:
    """Contents by SHA-256. limit: bytes kept by `tidy`. All methods except `tidy` raise AgentError."""

    def __init__(self, directory: Path, limit: int = STORE_LIMIT) -> None:
        self._directory = directory
        self._limit = limit
        #: Digests of this agent's requests: `tidy` keeps their contents.
        self._wanted: set[str] = set()
        private_directory(directory)

    def missing(self, digests: list[str]) -> list[str]:
        """Return those of `digests` that the store does not hold."""
        self._wanted.update(map(_checked, digests))
        return [digest for digest in digests if not self._touch(digest)]

    def put(self, digest: str, content: bytes) -> None:
        """Add a content, atomically."""
        path = self._directory / _checked(digest)
        self._wanted.add(digest)
        if hashlib.sha256(content).hexdigest() != digest:
            raise AgentError("usage", f"the received data is not the content {digest[:12]}", "send it again")
        temporary = self._directory / f".{digest}.{os.getpid()}"
        try:
            _write(temporary, [content])
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise from_os_error(error, f"cannot write {path}") from None

    def join(self, digests: list[str], target: Path) -> int:
        """Write a file from contents; return its size in bytes."""
        parts = [self._directory / _checked(digest) for digest in digests]
        try:
            size = sum(part.stat().st_size for part in parts)
            if size > FILE_MAX:
                raise AgentError("usage", f"{target.name} would have {size} bytes", f"the limit is {FILE_MAX}")
            _write(target, (part.read_bytes() for part in parts))
        except OSError as error:
            with suppress(OSError):
                target.unlink()
            raise from_os_error(error, f"cannot write {target}") from None
        return size

    def tidy(self) -> None:
        """Remove half-written files of agents that were killed, and the oldest contents beyond the limit."""
        now = time.time()
        entries = []
        with suppress(OSError):
            for entry in os.scandir(self._directory):
                with suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if not _SHA256.match(entry.name):
                        if now - found.st_mtime > _STALE_S:
                            Path(entry.path).unlink()
                    else:
                        entries.append((found.st_mtime, entry.name, found.st_size))
        total = sum(size for _, _, size in entries)
        for _, name, size in sorted(entries):
            if total <= self._limit:
                return
            if name not in self._wanted:
                with suppress(OSError):
                    (self._directory / name).unlink()
                    total -= size

    def _touch(self, digest: str) -> bool:
        """Mark a content as used now; False if the store does not hold it."""
        try:
            os.utime(self._directory / digest)
        except OSError:
            return False
        return True


class RunDirectories:
    """The run directories of this agent. Other agents do not remove them until it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._locks: dict[Path, int] = {}
        private_directory(directory)
        self._sweep()

    def create(self) -> Path:
        """Make a run directory and return its path. Raises AgentError."""
        try:
            with self._making():
                path = Path(tempfile.mkdtemp(prefix="run-", dir=self._directory))
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise from_os_error(error, f"cannot make a run directory in {self._directory}") from None
        self._locks[path] = lock
        return path

    def remove(self, path: Path) -> None:
        """Remove a run directory and its contents."""
        shutil.rmtree(path, ignore_errors=True)
        lock = self._locks.pop(path, -1)
        if lock >= 0:
            os.close(lock)

    def _sweep(self) -> None:
        """Remove the run directories of killed agents."""
        with suppress(OSError), self._making():
            for path in self._directory.glob("run-*"):
                try:
                    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                except OSError:
                    continue
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                except OSError:
                    pass
                finally:
                    os.close(lock)

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Keep other agents from sweeping between the creation of a directory and its locking."""
        lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def file_name(name: object) -> str:
    """Return `name` if it is a valid name of a file in a run directory. Raises AgentError otherwise."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise AgentError("usage", f"{str(name)[:80]!a} is not the name of a file", "letters, digits, dots, dashes")
    return name


def _checked(digest: object) -> str:
    if not isinstance(digest, str) or not _SHA256.match(digest):
        raise AgentError("usage", f"{str(digest)[:80]!a} is not a SHA-256", "64 hexadecimal digits")
    return digest


def _write(path: Path, contents: list[bytes] | Iterator[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        for content in contents:
            file.write(content)
