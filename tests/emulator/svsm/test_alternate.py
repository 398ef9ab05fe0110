# SPDX-License-Identifier: GPL-2.0-or-later
"""The doorbell page, the timer that the SVSM serves, and its faults."""

from __future__ import annotations

import pytest

from snp_harness.svsm.protocol import ApicCall, ApicConfigure, CoreCall, Result
from snp_harness.svsm.reference import SvsmFault
from snp_harness.svsm.sev import GhcbRequest, HypervisorFeature, NaeEvent
from tests.emulator.numbers import DEADLINE, ENTRY, LEVEL, MASKED, NO_EOI, NO_FURTHER_SIGNAL, PERIODIC
from tests.emulator.svsm.alternate import APIC_PROTOCOL, HV_FEATURES, TIMER, VMPL, Guest, Nae
from tests.emulator.svsm.driver import Svsm

INJECTION_VECTOR, TIMER_VECTOR = 0x50, 0x60
LVT, INITIAL, CURRENT, DIVIDE = 0x832, 0x838, 0x839, 0x83E


def write_event(msr: int, value: int) -> Nae:
    return Nae(NaeEvent.MSR, 1, 0, value & 0xFFFFFFFF, msr, value >> 32)


# --- the doorbell page


def test_page_is_set_and_the_injection_vector_configured(svsm: Svsm) -> None:
    doorbell, configured = Guest(svsm).naes()
    assert (doorbell.code, doorbell.info1) == (NaeEvent.HV_DOORBELL, 1)
    assert doorbell.info2 & 0xFFF == 0
    assert configured == Nae(NaeEvent.CONFIGURE_INJECTION, INJECTION_VECTOR, 0, 0, 0, 0)


@pytest.mark.parametrize("refused", [GhcbRequest.PSC, NaeEvent.HV_DOORBELL, NaeEvent.CONFIGURE_INJECTION])
def test_refusal_of_the_page_is_noticed(svsm: Svsm, refused: int) -> None:
    Guest(svsm)
    svsm.command("refuse", refused)
    assert svsm.command("alternate", 0, HV_FEATURES) == "refused"


def test_taking_clears_what_is_pending(svsm: Svsm) -> None:
    """NoFurtherSignal, an NMI, byte 0 and the events; the entry of another VMPL stays."""
    guest = Guest(svsm)
    guest.doorbell(0, 0xFF << 24 | 0x81 << 8 | INJECTION_VECTOR)
    guest.doorbell(64, 0x44)
    guest.present()
    assert guest.doorbell(0) == 0
    assert guest.doorbell(64) == 0x44


def test_entry_counts_only_with_its_event(svsm: Svsm) -> None:
    guest = Guest(svsm)
    guest.allow(1 << 9 | 1 << 8)
    guest.doorbell(ENTRY, 0x61)
    guest.doorbell(0, 0x8000 | 1 << 24 | 4 << 24)  # events of VMPL1 and VMPL3
    guest.present()
    assert guest.event == 0
    assert guest.doorbell(ENTRY) == 0x61


def test_machine_check_ends_the_guest(svsm: Svsm) -> None:
    guest = Guest(svsm)
    guest.doorbell(0, 2 << 8)
    assert svsm.command("present", 0) == "terminated 10"


def test_level_triggered_interrupt_ends_with_a_specific_eoi(svsm: Svsm) -> None:
    guest = Guest(svsm)
    guest.naes()
    guest.allow(0x61 | 1 << 8)
    guest.post(0x61 | LEVEL)
    guest.present()
    assert guest.event == 1 << 31 | 0x61
    assert guest.no_eoi_required == 0  # the source waits for the EOI
    guest.take()
    assert guest.read(0x81B) == 2  # TMR
    assert guest.naes() == []
    assert guest.write(0x80B, 0) == Result.SUCCESS
    assert guest.naes() == [Nae(NaeEvent.SPECIFIC_EOI, VMPL << 16 | 0x61, 0, 0, 0, 0)]
    assert guest.read(0x81B) == 0


def test_refused_eoi_is_survived(svsm: Svsm) -> None:
    guest = Guest(svsm)
    guest.allow(0x61 | 1 << 8)
    guest.post(0x61 | LEVEL)
    guest.present()
    guest.take()
    svsm.command("refuse", NaeEvent.SPECIFIC_EOI)
    assert guest.write(0x80B, 0) == Result.SUCCESS
    assert guest.read(0x813) == 0


def test_no_exit_when_nothing_is_pending(svsm: Svsm) -> None:
    """Presenting an edge-triggered interrupt, and nothing at all, asks nothing of the hypervisor."""
    guest = Guest(svsm)
    guest.naes()
    guest.present()
    guest.write(0x83F, 0x61)
    guest.present()
    guest.take()
    guest.no_eoi_required = 0
    guest.present()
    assert guest.naes() == []


# --- the timer


@pytest.fixture
def timed(svsm: Svsm) -> Guest:
    guest = Guest(svsm, flags=APIC_PROTOCOL | TIMER)
    assert guest.started == "ok"
    guest.naes()
    return guest


