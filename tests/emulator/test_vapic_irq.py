# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual APIC's interrupts: requests, priorities, EOI, IPIs, pins, errors and destinations."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.vapic import Result, Vapic

X2APIC = 0xFEE00D00
DISABLED = 0xFEE00100


@pytest.fixture
def apic(vapic: Vapic) -> Vapic:
    """A virtual APIC that software has enabled, in xAPIC mode."""
    vapic.write(0xF0, 0x1FF)
    return vapic


def bank(vapic: Vapic, base: int) -> set[int]:
    """The vectors set in ISR (100), TMR (180) or IRR (200)."""
    words = [vapic.read(base + 16 * n) for n in range(8)]
    return {32 * n + bit for n, word in enumerate(words) for bit in range(32) if word >> bit & 1}


@dataclass
class Model:
    """The requests and priorities of APM 16.6, as sets."""

    tpr: int = 0
    irr: set[int] = field(default_factory=set)
    isr: set[int] = field(default_factory=set)
    tmr: set[int] = field(default_factory=set)

    @property
    def ppr(self) -> int:
        service = max(self.isr, default=0) & 0xF0
        return self.tpr if self.tpr & 0xF0 >= service else service

    @property
    def pending(self) -> int:
        top = max(self.irr, default=-1)
        return top if top >> 4 > self.ppr >> 4 else -1

    def post(self, vector: int, level: bool) -> None:
        self.irr.add(vector)
        (self.tmr.add if level else self.tmr.discard)(vector)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.integers(16, 255), st.booleans()),
        st.tuples(st.just("tpr"), st.integers(0, 255), st.booleans()),
        st.tuples(st.just("take"), st.just(0), st.booleans()),
        st.tuples(st.just("eoi"), st.just(0), st.booleans()),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), steps)
def test_priorities(vapic_process: Vapic, x2apic: bool, sequence: list[tuple[str, int, bool]]) -> None:
    apic, model = vapic_process, Model()
    apic.reset()
    if x2apic:
        apic.write_base(X2APIC)
    apic.write(0xF0, 0x1FF)
    for step, value, flag in sequence:
        if step == "post":
            assert apic.post(value, level=flag)
            model.post(value, flag)
        elif step == "tpr":
            if flag:
                apic.set_tpr(value)
            else:
                apic.write(0x80, value)
            model.tpr = value
        elif step == "take" and model.pending >= 0:
            vector = model.pending
            apic.accept(vector)
            model.irr.remove(vector)
            model.isr.add(vector)
        elif step == "eoi":
            effect = apic.write(0xB0, 0)
            top = max(model.isr, default=None)
            assert effect.eoi == (None if top is None else (top, top in model.tmr))
            model.isr.discard(-1 if top is None else top)
        assert (apic.pending, apic.tpr, apic.read(0x80), apic.read(0xA0)) == (
            model.pending,
            model.tpr,
            model.tpr,
            model.ppr,
        )
    assert (bank(apic, 0x100), bank(apic, 0x180), bank(apic, 0x200)) == (model.isr, model.tmr, model.irr)


def test_nothing_is_accepted_while_software_disabled(vapic: Vapic) -> None:
    assert not vapic.post(0x40)
    assert bank(vapic, 0x200) == set()


def test_software_disable_keeps_what_is_pending(apic: Vapic) -> None:
    apic.post(0x40)
    apic.write(0xF0, 0xFF)
    assert apic.pending == 0x40


def test_nothing_is_delivered_while_disabled(apic: Vapic) -> None:
    apic.post(0x40)
    apic.write_base(DISABLED)
    assert (apic.pending, apic.post(0x41)) == (-1, False)
    apic.write_base(0xFEE00900)
    assert bank(apic, 0x200) == {0x40}
    assert apic.pending == 0x40


@pytest.mark.parametrize("vector", range(16))
def test_illegal_vectors_are_received_errors(apic: Vapic, vector: int) -> None:
    assert not apic.post(vector)
    assert bank(apic, 0x200) == set()
    assert apic.read(0x280) == 0
    apic.write(0x280, 0)
    assert apic.read(0x280) == 0x40
    apic.write(0x280, 0)
    assert apic.read(0x280) == 0


def test_errors_raise_the_lvt(apic: Vapic) -> None:
    apic.post(3)
    assert apic.pending == -1
    apic.write(0x370, 0xFE)
    apic.post(3)
    assert apic.pending == 0xFE


