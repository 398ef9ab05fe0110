# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs `build` and `make`: output to a log, progress meanwhile, the first error if they fail."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from snp_harness.debian.cache import writing
from snp_harness.edk2.source_errors import CompileError
from snp_harness.edk2.tools import ToolError
from snp_harness.launch.spawn import die_with_parent

#: A build of everything takes five minutes on two busy cores.
BUILD_TIMEOUT_S = 3600.0
_SHOWN = 300
_CHUNK = 1 << 16
_MODULE = re.compile(rb"^Building \.\.\. (?P<path>\S+\.inf) \[")
#: Patterns of errors, the most precise kind first; the first line of the first kind that matches is reported.
_ERRORS = (
    re.compile(r"^(?P<said>\S+?:\d+(?::\d+)?: (?:fatal )?error: .*)$", re.MULTILINE),
    re.compile(r"^(?P<said>\S+:\d+: error: .*)$", re.MULTILINE),
    re.compile(r"(?P<said>undefined reference to .*)$", re.MULTILINE),
    re.compile(r"^(?P<said>\S*(?:ld|collect2)\S*: error: .*)$", re.MULTILINE),
    re.compile(r"^[^\n]*: error [0-9A-F]{4}: *(?P<said>.+(?:\n\t.+)*)$", re.MULTILINE),
    re.compile(r"^(?P<said>GenFds?: ERROR .*|GenFv: ERROR .*|GenFw: ERROR .*)$", re.MULTILINE),
    re.compile(r"^(?P<said>make.*\*\*\* .*)$", re.MULTILINE),
)
#: A part of the build was killed, which is not an error of the source: make prints the signal, or 128 plus its number.
_KILLED = re.compile(
    r"Killed signal terminated program|"
    r"\*\*\* \[[^\]]*\] (?:Terminated|Killed|Hangup|Interrupt|Error 1(?:29|30|37|43))\b"
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded")

#: Called at each module's beginning with the number of modules so far, and its name.
ModuleProgress = Callable[[int, str], None]


def run_logged(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    module: ModuleProgress | None = None,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> None:
    """Run a program to its end, its output appended to log; raises CompileError if it fails, ToolError if it hangs.

    The program and its children are ended with this process, also at an interrupt.
    """
    with writing(log.parent):
        output = log.open("ab")
    with output:
        start = output.tell()
        try:
            process = subprocess.Popen(
                [str(argument) for argument in argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        except OSError as error:
            raise ToolError(f"cannot run {argv[0]}: {error.strerror}", "see snp-harness doctor") from None
        try:
            _follow(process, output, module, time.monotonic() + timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, (TimeoutError, subprocess.TimeoutExpired)):
                raise ToolError(f"{argv[0]} did not end within {timeout_s:g} s", f"see {log}") from None
            if isinstance(error, OSError):
                raise ToolError(f"cannot write {log}: {error.strerror}", "free some space there") from None
            raise
        finally:
            assert process.stdout is not None
            process.stdout.close()
    if process.returncode:
        text = _tail(log, start)
        if _FULL.search(text):
            raise ToolError(f"the disk is full in {cwd}", "free some space, or set XDG_CACHE_HOME to another directory")
        if process.returncode < 0 or _KILLED.search(text):
            raise ToolError(f"{argv[0]} or a part of it was killed, possibly because memory ran out", f"see {log}")
        raise CompileError(f"it does not build: {first_error(text)}", f"see {log}")


def first_error(text: str) -> str:
    """Return the first error in a build's output, on one line; its last line if no error is recognised."""
    for pattern in _ERRORS:
        match = pattern.search(text)
        if match:
            return " ".join(match["said"].split())[:_SHOWN]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_SHOWN] if lines else "it printed nothing"


def _follow(process: subprocess.Popen[bytes], output: BinaryIO, module: ModuleProgress | None, end: float) -> None:
    """Copy the process's output until it has closed it and ended."""
    assert process.stdout is not None
    count = 0
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, end - time.monotonic())):
                raise TimeoutError
            data = os.read(process.stdout.fileno(), _CHUNK)
            if not data:
                break
            output.write(data)
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-_CHUNK:]
            for line in lines:
                match = _MODULE.match(line)
                if match and module:
                    count += 1
                    module(count, os.fsdecode(match["path"].rpartition(b"/")[2]).removesuffix(".inf"))
    output.flush()
    process.wait(max(1.0, end - time.monotonic()))


def _tail(log: Path, start: int) -> str:
    """Return the text appended to a log since start, at most its last 4 MiB."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - (4 << 20)))
        return file.read().decode(errors="replace")