def fire(guest: Guest, *, eoi: bool = False) -> None:
    guest.doorbell(0, NO_FURTHER_SIGNAL | TIMER_VECTOR | (0 if eoi else NO_EOI))
    guest.present()


def test_timer_brings_the_own_apic_to_x2apic_mode(svsm: Svsm) -> None:
    svsm.boot()
    svsm.command("msr", 0x1B, 0xFEE00900)
    guest = Guest(svsm, flags=APIC_PROTOCOL | TIMER)
    assert guest.naes()[2:] == [
        Nae(NaeEvent.MSR, 0, 0, 0, 0x1B, 0),
        write_event(0x1B, 0xC00),
        write_event(0x80F, 0x1FF),
    ]


def test_timer_needs_the_hypervisor(svsm: Svsm) -> None:
    Guest(svsm, flags=APIC_PROTOCOL | TIMER)
    svsm.command("refuse", NaeEvent.MSR)
    assert svsm.command("alternate", 0, HV_FEATURES) == "refused"


def test_timer_registers_without_the_timer(svsm: Svsm) -> None:
    guest = Guest(svsm)
    for msr in (LVT, INITIAL, CURRENT, DIVIDE):
        assert guest.call(ApicCall.READ_REGISTER, msr)[0] == Result.INVALID_ADDRESS
        assert guest.write(msr, 0) == Result.INVALID_ADDRESS


def test_timer_registers(timed: Guest) -> None:
    assert [timed.read(msr) for msr in (LVT, INITIAL, DIVIDE)] == [MASKED, 0, 0]
    for msr, value in ((LVT, PERIODIC | 0x71), (DIVIDE, 0xB), (INITIAL, 0xFFFFFFFF)):
        assert timed.write(msr, value) == Result.SUCCESS
        assert timed.read(msr) == value
    assert timed.naes() == [
        write_event(LVT, PERIODIC | TIMER_VECTOR),
        write_event(DIVIDE, 0xB),
        write_event(INITIAL, 0xFFFFFFFF),
    ]
    timed.svsm.command("msr", CURRENT, 0x1234)
    assert timed.read(CURRENT) == 0x1234


def test_timer_by_the_hypervisors_event(svsm: Svsm) -> None:
    guest = Guest(
        svsm, flags=APIC_PROTOCOL | TIMER, hv_features=HV_FEATURES | HypervisorFeature.RESTRICTED_INJECTION_TIMER
    )
    guest.write(LVT, 0x71)
    guest.write(DIVIDE, 3)
    guest.naes()
    assert guest.write(INITIAL, 1000) == Result.SUCCESS
    assert guest.naes() == [Nae(NaeEvent.HV_TIMER, 3 << 32 | TIMER_VECTOR, 1000, 0, 0, 0)]


@pytest.mark.parametrize(
    ("msr", "value"),
    [(LVT, DEADLINE), (LVT, 0x100), (LVT, 0x1000), (LVT, 1 << 32), (DIVIDE, 4), (DIVIDE, 1 << 32), (CURRENT, 0),
     (INITIAL, 1 << 32)],
)  # fmt: skip
def test_value_that_a_timer_register_refuses(timed: Guest, msr: int, value: int) -> None:
    assert timed.write(msr, value) == Result.INVALID_PARAMETER
    assert timed.naes() == []


@pytest.mark.parametrize(("msr", "value"), [(LVT, 0x71), (DIVIDE, 3), (INITIAL, 5)])
def test_refusal_by_the_hypervisor_changes_nothing(timed: Guest, msr: int, value: int) -> None:
    before = timed.read(msr)
    timed.svsm.command("refuse", NaeEvent.MSR)
    assert timed.write(msr, value) == Result.INVALID_REQUEST
    assert timed.call(ApicCall.READ_REGISTER, CURRENT)[0] == Result.INVALID_REQUEST
    assert timed.read(msr) == before


def test_timer_interrupt_needs_no_permission(timed: Guest) -> None:
    """The vector is the guest's own choice; CONFIGURE_VECTOR is about the hypervisor's."""
    timed.write(LVT, 0x71)
    timed.naes()
    fire(timed)
    assert timed.event == 1 << 31 | 0x71
    assert timed.naes() == []


def test_timer_eoi_only_when_the_hypervisor_waits_for_it(timed: Guest) -> None:
    timed.write(LVT, 0x71)
    timed.naes()
    fire(timed, eoi=True)
    assert timed.naes() == [write_event(0x80B, 0)]


@pytest.mark.parametrize("lvt", [MASKED | 0x71, 0x05, 0x0F])
def test_timer_interrupt_that_is_not_delivered(timed: Guest, lvt: int) -> None:
    """Masked meanwhile, or of a vector that is illegal (APM vol. 2, 16.4.6)."""
    timed.write(LVT, lvt)
    fire(timed)
    assert (timed.event, timed.virtual) == (0, None)
    assert timed.read(0x820) == 0


