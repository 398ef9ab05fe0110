# SPDX-License-Identifier: GPL-2.0-or-later
"""The difference of two timelines: the accesses that came, went and changed, aligned by vCPU, module and order.

What every build and every boot moves is not compared: numbers, times, addresses, and how often the timer ticks.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.event_kinds import AGREEMENT, CONDENSED, RESTORED, UNANSWERED_CALL
from snp_harness.apic.registers import EOI, Register
from snp_harness.apic.timeline import Timeline

#: The fields of an access that are compared, besides operation and register.
FIELDS = ("phase", "path", "value", "size", "vmpl", "mode", "outcome", "served_by")
#: The fields by which accesses are put beside each other.
_GROUPED = ("vcpu", "module")
#: Values that stand for "not observed", which agree with every other.
_UNSEEN = (None, Path.UNKNOWN, Outcome.NOT_OBSERVED, Server.NOT_OBSERVED, Phase.UNKNOWN)
#: Kinds of events that are about the recording, or that the end of the run makes by chance.
CHANCE = frozenset({AGREEMENT, CONDENSED, RESTORED, UNANSWERED_CALL})
#: Accesses of a module from which on frequent ones align only beside others: time would grow with their square.
_LONG = 1000

#: vCPU and module, None for one that was not observed.
Group = tuple[int | None, str | None]


class Kind(enum.Enum):
    """How an access of one timeline is in the other."""

    SAME = "same"
    CAME = "came"
    WENT = "went"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Entry:
    """An access of one timeline, or one of each that are aligned. fields: those that differ."""

    before: Access | None
    after: Access | None
    fields: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Whether the access came, went, changed or is the same."""
        if self.before is None:
            return Kind.CAME
        if self.after is None:
            return Kind.WENT
        return Kind.CHANGED if self.fields else Kind.SAME

    @property
    def access(self) -> Access:
        """The access of the second timeline, or of the first if only that has it."""
        access = self.before if self.after is None else self.after
        assert access is not None
        return access

    @property
    def group(self) -> Group:
        """The vCPU and the module of the access, from the timeline that has them."""
        both = [access for access in (self.after, self.before) if access is not None]
        vcpu = next((access.vcpu for access in both if access.vcpu is not None), None)
        return vcpu, next((access.module for access in both if access.module is not None), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two timelines.

    entries: of each vCPU and module in turn, those that are the same too. phases, events: names of phases and kinds of
    events that came and went. not_compared: fields that one of the two never observed.
    doubts: why more may differ, sentences; empty if both were seen whole.
    """

    entries: tuple[Entry, ...]
    phases_came: tuple[str, ...]
    phases_went: tuple[str, ...]
    events_came: tuple[str, ...]
    events_went: tuple[str, ...]
    not_compared: tuple[str, ...]
    doubts: tuple[str, ...]

    def of_kind(self, kind: Kind) -> tuple[Entry, ...]:
        """Return the entries of a kind."""
        return tuple(entry for entry in self.entries if entry.kind is kind)

    @property
    def marks(self) -> tuple[tuple[Kind, str, str], ...]:
        """The phases and kinds of events that came and went: which of both, "phase" or "event", and the name."""
        lists = (
            (Kind.CAME, "phase", self.phases_came),
            (Kind.WENT, "phase", self.phases_went),
            (Kind.CAME, "event", self.events_came),
            (Kind.WENT, "event", self.events_went),
        )
        return tuple((kind, what, name) for kind, what, names in lists for name in names)

    @property
    def empty(self) -> bool:
        """Whether nothing differs; look at `doubts`, too."""
        return not self.marks and all(entry.kind is Kind.SAME for entry in self.entries)


def difference(before: Timeline, after: Timeline) -> Difference:
    """Return the difference of two timelines."""
    last = min(last_phase(before), last_phase(after))
    kept = [steady(timeline, last) for timeline in (before, after)]
    seen = [{field for field in (*_GROUPED, *FIELDS) if _observed(accesses, field)} for accesses in kept]
    both = seen[0] & seen[1]
    one = seen[0] ^ seen[1] if all(kept) else set()
    fields = [field for field in FIELDS if field in both]
    grouped = [field for field in _GROUPED if field in both]
    old, new = (_grouped(accesses, grouped) for accesses in kept)
    entries: list[Entry] = []
    for group in dict.fromkeys((*old, *new)):
        entries += _aligned(old.get(group, []), new.get(group, []), fields)
    phases = [phase_names(timeline, last) for timeline in (before, after)]
    events = [event_kinds(timeline, last) for timeline in (before, after)]
    return Difference(
        entries=tuple(entries),
        phases_came=_lacking(phases[1], phases[0]),
        phases_went=_lacking(phases[0], phases[1]),
        events_came=_lacking(events[1], events[0]),
        events_went=_lacking(events[0], events[1]),
        not_compared=tuple(field for field in (*_GROUPED, *FIELDS) if field in one),
        doubts=(*_goals(before, after), *_doubts(before, "first"), *_doubts(after, "second")),
    )


def last_phase(timeline: Timeline) -> Phase:
    """Return the last phase that the run was to see whole: on some platforms it goes on in the next one."""
    goal = timeline.until.upper()
    return Phase[goal] if goal in Phase.__members__ else Phase.OS


def is_after(phase: Phase, last: Phase) -> bool:
    """Return whether a phase is after the last one that is compared; one that was not observed is not."""
    return phase is not Phase.UNKNOWN and phase > last


def phase_names(timeline: Timeline, last: Phase) -> list[str]:
    """Return the names of the phases, to the last one that is compared."""
    return [mark.phase.name for mark in timeline.phases if not is_after(mark.phase, last)]


def event_kinds(timeline: Timeline, last: Phase) -> list[str]:
    """Return the kinds of events, but for those by chance and those after the last phase that is compared."""
    after = [mark.time_ns for mark in timeline.phases if is_after(mark.phase, last) and mark.time_ns is not None]
    end = min(after, default=None)
    events = [event for event in timeline.events if end is None or event.time_ns is None or event.time_ns < end]
    return sorted({event.kind for event in events} - CHANCE)


def steady(timeline: Timeline, last: Phase | None = None) -> list[Access]:
    """Return the accesses without those that only time repeats, and without those after a phase.

    last: the phase; None for that where the run was to end.

    An EOI comes last, once for each kind of it, and a read of APIC_BASE once after each write of the module on the
    vCPU: the ticks of a timer make them, in any phase and any number. Neither has a phase.
    """
    kept: list[Access] = []
    ticks: dict[Hashable, Access] = {}
    read: dict[Group, set[Hashable]] = {}
    last = last_phase(timeline) if last is None else last
    for access in timeline.accesses:
        if is_after(access.phase, last):
            continue
        if access.register == EOI:
            access = dataclasses.replace(access, phase=Phase.UNKNOWN, value=None)
            ticks.setdefault((_group(access), _exact(access, FIELDS)), access)
        elif access.is_base and access.operation is Operation.READ:
            access = dataclasses.replace(access, phase=Phase.UNKNOWN)
            seen = read.setdefault(_group(access), set())
            key = _exact(access, FIELDS)
            if key not in seen:
                seen.add(key)
                kept.append(access)
        else:
            if access.is_base:
                read.pop(_group(access), None)
            kept.append(access)
    # The end of the run cuts off an EOI now and then, before it is known who serves it: that is not a kind of its own.
    whole = {(_group(tick), _sort(tick)) for tick in ticks.values() if tick.outcome is not Outcome.NOT_OBSERVED}
    counted = [
        tick
        for tick in ticks.values()
        if tick.outcome is not Outcome.NOT_OBSERVED or (_group(tick), _sort(tick)) not in whole
    ]
    return [*kept, *sorted(counted, key=lambda access: repr(_exact(access, FIELDS)))]


def observed(value: object) -> bool:
    """Return whether the value of a field was observed."""
    return not any(value is unseen for unseen in _UNSEEN)


def _observed(accesses: Sequence[Access], field: str) -> bool:
    return any(observed(getattr(access, field)) for access in accesses)


def _group(access: Access) -> Group:
    return access.vcpu, access.module


def _grouped(accesses: Sequence[Access], fields: Sequence[str]) -> dict[Hashable, list[Access]]:
    groups: dict[Hashable, list[Access]] = {}
    for access in accesses:
        groups.setdefault(tuple(getattr(access, field) for field in fields), []).append(access)
    return groups


def _exact(access: Access, fields: Sequence[str]) -> Hashable:
    return (*_sort(access), *(getattr(access, field) for field in fields))


def _sort(access: Access) -> tuple[Operation, Register]:
    return access.operation, access.register


def _aligned(old: Sequence[Access], new: Sequence[Access], fields: Sequence[str]) -> Iterator[Entry]:
    """Align what is equal first. Between that, align by operation and register."""
    for olds, news in _blocks(old, new, lambda access: _exact(access, fields)):
        if len(olds) == len(news) == 1 and _exact(olds[0], fields) == _exact(news[0], fields):
            yield Entry(olds[0], news[0])
            continue
        for one, other in _blocks(olds, news, _sort):
            if len(one) == len(other) == 1 and _sort(one[0]) == _sort(other[0]):
                yield Entry(one[0], other[0], _changed(one[0], other[0], fields))
            else:
                yield from (Entry(access, None) for access in one)
                yield from (Entry(None, access) for access in other)


def _changed(one: Access, other: Access, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that differ. With another path the size is another one, too."""
    changed = [field for field in fields if _differs(one, other, field)]
    return tuple(field for field in changed if field != "size" or "path" not in changed)


def _differs(one: Access, other: Access, field: str) -> bool:
    values = getattr(one, field), getattr(other, field)
    return values[0] != values[1] and all(map(observed, values))


def _blocks(
    old: Sequence[Access], new: Sequence[Access], key: Callable[[Access], Hashable]
) -> Iterator[tuple[Sequence[Access], Sequence[Access]]]:
    """Yield pairs of accesses with equal keys, and between them what has no partner, in the order of both."""
    keys = [key(access) for access in old], [key(access) for access in new]
    start = 0
    shorter = min(len(old), len(new))
    while start < shorter and keys[0][start] == keys[1][start]:
        yield old[start : start + 1], new[start : start + 1]
        start += 1
    end = 0
    while end < shorter - start and keys[0][-1 - end] == keys[1][-1 - end]:
        end += 1
    old_end, new_end = len(old) - end, len(new) - end
    middle = keys[0][start:old_end], keys[1][start:new_end]
    matcher = difflib.SequenceMatcher(None, *middle, autojunk=max(map(len, middle)) > _LONG)
    for tag, low, high, new_low, new_high in matcher.get_opcodes():
        olds, news = old[start + low : start + high], new[start + new_low : start + new_high]
        if tag == "equal":
            yield from ((olds[at : at + 1], news[at : at + 1]) for at in range(len(olds)))
        else:
            yield olds, news
    for at in range(end):
        yield old[old_end + at : old_end + at + 1], new[new_end + at : new_end + at + 1]


def _lacking(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if name not in others)


def _goals(before: Timeline, after: Timeline) -> Iterator[str]:
    if last_phase(before) != last_phase(after):
        goals = " and ".join(timeline.until or "an unknown end" for timeline in (before, after))
        yield f"the runs are until {goals}: what follows the earlier one is not compared"


def _doubts(timeline: Timeline, which: str) -> Iterator[str]:
    if not timeline.complete:
        why = timeline.gaps[0] if timeline.gaps else "records of the log were lost"
        yield f"the {which} run was not seen whole: {why}"
    for event in timeline.events:
        if event.kind == CONDENSED:
            yield f"the {which} run: {event.text}"
