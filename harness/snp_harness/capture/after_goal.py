# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict on a run that was cut where its goal was reached, and what was seen of the guest after that.

How much that is depends on the machine's load, so it is not judged, with one exception: code of a phase that the goal
shows to be over, or code of no known phase, has run all the same. Then the goal was not what it seemed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snp_harness.apic.access import Phase
from snp_harness.apic.rules.observation import accesses
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult, Status, Verdict
from snp_harness.capture import entries
from snp_harness.capture.collect import Collector
from snp_harness.capture.goal import Position

Judge = Callable[[Timeline], Verdict]


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A timeline and its verdict. end: where the timeline ends, None at the end of all that was seen.

    after: accesses that were seen later. note: a sentence about them, "" for none.
    """

    timeline: Timeline
    verdict: Verdict
    end: Position | None = None
    after: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what came after the end, as JSON values."""
        records = None if self.end is None or self.end.log is None else self.end.log.records
        return {"accesses": self.after, "note": self.note or None, "records_before": records}


def judge_run(timeline: Timeline, collector: Collector | None, judge: Judge) -> JudgedRun:
    """Judge a timeline that the collector has returned."""
    verdict = judge(timeline)
    if collector is None or collector.cut is None:
        return JudgedRun(timeline, verdict)
    whole = collector.moved(timeline, collector.end)
    after = len(whole.accesses) - len(timeline.accesses)
    earlier = _end_of_earlier_phases(collector, collector.cut) if collector.at_goal else None
    if earlier is not None:
        longer = collector.moved(timeline, earlier)
        judged = judge(longer)
        if _found(judged) != _found(verdict):
            note = f"code of a phase before {timeline.reached.name}, or of none, ran after the goal: it is judged, too"
            return JudgedRun(longer, judged, earlier, len(whole.accesses) - len(longer.accesses), note)
    if verdict.status is Status.VIOLATED or len(whole.accesses) + len(whole.events) == len(timeline.accesses) + len(
        timeline.events
    ):
        return JudgedRun(timeline, verdict, collector.cut, after)
    broken = [new for old, new in zip(verdict.results, judge(whole).results, strict=True) if _offences(new, old)]
    if not broken:
        return JudgedRun(timeline, verdict, collector.cut, after)
    names = ", ".join(result.rule for result in broken)
    note = f"{accesses(after)} after the goal, until QEMU was stopped, not judged: they break {names}"
    return JudgedRun(timeline, verdict, collector.cut, after, f"{note}; a later --until judges them")


def _end_of_earlier_phases(collector: Collector, cut: Position) -> Position | None:
    """Return the place after the last entry behind the cut that is of a phase before the last one ahead of it.

    Code that is of no known phase may be of such a one. None: there is no such entry.
    """
    order, phases = collector.entries, collector.phases
    reached = phases[order.count(entries.PHASE, cut.entries) - 1].phase if phases else Phase.RESET
    earlier = {phase for phase in Phase if phase < reached or phase is Phase.UNKNOWN}
    names = {phase.name for phase in earlier}
    accesses, events = len(collector.accesses), len(collector.events)
    for entry in range(len(order) - 1, cut.entries - 1, -1):
        kind = order[entry]
        if kind == entries.ACCESS:
            accesses -= 1
            found = collector.accesses[accesses].phase in earlier
        elif kind == entries.EVENT:
            events -= 1
            found = collector.events[events].fields.get("phase") in names
        else:
            found = False
        if found:
            return collector.at(entry + 1)
    return None


def _offences(new: RuleResult, old: RuleResult) -> bool:
    """Whether a rule has offences that it had not."""
    return len(new.offences) + len(new.events) > len(old.offences) + len(old.events)


def _found(verdict: Verdict) -> list[tuple[Status, int, int]]:
    return [(result.status, len(result.offences), len(result.events)) for result in verdict.results]
