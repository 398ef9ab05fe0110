# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule apic-protocol-used-only-when-offered: QUERY_PROTOCOL comes before the first call of the SVSM APIC protocol."""

from __future__ import annotations

from collections.abc import Iterator

from snp_harness.apic.access import Access, Path
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.apic.verdict import RuleResult


class ApicProtocolUsedOnlyWhenOffered:
    """The APIC protocol is called only after QUERY_PROTOCOL reported it, and while Alternate Injection is active.

    An SVSM without the protocol answers each call with an error.
    """

    name = "apic-protocol-used-only-when-offered"
    specification = "SVSM section 6, QUERY_PROTOCOL (core call 6); SVSM APIC protocol (results when emulation is off)."

    def check(self, timeline: Timeline) -> RuleResult:
        """Compare the time of each call with the earlier answers to its vCPU, or else to another."""
        activity = injection.Activity(timeline)
        answers = _Answers(timeline)
        accesses: list[Access] = []
        events: list[Event] = []
        calls = 0
        for call in _calls(timeline):
            calls += 1
            time_ns = _called(call)
            if activity.at(call.vcpu, time_ns) and answers.offered(call.vcpu, time_ns):
                continue
            if isinstance(call, Access):
                accesses.append(call)
            else:
                events.append(call)
        offences = len(accesses) + len(events)
        return observation.conclude(
            self.name,
            violated=f"{_count(offences)} of the APIC protocol "
            + ("before QUERY_PROTOCOL offered it" if timeline.alternate_injection else "without Alternate Injection"),
            offences=accesses,
            events=events,
            doubts=(injection.calls_not_seen(timeline), observation.run_not_seen(timeline)),
            holds=_holds(calls),
        )


class _Answers:
    """The answers of QUERY_PROTOCOL about the APIC protocol."""

    def __init__(self, timeline: Timeline) -> None:
        answers = [(event.vcpu, event.time_ns or 0, offered) for event, offered in injection.answers(timeline)]
        self._own = injection.States(answers)
        self._first_yes = min((time_ns for _, time_ns, offered in answers if offered), default=None)

    def offered(self, vcpu: int | None, time_ns: int | None) -> bool:
        """The last answer to the vCPU before that time, else whether any vCPU had a positive one by then."""
        own = self._own.at(vcpu, time_ns)
        if own is not None:
            return own
        return self._first_yes is not None and (time_ns is None or self._first_yes <= time_ns)


def _calls(timeline: Timeline) -> Iterator[Access | Event]:
    """Every call of the protocol: accesses to its registers, and the other calls."""
    yield from (access for access in timeline.accesses if access.path is Path.SVSM)
    yield from (event for event in timeline.events if event.kind == "apic-protocol-call")


def _called(call: Access | Event) -> int | None:
    """When the call was made; an event has the time of the answer."""
    made = injection.number(call, "called_ns") if isinstance(call, Event) else None
    return call.time_ns if made is None else made


def _count(calls: int) -> str:
    return observation.plural(calls, "call")


def _holds(calls: int) -> str:
    return f"{_count(calls)}, all after QUERY_PROTOCOL" if calls else "the APIC protocol was not called"