def test_error_vector_may_be_illegal(apic: Vapic) -> None:
    apic.write(0x370, 3)
    apic.post(3)
    assert (apic.pending, bank(apic, 0x200)) == (-1, set())


def test_illegal_register_is_an_error(apic: Vapic) -> None:
    apic.mmio_read(0x400)
    apic.mmio_write(0x3F0, 0x40)
    apic.write(0x280, 0)
    assert apic.read(0x280) == 0x80
    assert bank(apic, 0x200) == set()


@pytest.mark.parametrize(
    ("icr", "level"),
    [(0x40000 | 0xF1, False), (0x44000 | 0xF1, False), (0x4C000 | 0xF1, True), (0x40100 | 0xF1, False)],
)
@pytest.mark.parametrize("x2apic", [False, True])
def test_self_shorthand_is_posted(apic: Vapic, x2apic: bool, icr: int, level: bool) -> None:
    if x2apic:
        apic.write_base(X2APIC)
    assert apic.write(0x300, icr).ipi is None
    assert bank(apic, 0x200) == {0xF1}
    assert bank(apic, 0x180) == ({0xF1} if level else set())
    assert apic.read(0x300) == icr


def test_deassertion_delivers_nothing(apic: Vapic) -> None:
    assert apic.write(0x300, 0x48000 | 0xF1).ipi is None
    assert apic.write(0x300, 0x88000 | 0xF1).ipi is None
    assert apic.pending == -1


def test_self_ipi_register(apic: Vapic) -> None:
    apic.write_base(X2APIC)
    assert apic.msr_write(0x83F, 0xF1).ipi is None
    assert apic.pending == 0xF1
    assert apic.read(0x300) == 0


@pytest.mark.parametrize("vector", [0, 15])
def test_illegal_vectors_are_not_sent(apic: Vapic, vector: int) -> None:
    assert apic.write(0x300, 0x4000 | vector).ipi is None
    apic.write(0x280, 0)
    assert apic.read(0x280) == 0x20


@pytest.mark.parametrize(
    ("destination", "low", "sent"),
    [
        (0x01000000, 0x4031, 0x1_0000_4031),
        (0xFF000000, 0x4031, 0xFFFFFFFF_0000_4031),
        (0x03000000, 0x4831, 0x3_0000_4831),
        (0x00000000, 0xC4500, 0x0000_C4500),  # INIT to all but self
        (0x02000000, 0x4608, 0x2_0000_4608),  # start-up: vectors below 16 are addresses
        (0x00000000, 0x44400, 0x44400),  # NMI to self
        (0x00000000, 0x84031, 0x84031),  # all and self
        (0x01000000, 0x5031, 0x1_0000_4031),  # delivery status is not stored
    ],
)
def test_xapic_ipi(apic: Vapic, destination: int, low: int, sent: int) -> None:
    assert apic.write(0x310, destination).ipi is None
    assert apic.write(0x300, low).ipi == sent
    assert apic.read(0x310) == destination
    assert apic.read(0x300) == low & ~0x1000
    assert apic.pending == -1


def test_x2apic_ipi(apic: Vapic) -> None:
    apic.write_base(X2APIC)
    assert apic.msr_write(0x830, 0xFF_0000_4031).ipi == 0xFF_0000_4031
    assert apic.msr_write(0x830, 0xFFFFFFFF_0000_4031).ipi == 0xFFFFFFFF_0000_4031
    assert apic.msr_write(0x830, 0x1_0000_5031).ipi == 0x1_0000_4031


def test_refused_icr_sends_nothing(apic: Vapic) -> None:
    apic.write_base(X2APIC)
    effect = apic.msr_write(0x830, 0x1_0002_4031)
    assert (effect.result, effect.ipi, apic.read(0x300)) == (Result.GP, None, 0)


def test_extint_pin(vapic: Vapic) -> None:
    assert vapic.accepts_extint()  # the BSP's virtual wire
    vapic.write(0xF0, 0x1FF)
    assert vapic.write(0x350, 0x10700).lint_changed
    assert not vapic.accepts_extint()
    assert vapic.write(0x350, 0x700).lint_changed
    assert vapic.accepts_extint()
    assert not vapic.write(0x360, 0x700).lint_changed  # LINT1 does not matter
    vapic.write(0x350, 0x31)
    assert not vapic.accepts_extint()
    assert vapic.write_base(DISABLED).lint_changed
    assert vapic.accepts_extint()


