# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule no-unregistered-vector: interrupts use vectors that the guest has allowed."""

from __future__ import annotations

from snp_harness.apic import ipi
from snp_harness.apic.access import Outcome, Server
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.apic.verdict import RuleResult

#: Interrupts have no lower vector (APM volume 2, section 16.5); an event with a lower one is an NMI.
FIRST_VECTOR = 16
_SENT = frozenset({Outcome.OK, Outcome.NOT_OBSERVED})


class NoUnregisteredVector:
    """With Alternate Injection, each vector posted for or taken by the guest was allowed by CONFIGURE_VECTOR before.

    The SVSM drops other vectors that the hypervisor posts: the interrupts of a timer or device that uses one are lost.
    A vector may be disallowed after it was posted and before it is taken. Interrupts between vCPUs are always allowed.
    """

    name = "no-unregistered-vector"
    specification = (
        "SVSM APIC protocol, call 4 (COCONUT-SVSM kernel/src/cpu/apic.rs: allowed vectors, empty at first, of "
        "host interrupts only), GHCB (#HV doorbell page), APM 15.36.16 (Alternate Injection)."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check the events against the set of vectors that each vCPU allows."""
        if not timeline.alternate_injection:
            return observation.not_applicable(self.name, injection.INACTIVE)
        if not timeline.apic_protocol:
            return observation.not_applicable(self.name, f"{injection.NO_PROTOCOL}: no vector can be registered")
        activity = injection.Activity(timeline)
        sent = _first_sent(timeline)
        now: dict[int | None, set[int]] = {}
        ever: dict[int | None, set[int]] = {}
        offences: list[Event] = []
        seen: set[int] = set()
        for event in timeline.events:
            if event.kind == "apic-protocol-call":
                _configure(event, now, ever)
            elif event.kind in ("doorbell", "interrupt") and activity.at(event.vcpu, event.time_ns):
                vector = injection.number(event, "vector")
                if vector is None or vector < FIRST_VECTOR or _is_ipi(event, vector, sent):
                    continue
                seen.add(vector)
                allowed = now if event.kind == "doorbell" else ever
                if vector not in allowed.get(event.vcpu, ()):
                    offences.append(event)
        vectors = sorted({event.fields["vector"] for event in offences if isinstance(event.fields["vector"], int)})
        shown = ", ".join(f"{vector:X}" for vector in vectors[:8]) + (", ..." if len(vectors) > 8 else "")
        count = observation.plural(len(vectors), "interrupt vector")
        return observation.conclude(
            self.name,
            violated=f"{count} used without CONFIGURE_VECTOR: {shown}",
            events=offences,
            doubts=(
                injection.calls_not_seen(timeline),
                observation.blind(timeline, "interrupts", "interrupts of the guest"),
                observation.run_not_seen(timeline),
            ),
            holds=_holds(len(seen)),
        )


def _holds(seen: int) -> str:
    return f"{observation.plural(seen, 'interrupt vector')} used, all registered" if seen else "no interrupt was seen"


def _first_sent(timeline: Timeline) -> dict[int, int]:
    """When each vector was first sent by a vCPU, 0 where the time was not observed."""
    first: dict[int, int] = {}
    for access in timeline.accesses:
        sent = access.outcome in _SENT and access.served_by is not Server.GUEST
        vector = ipi.vector(access) if sent else None
        if vector is not None:
            time_ns = access.time_ns or 0
            first[vector] = min(time_ns, first.get(vector, time_ns))
    return first


def _is_ipi(event: Event, vector: int, sent: dict[int, int]) -> bool:
    if event.fields.get("source") == "ipi":
        return True
    return event.kind == "interrupt" and vector in sent and (event.time_ns is None or sent[vector] <= event.time_ns)


def _configure(event: Event, now: dict[int | None, set[int]], ever: dict[int | None, set[int]]) -> None:
    """Apply a call of CONFIGURE_VECTOR that succeeded; other calls have no effect."""
    first, last = injection.number(event, "first_vector"), injection.number(event, "last_vector")
    if first is None or last is None or injection.number(event, "result") != 0:
        return
    vectors = range(first, min(last, ipi.VECTOR_MASK) + 1)
    if injection.number(event, "allowed"):
        now.setdefault(event.vcpu, set()).update(vectors)
        ever.setdefault(event.vcpu, set()).update(vectors)
    else:
        now.get(event.vcpu, set()).difference_update(vectors)
