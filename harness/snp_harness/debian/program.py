# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a program to its end, within a time limit, and leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.errors import FetchError

_SHOWN = 300
_LAST_WORDS_S = 5
_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended: its exit status and its output."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last error in its output, on one line; its exit status if there was no output."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("E:")] or lines
        return _message(errors[-1]) if errors else f"exit status {self.status}"

    def line_with(self, pattern: re.Pattern[str]) -> str | None:
        """Return the first line of stderr that matches the pattern, None if none does."""
        return next((_message(line) for line in self.stderr.splitlines() if pattern.search(line)), None)


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str],
    cwd: Path | None = None,
    tick: Callable[[], None] | None = None,
) -> Finished:
    """Run a program without a shell and without input, in English; env adds to the environment.

    tick: called several times a second while it runs. Its children are ended with it.
    Raises FetchError if it is not installed or does not end in time.
    """
    arguments = tuple(str(argument) for argument in argv)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", **env}
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            text=True,
            errors="replace",
            process_group=0,
        )
    except FileNotFoundError:
        raise FetchError(f"{arguments[0]} is not installed", "packages are fetched with Debian's tools") from None
    except OSError as error:
        raise FetchError(f"cannot run {arguments[0]}: {error.strerror}", "check the machine") from None
    with process:
        try:
            stdout, stderr = _communicate(process, timeout_s, tick)
        except BaseException as error:
            # The group's leader is not reaped yet: the number cannot belong to another group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            try:
                stdout, stderr = process.communicate(timeout=_LAST_WORDS_S)
            except subprocess.TimeoutExpired:
                # A process left the group and has the pipes open.
                stdout, stderr = "", ""
            seen = _one_line((stdout + stderr).strip().rpartition("\n")[2]) or "nothing"
            raise FetchError(
                f"{shlex.join(arguments[:2])} did not end within {timeout_s:g} s; last seen: {seen}",
                "check the network, and try again",
            ) from None
    return Finished(arguments, process.returncode, stdout, stderr)


def _communicate(process: subprocess.Popen[str], timeout_s: float, tick: Callable[[], None] | None) -> tuple[str, str]:
    """Return the program's output when it has ended. Raises subprocess.TimeoutExpired."""
    if tick is None:
        return process.communicate(timeout=timeout_s)
    end = time.monotonic() + timeout_s
    while True:
        left = end - time.monotonic()
        try:
            return process.communicate(timeout=max(0.0, min(_TICK_S, left)))
        except subprocess.TimeoutExpired:
            if left <= _TICK_S:
                raise
            tick()


def _message(line: str) -> str:
    """Return a line of apt without its prefix, E: or W:, and its full stop."""
    return _one_line(re.sub(r"^[EW]: *", "", line.strip())).rstrip(".")


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:_SHOWN]
