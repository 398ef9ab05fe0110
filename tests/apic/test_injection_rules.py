# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules about Alternate Injection: the server of a register, the timer, vectors, and the APIC protocol."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Access, Outcome, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Event
from snp_harness.apic.verdict import RuleResult, Status
from tests.apic import judge
from tests.apic.samples import READ, WRITE, base, stock_sec, timeline, x2apic, xapic

HOLDS, VIOLATED, INCONCLUSIVE = Status.HOLDS, Status.VIOLATED, Status.INCONCLUSIVE
NOT_APPLICABLE = Status.NOT_APPLICABLE
REGISTERS, TIMER = "svsm-handles-its-registers", "timer-reaches-hypervisor-in-x2apic"
VECTORS, PROTOCOL = "no-unregistered-vector", "apic-protocol-used-only-when-offered"
RULES = (REGISTERS, TIMER, VECTORS, PROTOCOL)
XAPIC = ApicMode.XAPIC


def check(rule: str, accesses: list[Access], *events: Event, **fields: Any) -> RuleResult:
    return judge.check(rule, accesses, events=events, **{"apic_protocol": True, **fields})


def svsm(operation: Any, msr: int, value: int | None = 0, **fields: Any) -> Access:
    """A call of the APIC protocol that the SVSM serves."""
    return x2apic(operation, msr, value, **{"path": AccessPath.SVSM, "served_by": Server.SVSM, **fields})


def query(time_ns: int, offered: int = 1, vcpu: int = 0, *, version: int = 1, result: int = 0) -> Event:
    return Event("apic-protocol-query", time_ns, vcpu, "", {"offered": offered, "version": version, "result": result})


def call(time_ns: int, vcpu: int = 0, **fields: int) -> Event:
    """A call of the APIC protocol that took 10 ns."""
    return Event("apic-protocol-call", time_ns + 10, vcpu, "", {"called_ns": time_ns, "result": 0, **fields})


def allow(time_ns: int, first: int, last: int | None = None, *, on: int = 1, **fields: int) -> Event:
    """CONFIGURE_VECTOR."""
    vectors = {"first_vector": first, "last_vector": first if last is None else last, "allowed": on}
    return call(time_ns, **vectors, **fields)


def posted(time_ns: int, vector: int, source: str = "timer", vcpu: int = 0) -> Event:
    return Event("doorbell", time_ns, vcpu, "", {"vector": vector, "source": source})


def taken(time_ns: int, vector: int, source: str = "svsm") -> Event:
    return Event("interrupt", time_ns, 0, "", {"vector": vector, "source": source})


def injection(time_ns: int, active: int, vcpu: int = 0) -> Event:
    return Event("alternate-injection", time_ns, vcpu, "", {"vmpl": 2, "active": active, "by_policy": 0})


# --- all of them


@pytest.mark.parametrize("rule", RULES)
def test_they_do_not_apply_where_alternate_injection_is_not_active(rule: str) -> None:
    events = (posted(5, 0x20), taken(6, 0x20), injection(1, 0))
    judged = timeline(stock_sec(), events=events, alternate_injection=False, apic_protocol=False)
    result = evaluate(judged, as_if_active=True).result(rule)
    if rule == PROTOCOL:
        assert (result.status, result.reason) == (HOLDS, "the APIC protocol was not called")
    else:
        assert (result.status, result.reason) == (NOT_APPLICABLE, "Alternate Injection is not active")


@pytest.mark.parametrize("rule", RULES)
def test_a_witness_without_calls_of_the_svsm_does_not_observe_them(rule: str) -> None:
    result = check(rule, [], not_observed=frozenset({"svsm-calls"}))
    assert (result.status, result.observable) == (INCONCLUSIVE, False)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("fields", [{"lost": 1}, {"complete": False, "gaps": ("QEMU died",)}])
def test_they_are_about_the_whole_run(rule: str, fields: dict[str, Any]) -> None:
    assert check(rule, [], **fields).status is INCONCLUSIVE


FIELDS = st.dictionaries(
    st.sampled_from(["vector", "source", "first_vector", "last_vector", "allowed", "result", "offered", "called_ns"]),
    st.integers(0, 300) | st.just("ipi") | st.just((1 << 64) - 1),
)
KINDS = st.sampled_from(["apic-protocol-call", "apic-protocol-query", "doorbell", "interrupt", "alternate-injection"])
EVENTS = st.builds(Event, KINDS, st.none() | st.integers(0, 3000), st.none() | st.integers(0, 2), st.just(""), FIELDS)


