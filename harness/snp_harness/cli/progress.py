# SPDX-License-Identifier: GPL-2.0-or-later
"""The progress of a run or a build on stderr: a line that is redrawn on a terminal, or one every ten seconds."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self, TextIO

from snp_harness.apic.access import Phase
from snp_harness.defaults import PROGRAM
from snp_harness.vm.rundir import SERIAL

if TYPE_CHECKING:
    from snp_harness.apic.verdict import RuleResult

#: Seconds between two redraws of the line on a terminal.
REDRAW_S = 0.1
#: Seconds between two lines where stderr is a file or a pipe.
LINE_S = 10.0
#: The lines of TAP that are counted, and how much of a console is read for them.
_PLAN = re.compile(rb"^1\.\.([0-9]{1,4})\r?$", re.MULTILINE)
_RESULT = re.compile(rb"^(?:not )?ok [0-9]{1,4} - ", re.MULTILINE)
_BEGUN = re.compile(rb"^# begin ([\x21-\x7e]{1,80})\r?$", re.MULTILINE)
_CONSOLE_MAX = 1 << 20


class _Line:
    """A line that limits how often it is written. As a context manager, it clears the terminal's line at the end."""

    #: Precedes the text where it is not redrawn.
    prefix = ""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty()
        self._quiet = quiet
        self._started = monotonic()
        self._written = self._started if not self._tty else 0.0
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove the line from the terminal, so that the next text starts on an empty line."""
        if self._shown:
            self._write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""

    def _due(self) -> float | None:
        """Return the seconds since the start if the line is to be written now, else None."""
        now = monotonic()
        if self._quiet or now - self._written < (REDRAW_S if self._tty else LINE_S):
            return None
        self._written = now
        return now - self._started

    def _draw(self, text: str) -> None:
        if self._tty:
            self._write("\r" + text.ljust(len(self._shown)))
            self._shown = text
        else:
            self._write(f"{self.prefix}{text}\n")

    def _write(self, text: str) -> None:
        """Write; a terminal that was closed, or a pipe that nobody reads, does not end the command."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._quiet = True


def _left(seconds: float, done: int, total: int) -> str:
    """Return an estimate of the time that is left, from what was done until now; "" if there is none."""
    return f", about {seconds / done * (total - done):.0f} s left" if 0 < done < total else ""


class DownloadProgress(_Line):
    """The progress of a download."""

    prefix = f"{PROGRAM}: "

    def update(self, done: int, total: int) -> None:
        """Show the bytes that are there, and how many they will be."""
        seconds = self._due()
        if seconds is not None:
            self._draw(f"{done / 1e6:.1f} of {total / 1e6:.1f} MB, {seconds:.0f} s{_left(seconds, done, total)}")


class ProgressLine(_Line):
    """The progress line of one run. `update` may be called at any rate."""

    def update(self, phase: Phase, accesses: int, exits: int | None = None) -> None:
        """Show the phase, the number of APIC accesses and, where the platform counts them, that of exits."""
        seconds = self._due()
        if seconds is not None:
            counted = "" if exits is None else f", {exits} exits"
            self._draw(f"{phase.name}: {accesses} APIC accesses{counted}, {seconds:.1f} s")

    def broken(self, result: RuleResult) -> None:
        """Write a permanent line about a rule that is broken for certain, while the run goes on."""
        from snp_harness.report.text import broken_line

        self.clear()
        self._write(f"{PROGRAM}: {broken_line(result)}; the run goes on\n")