def test_timer_vector_of_a_hypervisor_without_timer(svsm: Svsm) -> None:
    guest = Guest(svsm)
    guest.naes()
    fire(guest, eoi=True)
    assert (guest.event, guest.naes()) == (0, [])


def test_timer_stops_with_emulation(timed: Guest) -> None:
    timed.write(INITIAL, 5)
    timed.naes()
    timed.configure(ApicConfigure.DEREGISTER)
    assert timed.naes()[0] == write_event(INITIAL, 0)


# --- faults


def faulty(
    svsm: Svsm, faults: int, every: int = 1, after: int = 0, register: int = 0, result: int = 0, call: int = 0
) -> Guest:
    guest = Guest(svsm)
    svsm.command("faults", faults, every, after, register, result, call)
    return guest


@pytest.mark.parametrize(
    ("fault", "result"), [(SvsmFault.BUSY, Result.BUSY), (SvsmFault.INCOMPLETE, Result.INCOMPLETE)]
)
@pytest.mark.parametrize("every", [1, 3])
def test_call_fails_each_nth_time(svsm: Svsm, fault: int, result: Result, every: int) -> None:
    guest = faulty(svsm, fault, every)
    results = [guest.call(ApicCall.QUERY_FEATURES)[0] for _ in range(6)]
    assert results == [result if (turn + 1) % every == 0 else Result.SUCCESS for turn in range(6)]


def test_failed_call_has_done_nothing(svsm: Svsm) -> None:
    guest = faulty(svsm, SvsmFault.BUSY)
    assert guest.write(0x808, 0x50) == Result.BUSY
    svsm.command("faults", 0, 1, 0, 0, 0, 0)
    assert guest.read(0x808) == 0


def test_core_protocol_has_no_faults(svsm: Svsm) -> None:
    faulty(svsm, SvsmFault.BUSY | SvsmFault.INCOMPLETE | SvsmFault.RESULT, result=7)
    assert svsm.core(CoreCall.QUERY_PROTOCOL, 3 << 32 | 1).rcx == 1 << 32 | 1
    assert svsm.core(CoreCall.DEPOSIT_MEM).rax == Result.UNSUPPORTED_CALL


def test_errors_have_another_code(svsm: Svsm) -> None:
    guest = faulty(svsm, SvsmFault.RESULT, every=2, result=0x80000006)
    assert [guest.write(0x802, 0) for _ in range(4)] == [0x80000005, 0x80000006] * 2
    assert guest.read(0x802) == 0


def test_one_register_is_refused(svsm: Svsm) -> None:
    guest = faulty(svsm, SvsmFault.REGISTER, every=2, register=0x808)
    assert [guest.call(ApicCall.READ_REGISTER, 0x808)[0] for _ in range(2)] == [0, Result.INVALID_ADDRESS]
    assert [guest.write(0x808, 0x20) for _ in range(2)] == [0, Result.INVALID_ADDRESS]
    assert guest.call(ApicCall.CONFIGURE_VECTOR, 0x808)[0] == Result.INVALID_PARAMETER
    assert guest.read(0x80A) == 0x20


def test_the_first_occasions_pass(svsm: Svsm) -> None:
    guest = faulty(svsm, SvsmFault.BUSY, every=2, after=3)
    results = [guest.call(ApicCall.QUERY_FEATURES)[0] for _ in range(8)]
    assert [n for n, result in enumerate(results, 1) if result == Result.BUSY] == [5, 7]


def test_one_call_is_answered_and_not_served(svsm: Svsm) -> None:
    guest = faulty(svsm, SvsmFault.CALL, after=1, result=0x7FFFFFFF80000007, call=3 << 32 | ApicCall.WRITE_REGISTER)
    assert [guest.write(0x808, tpr) for tpr in (0x20, 0x30)] == [0, 0x7FFFFFFF80000007]
    assert guest.read(0x808) == 0x20
    svsm.command("faults", SvsmFault.CALL, 1, 0, 0, 0x80000001, CoreCall.QUERY_PROTOCOL)
    assert svsm.core(CoreCall.QUERY_PROTOCOL, 3 << 32 | 1).rax == Result.UNSUPPORTED_PROTOCOL
    assert svsm.core(CoreCall.DEPOSIT_MEM).rax == Result.UNSUPPORTED_CALL


def test_the_protocol_vanishes(svsm: Svsm) -> None:
    guest = faulty(svsm, SvsmFault.PROTOCOL, after=2)
    assert svsm.core(CoreCall.QUERY_PROTOCOL, 3 << 32 | 1).rcx == 1 << 32 | 1
    assert guest.call(ApicCall.QUERY_FEATURES)[0] == Result.SUCCESS
    assert guest.call(ApicCall.QUERY_FEATURES)[0] == Result.UNSUPPORTED_PROTOCOL
    assert svsm.core(CoreCall.QUERY_PROTOCOL, 3 << 32 | 1).rcx == 0
    assert svsm.core(CoreCall.QUERY_PROTOCOL, 1).rcx == 1 << 32 | 1
