# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM's APIC against its model, step by step; and with a malicious hypervisor and guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from snp_harness.svsm.protocol import Result
from tests.emulator.numbers import ENTRY, EVENT_NMI, EVENT_VALID, LEVEL, MULTIPLE, V_GIF, V_IRQ, V_SHADOW
from tests.emulator.svsm.alternate import APIC_PROTOCOL, TIMER, VMPL2_EVENT, Guest
from tests.emulator.svsm.apic_model import Answer, Apic, Entry
from tests.emulator.svsm.driver import Svsm

#: Few vectors, so that they meet: of neighbouring classes, the first and last of words, and forbidden ones.
VECTORS = st.one_of(
    st.sampled_from([0, 15, 16, 30, 31, 32, 33, 0x4F, 0x50, 0x51, 0x60, 0xEF, 0xF0, 0xFF]), st.integers(0, 255)
)
WORDS = st.one_of(st.just(0), st.integers(0, 31).map(lambda bit: 1 << bit), st.integers(0, 0xFFFFFFFF))
REGISTERS = st.one_of(
    st.sampled_from([0x808, 0x80A, 0x80D, 0x830]), st.integers(0x7FF, 0x841), st.integers(0, 2**64 - 1)
)
#: Entries of the guest that follow a step.
RUNS = st.sampled_from([0, 1, 1, 2])
EXCEPTION = EVENT_VALID | 3 << 8 | 1 << 11 | 14


