# SPDX-License-Identifier: GPL-2.0-or-later
"""The runs of a matrix: `snp-harness run` in processes of their own, some at a time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from snp_harness.defaults import PROGRAM
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.launch.spawn import die_with_parent
from snp_harness.matrix.plan import Planned

#: Seconds between two calls of `tick`.
_TICK_S = 0.1
#: Seconds after SIGTERM in which a run ends its guest and writes what was seen.
_END_TIMEOUT_S = 30.0
#: Bytes of what a run writes to stderr that are read, from its end.
_STDERR_MAX = 4096


@dataclass(frozen=True, slots=True)
class Done:
    """A run that has ended. message: its last line on stderr, without the program's name."""

    planned: Planned
    status: int
    message: str


@dataclass(slots=True)
class _Running:
    planned: Planned
    process: subprocess.Popen[bytes]
    stderr: BinaryIO
    pidfd: int

    def done(self) -> Done:
        status = self.process.wait()
        os.close(self.pidfd)
        with self.stderr as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _STDERR_MAX))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return Done(self.planned, status, _said(lines[-1]) if lines else "")


def run_all(
    cells: Sequence[Planned],
    command: Callable[[Planned], Sequence[str]],
    jobs: int,
    tick: Callable[[Sequence[Planned]], None],
) -> Generator[Done, None, None]:
    """Run the cells, `jobs` at a time, and yield each that has ended.

    command: returns the arguments of `snp-harness` for a cell. tick: called about ten times a second with what runs.
    When the iterator ends or is closed, in any way, no process of it is running: a run that goes on is ended as by
    SIGTERM, and has written what was seen. Raises BrokenEnvironmentError if a process cannot be started.
    """
    waiting = list(reversed(cells))
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                planned = waiting.pop()
                running.append(_start(planned, command(planned)))
            tick([one.planned for one in running])
            ended, _, _ = select.select([one.pidfd for one in running], [], [], _TICK_S)
            for one in [one for one in running if one.pidfd in ended]:
                running.remove(one)
                yield one.done()
    finally:
        _end(running)


def _start(planned: Planned, arguments: Sequence[str]) -> _Running:
    stderr = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "snp_harness", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            # Ctrl-C on the terminal interrupts this process only, which ends the runs.
            process_group=0,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    except OSError as error:
        stderr.close()
        raise BrokenEnvironmentError(f"cannot run {sys.executable}: {error.strerror}") from None
    return _Running(planned, process, stderr, os.pidfd_open(process.pid))


def _end(running: list[_Running]) -> None:
    for one in running:
        one.process.terminate()
    for one in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(_END_TIMEOUT_S)
        if one.process.poll() is None:
            # The kernel ends its QEMU with it.
            one.process.kill()
        one.done()


def _said(line: str) -> str:
    return line.removeprefix(f"{PROGRAM}: ").removeprefix("error: ")
