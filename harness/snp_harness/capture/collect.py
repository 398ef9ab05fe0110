# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects the observations of a witness into a timeline, in bounded memory."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snp_harness.apic import ipi
from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode, mode_of
from snp_harness.apic.registers import APIC_BASE, Register
from snp_harness.apic.timeline import CONDENSED, END_KINDS, RULE_KINDS, Event, Known, PhaseMark, Timeline, sec_is_over

#: Accesses that are kept one by one. A boot to the shell makes 5,000; the shell makes 300 a second.
ACCESS_LIMIT = 20_000
#: Beyond ACCESS_LIMIT, so many more accesses of each kind are kept; the others differ in value, pc and time.
SORT_LIMIT = 16
#: Kinds that are distinguished beyond ACCESS_LIMIT.
SORTS_LIMIT = 4096
EVENT_LIMIT = 10_000
#: Unreadable parts of an image that a timeline names.
DEFECTS_LIMIT = 16

_REFUSED = frozenset({Outcome.GP, Outcome.ERROR})
_Sort = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ConsoleMark:
    """A phase that a console has shown. position: bytes of the witness's log that were read before."""

    position: int
    phase: Phase
    evidence: str

    def enter(self, collector: Collector) -> None:
        """Enter the phase."""
        collector.enter(self.phase, None, self.evidence, Known.CONSOLE)


class Collector:
    """Accesses, phases and events of one run, in the order in which they are added.

    phase: the furthest phase so far; it never goes back. count: accesses seen, kept or not. svsm_stage: how far the
    SVSM's start is, "" without one and as soon as it has started the guest. started_at: time.monotonic() at time 0 of
    the witness, as near as what was added shows, None as long as nothing shows it. accesses, phases, events: those that
    are kept; other threads may read them. position: bytes of the witness's log that were added. console_marks: those
    of `phases` that a console has shown.
    """

    def __init__(self) -> None:
        self.phase = Phase.RESET
        self.svsm_stage = ""
        self.count = 0
        self.started_at: float | None = None
        self.accesses: list[Access] = []
        self.phases: list[PhaseMark] = []
        self.events: list[Event] = []
        self.position = 0
        self.console_marks: list[ConsoleMark] = []
        self._sorts: Counter[_Sort] = Counter()
        self._condensed = 0
        self._dropped_accesses = 0
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
        if known is Known.CONSOLE:
            self.console_marks.append(ConsoleMark(self.position, phase, evidence))

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

        After ACCESS_LIMIT accesses an access that only repeats others is counted and not kept: every rule judges it
        like them, since phase, register, path, mode, outcome, server and module are the same.
        """
        self.count += 1
        self._timed(time_ns)
        phase = self.phase if phase is None else phase
        if len(self.accesses) >= ACCESS_LIMIT:
            # The only values that rules judge are the vectors of interrupts that are sent, and modes.
            judged: int | ApicMode | None = ipi.request(operation, register, value)
            if register == APIC_BASE and value is not None:
                judged = mode_of(value)
            sort = (operation, register, path, vcpu, vmpl, mode, outcome, served_by, phase, module, judged)
            if sort not in self._sorts and len(self._sorts) >= SORTS_LIMIT:
                self._dropped_accesses += 1
                return None
            self._sorts[sort] += 1
            if self._sorts[sort] > SORT_LIMIT:
                self._condensed += 1
                return None
        self.accesses.append(
            Access(
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
                phase=phase,
                pc=pc,
                module=module,
                module_offset=module_offset,
                time_ns=time_ns,
            )
        )
        return len(self.accesses) - 1

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
        self._condensed = max(0, self._condensed - 1)

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
        """Return the timeline. gaps: why it is not complete; empty if it is. The other arguments are as in Timeline."""
        if self._dropped_accesses:
            gaps = [*gaps, f"{self._dropped_accesses} accesses were not kept: too many kinds of them"]
            lost += self._dropped_accesses
        if self._dropped_events:
            gaps = [*gaps, f"{self._dropped_events} events were not kept"]
            lost += self._dropped_rule_events
        events = list(self.events)
        if self._condensed:
            text = f"{self._condensed} accesses that repeat earlier ones are counted, not listed"
            events.append(Event(CONDENSED, None, None, text, {"accesses": self._condensed}))
        return Timeline(
            accesses=tuple(self.accesses),
            phases=tuple(self.phases),
            events=tuple(events),
            witness=witness,
            platform=platform,
            complete=not gaps,
            gaps=tuple(gaps),
            not_observed=not_observed,
            reached=self.phase,
            alternate_injection=alternate_injection,
            svsm=svsm,
            lost=lost,
            apic_protocol=apic_protocol,
            faults=faults,
            defects=defects[:DEFECTS_LIMIT],
        )
