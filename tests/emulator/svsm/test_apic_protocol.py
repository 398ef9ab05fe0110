# SPDX-License-Identifier: GPL-2.0-or-later
"""The APIC protocol: what is offered, calls and their results, registration, and the end of emulation."""

from __future__ import annotations

import pytest

from snp_harness.svsm.protocol import (
    APIC_CANNOT_REGISTER,
    APIC_READABLE_MSRS,
    APIC_WRITABLE_MSRS,
    ApicCall,
    ApicConfigure,
    CoreCall,
    Protocol,
    Result,
)
from snp_harness.svsm.sev import NaeEvent
from tests.emulator.numbers import ENTRY, EVENT_NMI, LEVEL, MULTIPLE, NMI, VECTOR31
from tests.emulator.svsm.alternate import APIC_PROTOCOL, SEV_FEATURES, TIMER, VMPL, Guest, Nae
from tests.emulator.svsm.driver import CAA, SVSM_BASE, Svsm

VALUES = {0x808: 0x30, 0x80B: 0, 0x830: 0x40031, 0x83F: 0x31}


@pytest.fixture
def guest(svsm: Svsm) -> Guest:
    running = Guest(svsm)
    assert running.started == "ok"
    running.naes()
    return running


def offered(guest: Guest, vcpu: int = 0) -> int:
    return guest.svsm.core(CoreCall.QUERY_PROTOCOL, Protocol.APIC << 32 | 1, vcpu=vcpu).rcx


def test_offered_with_the_flag_and_alternate_injection_only(svsm: Svsm) -> None:
    assert offered(Guest(svsm)) == 1 << 32 | 1
    assert offered(Guest(svsm, flags=0)) == 0
    svsm.boot(flags=APIC_PROTOCOL)
    assert svsm.core(CoreCall.QUERY_PROTOCOL, Protocol.APIC << 32 | 1).rcx == 0
    assert svsm.call(Protocol.APIC, ApicCall.QUERY_FEATURES).rax == Result.UNSUPPORTED_PROTOCOL


@pytest.mark.parametrize(("flags", "features"), [(APIC_PROTOCOL, 0), (APIC_PROTOCOL | TIMER, 1)])
def test_features(svsm: Svsm, flags: int, features: int) -> None:
    assert Guest(svsm, flags=flags).call(ApicCall.QUERY_FEATURES, 0x55, 0x66) == (Result.SUCCESS, features, 0x66)


@pytest.mark.parametrize("call", [5, 0xFFFFFFFF])
def test_call_that_is_not_there(guest: Guest, call: int) -> None:
    assert guest.svsm.call(Protocol.APIC, call).rax == Result.UNSUPPORTED_CALL


def test_each_register_in_each_direction(guest: Guest) -> None:
    """As the harness's table has them; the timer's are the hypervisor's."""
    known = APIC_READABLE_MSRS | APIC_WRITABLE_MSRS
    assert set(VALUES) == APIC_WRITABLE_MSRS
    for msr in range(0x7F0, 0x910):
        read = guest.call(ApicCall.READ_REGISTER, msr)[0]
        write = guest.write(msr, VALUES.get(msr, 0))
        if msr not in known:
            assert (read, write) == (Result.INVALID_ADDRESS, Result.INVALID_ADDRESS), hex(msr)
            continue
        assert read == (Result.SUCCESS if msr in APIC_READABLE_MSRS else Result.INVALID_PARAMETER), hex(msr)
        assert write == (Result.SUCCESS if msr in APIC_WRITABLE_MSRS else Result.INVALID_PARAMETER), hex(msr)


@pytest.mark.parametrize("msr", [0x1B, 0x100000808, (1 << 64) - 1, 0x8000000000000808])
def test_register_number_is_64_bits(guest: Guest, msr: int) -> None:
    assert guest.call(ApicCall.READ_REGISTER, msr, 7) == (Result.INVALID_ADDRESS, msr, 7)
    assert guest.write(msr, 0) == Result.INVALID_ADDRESS


