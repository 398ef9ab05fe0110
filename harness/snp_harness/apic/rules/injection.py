# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the rules about Alternate Injection: when it was active, events' fields, and common doubts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from snp_harness.apic.rules import observation
from snp_harness.apic.rules.observation import Doubt
from snp_harness.apic.timeline import Event, Timeline

#: Reasons of these rules where they do not apply.
INACTIVE = "Alternate Injection is not active"
NO_PROTOCOL = "the SVSM does not offer the APIC protocol"
#: The kind of the event that says when Alternate Injection began or ended.
CHANGE = "alternate-injection"


def number(event: Event, field: str) -> int | None:
    """Return an integer field of an event, None if it has none: timelines are also read from files."""
    value = event.fields.get(field)
    return value if isinstance(value, int) else None


def by_policy(timeline: Timeline) -> list[Event]:
    """Return the events that say that the hypervisor changed APIC_BASE by itself."""
    return [event for event in timeline.events if event.kind == CHANGE and event.fields.get("by_policy")]


def begin_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt where Alternate Injection is configured: a vCPU accessed its APIC and it was not seen to begin before.

    A witness that does not see calls of the SVSM does not see this either: the configuration is all there is.
    """
    if not timeline.alternate_injection or "svsm-calls" in timeline.not_observed:
        return None
    begun: dict[int | None, int] = {}
    for event in timeline.events:
        if event.kind == CHANGE and number(event, "active") and event.vcpu not in begun:
            begun[event.vcpu] = event.time_ns or 0
    if not begun:
        return Doubt("Alternate Injection was to be active, and was not seen to begin")
    for access in timeline.accesses:
        began = begun.get(access.vcpu)
        if access.vcpu is not None and (began is None or (access.time_ns is not None and access.time_ns < began)):
            return Doubt(f"Alternate Injection was not seen to begin on vCPU {access.vcpu} before its first access")
    return None


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


class Ends:
    """Whether Alternate Injection had ended on a vCPU: AP creation begins it anew."""

    def __init__(self, timeline: Timeline) -> None:
        self._states = States(
            (event.vcpu, event.time_ns or 0, number(event, "active") != 0)
            for event in timeline.events
            if event.kind == CHANGE
        )

    def before(self, vcpu: int | None, time_ns: int | None) -> bool:
        """Return whether it had ended by then; a time or a vCPU that was not observed counts as before the end."""
        return time_ns is not None and self._states.at(vcpu, time_ns) is False


class Activity:
    """When Alternate Injection was active on a vCPU: as configured, until an event says that it ended."""

    def __init__(self, timeline: Timeline) -> None:
        self._configured = timeline.alternate_injection
        self._states = States(
            (event.vcpu, event.time_ns or 0, number(event, "active") != 0)
            for event in timeline.events
            if event.kind == CHANGE
        )

    def at(self, vcpu: int | None, time_ns: int | None) -> bool:
        """Return whether it was active; if the time was not observed, whether it was configured."""
        state = None if time_ns is None else self._states.at(vcpu, time_ns)
        return self._configured if state is None else state
