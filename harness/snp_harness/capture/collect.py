# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects the observations of a witness into a timeline, in bounded memory."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.event_kinds import CONDENSED, END_KINDS, RULE_KINDS
from snp_harness.apic.registers import Register
from snp_harness.apic.timeline import Event, Known, PhaseMark, Timeline, sec_is_over
from snp_harness.capture import entries
from snp_harness.capture.condense import Condenser
from snp_harness.capture.console_text import ConsoleMark
from snp_harness.capture.entries import Entries
from snp_harness.capture.goal import SHOWN_BDS, LogState, Position, Until, is_reached

EVENT_LIMIT = 10_000
#: Unreadable parts of an image that a timeline names.
DEFECTS_LIMIT = 16

_REFUSED = frozenset({Outcome.GP, Outcome.ERROR})


class Collector:
    """Accesses, phases and events of one run, in the order in which they are added.

    phase: the furthest phase so far; it never goes back. count: accesses seen, kept or not. svsm_stage: how far the
    SVSM's start is, "" without one and as soon as it has started the guest. started_at: time.monotonic() at time 0 of
    the witness, as near as what was added shows, None as long as nothing shows it. accesses, phases, events: those that
    are kept; other threads may read them. position: bytes of the witness's log that were added. console_marks: those
    of `phases` that a console has shown. shown: names of what a console has shown (snp_harness.capture.goal).
    entries: the order of the three. log_state: what the witness's log has so far, with a summary; None for a witness
    without. cut: where the run ends, once that was seen; the timeline is what is before it. at_goal: the cut is where
    the goal is reached.
    """

    def __init__(self) -> None:
        self.phase = Phase.RESET
        self.svsm_stage = ""
        self.count = 0
        self.started_at: float | None = None
        self.accesses: list[Access] = []
        self.phases: list[PhaseMark] = []
        self.events: list[Event] = []
        self.entries = Entries()
        self.position = 0
        self.console_marks: list[ConsoleMark] = []
        self.shown: frozenset[str] = frozenset()
        self.log_state: Callable[[], LogState | None] = lambda: None
        self.cut: Position | None = None
        self.at_goal = False
        self._goal: Until | None = None
        #: Places where a goal may have been reached, with the phases and what the console has shown by then.
        self._steps: list[tuple[Position, int, frozenset[str]]] = []
        self._bds_line = ""
        self._condenser = Condenser()
        self._dropped_events = 0
        self._dropped_rule_events = 0

    @property
    def started(self) -> bool:
        """Whether anything of the guest was observed."""
        return bool(self.phases)

    @property
    def last_refused(self) -> Access | None:
        """Return the last access that was refused, of those that are kept."""
        return next((access for access in reversed(self.accesses) if access.outcome in _REFUSED), None)

    @property
    def sec_is_over(self) -> bool:
        """Whether what was seen shows that SEC has ended."""
        return sec_is_over(self.phases)

    def enter(self, phase: Phase, time_ns: int | None, evidence: str, known: Known = Known.INFERRED) -> None:
        """Record that the boot has reached `phase`, as `evidence` shows; no effect if it is already that far."""
        if phase is Phase.UNKNOWN or (self.phases and phase <= self.phase):
            return
        self._timed(time_ns)
        self.phase = phase
        self.phases.append(PhaseMark(phase, len(self.accesses), time_ns, evidence, known))
        self.entries.add(entries.PHASE)
        if known is Known.CONSOLE:
            self.console_marks.append(ConsoleMark(self.position, phase, evidence))
        self._stepped()
        self._enter_bds()

    def show(self, name: str, line: str) -> None:
        """Record that a console has shown something here. line: the text, printable.

        A line of BdsDxe begins BDS once the witness has reached DXE: a console alone shows no phase.
        """
        self.shown |= {name}
        if name == SHOWN_BDS and self.phase < Phase.BDS:
            self._bds_line = line
            self._enter_bds()
        self._stepped()

    def _enter_bds(self) -> None:
        if self._bds_line and self.phase >= Phase.DXE:
            line, self._bds_line = self._bds_line, ""
            self.enter(Phase.BDS, None, f"console: {line}", Known.CONSOLE)

    def follow(self, goal: Until) -> None:
        """Cut the run where the goal is reached, or has been."""
        self._goal = goal
        for step in self._steps:
            self._cut_at(step)

    def _stepped(self) -> None:
        step = (self.here(), len(self.phases), self.shown)
        self._steps.append(step)
        self._cut_at(step)

    def _cut_at(self, step: tuple[Position, int, frozenset[str]]) -> None:
        position, phases, shown = step
        if self.cut is None and self._goal is not None and is_reached(self._goal, self.phases[:phases], shown):
            self.cut = position
            self.at_goal = True

    def cut_short(self, end: Position) -> None:
        """Cut the run at a place that is not that of its goal."""
        self.cut = end
        self.at_goal = False

    @property
    def end(self) -> Position:
        """Return the place after all that was added."""
        return self.at(len(self.entries))

    def here(self) -> Position:
        """Return the same as where a run may end: with a summary of what the log has so far."""
        return Position(len(self.entries), self._condenser.condensed, self.log_state())

    def at(self, end: int) -> Position:
        """Return the place after so many entries."""
        condensed = self._condenser.condensed_of(self.entries.count(entries.ACCESS, end))
        return Position(end, condensed, self.entries.log_at(end))

    def access(
        self,
        operation: Operation,
        register: Register,
        path: Path,
        *,
        value: int | None,
        size: int | None,
        vcpu: int | None,
        vmpl: int | None,
        mode: ApicMode | None,
        outcome: Outcome,
        served_by: Server,
        phase: Phase | None = None,
        pc: int | None = None,
        module: str | None = None,
        module_offset: int | None = None,
        time_ns: int | None = None,
    ) -> int | None:
        """Add an access. phase: None for the current one. Returns its index for `amend`, None if it is only counted.

        After ACCESS_LIMIT accesses an access that only repeats others is counted and not kept.
        """
        self.count += 1
        self._timed(time_ns)
        access = Access(
            index=len(self.accesses),
            operation=operation,
            register=register,
            path=path,
            value=value,
            size=size,
            vcpu=vcpu,
            vmpl=vmpl,
            mode=mode,
            outcome=outcome,
            served_by=served_by,
            phase=self.phase if phase is None else phase,
            pc=pc,
            module=module,
            module_offset=module_offset,
            time_ns=time_ns,
        )
        if not self._condenser.keeps(access):
            return None
        self.entries.add(entries.ACCESS)
        self.accesses.append(access)
        return access.index

    def _timed(self, time_ns: int | None) -> None:
        """Use the time of what is added: it is added after it happened, so the earliest start is the nearest."""
        if time_ns is not None:
            start = time.monotonic() - time_ns / 1e9
            self.started_at = start if self.started_at is None else min(self.started_at, start)

    def amend(self, index: int, **fields: Any) -> None:
        """Replace fields of an access that has been added: its answer was seen later."""
        self.accesses[index] = dataclasses.replace(self.accesses[index], **fields)

    def uncount(self) -> None:
        """Take back an access that was only counted: it will be added again, with its answer."""
        self.count -= 1
        self._condenser.take_back()

    def name_modules(self, find: Callable[[int], tuple[str, int] | None]) -> None:
        """Set the module of accesses with a pc and without a module. find: returns name and base of a pc's module."""
        for number, access in enumerate(self.accesses):
            if access.pc is None or access.module is not None:
                continue
            found = find(access.pc)
            if found is not None:
                name, base = found
                self.accesses[number] = dataclasses.replace(access, module=name, module_offset=access.pc - base)

    def event(self, kind: str, time_ns: int | None, vcpu: int | None, text: str, **fields: int | str) -> None:
        """Add an event; after EVENT_LIMIT events are only counted, except for one that ends the run.

        Those that rules use are then lost.
        """
        if len(self.events) >= EVENT_LIMIT + (kind in END_KINDS):
            self._dropped_events += 1
            self._dropped_rule_events += kind in RULE_KINDS
            return
        self.entries.add(entries.EVENT)
        self.events.append(Event(kind, time_ns, vcpu, text, fields))

    def finish(
        self,
        *,
        witness: str,
        platform: str,
        gaps: list[str],
        lost: int,
        not_observed: frozenset[str],
        alternate_injection: bool,
        svsm: bool,
        apic_protocol: bool = False,
        faults: tuple[str, ...] = (),
        defects: tuple[str, ...] = (),
    ) -> Timeline:
        """Return the timeline, up to the cut if there is one.

        gaps: why it is not complete; empty if it is. The other arguments are as in Timeline.
        """
        if dropped := self._condenser.dropped:
            gaps = [*gaps, f"{dropped} accesses were not kept: too many kinds of them"]
            lost += dropped
        if self._dropped_events:
            gaps = [*gaps, f"{self._dropped_events} events were not kept"]
            lost += self._dropped_rule_events
        accesses, phases, events = self._ahead_of(self.cut or self.end)
        return Timeline(
            accesses=accesses,
            phases=phases,
            events=events,
            witness=witness,
            platform=platform,
            complete=not gaps,
            gaps=tuple(gaps),
            not_observed=not_observed,
            reached=phases[-1].phase if phases else Phase.RESET,
            alternate_injection=alternate_injection,
            svsm=svsm,
            lost=lost,
            apic_protocol=apic_protocol,
            faults=faults,
            defects=defects[:DEFECTS_LIMIT],
        )

    def moved(self, timeline: Timeline, end: Position) -> Timeline:
        """Return a timeline that `finish` has returned with another end than the cut; what was added to it stays."""
        of_cut = self._ahead_of(self.cut or self.end)[2]
        accesses, phases, events = self._ahead_of(end)
        return dataclasses.replace(
            timeline,
            accesses=accesses,
            phases=phases,
            events=(*events, *timeline.events[len(of_cut) :]),
            reached=phases[-1].phase if phases else Phase.RESET,
        )

    def _ahead_of(self, end: Position) -> tuple[tuple[Access, ...], tuple[PhaseMark, ...], tuple[Event, ...]]:
        kinds = (entries.ACCESS, entries.PHASE, entries.EVENT)
        accesses, phases, events_before = (self.entries.count(kind, end.entries) for kind in kinds)
        events = self.events[:events_before]
        if end.log is not None and end.log.closing is not None:
            events.append(end.log.closing)
        if end.condensed:
            text = f"{end.condensed} accesses that repeat earlier ones are counted, not listed"
            events.append(Event(CONDENSED, None, None, text, {"accesses": end.condensed}))
        return tuple(self.accesses[:accesses]), tuple(self.phases[:phases]), tuple(events)
