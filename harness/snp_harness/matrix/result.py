# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix: its cells, what they mean together, and its file (docs/json.md)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snp_harness.apic.rules.observation import plural
from snp_harness.data import json_head
from snp_harness.errors import UsageError
from snp_harness.matrix.cell import Cell, Outcome, Place
from snp_harness.matrix.compare import Change, Trend
from snp_harness.version import build

FILE = "matrix.json"
#: Bytes of the file that are read.
_SIZE_MAX = 32 << 20
#: The worst first: their first cell is named.
_ORDER = (Outcome.UNEXPECTED, Outcome.NO_ANSWER, Outcome.INCONCLUSIVE)
_WORDS = {
    Outcome.UNEXPECTED: "not as expected",
    Outcome.NO_ANSWER: "without an answer",
    Outcome.INCONCLUSIVE: "inconclusive",
}


@dataclass(frozen=True, slots=True)
class Matrix:
    """The result of a matrix.

    cells: in the order of the plan. until, rules: of all runs. planned: how many cells there are when it is complete.
    firmwares: path by name. changes: by cell, since `last`, the directory of the matrix before; None without one. gone:
    cells that only that one has. by_change: what became worse decides the exit status, and not what is expected.
    notes: sentences for the reader.
    """

    cells: tuple[Cell, ...]
    until: str
    planned: int
    rules: tuple[str, ...] = ()
    firmwares: dict[str, str] = field(default_factory=dict)
    jobs: int = 1
    seconds: float = 0.0
    changes: dict[Place, Change] = field(default_factory=dict)
    last: Path | None = None
    gone: tuple[str, ...] = ()
    by_change: bool = False
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether each cell was run."""
        return len(self.cells) == self.planned

    def of(self, outcome: Outcome) -> list[Cell]:
        """Return the cells with an outcome."""
        return [cell for cell in self.cells if cell.outcome is outcome]

    def trend(self, cell: Cell) -> Trend:
        """Return how a cell changed."""
        change = self.changes.get(cell.place)
        return Trend.NEW if change is None else change.trend

    def failed(self, cell: Cell) -> bool:
        """Return whether a cell is why the exit status is not 0."""
        if self.trend(cell) is Trend.WORSE:
            return True
        # What was not there before, and what has no answer, is never the same as before.
        known = self.by_change and cell.place in self.changes and cell.outcome is not Outcome.NO_ANSWER
        return cell.outcome is not Outcome.EXPECTED and not known

    @property
    def exit_status(self) -> int:
        """1 if a cell is unexpected or became worse, 128 if one has no answer, 3 if one is inconclusive, else 0."""
        if any(self.trend(cell) is Trend.WORSE for cell in self.cells):
            return Outcome.UNEXPECTED.exit_status
        found = {cell.outcome for cell in self.cells if self.failed(cell)}
        if not self.complete:
            found.add(Outcome.NO_ANSWER)
        return next((one.exit_status for one in _ORDER if one in found), Outcome.EXPECTED.exit_status)

    @property
    def summary(self) -> str:
        """The matrix in one sentence."""
        return f"{self.counts}; first {self.first}" if self.first else self.counts

    @property
    def counts(self) -> str:
        """How many cells are as expected, and how many changed."""
        failing = [cell for cell in self.cells if self.failed(cell)]
        counted = Counter(cell.outcome for cell in failing)
        parts = [f"{counted[outcome]} {_WORDS[outcome]}" for outcome in _ORDER if counted[outcome]]
        known = sum(cell.outcome is not Outcome.EXPECTED for cell in self.cells) - sum(counted[one] for one in _ORDER)
        parts += [f"{known} not as expected, as the last time"] if known else []
        total = plural(len(self.cells), "cell") if self.complete else f"{len(self.cells)} of {self.planned} cells"
        text = f"{total}, {', '.join(parts) or 'all as expected'}"
        if self.last is not None:
            counts = Counter(self.trend(cell) for cell in self.cells)
            since = [f"{counts[trend]} {trend.value}" for trend in Trend if trend is not Trend.SAME and counts[trend]]
            since += [f"{len(self.gone)} gone"] if self.gone else []
            text += f"; since {self.last.name}: {', '.join(since) or 'nothing changed'}"
        return text

    @property
    def first(self) -> str:
        """The first of the worst cells, and what is to be seen of it; empty if none fails the matrix."""
        failing = [cell for cell in self.cells if self.failed(cell)]
        order = [Outcome.EXPECTED, *reversed(_ORDER)]
        worst = max(
            failing, key=lambda cell: (self.trend(cell) is Trend.WORSE, order.index(cell.outcome)), default=None
        )
        return "" if worst is None else f"{worst.place.name}: {self.note(worst)}"

    def note(self, cell: Cell) -> str:
        """Return what is not as expected of a cell, its error, and what changed, in a line."""
        said = [*cell.missed, *([cell.error] if cell.error else [])]
        change = self.changes.get(cell.place)
        if change is not None and change.sentences:
            said.append(f"{change.trend.value}: {', '.join(change.sentences)}")
        return "; ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as JSON values."""
        return {
            **json_head("matrix"),
            "harness": build().version,
            "summary": self.summary,
            "exit_status": self.exit_status,
            "complete": self.complete,
            "until": self.until,
            "rules": list(self.rules),
            "jobs": self.jobs,
            "seconds": self.seconds,
            "firmwares": self.firmwares,
            "last": None if self.last is None else str(self.last),
            "gone": list(self.gone),
            "notes": list(self.notes),
            "cells": [cell.to_json() | {"change": self._change(cell)} for cell in self.cells],
        }

    def _change(self, cell: Cell) -> dict[str, Any] | None:
        change = self.changes.get(cell.place)
        return None if change is None else change.to_json()

    def text(self) -> str:
        """Return the file's text."""
        return json.dumps(self.to_json(), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A matrix of an earlier time. directory: where its runs are. worse: a cell had become worse."""

    directory: Path
    cells: dict[Place, Cell]
    until: str
    rules: tuple[str, ...]
    complete: bool
    worse: bool


def load(directory: Path) -> Recorded:
    """Return the matrix of a directory. Raises UsageError."""
    path = directory / FILE
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_SIZE_MAX))
        if {name: data[name] for name in json_head("matrix")} != json_head("matrix"):
            raise ValueError("another format")
        cells = [Cell.from_json(entry) for entry in data["cells"]]
        until, rules, complete = str(data["until"]), tuple(map(str, data["rules"])), bool(data["complete"])
        changes = [entry["change"] for entry in data["cells"] if entry["change"] is not None]
        worse = any(one["trend"] == Trend.WORSE.value for one in changes)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name the directory of a matrix") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UsageError(f"{path} does not describe a matrix", "name the directory of another one") from None
    return Recorded(directory.absolute(), {cell.place: cell for cell in cells}, until, rules, complete, worse)


def find_last(parent: Path, besides: Path) -> Recorded | None:
    """Return the last complete matrix in a directory in which nothing had become worse, besides one; None without one.

    What became worse is so until it is as it was, or until it is compared with on purpose.
    """
    for path in sorted(parent.glob(f"*/{FILE}"), reverse=True):
        if path.parent.is_symlink() or path.parent.absolute() == besides:
            continue
        try:
            found = load(path.parent)
        except UsageError:
            continue
        if found.complete and not found.worse:
            return found
    return None
