# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares two witnesses of one boot, access by access, in the fields that both of them see."""

from __future__ import annotations

from itertools import zip_longest

from snp_harness.apic.access import Access, Server
from snp_harness.apic.event_kinds import CONDENSED
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.condense import ACCESS_LIMIT

#: A run can end between an access and its record: one of the witnesses may have one access more.
TAIL = 1


def disagreement(first: Timeline, second: Timeline) -> str | None:
    """Return the first difference of two timelines in one sentence, None if there is none.

    Only register accesses count: the emulated hypervisor reads APIC_BASE, too. A field that one witness did not see
    agrees with any value.
    """
    ours, theirs = _registers(first), _registers(second)
    condensed = _is_condensed(first) or _is_condensed(second)
    for number, (one, other) in enumerate(zip_longest(ours, theirs)):
        if one is None or other is None:
            if condensed or abs(len(ours) - len(theirs)) <= TAIL:
                return None
            return f"{first.witness} has {len(ours)} register accesses, {second.witness} has {len(theirs)}"
        field = _different_field(one, other)
        if field is not None:
            return (
                f"register access {number}: {field} is {_shown(one, field)} to {first.witness} "
                f"and {_shown(other, field)} to {second.witness}"
            )
    return None


def _registers(timeline: Timeline) -> list[Access]:
    """Register accesses that reached an APIC, up to the number that a collector keeps completely."""
    unasked = (Server.GUEST, Server.NOT_OBSERVED)
    return [a for a in timeline.accesses[:ACCESS_LIMIT] if not a.is_base and a.served_by not in unasked]


def _is_condensed(timeline: Timeline) -> bool:
    return any(event.kind == CONDENSED for event in timeline.events)


def _different_field(one: Access, other: Access) -> str | None:
    if one.operation is not other.operation:
        return "operation"
    if one.register != other.register:
        return "register"
    for field in ("value", "size", "vcpu", "mode"):
        ours, theirs = getattr(one, field), getattr(other, field)
        if ours is not None and theirs is not None and ours != theirs:
            return field
    if one.path is not other.path and "UNKNOWN" not in (one.path.name, other.path.name):
        return "path"
    return None


def _shown(access: Access, field: str) -> str:
    value = getattr(access, field)
    if field == "register":
        return str(access.register.name)
    return hex(value) if isinstance(value, int) else str(getattr(value, "value", value))