@given(st.lists(EVENTS, max_size=8), st.booleans())
def test_any_events_are_judged(events: list[Event], active: bool) -> None:
    accesses = [svsm(WRITE, 0x83F, 0x20), x2apic(READ, 0x832)]
    judged = timeline(accesses, events=tuple(events), alternate_injection=active, apic_protocol=active)
    for rule in RULES:
        result = evaluate(judged, as_if_active=True).result(rule)
        assert result.status in (HOLDS, VIOLATED) if active or rule == PROTOCOL else result.status is NOT_APPLICABLE
        assert (result.status is VIOLATED) == bool(result.offences or result.events)
        assert result.reason
        assert all(event in events for event in result.events)


def test_a_full_timeline_is_judged_quickly() -> None:
    accesses = [svsm(WRITE, 0x80B, time_ns=number) for number in range(20_000)]
    events = [query(0), allow(1, 31, 255), *(posted(number, 32 + number % 200) for number in range(3, 10_000))]
    judged = timeline(accesses, events=tuple(events), apic_protocol=True)
    started = time.process_time()
    verdict = evaluate(judged)
    assert time.process_time() - started < 1.0
    assert [verdict.result(rule).status for rule in RULES] == [HOLDS] * 4


# --- svsm-handles-its-registers


@pytest.mark.parametrize(
    ("access", "leaks"),
    [
        (svsm(WRITE, 0x80B), False),
        (svsm(READ, 0x803, outcome=Outcome.ERROR), False),  # the SVSM answered that it does not serve the register
        (x2apic(WRITE, 0x80B), True),
        (x2apic(WRITE, 0x80B, outcome=Outcome.GP), True),  # the hypervisor answered, by refusing
        (x2apic(READ, 0x802), True),
        (x2apic(WRITE, 0x830, 0x40), True),
        (x2apic(WRITE, 0x830, 0x500), False),  # INIT is the hypervisor's
        (x2apic(WRITE, 0x83F, 0x40), True),
        (x2apic(READ, 0x803), False),
        (x2apic(WRITE, 0x832), False),
        (x2apic(WRITE, 0x80B, mode=XAPIC, outcome=Outcome.GP), False),  # not served: other rules report it
        (xapic(WRITE, 0x0B0), True),
        (xapic(WRITE, 0x0B0, mode=ApicMode.X2APIC, outcome=Outcome.NOT_CLAIMED, served_by=Server.NOBODY), True),
        (xapic(WRITE, 0x0F0), False),
        (xapic(WRITE, 0x300, 0x608), False),
    ],
)
def test_what_leaks(access: Access, leaks: bool) -> None:
    result = check(REGISTERS, [access])
    assert result.status is (VIOLATED if leaks else HOLDS)
    assert len(result.offences) == leaks


@pytest.mark.parametrize(
    "access",
    [
        x2apic(WRITE, 0x830, None),
        x2apic(WRITE, 0x80B, served_by=Server.NOT_OBSERVED),
        x2apic(WRITE, 0x80B, mode=None, outcome=Outcome.NOT_OBSERVED),
    ],
)
def test_what_may_have_leaked_is_not_cleared(access: Access) -> None:
    result = check(REGISTERS, [access])
    assert (result.status, result.observable) == (INCONCLUSIVE, False)


def test_nothing_leaks_where_the_svsm_offers_nothing() -> None:
    result = check(REGISTERS, [x2apic(WRITE, 0x80B)], apic_protocol=False)
    assert (result.status, result.reason) == (NOT_APPLICABLE, "the SVSM does not offer the APIC protocol")


def test_what_is_offered_is_a_fact_of_each_vcpu() -> None:
    """COCONUT gives an APIC to the launch vCPU only: where it offers none, the hypervisor's is the right one."""
    events = (query(1), query(7, offered=0, vcpu=1))
    own, other = svsm(READ, 0x802, time_ns=5), x2apic(READ, 0x802, vcpu=1, time_ns=3)
    result = check(REGISTERS, [own, other], *events)
    assert result.status is HOLDS
    assert result.reason == (
        "1 local-APIC access by the APIC protocol, none of the SVSM's registers reached the hypervisor;"
        " 1 local-APIC access on vCPU 1, where the SVSM does not offer the APIC protocol"
    )
    # A vCPU to which it was offered, or that did not ask, has to use it.
    for more in ((), (query(9, vcpu=1),)):
        leak = check(REGISTERS, [own, x2apic(READ, 0x802, vcpu=0, time_ns=3)], *events, *more)
        assert leak.status is VIOLATED
    assert check(REGISTERS, [own, other], *events, query(9, vcpu=1)).status is VIOLATED
    assert check(REGISTERS, [own, other], query(1)).status is VIOLATED


