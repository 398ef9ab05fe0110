# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rules about Alternate Injection share: when it was active, events' fields, and what they cannot judge."""

from __future__ import annotations

from bisect import bisect_right

from harness.apic.rules import observation
from harness.apic.rules.observation import Doubt
from harness.apic.timeline import Event, Timeline

#: Reason of these rules where there is nothing for them to judge.
INACTIVE = "Alternate Injection is not active"


def number(event: Event, field: str) -> int | None:
    """Return an integer field of an event, None if it has none: timelines come from files, too."""
    value = event.fields.get(field)
    return value if isinstance(value, int) else None


def calls_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt of every one of these rules: the witness does not see calls of the SVSM."""
    return observation.blind(timeline, "svsm-calls", "calls of the SVSM")


class Activity:
    """When Alternate Injection was active on a vCPU: as configured, until an event says that it ended."""

    def __init__(self, timeline: Timeline) -> None:
        self._configured = timeline.alternate_injection
        self._changes: dict[int, list[tuple[int, bool]]] = {}
        for event in timeline.events:
            if event.kind == "alternate-injection" and event.vcpu is not None and event.time_ns is not None:
                change = (event.time_ns, number(event, "active") != 0)
                self._changes.setdefault(event.vcpu, []).append(change)
        for changes in self._changes.values():
            changes.sort()

    def at(self, vcpu: int | None, time_ns: int | None) -> bool:
        """Tell whether it was active; where vCPU or time were not observed, whether it was configured."""
        changes = None if vcpu is None else self._changes.get(vcpu)
        if changes is None or time_ns is None:
            return self._configured
        position = bisect_right(changes, (time_ns, True))
        return changes[position - 1][1] if position else self._configured
