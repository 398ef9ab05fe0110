# SPDX-License-Identifier: GPL-2.0-or-later
"""The state directory of a bisection: its lock, and a line for each commit that was judged."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from snp_harness.bisect.step import Step
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.vm.rundir import IGNORE, make_parent

LOG = "bisect.jsonl"
#: Which process has the directory.
OWNER = "owner"
_FORMAT = "snp-harness-bisect"
_VERSION = 1
#: A step is a few hundred bytes; a bisection of all of edk2's history has 15 to 20.
_MAX_BYTES = 16 << 20
_OWNER_MAX = 200


class BisectLog:
    """The log in a state directory; a context manager, which keeps other bisections out of the directory.

    question: all that an answer depends on. The log of another question is refused, one of the same is continued.
    steps: the latest answer about each commit. Raises UsageError or BrokenEnvironmentError on entering.
    """

    def __init__(self, directory: Path, question: Mapping[str, Any]) -> None:
        self.directory = directory
        self.path = directory / LOG
        self.steps: dict[str, Step] = {}
        self._question = dict(question)
        self._lock = -1

    def __enter__(self) -> BisectLog:
        try:
            make_parent(self.directory)
            self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise UsageError(
                f"{self.directory} is in use by {self._owner()}", "wait for its end, or name another --state"
            ) from None
        except (FileExistsError, NotADirectoryError):
            self._release()
            raise UsageError(f"{self.directory} is not a directory", "name another --state") from None
        except OSError as error:
            self._release()
            raise _cannot(self.path, error) from None
        try:
            self._refuse_others()
            self._read()
            self._sign()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def add(self, step: Step) -> None:
        """Record an answer, at once and durably."""
        self.steps[step.commit] = step
        self._append({"step": step.to_json()})

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _sign(self) -> None:
        try:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            text = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
            (self.directory / OWNER).write_text(text, encoding="utf-8")
        except OSError as error:
            raise _cannot(self.directory / OWNER, error) from None

    def _owner(self) -> str:
        try:
            with (self.directory / OWNER).open(encoding="utf-8", errors="replace") as file:
                return " ".join(file.read(_OWNER_MAX).split()) or "another bisection"
        except OSError:
            return "another bisection"

    def _refuse_others(self) -> None:
        """Refuse a directory of other files."""
        try:
            names = {path.name for path in self.directory.iterdir()}
        except OSError as error:
            raise _cannot(self.path, error) from None
        if names and LOG not in names and names != {IGNORE}:
            raise UsageError(f"{self.directory} holds other files", "name a new or empty directory with --state")

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise _cannot(self.path, error) from None
        if not content:
            self._append({"format": _FORMAT, "version": _VERSION, "question": self._question})
            return
        whole, _, torn = content.rpartition(b"\n")
        try:
            header, *entries = [json.loads(line) for line in whole.split(b"\n")]
            if len(content) > _MAX_BYTES or (header["format"], header["version"]) != (_FORMAT, _VERSION):
                raise ValueError
            steps = [Step.from_json(entry["step"]) for entry in entries]
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self.path} is not the log of a bisection", "name another --state, or remove it"
            ) from None
        if header["question"] != self._question:
            raise UsageError(f"{self.path} is of another bisection", "name another --state, or remove it")
        self.steps = {step.commit: step for step in steps}
        if torn:
            # The machine stopped while the line was written.
            with self.path.open("r+b") as file:
                file.truncate(len(whole) + 1)

    def _append(self, entry: dict[str, Any]) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _cannot(self.path, error) from None


def _cannot(path: Path, error: OSError) -> BrokenEnvironmentError:
    return BrokenEnvironmentError(f"cannot write {path}: {error.strerror}", "free some space, or name another --state")