@pytest.mark.parametrize(
    "answer",
    [
        Event("apic-protocol-query", 10, 1, "", {"version": 1, "result": 0}),
        Event("apic-protocol-query", 10, 1, "", {"offered": 0, "result": 0}),
        query(10, offered=0, vcpu=1, version=0),
        query(10, offered=0, vcpu=1, version=2),
        query(10, offered=0, vcpu=1, result=0x80000001),
    ],
    ids=["offered", "version", "version-0", "version-2", "incomplete"],
)
def test_an_answer_that_does_not_say_is_no_excuse(answer: Event) -> None:
    assert check(REGISTERS, [x2apic(READ, 0x802, vcpu=1, time_ns=5)], answer).status is VIOLATED


def test_an_answer_after_the_end_of_alternate_injection_is_no_excuse() -> None:
    """Firmware ends it at last and asks then: the SVSM has no APIC for the vCPU any more."""
    leak = x2apic(READ, 0x802, vcpu=1, time_ns=3)
    assert check(REGISTERS, [leak], injection(1, 1, vcpu=1), injection(8, 0, vcpu=1), query(9, 0, 1)).status is VIOLATED
    assert check(REGISTERS, [leak], injection(1, 1, vcpu=1), query(7, 0, 1), injection(8, 0, vcpu=1)).status is HOLDS


def test_asking_for_another_version_does_not_take_the_offer_back() -> None:
    assert check(PROTOCOL, [svsm(READ, 0x802, time_ns=5)], query(1), query(2, 0, version=9)).status is HOLDS
    assert check(PROTOCOL, [svsm(READ, 0x802, time_ns=5)], query(1), query(2, 0)).status is VIOLATED


def test_no_vector_is_unregistered_where_none_can_be_registered() -> None:
    result = check(VECTORS, [], posted(5, 0x20), taken(6, 0x20), apic_protocol=False)
    assert result.status is NOT_APPLICABLE
    assert result.reason == "the SVSM does not offer the APIC protocol: no vector can be registered"


@pytest.mark.parametrize(("vcpu", "leaks"), [(0, False), (1, True)])
def test_after_its_end_on_a_vcpu_the_registers_are_the_hypervisor_s(vcpu: int, leaks: bool) -> None:
    before, after = svsm(WRITE, 0x80B, time_ns=10), x2apic(WRITE, 0x80B, time_ns=30, vcpu=vcpu)
    result = check(REGISTERS, [before, after], injection(1, 1), injection(1, 1, vcpu=1), injection(20, 0))
    assert result.status is (VIOLATED if leaks else HOLDS)


# --- timer-reaches-hypervisor-in-x2apic


@pytest.mark.parametrize(
    ("access", "status"),
    [
        (x2apic(WRITE, 0x832), HOLDS),
        (x2apic(READ, 0x839), HOLDS),
        (x2apic(WRITE, 0x83E, path=AccessPath.UNKNOWN), HOLDS),
        (x2apic(WRITE, 0x838, outcome=Outcome.GP), VIOLATED),
        (x2apic(WRITE, 0x838, mode=XAPIC, outcome=Outcome.GP), VIOLATED),
        (xapic(WRITE, 0x320), VIOLATED),
        (xapic(READ, 0x390, mode=ApicMode.X2APIC, outcome=Outcome.NOT_CLAIMED), VIOLATED),
        (svsm(WRITE, 0x832), HOLDS),
        (svsm(WRITE, 0x832, mode=XAPIC), HOLDS),
        (svsm(WRITE, 0x832, outcome=Outcome.ERROR), VIOLATED),
        (x2apic(WRITE, 0x838, outcome=Outcome.NOT_OBSERVED), INCONCLUSIVE),
        (xapic(READ, 0x320, path=AccessPath.UNKNOWN, mode=None), INCONCLUSIVE),
        (xapic(WRITE, 0x0F0), HOLDS),
    ],
)
def test_how_the_timer_is_reached(access: Access, status: Status) -> None:
    result = check(TIMER, [access])
    assert result.status is status
    assert result.observable == (status is not INCONCLUSIVE)


