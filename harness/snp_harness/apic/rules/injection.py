# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the rules about Alternate Injection: when it was active, events' fields, and common doubts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from snp_harness.apic.rules import observation
from snp_harness.apic.rules.observation import Doubt
from snp_harness.apic.timeline import Event, Timeline

#: Reason of these rules where they do not apply.
INACTIVE = "Alternate Injection is not active"


def number(event: Event, field: str) -> int | None:
    """Return an integer field of an event, None if it has none: timelines are also read from files."""
    value = event.fields.get(field)
    return value if isinstance(value, int) else None


def calls_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt of each of these rules: the witness does not see calls of the SVSM."""
    return observation.blind(timeline, "svsm-calls", "calls of the SVSM")


class States:
    """A state of each vCPU that changes with time. changes: vCPU, time, and the state from then on."""

    def __init__(self, changes: Iterable[tuple[int | None, int, bool]]) -> None:
        self._changes: dict[int | None, list[tuple[int, bool]]] = {}
        for vcpu, time_ns, state in changes:
            self._changes.setdefault(vcpu, []).append((time_ns, state))
        for of_one in self._changes.values():
            of_one.sort(key=lambda change: change[0])

    def at(self, vcpu: int | None, time_ns: int | None) -> bool | None:
        """Return the state at that time, or at the end if the time was not observed; None before the first change."""
        changes = self._changes.get(vcpu, [])
        position = len(changes) if time_ns is None else bisect_right(changes, time_ns, key=lambda change: change[0])
        return changes[position - 1][1] if position else None


class Activity:
    """When Alternate Injection was active on a vCPU: as configured, until an event says that it ended."""

    def __init__(self, timeline: Timeline) -> None:
        self._configured = timeline.alternate_injection
        self._states = States(
            (event.vcpu, event.time_ns or 0, number(event, "active") != 0)
            for event in timeline.events
            if event.kind == "alternate-injection"
        )

    def at(self, vcpu: int | None, time_ns: int | None) -> bool:
        """Return whether it was active; if the time was not observed, whether it was configured."""
        state = None if time_ns is None else self._states.at(vcpu, time_ns)
        return self._configured if state is None else state
