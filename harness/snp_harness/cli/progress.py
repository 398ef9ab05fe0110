# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run says on stderr while it goes on: one line that is redrawn on a terminal, a line now and then elsewhere."""

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
    """The progress line of one run; a context manager, which leaves the terminal's line clean.

    Called with what is known now; it decides whether that is worth writing.
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
        """The run is in `phase`, has made so many APIC accesses and, where the platform counts them, so many exits."""
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
        """Removes the line from the terminal, so that the verdict starts on a clean one."""
        if self._shown:
            self._write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        """A terminal that was closed, or a pipe that nobody reads, must not end the run."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._quiet = True