def test_stock_sec_does_not_reach_it() -> None:
    result = check(TIMER, stock_sec(), apic_protocol=False)
    assert result.reason == "5 accesses to the APIC timer did not reach it in x2APIC mode (5 by MMIO)"
    assert {access.register.name for access in result.offences} == {"Timer LVT", "Timer Initial Count"}


def test_who_served_the_timer_is_said() -> None:
    result = check(TIMER, [x2apic(WRITE, 0x832), svsm(WRITE, 0x838), svsm(READ, 0x839)])
    assert result.reason == "3 accesses to the APIC timer, 1 served by the hypervisor in x2APIC mode, 2 by the SVSM"
    assert check(TIMER, []).reason == "the APIC timer was not used"


# --- no-unregistered-vector


@pytest.mark.parametrize(
    ("events", "offences"),
    [
        ([], []),
        ([posted(5, 0x20)], [0]),
        ([taken(5, 0x20)], [0]),
        ([allow(1, 0x20), posted(15, 0x20), taken(16, 0x20)], []),
        ([allow(1, 0x20), posted(15, 0x21)], [1]),
        ([allow(1, 31, 255), posted(15, 0x21), posted(16, 255), posted(17, 31), posted(18, 30)], [4]),
        ([allow(1, 0x20, result=0x80000005), posted(15, 0x20)], [1]),
        # Another vCPU's permission is its own.
        ([allow(1, 0x20, vcpu=1), posted(15, 0x20)], [1]),
        ([allow(1, 0x20, vcpu=1), posted(15, 0x20, vcpu=1)], []),
        # A vector that was posted while allowed may be taken later; it must not be posted later.
        ([allow(1, 0x20), posted(15, 0x20), allow(20, 0x20, on=0), taken(35, 0x20)], []),
        ([allow(1, 0x20), allow(20, 0x20, on=0), posted(35, 0x20)], [2]),
        ([allow(1, 31, 255), allow(20, 31, 255, on=0), allow(40, 0x20), posted(55, 0x20), posted(56, 0x21)], [4]),
        # Between vCPUs no permission is needed, and an NMI has no vector.
        ([posted(5, 0x20, "ipi"), taken(6, 0x21, "ipi"), taken(7, 2)], []),
        # After the end of Alternate Injection interrupts are the hypervisor's.
        ([injection(1, 1), injection(3, 0), posted(5, 0x20)], []),
    ],
)
def test_vectors(events: list[Event], offences: list[int]) -> None:
    result = check(VECTORS, [], *events)
    assert result.events == tuple(events[number] for number in offences)
    assert result.status is (VIOLATED if offences else HOLDS)


@pytest.mark.parametrize(
    ("access", "offends"),
    [
        (svsm(WRITE, 0x83F, 0x40, time_ns=10), False),
        (svsm(WRITE, 0x830, 0x40, time_ns=10, vcpu=1), False),
        (svsm(WRITE, 0x830, 0x440, time_ns=10), True),
        (svsm(WRITE, 0x83F, 0x41, time_ns=10), True),
        (svsm(WRITE, 0x83F, 0x40, time_ns=30), True),
        (svsm(WRITE, 0x83F, 0x40, time_ns=10, outcome=Outcome.ERROR), True),
    ],
)
def test_an_interrupt_that_a_vcpu_sent_itself(access: Access, offends: bool) -> None:
    assert bool(check(VECTORS, [access], taken(20, 0x40)).events) == offends
    # The hypervisor's interrupts do not count as such.
    assert check(VECTORS, [access], posted(20, 0x40)).events


def test_vectors_are_named() -> None:
    reason = check(VECTORS, [], posted(1, 0x68), posted(2, 0x20), taken(3, 0x20)).reason
    assert reason == "2 interrupt vectors used without CONFIGURE_VECTOR: 20, 68"
    many = check(VECTORS, [], *(posted(number, number) for number in range(32, 60))).reason
    assert many.endswith("26, 27, ...")


def test_a_witness_without_interrupts() -> None:
    result = check(VECTORS, [], not_observed=frozenset({"interrupts"}))
    assert (result.status, result.observable) == (INCONCLUSIVE, False)


# --- apic-protocol-used-only-when-offered