def test_application_processor_takes_no_extint(vapic: Vapic) -> None:
    vapic.reset(1, bsp=False)
    assert not vapic.accepts_extint()


@pytest.mark.parametrize(
    ("destination", "matches"), [(3, True), (0, False), (0xFF, True), (0xFFFFFFFF, True), (0x103, False)]
)
def test_physical_xapic_destination(vapic: Vapic, destination: int, matches: bool) -> None:
    vapic.reset(3)
    assert vapic.matches(destination, logical=False) == matches


def test_physical_destination_follows_the_id(vapic: Vapic) -> None:
    assert vapic.write(0x20, 0x07000000).destination_changed
    assert vapic.matches(7, logical=False)
    assert not vapic.matches(0, logical=False)


def test_wide_id_in_xapic_mode(vapic: Vapic) -> None:
    vapic.reset(0x103)
    assert vapic.matches(0x103, logical=False)
    assert vapic.matches(3, logical=False)


@pytest.mark.parametrize(
    ("dfr", "ldr", "destination", "matches"),
    [
        (0xF0000000, 0x05000000, 0x04, True),
        (0xF0000000, 0x05000000, 0x0A, False),
        (0xF0000000, 0x00000000, 0xFF, True),
        (0xF0000000, 0x00000000, 0x7F, False),
        (0x00000000, 0x21000000, 0x21, True),
        (0x00000000, 0x21000000, 0x23, True),
        (0x00000000, 0x21000000, 0x22, False),
        (0x00000000, 0x21000000, 0x11, False),
        (0x00000000, 0x21000000, 0xFF, True),
        (0x50000000, 0x21000000, 0x21, False),  # neither model
    ],
)
def test_logical_xapic_destination(vapic: Vapic, dfr: int, ldr: int, destination: int, matches: bool) -> None:
    assert vapic.write(0xE0, dfr).destination_changed
    assert vapic.write(0xD0, ldr).destination_changed
    assert vapic.matches(destination, logical=True) == matches


@pytest.mark.parametrize(
    ("destination", "logical", "matches"),
    [
        (0x23, False, True),
        (0x123, False, False),
        (0xFF, False, False),
        (0xFFFFFFFF, False, True),
        (0x20008, True, True),
        (0x2000F, True, True),
        (0x20007, True, False),
        (0x30008, True, False),
        (0xFF, True, False),
        (0xFFFFFFFF, True, True),
    ],
)
def test_x2apic_destination(vapic: Vapic, destination: int, logical: bool, matches: bool) -> None:
    vapic.reset(0x23)
    vapic.write_base(X2APIC)
    assert vapic.matches(destination, logical=logical) == matches


def test_disabled_apic_is_no_destination(vapic: Vapic) -> None:
    vapic.write_base(DISABLED)
    assert not vapic.matches(0, logical=False)
    assert not vapic.matches(0xFFFFFFFF, logical=False)


def test_the_hypervisor_takes_requests_from_the_highest_down(apic: Vapic) -> None:
    apic.post(0x41, level=True)
    apic.post(0x90)
    assert [apic.request_below(256), apic.request_below(0x90), apic.request_below(0x41)] == [0x90, 0x41, -1]
    assert apic.is_level(0x41)
    assert not apic.is_level(0x90)
    apic.set_tpr(0xFF)
    assert apic.request_below() == 0x90, "for any priorities"
    apic.withdraw(0x90)
    assert apic.request_below() == 0x41


def test_a_state_handed_over_goes_on(apic: Vapic) -> None:
    apic.restore(0x61, 0x52, 0x20)
    assert (apic.request_below(), apic.tpr, apic.pending) == (0x61, 0x20, 0x61)
    assert apic.read(0x100 + 0x10 * (0x52 // 32)) == 1 << (0x52 % 32)
    apic.write(0x0B0, 0)
    assert apic.read(0x100 + 0x10 * (0x52 // 32)) == 0


def test_a_forced_x2apic_mode_is_the_mode(vapic: Vapic) -> None:
    vapic.force_x2apic()
    assert vapic.x2apic
    assert vapic.base == 0xFEE00D00
    assert vapic.read(0x0D0) == 1