class FuzzProgress(_Line):
    """The progress of random requests. seconds: for which they are made, without the guest's start."""

    def __init__(self, seconds: float, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        super().__init__(stream, quiet=quiet)
        self._seconds = seconds

    def update(self, _phase: Phase, _accesses: int, _exits: int | None = None) -> None:
        """Show the time."""
        seconds = self._due()
        if seconds is not None:
            self._draw(f"random requests for {self._seconds:g} s: {seconds:.0f} s")


class TestsProgress(_Line):
    """The progress of tests: how many have a result, which one runs, and an estimate of the rest."""

    __test__ = False
    #: What is counted.
    unit = "tests"

    def show(self, phase: Phase, done: int, plan: int, name: str) -> None:
        """Show how many of those that are planned are done; before the first one, the phase of the guest's start."""
        seconds = self._due()
        if seconds is not None:
            self._show(seconds, phase, done, plan, name)

    def _show(self, seconds: float, phase: Phase, done: int, plan: int, name: str) -> None:
        if not plan:
            self._draw(f"{phase.name}: no {self.unit} yet, {seconds:.1f} s")
            return
        # The start of the guest counts, too: the estimate is a little long at first.
        left = _left(seconds, done, plan)
        self._draw(f"{done} of {plan} {self.unit}, {name or 'the end'}, {seconds:.1f} s{left}")


class PointsProgress(TestsProgress):
    """The progress of tests that a guest prints as TAP."""

    unit = "points"

    def __init__(self, directory: Path, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        super().__init__(stream, quiet=quiet)
        self._directory = directory

    def update(self, phase: Phase, _accesses: int, _exits: int | None = None) -> None:
        """Show what the console has."""
        seconds = self._due()
        if seconds is not None:
            self._show(seconds, phase, *self._read())

    def _read(self) -> tuple[int, int, str]:
        """Return from the console of the last run: points with a result, their number, and the one that runs."""
        directory = self._directory
        runs = [directory, *directory.parent.glob(f"{directory.name}-again-*")]
        try:
            with max(runs, key=lambda run: (len(run.name), run.name)).joinpath(SERIAL).open("rb") as console:
                text = console.read(_CONSOLE_MAX)
        except OSError:
            return 0, 0, ""
        plan = _PLAN.search(text)
        begun = _BEGUN.findall(text)
        name = begun[-1].decode("ascii", "replace") if begun else ""
        return len(_RESULT.findall(text)), int(plan[1]) if plan else 0, name


class BuildProgress(_Line):
    """The progress of one build: permanent lines, and the modules built so far.

    modules: an estimate of their number. `build` prints each module when it begins, and never their number.
    """

    prefix = f"{PROGRAM}: "

    def __init__(self, modules: int, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        super().__init__(stream, quiet=quiet)
        self._modules = modules

        self._download: DownloadProgress | None = None
        self._building_s: float | None = None

    def __call__(self, text: str) -> None:
        """Write a permanent line: a step."""
        self.clear()
        if not self._quiet or text.startswith("warning: "):
            self._write(f"{self.prefix}{text}\n")

    def clear(self) -> None:
        """Remove the line, also that of a download."""
        if self._download is not None:
            self._download.clear()
            self._download = None
        super().clear()

    def amount(self, done: int, total: int) -> None:
        """Show the bytes of a download; the next step replaces it."""
        if self._download is None:
            self._download = DownloadProgress(self._stream, quiet=self._quiet)
        self._download.update(done, total)

    def module(self, count: int, name: str) -> None:
        """Report that a module has begun, so the one before it is done."""
        seconds = self._due()
        if self._building_s is None:
            self._building_s = monotonic() - self._started
        if seconds is not None:
            total = max(self._modules, count)
            left = _left(seconds - self._building_s, count - 1, total)
            self._draw(f"building: {count - 1} of {total} modules, {name}, {seconds:.0f} s{left}")


class CellsProgress(_Line):
    """The progress of a matrix: how many of its cells are done, which run, and an estimate of the rest."""

    def __init__(self, cells: int, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        super().__init__(stream, quiet=quiet)
        self._cells = cells

    def say(self, text: str) -> None:
        """Write a permanent line."""
        self.clear()
        if not self._quiet:
            self._write(f"{PROGRAM}: {text}\n")

    def update(self, done: int, running: Sequence[str]) -> None:
        """Show the cells that are done, and those that run."""
        seconds = self._due()
        if seconds is not None:
            left = _left(seconds, done, self._cells)
            more = f" and {len(running) - 1} more" if len(running) > 1 else ""
            self._draw(
                f"{done} of {self._cells} cells, {running[0] if running else 'the end'}{more}, {seconds:.1f} s{left}"
            )