@pytest.mark.parametrize(
    ("accesses", "events", "offences"),
    [
        ([], [], 0),
        ([], [query(1), call(5)], 0),
        ([], [call(5), query(20)], 1),
        ([], [query(1, 0), call(5)], 1),
        ([svsm(WRITE, 0x80B, time_ns=50)], [], 1),
        ([svsm(WRITE, 0x80B, time_ns=50)], [query(1)], 0),
        ([svsm(WRITE, 0x80B, time_ns=50)], [query(60)], 1),
        ([svsm(WRITE, 0x80B, time_ns=None)], [query(60)], 0),
        # A vCPU that did not call QUERY_PROTOCOL may rely on the answer to another one.
        ([svsm(WRITE, 0x80B, time_ns=50, vcpu=1)], [query(1)], 0),
        ([svsm(WRITE, 0x80B, time_ns=50, vcpu=1)], [query(1), query(2, 0, vcpu=1)], 1),
        ([svsm(WRITE, 0x80B, time_ns=50)], [query(1), query(40, 0)], 1),
        ([x2apic(WRITE, 0x80B, time_ns=50)], [], 0),
        # The call that ends Alternate Injection is made before the end; later calls are offences.
        ([], [query(1), injection(2, 1), injection(12, 0), call(8)], 0),
        ([], [query(1), injection(2, 1), injection(12, 0), call(8), call(30)], 1),
    ],
)
def test_calls_of_the_protocol(accesses: list[Access], events: list[Event], offences: int) -> None:
    result = check(PROTOCOL, accesses, *events)
    assert len(result.offences) + len(result.events) == offences
    assert result.status is (VIOLATED if offences else HOLDS)


def test_a_call_without_alternate_injection_is_one_too_many() -> None:
    judged = timeline([], events=(query(1, 0), call(5)), alternate_injection=False, apic_protocol=False)
    result = evaluate(judged, as_if_active=True).result(PROTOCOL)
    assert (result.status, result.reason) == (VIOLATED, "1 call of the APIC protocol without Alternate Injection")


def test_calls_are_counted() -> None:
    result = check(PROTOCOL, [svsm(WRITE, 0x80B, time_ns=50)], query(1), call(5))
    assert result.reason == "2 calls, all after QUERY_PROTOCOL"
    assert check(PROTOCOL, []).reason == "the APIC protocol was not called"


# --- legal-transition, and how the run was observed


def switched(time_ns: int, by_policy: int) -> Event:
    fields: dict[str, int | str] = {"vmpl": 2, "active": 1, "apic_base": 0xFEE00D00, "by_policy": by_policy}
    return Event("alternate-injection", time_ns, 0, "", fields)


def test_a_hypervisor_that_switches_by_itself_is_not_the_firmware_s_offence() -> None:
    judged = timeline([x2apic(READ, 0x80F)], events=(switched(1, 1),))
    verdict = evaluate(judged)
    result = verdict.result("legal-transition")
    assert (result.status, result.offences, result.events) == (NOT_APPLICABLE, (), ())
    # Neither is it the firmware's merit.
    assert (verdict.status, verdict.reason) == (NOT_APPLICABLE, result.reason)
    assert result.reason == (
        "the hypervisor changed APIC_BASE of vCPU 0 by itself; this breaks APM volume 2, section 16.9, figure 16-32: "
        "only a write of APIC_BASE in xAPIC mode leads to x2APIC mode"
    )
    assert check("legal-transition", [], switched(1, 0)).status is HOLDS
    # What the firmware does itself is judged.
    back = base(WRITE, 0xFEE00900, ApicMode.X2APIC, outcome=Outcome.GP)
    assert check("legal-transition", [x2apic(READ, 0x80F), back], switched(1, 1)).offences[0].value == 0xFEE00900
    assert check("legal-transition", [x2apic(READ, 0x80F, vcpu=1)], switched(1, 1)).status is VIOLATED
    assert evaluate(timeline([xapic(READ, 0xF0)], events=(switched(1, 1),))).status is VIOLATED


def test_injected_faults_are_part_of_how_it_was_observed() -> None:
    judged = timeline([], faults=("busy (1 of 3)", "wrong-nae"))
    how = "emulated, faults injected: busy (1 of 3), wrong-nae"
    assert evaluate(judged).observed == how
    assert "faults" not in evaluate(dataclasses.replace(judged, faults=())).observed