@pytest.mark.parametrize(
    ("msr", "value"),
    [
        (0x808, 0x100),
        (0x808, 1 << 32),
        (0x80B, 1),
        (0x80B, 1 << 63),
        (0x83F, 0x100),
        (0x830, 0x40131),  # lowest priority
        (0x830, 0x40231),  # SMI
        (0x830, 0x40531),  # INIT
        (0x830, 0x40631),  # startup
        (0x830, 0x40731),  # ExtINT
        (0x830, 0x41031),  # delivery status
        (0x830, 0x42031),
        (0x830, 0x50031),
        (0x830, 0x60031),
        (0x830, 0x140031),
        (0x830, 0x80040031),
    ],
)
def test_value_that_a_register_refuses(guest: Guest, msr: int, value: int) -> None:
    assert guest.write(msr, value) == Result.INVALID_PARAMETER
    assert guest.read(0x830) == 0
    assert guest.read(0x821) == 0


def test_tpr_keeps_four_bits(guest: Guest) -> None:
    assert guest.write(0x808, 0xAB) == Result.SUCCESS
    assert guest.read(0x808) == 0xA0
    assert guest.read(0x80A) == 0xA0


@pytest.mark.parametrize("rcx", [1 << 10 | 0x31, 1 << 63, 0x800])
def test_configure_vector_refuses_other_bits(guest: Guest, rcx: int) -> None:
    assert guest.allow(rcx) == Result.INVALID_PARAMETER


def test_no_vector_is_allowed_at_first(guest: Guest) -> None:
    guest.post(MULTIPLE | VECTOR31, dict.fromkeys(range(7), 0xFFFFFFFF))
    guest.present()
    assert (guest.event, guest.virtual) == (0, None)
    assert [guest.read(0x820 + word) for word in range(8)] == [0] * 8


def test_all_vectors_are_31_and_up(guest: Guest) -> None:
    assert guest.allow(1 << 9 | 1 << 8) == Result.SUCCESS
    guest.interrupts(False)
    guest.post(MULTIPLE | VECTOR31, dict.fromkeys(range(7), 0xFFFFFFFF))
    guest.present()
    assert [guest.read(0x820 + word) for word in range(8)] == [1 << 31] + [0xFFFFFFFF] * 7


@pytest.mark.parametrize("vector", [0, 1, 14, 20, 30])
def test_hypervisor_never_reaches_vectors_below_31(guest: Guest, vector: int) -> None:
    """Not even those that the guest has allowed: the doorbell page has no place for them."""
    assert guest.allow(vector | 1 << 8) == Result.SUCCESS
    for status in (vector, vector | LEVEL, vector | MULTIPLE, vector | LEVEL | MULTIPLE):
        guest.post(status)
        guest.present()
        assert (guest.event, guest.virtual) == (0, None)
        assert guest.read(0x820) == 0


def test_registration_is_counted(guest: Guest) -> None:
    assert guest.configure(ApicConfigure.REGISTER) == Result.SUCCESS
    assert guest.configure(ApicConfigure.DEREGISTER) == Result.SUCCESS
    assert guest.configure(ApicConfigure.QUERY) == Result.SUCCESS
    assert offered(guest)
    assert guest.naes() == []
    assert guest.configure(ApicConfigure.DEREGISTER) == Result.SUCCESS
    assert [event.code for event in guest.naes()] == [NaeEvent.DISABLE_ALTERNATE_INJECTION]
    assert not offered(guest)


@pytest.mark.parametrize("rcx", [3, 1 << 32, (1 << 64) - 1])
def test_configure_refuses_other_values(guest: Guest, rcx: int) -> None:
    assert guest.configure(rcx) == Result.INVALID_PARAMETER


def test_every_call_is_refused_when_emulation_is_off(guest: Guest) -> None:
    guest.configure(ApicConfigure.DEREGISTER)
    guest.naes()
    for call in ApicCall:
        assert guest.call(call, 2)[0] == Result.UNSUPPORTED_PROTOCOL
    assert guest.naes() == []


@pytest.mark.parametrize("how", [ApicConfigure.QUERY, ApicConfigure.DEREGISTER])
def test_each_vcpu_ends_its_own_emulation(svsm: Svsm, how: ApicConfigure) -> None:
    """The count is shared; a vCPU keeps its APIC until it requests the end, and cannot register again."""
    guest = Guest(svsm, vcpus=2)
    second_vmsa, second_caa = SVSM_BASE + 0x10000, 0xB000
    assert svsm.command("alternate", 1, 0x227) == "ok"
    assert svsm.command("vmsa", 1, second_vmsa, second_caa) == "0"
    svsm.poke(second_vmsa + 0x3B0, 0x11)
    guest.configure(ApicConfigure.DEREGISTER)
    assert not offered(guest)
    assert offered(guest, vcpu=1)
    register = svsm.call(Protocol.APIC, ApicCall.CONFIGURE, ApicConfigure.REGISTER, vcpu=1)
    assert register.rax == APIC_CANNOT_REGISTER
    guest.naes()
    ended = svsm.call(Protocol.APIC, ApicCall.CONFIGURE, how, vcpu=1)
    assert ended.rax == Result.SUCCESS
    assert [event.code for event in guest.naes()] == [NaeEvent.DISABLE_ALTERNATE_INJECTION]
    assert svsm.peek(second_vmsa + 0x3B0) == 1
    assert not offered(guest, vcpu=1)


