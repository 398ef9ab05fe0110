# SPDX-License-Identifier: GPL-2.0-or-later
"""Run `bisect-step`, itself or under `git bisect run`, and read the steps that it prints."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from snp_harness.bisect.step import Step
from snp_harness.edk2.git import git_environment
from snp_harness.errors import EXIT_ENVIRONMENT, BrokenEnvironmentError

#: Seconds for a complete build and a boot.
STEP_TIMEOUT_S = 2 * 3600.0
#: Seconds after SIGTERM in which the processes of a step have to end.
_END_TIMEOUT_S = 30.0


class StepFailedError(BrokenEnvironmentError):
    """A step ended without an answer about its commit."""

    def __init__(self, message: str, hint: str = "", exit_status: int = EXIT_ENVIRONMENT) -> None:
        continues = "then repeat the command: it continues from here"
        super().__init__(message, f"{hint}, {continues}" if hint else f"repair that, {continues}")
        self.exit_status = max(exit_status, EXIT_ENVIRONMENT)


def run_steps(argv: Sequence[str], directory: Path, answer: Callable[[Step], None]) -> str:
    """Run a command of which each step is a line of JSON on stdout; `answer` is called with each at once.

    Returns the command's last other line; its exit status is ignored. Raises StepFailedError if a step reports an
    error. When this function ends, in any way, no process of the command is running. argv is extended for `join`.
    """
    messages = os.dup(2)
    try:
        process = subprocess.Popen(
            [*argv, f"--parent={os.getpid()}", f"--messages={messages}"],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Messages of git; those of a step go to the stderr of this process.
            stderr=subprocess.STDOUT,
            pass_fds=[messages],
            cwd=directory,
            env=git_environment(),
            # Ctrl-C on the terminal interrupts this process only, which ends the command.
            process_group=0,
        )
    except OSError as error:
        raise StepFailedError(f"cannot run {argv[0]}: {error.strerror}") from None
    finally:
        os.close(messages)
    with process:
        try:
            return _read(process.stdout, answer)
        finally:
            _end(process)


def join(parent: int, messages: int) -> None:
    """Make a step part of its bisection: with its stderr and directory, and with SIGTERM at the bisection's end.

    parent: the bisection's process. messages: the descriptor of its stderr.
    """
    os.dup2(messages, 2)
    os.close(messages)
    try:
        process = os.pidfd_open(parent)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    # git has started the step in the worktree.
    with contextlib.suppress(OSError):
        os.chdir(f"/proc/{parent}/cwd")

    def watch() -> None:
        select.select([process], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _read(stdout: IO[bytes] | None, answer: Callable[[Step], None]) -> str:
    """Read what the command prints until its last process has ended; returns the last line that is not a step."""
    assert stdout is not None
    last, failed = "", None
    while select.select([stdout], [], [], STEP_TIMEOUT_S)[0]:
        # It is not buffered: what select does not see has not been read.
        line = stdout.readline()
        step = None
        with contextlib.suppress(ValueError, TypeError, KeyError):
            data = json.loads(line)
            if "error" in data:
                failed = StepFailedError(data["error"], data["hint"], data["exit_status"])
            else:
                step = Step.from_json(data)
        if step is not None:
            answer(step)
        elif line.strip():
            last = line.decode(errors="replace").strip()
        elif not line:
            if failed is not None:
                raise failed
            return last
    raise StepFailedError(f"a step did not end within {STEP_TIMEOUT_S:g} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and the processes that it has started, as Ctrl-C would; returns when all have ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        # The last process to end closes the pipe.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_END_TIMEOUT_S)
            return
