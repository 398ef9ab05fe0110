# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiling the pure parts of the emulator for the build machine, and using their test drivers.

A driver is a C program that reads commands, one a line, and answers each with one line. It is built with the address
and undefined-behaviour sanitizers, which end it at the first fault: the reply that then fails to come raises
DriverError with the sanitizer's report. A driver ends itself (SIGALRM) when a command takes longer than two minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

EMULATOR = Path(__file__).parents[2] / "harness" / "emulator"
_FLAGS = (
    "-std=gnu11",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    # gcc 12's sanitizer has its heap where a kernel that randomises 32 bits (sysctl vm.mmap_rnd_bits) may put a PIE:
    # one in four would die at its start.
    "-fno-pie",
    "-no-pie",
)
_COMPILE_TIMEOUT_S = 600
_END_TIMEOUT_S = 60


class DriverError(Exception):
    """A driver ended before it answered: the message has what it wrote to stderr."""


def compile_driver(directory: Path, driver: str, *sources: str) -> Path:
    """Compile tests/emulator/`driver` with `sources` (relative to harness/emulator) and return the program."""
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        pytest.skip("no C compiler (install gcc)")
    program = directory / Path(driver).stem
    command = [
        compiler,
        *_FLAGS,
        *(f"-I{path}" for path in (EMULATOR, EMULATOR / "include", EMULATOR / "common")),
        *(f"-I{path}" for path in sorted({(EMULATOR / source).parent for source in sources})),
        "-o",
        str(program),
        str(Path(__file__).parent / driver),
        *(str(EMULATOR / source) for source in sources),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False)
    if run.returncode:
        pytest.fail(f"{' '.join(command)}\n{run.stderr}", pytrace=False)
    return program


class Driver:
    """A running driver. A context manager: the process ends with the block."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=_END_TIMEOUT_S)

    def ask(self, *words: str | int) -> list[int]:
        """Send one command (numbers go as hexadecimal) and return the numbers of its answer."""
        line = " ".join(word if isinstance(word, str) else f"{word:x}" for word in words)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            assert self._process.stderr is not None
            message = self._process.stderr.read().decode(errors="replace")
            status = self._process.wait(timeout=_END_TIMEOUT_S)
            raise DriverError(f"the driver ended with status {status} at {line!r}:\n{message}")
        return [int(word, 16) for word in answer.split()]