def test_disable_hands_everything_over(guest: Guest) -> None:
    """IRR, ISR and NMI by the doorbell page; TPR, shadow and IF by the NAE event; the VMSA without the feature."""
    guest.allow(1 << 9 | 1 << 8)
    guest.write(0x83F, 0x91)
    guest.present()
    guest.take()  # 91 is in service
    guest.write(0x83F, 0xA2)
    guest.present()  # A2 is under way ...
    guest.write(0x83F, 31)
    guest.write(0x83F, 0xFF)
    guest.write(0x808, 0x50)
    guest.write(0x830, 0x40400)  # an NMI to itself
    guest.present()
    assert (guest.event, guest.virtual) == (EVENT_NMI, 0xFF)  # ... and came back for this one
    guest.no_eoi_required = 1
    guest.post(0x77)  # a single one that the SVSM has not taken
    guest.interrupts(False)
    guest.naes()

    assert guest.configure(ApicConfigure.DEREGISTER) == Result.SUCCESS

    assert guest.naes() == [Nae(NaeEvent.DISABLE_ALTERNATE_INJECTION, VMPL << 16 | 0x50 << 8, 0, 0, 0, 0)]
    assert (guest.event, guest.virtual) == (0, None)
    assert not guest.no_eoi_required
    assert guest.svsm.peek(SEV_FEATURES) == 1
    status = guest.doorbell(ENTRY)
    assert status & (MULTIPLE | NMI | VECTOR31) == MULTIPLE | NMI | VECTOR31
    irr = {32 * word + bit for word in range(1, 8) for bit in range(32) if guest.doorbell(ENTRY + 4 * word) >> bit & 1}
    isr = {
        32 * word + bit for word in range(8) for bit in range(32) if guest.doorbell(ENTRY + 32 + 4 * word) >> bit & 1
    }
    assert irr == {0xA2, 0xFF, 0x77}
    assert isr == {0x91}


@pytest.mark.parametrize(("interrupts", "shadow", "bits"), [(True, False, 1), (False, True, 2), (True, True, 3)])
def test_disable_tells_the_guests_state(guest: Guest, interrupts: bool, shadow: bool, bits: int) -> None:
    guest.interrupts(interrupts)
    guest.vintr |= shadow << 10
    guest.configure(ApicConfigure.DEREGISTER)
    assert [event.info1 for event in guest.naes()] == [VMPL << 16 | bits]


def test_disable_leaves_a_level_triggered_vector_to_the_host(guest: Guest) -> None:
    guest.post(0x77 | LEVEL)
    guest.configure(ApicConfigure.DEREGISTER)
    assert guest.doorbell(ENTRY) == MULTIPLE | LEVEL | 0x77
    assert guest.doorbell(ENTRY + 4 * 3) == 0


def test_after_disabling_the_page_is_the_hosts(guest: Guest) -> None:
    guest.allow(1 << 9 | 1 << 8)
    guest.configure(ApicConfigure.DEREGISTER)
    guest.post(0x77)
    guest.present()
    assert (guest.event, guest.virtual) == (0, None)
    assert guest.doorbell(ENTRY) == 0x77


def test_disable_that_the_hypervisor_refuses_ends_the_guest(svsm: Svsm) -> None:
    Guest(svsm)
    svsm.command("refuse", NaeEvent.DISABLE_ALTERNATE_INJECTION)
    assert svsm.command("call", 0, Protocol.APIC, ApicCall.CONFIGURE, 1, 0, 0, 0x11) == "terminated 9"


