# SPDX-License-Identifier: GPL-2.0-or-later
"""The progress of a build on stderr: permanent lines, and the modules built so far on a line that is redrawn."""

from __future__ import annotations

import contextlib
import sys
from time import monotonic
from typing import TextIO

from snp_harness.defaults import PROGRAM

#: Seconds between two redraws on a terminal, and between two lines elsewhere.
REDRAW_S = 0.1
LINE_S = 10.0


class BuildProgress:
    """The progress of one build; a context manager that leaves the terminal's line clean.

    modules: an estimate of their number. `build` prints each module when it begins, and never their number.
    """

    def __init__(self, modules: int, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty()
        self._quiet = quiet
        self._modules = modules
        self._started = monotonic()
        self._written = self._started
        self._shown = ""

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, text: str) -> None:
        """Write a permanent line."""
        self._clear()
        if not self._quiet or text.startswith("warning: "):
            self._write(f"{PROGRAM}: {text}\n")

    def module(self, count: int, name: str) -> None:
        """Report that a module has begun, so the one before it is done."""
        now = monotonic()
        if self._quiet or now - self._written < (REDRAW_S if self._tty else LINE_S):
            return
        self._written = now
        total = max(self._modules, count)
        text = f"building: {count - 1} of {total} modules, {name}, {now - self._started:.0f} s"
        if self._tty:
            self._write("\r" + text.ljust(len(self._shown)))
            self._shown = text
        else:
            self._write(f"{PROGRAM}: {text}\n")

    def _clear(self) -> None:
        if self._shown:
            self._write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        """Write text; a closed terminal or pipe does not end the build."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