class Comparison(RuleBasedStateMachine):
    svsm: Svsm

    @initialize(allow=st.sampled_from([True, True, True, False]))
    def start(self, allow: bool) -> None:
        self.guest = Guest(self.svsm)
        assert self.guest.started == "ok"
        self.guest.naes()
        self.model = Apic()
        self.model.interrupts_on = True
        self.entry = Entry()
        self.posted = False
        if allow:
            self.allow_all(True)

    def other_bits(self) -> int:
        """Return the bits of vintr_ctrl that do not belong to the APIC."""
        return V_GIF | (V_SHADOW if self.model.shadow else 0)

    # --- the hypervisor

    @rule(status=st.one_of(VECTORS, VECTORS.map(lambda vector: vector | LEVEL)), then=RUNS)
    def post_one(self, status: int, then: int) -> None:
        self.post(status, [0] * 7)
        self.present(then)

    @rule(status=st.integers(0, 0xFFFFFFFF), irr=st.lists(WORDS, min_size=7, max_size=7), then=RUNS)
    def post_anything(self, status: int, irr: list[int], then: int) -> None:
        self.post(status, irr)
        self.present(then)

    @rule(
        vector=VECTORS,
        irr=st.lists(WORDS, min_size=7, max_size=7),
        level=st.booleans(),
        first=st.booleans(),
        then=RUNS,
    )
    def post_many(self, vector: int, irr: list[int], level: bool, first: bool, then: int) -> None:
        self.post(MULTIPLE | (vector | LEVEL if level else 0) | first << 31, irr)
        self.present(then)

    def post(self, status: int, irr: list[int]) -> None:
        self.entry = Entry(status, list(irr))
        self.posted = True
        self.guest.post(status, dict(enumerate(irr)))

    # --- the guest

    @rule(vector=VECTORS, on=st.booleans())
    def allow(self, vector: int, on: bool) -> None:
        assert self.guest.allow(vector | on << 8) == Result.SUCCESS
        (self.model.allowed.add if on else self.model.allowed.discard)(vector)

    @rule(on=st.booleans())
    def allow_all(self, on: bool) -> None:
        assert self.guest.allow(1 << 9 | on << 8) == Result.SUCCESS
        self.model.allowed = self.model.allowed | set(range(31, 256)) if on else set()

    @rule(msr=REGISTERS)
    def read(self, msr: int) -> None:
        answer = self.guest.svsm.call(3, 2, msr, 0x5A5A)
        expected = self.model.read(msr)
        if isinstance(expected, Answer):
            assert (answer.rax, answer.rdx) == (expected.value, 0x5A5A)
        else:
            assert (answer.rax, answer.rdx) == (0, expected)

    @rule(msr=REGISTERS, value=st.one_of(st.integers(0, 256), st.integers(0, 2**64 - 1)))
    def write(self, msr: int, value: int) -> None:
        assert self.guest.write(msr, value) == self.model.write(msr, value).value

    @rule(value=st.integers(0, 255))
    def set_tpr(self, value: int) -> None:
        self.write_ok(0x808, value)

    @rule(vector=VECTORS, then=RUNS)
    def send_self(self, vector: int, then: int) -> None:
        self.write_ok(0x83F, vector)
        self.present(then)

    @rule(then=RUNS)
    def end(self, then: int) -> None:
        self.write_ok(0x80B, 0)
        self.present(then)

    @rule(
        vector=VECTORS,
        nmi=st.booleans(),
        logical=st.booleans(),
        shorthand=st.integers(0, 3),
        destination=st.sampled_from([0, 1, 2, 16, 0xFFFF, 0x10001, 0xFFFFFFFF]),
        trigger=st.integers(0, 3),
    )
    def command(self, vector: int, nmi: bool, logical: bool, shorthand: int, destination: int, trigger: int) -> None:
        low = vector | (4 << 8 if nmi else 0) | logical << 11 | trigger << 14 | shorthand << 18
        self.write_ok(0x830, destination << 32 | low)

    def write_ok(self, msr: int, value: int) -> None:
        assert self.model.write(msr, value) is Answer.OK
        assert self.guest.write(msr, value) == Result.SUCCESS

    @rule(on=st.booleans(), shadow=st.booleans())
    def set_readiness(self, on: bool, shadow: bool) -> None:
        self.model.interrupts_on, self.model.shadow = on, shadow
        self.guest.interrupts(on)
        self.guest.vintr = self.guest.vintr & ~V_SHADOW | (V_SHADOW if shadow else 0)

    @rule(event=st.booleans(), virtual=st.booleans(), then=RUNS)
    def take(self, event: bool, virtual: bool, then: int) -> None:
        if event:
            self.guest.event = self.model.event = 0
        if virtual:
            self.guest.vintr &= ~V_IRQ
            self.model.virtual = None
        self.present(then)

    @rule()
    def exception_comes_first(self) -> None:
        if not self.model.event & EVENT_VALID:
            self.guest.event = self.model.event = EXCEPTION

    @rule(value=st.one_of(st.just(0), st.integers(0, 255)))
    def write_calling_area(self, value: int) -> None:
        self.guest.no_eoi_required = self.model.no_eoi_required = value

    # --- the SVSM

    @rule(runs=st.integers(1, 3))
    def run(self, runs: int) -> None:
        self.present(runs)

    def present(self, runs: int) -> None:
        """Enter the guest so many times; 0: the next step follows without an entry."""
        for _ in range(runs):
            if self.posted:
                self.model.take(self.entry)
                self.posted = False
            self.model.present()
            self.guest.present()
            assert self.guest.doorbell(ENTRY) == self.entry.status
            assert self.guest.doorbell(0) & (0x8000 | VMPL2_EVENT << 24) == 0

    @invariant()
    def same(self) -> None:
        model, guest = self.model, self.guest
        assert guest.event == model.event
        assert guest.virtual == model.virtual
        assert guest.vintr & 0x80FF == model.tpr >> 4
        assert guest.vintr & ~(0xFF | V_IRQ | 0xFF << 32 | 0xF << 16) == self.other_bits()
        assert guest.no_eoi_required == model.no_eoi_required
        assert guest.eois() == model.eois
        model.eois.clear()
        if model.event & EVENT_VALID and model.event != EXCEPTION:
            assert model.event == EVENT_NMI or model.event & 0xFF in model.service


def test_the_apic_is_its_model(shared_svsm: Svsm) -> None:
    class Machine(Comparison):
        svsm = shared_svsm

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.fixture(scope="module")
def hostile(svsm_program: Path) -> Iterator[Svsm]:
    with Svsm(svsm_program) as running:
        yield running


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flags", [APIC_PROTOCOL, APIC_PROTOCOL | TIMER])
def test_no_hypervisor_and_no_guest_breaks_it(hostile: Svsm, seed: int, flags: int) -> None:
    """Garbage in the doorbell page, the calling area and the calls: the state stays valid, the sanitizers silent."""
    assert Guest(hostile, flags=flags).started == "ok"
    assert hostile.command("fuzz", seed, 40_000) == "ok"