@pytest.mark.parametrize(
    ("icr", "nmi", "sent"),
    [
        (1 << 32 | 0x61, 0, 1 << 32 | 0x50),  # physical
        (1 << 32 | 0x400, 1, 1 << 32 | 0x50),  # an NMI
        (0xC0061, 0, 0xC0050),  # all but itself
        (0x80061, 0, 0xC0050),  # all: itself has been served
        (0xFFFFFFFF << 32 | 0x61, 0, 0xFFFFFFFF << 32 | 0x50),  # broadcast
        (0x3 << 32 | 0x861, 0, 0x3 << 32 | 0x850),  # logical, both
    ],
)
def test_ipi_reaches_the_other_vcpu(svsm: Svsm, icr: int, nmi: int, sent: int) -> None:
    """By its inbox; the hypervisor's IPI has the SVSM's own vector."""
    guest = Guest(svsm, vcpus=2)
    svsm.command("online", 1)
    guest.naes()
    assert guest.write(0x830, icr) == Result.SUCCESS
    assert guest.naes() == [Nae(NaeEvent.HV_IPI, sent, 0, 0, 0, 0)]
    words = [0] * 8 if nmi else [0, 0, 0, 2, 0, 0, 0, 0]
    assert svsm.command("inbox", 1) == " ".join(f"{word:x}" for word in [nmi, *words])


@pytest.mark.parametrize("icr", [0x40061, 0x61, 2 << 32 | 0x61, 0x1 << 32 | 0x861, 0x10002 << 32 | 0x861])
def test_ipi_that_reaches_no_other(svsm: Svsm, icr: int) -> None:
    guest = Guest(svsm, vcpus=2)
    svsm.command("online", 1)
    guest.naes()
    assert guest.write(0x830, icr) == Result.SUCCESS
    assert guest.naes() == []
    assert svsm.command("inbox", 1) == " ".join("0" * 9)


def test_no_ipi_to_a_vcpu_that_does_not_run(svsm: Svsm) -> None:
    guest = Guest(svsm, vcpus=2)
    guest.naes()
    assert guest.write(0x830, 0xC0061) == Result.SUCCESS
    assert guest.naes() == []


def test_ipi_is_taken_by_its_target(svsm: Svsm) -> None:
    """vCPU 0 receives the IPIs of vCPU 1; the set of allowed vectors does not apply to IPIs."""
    guest = Guest(svsm, vcpus=2)
    svsm.command("online", 0)
    assert svsm.command("alternate", 1, 0x227) == "ok"
    assert svsm.command("vmsa", 1, SVSM_BASE + 0x10000, 0xB000) == "0"
    assert svsm.call(Protocol.APIC, ApicCall.WRITE_REGISTER, 0x830, 0x61, vcpu=1).rax == Result.SUCCESS
    guest.present()
    assert guest.event == 1 << 31 | 0x61
    assert guest.read(0x802) == 0
    assert svsm.call(Protocol.APIC, ApicCall.READ_REGISTER, 0x80D, vcpu=1).rdx == 2


def test_remap_settles_the_lazy_eoi(guest: Guest) -> None:
    """In the new calling area the guest reads "EOI required"; a 0 there is not an EOI."""
    guest.write(0x83F, 0x61)
    guest.present()
    guest.take()
    assert guest.no_eoi_required == 1
    new = CAA + 0x1008
    guest.svsm.poke(new, 0xFFFFFFFF)
    assert guest.svsm.core(CoreCall.REMAP_CA, new).rax == Result.SUCCESS
    assert guest.svsm.peek(new) == 0
    assert guest.read(0x813) == 2  # still in service
    assert guest.write(0x80B, 0) == Result.SUCCESS
    assert guest.read(0x813) == 0


def test_remap_performs_an_eoi_that_was_asked_for(guest: Guest) -> None:
    guest.write(0x83F, 0x61)
    guest.present()
    guest.take()
    guest.no_eoi_required = 0
    assert guest.svsm.core(CoreCall.REMAP_CA, CAA + 0x1000).rax == Result.SUCCESS
    assert guest.read(0x813) == 0


def test_no_lazy_eoi_without_a_calling_area(guest: Guest) -> None:
    guest.svsm.pages(CAA & ~0xFFF, 1, "i")
    guest.write(0x83F, 0x61)
    guest.present()
    guest.take()
    guest.svsm.pages(CAA & ~0xFFF, 1, "v")
    assert guest.no_eoi_required == 0
    assert guest.read(0x813) == 2


def test_another_vmsas_interrupt_is_not_taken_back(guest: Guest) -> None:
    """The vCPU got another VMSA during a delivery: the interrupt in that VMSA is not from the SVSM."""
    guest.write(0x83F, 0x61)
    guest.present()
    guest.event = 1 << 31 | 0x77
    assert guest.read(0x823) == 0
    assert guest.event == 1 << 31 | 0x77
    assert guest.read(0x813) == 2
