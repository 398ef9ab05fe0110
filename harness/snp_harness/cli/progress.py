# SPDX-License-Identifier: GPL-2.0-or-later
"""The progress of a run on stderr: one line that is redrawn on a terminal, or a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TextIO

from snp_harness.apic.access import Phase

#: Seconds between two redraws of the line on a terminal.
REDRAW_S = 0.1
#: Seconds between two lines where stderr is a file or a pipe.
LINE_S = 10.0


class ProgressLine:
    """The progress line of one run. As a context manager, it clears the terminal's line at the end.

    `update` may be called at any rate; it limits how often something is written.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty()
        self._quiet = quiet
        self._started = monotonic()
        self._written = self._started if not self._tty else 0.0
        self._shown = ""

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def update(self, phase: Phase, accesses: int, exits: int | None = None) -> None:
        """Show the phase, the number of APIC accesses and, where the platform counts them, that of exits."""
        now = monotonic()
        if self._quiet or now - self._written < (REDRAW_S if self._tty else LINE_S):
            return
        self._written = now
        counted = "" if exits is None else f", {exits} exits"
        text = f"{phase.name}: {accesses} APIC accesses{counted}, {now - self._started:.1f} s"
        if self._tty:
            self._write("\r" + text.ljust(len(self._shown)))
            self._shown = text
        else:
            self._write(text + "\n")

    def clear(self) -> None:
        """Remove the line from the terminal, so that the verdict starts on an empty line."""
        if self._shown:
            self._write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        """Write; a terminal that was closed, or a pipe that nobody reads, does not end the run."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._quiet = True
