# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared by the rules about Alternate Injection: when it was active, events' fields, and common doubts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from snp_harness.apic.rules import observation
from snp_harness.apic.rules.observation import Doubt
from snp_harness.apic.timeline import Event, Timeline

#: Reasons of these rules where they do not apply.
INACTIVE = "Alternate Injection is not active"
UNEXPECTED = "not configured, and seen to begin"
NO_PROTOCOL = "the SVSM does not offer the APIC protocol"
#: The kind of the event that has the answer to a QUERY_PROTOCOL about the APIC protocol, and the protocol's version.
QUERY = "apic-protocol-query"
_VERSION = 1
#: The kind of the event that says when Alternate Injection began or ended.
CHANGE = "alternate-injection"


def number(event: Event, field: str) -> int | None:
    """Return an integer field of an event, None if it has none: timelines are also read from files."""
    value = event.fields.get(field)
    return value if isinstance(value, int) else None


def by_policy(timeline: Timeline) -> list[Event]:
    """Return the events that say that the hypervisor changed APIC_BASE by itself."""
    return [event for event in timeline.events if event.kind == CHANGE and event.fields.get("by_policy")]


def begun(timeline: Timeline) -> dict[int | None, int]:
    """Return when Alternate Injection was first seen to begin, by vCPU: empty if it was not seen."""
    first: dict[int | None, int] = {}
    for event in timeline.events:
        if event.kind == CHANGE and number(event, "active") and event.vcpu not in first:
            first[event.vcpu] = event.time_ns or 0
    return first


def begun_or_unseen(timeline: Timeline) -> bool:
    """Return whether it was seen to begin, or the witness cannot see that."""
    return CHANGE in timeline.not_observed or bool(begun(timeline))


def state(timeline: Timeline) -> str:
    """Return whether Alternate Injection is active, by what was seen, in words."""
    seen = bool(begun(timeline))
    if seen == timeline.alternate_injection:
        return "active" if seen else "not active"
    return UNEXPECTED if seen else "configured, not observed to be active"


def begin_not_seen(timeline: Timeline) -> Doubt | None:
    """Doubt where Alternate Injection is configured: a vCPU accessed its APIC and it was not seen to begin before.

    A witness that cannot see it has the configuration alone. One that does not see the guest's VMSAs sees it begin on
    the vCPU that the SVSM starts: the SVSM lets the guest start others with the same SEV_FEATURES only.
    """
    if not timeline.alternate_injection or CHANGE in timeline.not_observed:
        return None
    first = begun(timeline)
    if not first:
        return Doubt("Alternate Injection was to be active, and was not seen to begin")
    others = min(first.values()) if "svsm-calls" in timeline.not_observed else None
    for access in timeline.accesses:
        began = first.get(access.vcpu, others)
        if access.vcpu is not None and (began is None or (access.time_ns is not None and access.time_ns < began)):
            return Doubt(f"Alternate Injection was not seen to begin on vCPU {access.vcpu} before its first access")
    return None


def ended_unasked(timeline: Timeline) -> Doubt | None:
    """Doubt where Alternate Injection is configured: the SVSM ended it unasked on a vCPU that accessed its APIC then.

    It had no part in these accesses. What the guest ends itself, by CONFIGURE of the APIC protocol, is its choice, and
    it is then over for the guest: its other vCPUs' next VMSAs do not have it either.
    """
    changes = [event for event in timeline.events if event.kind == CHANGE]
    over = min((event.time_ns or 0 for event in changes if _ended(event) and number(event, "asked")), default=None)
    unasked = States(
        (event.vcpu, time_ns, _ended(event) and number(event, "asked") == 0 and (over is None or time_ns < over))
        for event in changes
        for time_ns in [event.time_ns or 0]
    )
    for access in timeline.accesses if timeline.alternate_injection else ():
        if unasked.at(access.vcpu, access.time_ns):
            return Doubt(f"the SVSM ended Alternate Injection on vCPU {access.vcpu}, which the guest had not requested")
    return None


def _ended(event: Event) -> bool:
    return number(event, "active") == 0


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


def answers(timeline: Timeline) -> Iterator[tuple[Event, bool]]:
    """Yield the answers of QUERY_PROTOCOL, and whether the APIC protocol is offered.

    That another version of it is not offered says nothing, nor does an answer that is an error.
    """
    for event in timeline.events:
        if event.kind == QUERY:
            offered = number(event, "offered") != 0
            if offered or (number(event, "version") == _VERSION and number(event, "result") == 0):
                yield event, offered


def without_protocol(timeline: Timeline) -> frozenset[int]:
    """Return the vCPUs on which the SVSM does not offer the APIC protocol: by every answer to QUERY_PROTOCOL there.

    COCONUT of 2026 has an APIC for the launch vCPU only. A vCPU that did not ask is not among them, nor one that asked
    after Alternate Injection had ended.
    """
    activity = Activity(timeline)
    offered: dict[int, bool] = {}
    for event, yes in answers(timeline):
        if event.vcpu is not None and (yes or activity.at(event.vcpu, event.time_ns)):
            offered[event.vcpu] = offered.get(event.vcpu, False) or yes
    return frozenset(vcpu for vcpu, yes in offered.items() if not yes)
