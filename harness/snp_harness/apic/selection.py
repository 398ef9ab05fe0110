# SPDX-License-Identifier: GPL-2.0-or-later
"""A part of a timeline, in the order of time: what is asked for, and what repeats itself as one entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from snp_harness.apic.access import Access, Path, Phase, Server
from snp_harness.apic.registers import REGISTERS, Register
from snp_harness.apic.timeline import Event, PhaseMark, Timeline

#: The longest group of accesses whose repetitions are folded, and how often it has to be made for that.
PERIOD_MAX, REPEATED_MIN = 12, 3
#: Reading it gives another value each time.
_CURRENT_COUNT = "Timer Current Count"


@dataclass(frozen=True, slots=True)
class Repeated:
    """The accesses before it, made again in the same way. group: how many they are. times: how often. last: of all."""

    group: int
    times: int
    last: Access


Entry: TypeAlias = Access | PhaseMark | Event | Repeated


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a timeline is asked for; an empty set stands for everything.

    since_ns: from this time on. since_index: from this access on. since_phase: from the begin of this phase on.
    """

    phases: frozenset[Phase] = frozenset()
    vcpus: frozenset[int] = frozenset()
    registers: frozenset[Register] = frozenset()
    paths: frozenset[Path] = frozenset()
    servers: frozenset[Server] = frozenset()
    since_ns: int | None = None
    since_index: int = 0
    since_phase: Phase | None = None

    def entries(self, timeline: Timeline) -> list[Entry]:
        """Return the accesses that are asked for, with the phases and events between them.

        Phases and events are left out where the accesses are chosen by what an event does not have.
        """
        start = self.since_index
        if self.since_phase is not None:
            begins = (mark.index for mark in timeline.phases if mark.phase is self.since_phase)
            start = max(start, next(begins, len(timeline.accesses)))
        since_ns = self.since_ns
        if since_ns is None and start:
            since_ns = timeline.accesses[start].time_ns if start < len(timeline.accesses) else None
        return [entry for entry in in_order(timeline) if self._keeps(entry, start, since_ns)]

    def keeps(self, access: Access) -> bool:
        """Return whether an access is asked for, but for where the part begins."""
        return (
            (not self.phases or access.phase in self.phases)
            and (not self.vcpus or access.vcpu in self.vcpus)
            and (not self.registers or access.register in self.registers)
            and (not self.paths or access.path in self.paths)
            and (not self.servers or access.served_by in self.servers)
        )

    def _keeps(self, entry: Entry, start: int, since_ns: int | None) -> bool:
        if isinstance(entry, Access):
            return entry.index >= start and _late(entry.time_ns, self.since_ns) and self.keeps(entry)
        if isinstance(entry, PhaseMark):
            late = entry.index >= start and _late(entry.time_ns, self.since_ns)
            return late and (not self.phases or entry.phase in self.phases)
        if not isinstance(entry, Event) or self.registers or self.paths or self.servers or self.phases:
            return False
        return _late(entry.time_ns, since_ns) and (not self.vcpus or entry.vcpu in self.vcpus)


def _late(time_ns: int | None, since_ns: int | None) -> bool:
    return since_ns is None or (time_ns is not None and time_ns >= since_ns)


def in_order(timeline: Timeline) -> Iterator[Entry]:
    """Yield everything in the order of time. What has no time comes where it was added, an event at the end."""
    marks = list(timeline.phases[::-1])
    events = [event for event in timeline.events if event.time_ns is not None]
    events.sort(key=lambda event: event.time_ns or 0, reverse=True)
    for position, access in enumerate(timeline.accesses):
        while marks and marks[-1].index <= position:
            yield from _until(events, marks[-1].time_ns)
            yield marks.pop()
        yield from _until(events, access.time_ns)
        yield access
    for mark in reversed(marks):
        yield from _until(events, mark.time_ns)
        yield mark
    yield from reversed(events)
    yield from (event for event in timeline.events if event.time_ns is None)


def _until(events: list[Event], time_ns: int | None) -> Iterator[Event]:
    """Yield, and remove, the events up to a time; they are in reverse order."""
    while time_ns is not None and events and (events[-1].time_ns or 0) <= time_ns:
        yield events.pop()


def fold(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries; a group of accesses that is made again and again, such as a timer's tick, only once."""
    keys = [_key(entry) for entry in entries]
    position = 0
    while position < len(entries):
        period, times = _repetition(keys, position)
        yield from entries[position : position + period]
        last = entries[position + period * times - 1]
        if times > 1 and isinstance(last, Access):
            yield Repeated(period, times - 1, last)
        position += period * times


def _repetition(keys: Sequence[object], start: int) -> tuple[int, int]:
    """Return the group at `start` that covers most by its repetitions, as its length and their number."""
    best = (1, 1)
    for period in range(1, PERIOD_MAX + 1):
        times = 1
        while keys[start : start + period] == keys[start + times * period : start + (times + 1) * period]:
            times += 1
        if times >= REPEATED_MIN and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _key(entry: Entry) -> object:
    """Return what is the same in accesses that repeat each other; of another entry nothing is."""
    if not isinstance(entry, Access):
        return object()
    where = entry.module_offset if entry.module is not None else entry.pc
    value = None if entry.register.name == _CURRENT_COUNT else entry.value
    how = (entry.operation, entry.register, entry.path, entry.mode, entry.outcome, entry.served_by, value)
    return (*how, entry.vcpu, entry.vmpl, entry.phase, entry.module, where)


def registers_named(name: str) -> frozenset[Register]:
    """Return the registers of a name, or of a number in hexadecimal: an offset in the xAPIC page, or an MSR.

    Case does not matter, and the begin of a name is enough: "timer" are all registers of the timer.
    """
    wanted = name.lower()
    found = frozenset(register for register in REGISTERS if register.name.lower() == wanted)
    if not found:
        found = frozenset(register for register in REGISTERS if register.name.lower().startswith(wanted))
    if not found:
        try:
            number = int(wanted, 16)
        except ValueError:
            return frozenset()
        found = frozenset(register for register in REGISTERS if number in (register.offset, register.msr))
    return found
