# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's lock: only its owner uses the host. The agent holds it, and its end releases it.

lock     path       the lock's file; null: the default, which all users of the host share
         owner      who locks the host, for the errors of others
         wait_s     how long to wait for the lock, seconds
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.files import base_directory, from_os_error, private_directory

if TYPE_CHECKING:
    from snp_harness.agent.__main__ import Agent

#: Environment variable: the lock's file if the request does not name one.
VARIABLE = "SNP_HARNESS_LOCK"
#: A directory that all users share; without it, each user has a separate lock.
SHARED_DIRECTORY = Path("/run/lock")
NAME = "snp-harness.lock"
_TEXT_MAX = 1024


class HostLock:
    """The operation `lock`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._fd = -1
        agent.ops["lock"] = self._lock
        agent.on_end.append(self._release)

    def _lock(self, request: dict[str, Any]) -> object:
        if self._fd >= 0:
            return None
        path = Path(request["path"]) if request.get("path") else default_path()
        fd = _open(path)
        owner = {"owner": str(request["owner"])[:200], "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait_s = float(request["wait_s"])
            if wait_s <= 0:
                error = _held(fd, path)
                os.close(fd)
                raise error from None
            self._wait(fd, path, owner, int(request["id"]), wait_s)
            return self._agent.LATER
        self._keep(fd, owner)
        return None

    def _wait(self, fd: int, path: Path, owner: dict[str, str], number: int, wait_s: float) -> None:
        """Wait for the lock in a thread, and answer when it is acquired or the time is over."""
        over = False

        def late() -> None:
            nonlocal over
            over = True
            error = _held(fd, path)

            def fail() -> None:
                raise error

            self._agent.answer(number, fail)

        timer = self._agent.loop.later(wait_s, late)

        def had() -> None:
            if over:
                os.close(fd)
                return
            timer.cancel()
            self._agent.answer(number, lambda: self._keep(fd, owner))

        def block() -> None:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._agent.loop.soon(had)

        threading.Thread(target=block, name="lock", daemon=True).start()

    def _keep(self, fd: int, owner: dict[str, str]) -> None:
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps(owner).encode(), 0)
        except OSError:
            # The lock is taken; its owner is written if there is room for it.
            return

    def _release(self) -> None:
        if self._fd >= 0:
            try:
                os.ftruncate(self._fd, 0)
            finally:
                os.close(self._fd)
                self._fd = -1


def default_path() -> Path:
    """Return the path of the lock's file if the request does not name one. Raises AgentError."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if os.access(SHARED_DIRECTORY, os.W_OK | os.X_OK):
        return SHARED_DIRECTORY / NAME
    base = base_directory()
    private_directory(base)
    return base / NAME


def _open(path: Path) -> int:
    """Open the lock's file, and create it for all users if it is missing. Raises AgentError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(2):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise from_os_error(error, f"cannot open the host's lock {path}") from None
        try:
            # Not O_CREAT alone: the kernel rejects that for another user's file (protected_regular).
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(fd, 0o666)
            return fd
        except FileExistsError:
            continue
        except OSError as error:
            raise from_os_error(error, f"cannot make the host's lock {path}") from None
    raise AgentError("system", f"the host's lock {path} is removed repeatedly", "use another path")


def _held(fd: int, path: Path) -> AgentError:
    """The error that names the lock's owner. Another user wrote the file: its text is bounded and printable."""
    found: dict[str, Any] | None = None
    try:
        found = json.loads(os.pread(fd, _TEXT_MAX, 0).decode())
        text = f"{str(found['owner'])[:100]}, since {str(found['since'])[:40]}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        text = "its owner is unknown"
    return AgentError("locked", f"the host is in use: {text}", f"wait for it with --host-wait S (lock: {path})")
