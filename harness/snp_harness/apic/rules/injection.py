# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rules about Alternate Injection share: when it was active, events' fields, and what they cannot judge."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from snp_harness.apic.rules import observation
from snp_harness.apic.rules.observation import Doubt
from snp_harness.apic.timeline import Event, Timeline

#: Reason of these rules where there is nothing for them to judge.
INACTIVE = "Alternate Injection is not active"


def number(event: Event, field: str) -> int | None:
    """Return an integer field of an event, None if it has none: timelines come from files, too."""
    value = event.fields.get(field)
    return value if isinstance(value, int) else None


def calls_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt of every one of these rules: the witness does not see calls of the SVSM."""
    return observation.blind(timeline, "svsm-calls", "calls of the SVSM")


class States:
    """A yes or no of each vCPU that changes with time. changes: vCPU, time, and what is so from then on."""

    def __init__(self, changes: Iterable[tuple[int | None, int, bool]]) -> None:
        self._changes: dict[int | None, list[tuple[int, bool]]] = {}
        for vcpu, time_ns, state in changes:
            self._changes.setdefault(vcpu, []).append((time_ns, state))
        for of_one in self._changes.values():
            of_one.sort(key=lambda change: change[0])

    def at(self, vcpu: int | None, time_ns: int | None) -> bool | None:
        """Return the last state at that time, or at the end where the time was not observed; None if there was none."""
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
        """Tell whether it was active; where the time was not observed, whether it was configured."""
        state = None if time_ns is None else self._states.at(vcpu, time_ns)
        return self._configured if state is None else state
