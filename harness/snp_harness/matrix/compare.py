# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed in a cell since the last matrix: verdict, offences, accesses, and time by its class."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.apic.difference import difference
from snp_harness.apic.verdict import Status
from snp_harness.errors import UsageError
from snp_harness.matrix.cell import NOT_RUN, Cell
from snp_harness.recorded import load_timeline
from snp_harness.report.difference import summary

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline

#: From which ratio and which number of seconds on a run is in another class of time.
RATIO, LEAST_S = 2.0, 1.0
#: How bad a verdict is.
_RANKS = {
    Status.HOLDS.value: 0,
    Status.NOT_APPLICABLE.value: 0,
    Status.INCONCLUSIVE.value: 1,
    NOT_RUN: 1,
    Status.VIOLATED.value: 2,
}


class Trend(enum.Enum):
    """How a cell changed, the worst first."""

    WORSE = "worse"
    CHANGED = "changed"
    BETTER = "better"
    NEW = "new"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Change:
    """How a cell changed. sentences: what did. accesses: the accesses of both runs differ, which `diff` shows."""

    trend: Trend
    sentences: tuple[str, ...] = ()
    accesses: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return {"trend": self.trend.value, "what": list(self.sentences), "accesses": self.accesses}


def change(before: Cell, after: Cell, before_run: Path, after_run: Timeline | None) -> Change:
    """Return how a cell changed. before_run: its run directory then. after_run: its timeline now."""
    ranks = _rank(before), _rank(after)
    worse, better = ranks[0] < ranks[1], ranks[0] > ranks[1]
    said = []
    if before.verdict != after.verdict:
        said.append(f"verdict {before.verdict} -> {after.verdict}")
    came = [kind for kind in after.offences if kind not in before.offences]
    went = [kind for kind in before.offences if kind not in after.offences]
    said += _listed("offence came", came)
    said += _listed("offence went", went)
    if not said and before.rules != after.rules:
        said += _rules(before, after)
    if before.error != after.error:
        said.append(f"error {before.error or 'none'} -> {after.error or 'none'}")
    differs = False
    if after_run is not None and (text := _accesses(before_run, after_run)):
        differs = True
        said.append(text)
    if slower := _time_class(before, after):
        said.append(slower)
    trend = Trend.CHANGED if said else Trend.SAME
    if worse or (came and not better):
        trend = Trend.WORSE
    elif better or went:
        trend = Trend.BETTER
    return Change(trend, tuple(said), differs)


def _rules(before: Cell, after: Cell) -> Iterator[str]:
    """Yield the rules with another status than before."""
    then = dict(before.rules)
    for rule, now in after.rules:
        if then.get(rule, now) != now:
            yield f"{rule} {then[rule]} -> {now}"


def _rank(cell: Cell) -> int:
    """Return how bad a cell is."""
    return 0 if cell.refused else max(_RANKS[cell.verdict], 1 if cell.error else 0)


def _listed(what: str, kinds: list[str]) -> Iterator[str]:
    if kinds:
        yield f"{what}: {kinds[0]}" + (f" and {len(kinds) - 1} more" if len(kinds) > 1 else "")


def _accesses(before_run: Path, after: Timeline) -> str:
    """Return how the accesses differ, "" if they do not, or the run before is not there any more."""
    try:
        before = load_timeline(before_run)
    except UsageError:
        return ""
    found = difference(before, after)
    return "" if found.empty else summary(found)


def _time_class(before: Cell, after: Cell) -> str:
    """Return that a run took much longer or shorter, "" if not: less than a ratio says nothing on a shared machine."""
    short, long = sorted((before.seconds, after.seconds))
    if long - short < LEAST_S or long < RATIO * short or not short:
        return ""
    return f"{'slower' if after.seconds > before.seconds else 'faster'}: {before.seconds} s -> {after.seconds} s"


def without_injection(reference: Timeline, other: Timeline, name: str) -> str:
    """Return how a run without Alternate Injection differs from that of another firmware, "" if it does not."""
    if reference.alternate_injection or other.alternate_injection:
        return ""
    if not (reference.complete and other.complete):
        return f"the accesses cannot be compared with those of {name}: not all of them were recorded"
    found = difference(reference, other)
    return "" if found.empty else f"other accesses than {name}: {summary(found)}"
