# SPDX-License-Identifier: GPL-2.0-or-later
"""The state directory of a bisection: its lock, and a line for each commit that was judged."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from snp_harness.bisect.step import Step
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.vm.run_parent import IGNORE, make_parent

LOG = "bisect.jsonl"
#: The file that names the process that uses the directory.
OWNER = "owner"


class BisectLog:
    """The log in a state directory. steps: the latest answer about each commit."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / LOG
        self.steps: dict[str, Step] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, directory: Path, question: Mapping[str, Any]) -> Iterator[BisectLog]:
        """Open the log, and keep other bisections out of its directory meanwhile.

        question: everything that an answer depends on. A log of the same question is continued, another one is refused.
        Raises UsageError or BrokenEnvironmentError.
        """
        log = cls(directory)
        with contextlib.ExitStack() as stack:
            with log._writing():
                try:
                    make_parent(directory)
                except (FileExistsError, NotADirectoryError):
                    raise UsageError(f"{directory} is not a directory", "name another --state") from None
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                log._lock(descriptor)
                log._read({"format": "snp-harness-bisect", "version": 1, "question": question})
            yield log

    def add(self, step: Step) -> None:
        """Record an answer, at once and durably."""
        self.steps[step.commit] = step
        self._append({"step": step.to_json()})

    def _lock(self, directory: int) -> None:
        """Lock the directory, unless it has other files, and record which process uses it."""
        owner = self.directory / OWNER
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = "another bisection"
            with contextlib.suppress(OSError):
                who = owner.read_text(encoding="utf-8", errors="replace").strip() or who
            raise UsageError(
                f"{self.directory} is in use by {who}", "wait for its end, or name another --state"
            ) from None
        names = {path.name for path in self.directory.iterdir()}
        if names and LOG not in names and names != {IGNORE}:
            raise UsageError(f"{self.directory} holds other files", "name a new or empty directory with --state")
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n", encoding="utf-8")

    def _read(self, header: dict[str, Any]) -> None:
        content = self.path.read_bytes() if self.path.exists() else b""
        if not content:
            self._append(header)
            return
        whole, _, torn = content.rpartition(b"\n")
        try:
            first, *entries = [json.loads(line) for line in whole.split(b"\n")]
            steps = [Step.from_json(entry["step"]) for entry in entries]
        except (ValueError, KeyError, TypeError):
            first = None
        if first != header:
            raise UsageError(f"{self.path} is not the log of this bisection", "name another --state, or remove it")
        self.steps = {step.commit: step for step in steps}
        if torn:
            # The process or the machine stopped while the line was written.
            os.truncate(self.path, len(whole) + 1)

    def _append(self, entry: dict[str, Any]) -> None:
        with self._writing(), self.path.open("ab") as file:
            file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BrokenEnvironmentError(
                f"cannot write {self.path}: {error.strerror}", "free some space, or name another --state"
            ) from None
