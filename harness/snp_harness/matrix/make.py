# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a matrix: runs its cells, judges each, compares it with the last time, and writes what there is so far."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from snp_harness.matrix import forms
from snp_harness.matrix.cell import Cell, Outcome, Place, read_cell
from snp_harness.matrix.compare import Change, change, without_injection
from snp_harness.matrix.expect import expected
from snp_harness.matrix.result import FILE, Matrix, Recorded
from snp_harness.matrix.runs import Done, run_all
from snp_harness.recorded import load_timeline

if TYPE_CHECKING:
    from snp_harness.matrix.expect import Expectation
    from snp_harness.matrix.plan import Planned
    from snp_harness.vm.rundir import RunDirectory

TABLE = "matrix.md"


class Watcher(Protocol):
    """Shows how a matrix goes on."""

    def update(self, done: int, running: Sequence[str]) -> None:
        """Show how many cells are done, and which run. Called about ten times a second."""
        ...

    def say(self, text: str) -> None:
        """Report that a cell is not as it should be."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a matrix is made of.

    planned: its cells. until, rules, jobs, by_change, notes: as in Matrix. arguments: more of `snp-harness run`.
    same_as: the firmware, if any, whose accesses without Alternate Injection those of all others have to be.
    """

    planned: Sequence[Planned]
    until: str
    arguments: Sequence[str] = ()
    rules: tuple[str, ...] = ()
    jobs: int = 1
    expectations: Sequence[Expectation] = ()
    same_as: str | None = None
    by_change: bool = False
    notes: tuple[str, ...] = ()


def make(request: Request, directory: RunDirectory, last: Recorded | None, watcher: Watcher) -> Matrix:
    """Run the cells and return the matrix. Its files are in the directory, those of what was done if it is ended.

    last: the matrix it is compared with. Raises HarnessError, and KeyboardInterrupt when the user ends it.
    """
    maker = _Maker(request, directory, last)
    maker.write()

    def tick(running: Sequence[Planned]) -> None:
        watcher.update(len(maker.cells), [one.place.name for one in running])

    with contextlib.closing(run_all(request.planned, maker.arguments, request.jobs, tick)) as runs:
        for done in runs:
            new = maker.take(done)
            matrix = maker.write()
            for cell in new:
                if matrix.failed(cell):
                    watcher.say(f"{cell.place.name}: {matrix.note(cell)}")
    return maker.write()


class _Maker:
    def __init__(self, request: Request, directory: RunDirectory, last: Recorded | None) -> None:
        self.cells: dict[Place, Cell] = {}
        self._request = request
        self._directory = directory
        self._last = last
        self._changes: dict[Place, Change] = {}
        self._started = time.monotonic()

    def arguments(self, planned: Planned) -> list[str]:
        """Return the arguments of the command for a cell."""
        place = planned.place
        return [
            "run",
            str(planned.firmware.absolute()),
            f"--svsm-config={planned.configuration}",
            f"--platform={place.platform}",
            f"--vcpus={place.vcpus}",
            f"--until={self._request.until}",
            *self._request.arguments,
            *(f"--rule={rule}" for rule in self._request.rules),
            f"--out={self._directory.path / place.directory}",
            "--format=text",
            "--quiet",
        ]

    def take(self, done: Done) -> list[Cell]:
        """Add the cell of a run, and judge it; returns the cells that are judged by now."""
        place = done.planned.place
        out = self._directory.path / place.directory
        cell, timeline = read_cell(place, out, done.status, done.message, refuses=done.planned.refuses)
        before = None if self._last is None else self._last.cells.get(place)
        if before is not None and self._last is not None:
            self._changes[place] = change(before, cell, self._last.directory / place.directory, timeline)
        self.cells[place] = expected(place, self._request.expectations).judge(cell)
        compared = list(self._compare(place))
        return [self.cells[one] for one in dict.fromkeys((place, *compared))]

    def _compare(self, new: Place) -> Sequence[Place]:
        """Compare accesses with those of the firmware that they have to be the same as, where both were run."""
        same_as = self._request.same_as
        if same_as is None:
            return ()
        reference = dataclasses.replace(new, firmware=same_as)
        others = [one for one in self.cells if one != reference and one.in_place_of(reference)]
        compared = others if new == reference else [new] if reference in self.cells else []
        for place in compared:
            if self.cells[place].error or self.cells[reference].error:
                continue
            one, other = (load_timeline(self._directory.path / cell.directory) for cell in (reference, place))
            if said := without_injection(one, other, same_as):
                cell = self.cells[place]
                self.cells[place] = dataclasses.replace(cell, outcome=Outcome.UNEXPECTED, missed=(*cell.missed, said))
        return compared

    def write(self) -> Matrix:
        """Write what there is so far, and return it."""
        request, last = self._request, self._last
        places = [one.place for one in request.planned]
        matrix = Matrix(
            cells=tuple(self.cells[place] for place in places if place in self.cells),
            until=request.until,
            planned=len(places),
            rules=request.rules,
            firmwares={one.place.firmware: str(one.firmware) for one in request.planned},
            jobs=request.jobs,
            seconds=round(time.monotonic() - self._started, 1),
            changes=dict(self._changes),
            last=None if last is None else last.directory,
            gone=() if last is None else tuple(place.name for place in last.cells if place not in places),
            by_change=request.by_change and last is not None,
            notes=request.notes,
        )
        self._directory.write_text(FILE, matrix.text())
        self._directory.write_text(TABLE, forms.render(matrix, "markdown"))
        return matrix
