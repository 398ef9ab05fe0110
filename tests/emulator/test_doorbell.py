# SPDX-License-Identifier: GPL-2.0-or-later
"""The #HV doorbell page as the hypervisor fills it: no posted interrupt is lost or doubled, for any guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.native import Driver, compile_driver
from tests.emulator.numbers import ENTRY, EVENT_HV, LEVEL, MULTIPLE, NMI, NO_FURTHER_SIGNAL, VECTOR31

GPA = 0x10000
NOWHERE = (1 << 64) - 1
VMPL = 2


class Doorbell(Driver):
    """The page, and the guest's side of it as COCONUT has it (consume_host_interrupts)."""

    def get(self, offset: int) -> int:
        return self.ask("get", offset)[0]

    def put(self, offset: int, value: int) -> None:
        self.ask("put", offset, value)

    def post(self, vector: int, *, level: bool = False, vmpl: int = VMPL) -> bool:
        return bool(self.ask("post", vmpl, vector, int(level))[0])

    def entry(self, event: int = 0) -> int:
        """EVENTINJ of VMPL0's next entry, with an event that is to be injected anyway."""
        return self.ask("entry", event)[0]

    def take_signal(self) -> int:
        """Clear NoFurtherSignal and the first word; its value before."""
        word = self.get(0)
        self.put(0, 0)
        return word

    def take(self) -> tuple[list[int], list[int]]:
        """Take VMPL2's vectors: edge- and level-triggered ones."""
        edge: list[int] = []
        level: list[int] = []
        status = self.get(ENTRY)
        if status & LEVEL:
            level.append(status & 0xFF)
            status &= ~(LEVEL | 0xFF)
        if status & MULTIPLE:
            if status & VECTOR31:
                edge.append(31)
            for word in range(1, 8):
                bits = self.get(ENTRY + 4 * word)
                edge += [32 * word + bit for bit in range(32) if bits >> bit & 1]
                self.put(ENTRY + 4 * word, 0)
            status &= ~(MULTIPLE | VECTOR31)
        elif status & 0xFF:
            edge.append(status & 0xFF)
            status &= ~0xFF
        self.put(ENTRY, status)
        return edge, level


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = (
        "hypervisor/doorbell.c",
        "hypervisor/ipi.c",
        "hypervisor/vapic_registers.c",
        "hypervisor/vapic_irq.c",
        "hypervisor/vapic_timer.c",
    )
    return compile_driver(tmp_path_factory.mktemp("doorbell"), "doorbell_driver.c", *sources)


@pytest.fixture(scope="module")
def running(program: Path) -> Iterator[Doorbell]:
    with Doorbell(program) as doorbell:
        yield doorbell


@pytest.fixture
def doorbell(running: Doorbell) -> Doorbell:
    running.ask("reset")
    assert running.ask("set", GPA) == [1]
    return running


def test_a_single_vector_stands_in_the_status(doorbell: Doorbell) -> None:
    assert doorbell.post(0x40)
    assert doorbell.get(ENTRY) == 0x40
    assert doorbell.get(0) == NO_FURTHER_SIGNAL | 1 << (24 + VMPL - 1)


def test_a_second_vector_makes_it_multiple(doorbell: Doorbell) -> None:
    assert doorbell.post(31)
    assert doorbell.post(0x41)
    assert doorbell.get(ENTRY) == MULTIPLE | VECTOR31
    assert doorbell.get(ENTRY + 8) == 2


def test_the_same_vector_twice_is_one_request(doorbell: Doorbell) -> None:
    doorbell.post(0x40)
    doorbell.post(0x40)
    assert doorbell.take() == ([0x40], [])
    assert doorbell.take() == ([], [])


def test_level_triggered_vectors_wait_for_the_field(doorbell: Doorbell) -> None:
    assert doorbell.post(0x50)
    assert doorbell.post(0x60, level=True)
    assert doorbell.get(ENTRY) == LEVEL | MULTIPLE | 0x60
    assert not doorbell.post(0x70, level=True)
    assert doorbell.post(0x61)
    assert doorbell.take() == ([0x50, 0x61], [0x60])
    assert doorbell.post(0x70, level=True)


def test_vectors_below_31_have_no_place(doorbell: Doorbell) -> None:
    assert doorbell.post(30)
    assert doorbell.get(0) == 0
    assert doorbell.take() == ([], [])


def test_hv_comes_once_until_the_guest_has_looked(doorbell: Doorbell) -> None:
    assert doorbell.entry() == 0
    doorbell.post(0x40)
    assert doorbell.entry() == EVENT_HV
    assert doorbell.entry() == 0
    doorbell.post(0x41)
    assert doorbell.entry() == 0
    doorbell.take_signal()
    doorbell.post(0x42)
    assert doorbell.entry() == EVENT_HV


def test_hv_waits_for_an_event_that_is_injected_already(doorbell: Doorbell) -> None:
    doorbell.post(0x40)
    assert doorbell.entry(0x80000B0D) == 0x80000B0D
    assert doorbell.entry() == EVENT_HV


def test_nmi(doorbell: Doorbell) -> None:
    doorbell.ask("nmi", VMPL)
    assert doorbell.get(ENTRY) == NMI
    assert doorbell.entry() == EVENT_HV


def test_the_injection_vector_comes_with_events_of_lower_vmpls(doorbell: Doorbell) -> None:
    doorbell.ask("injection", 0x50)
    doorbell.post(0x40)
    assert doorbell.take_signal() & 0xFF == 0x50


@pytest.mark.parametrize(
    ("icr", "accepted", "vector"),
    [
        pytest.param(0x40050, True, 0x50, id="self"),
        pytest.param(0x80050, True, 0x50, id="all"),
        pytest.param(0xC0050, True, 0, id="others"),
        pytest.param(0x00050, True, 0x50, id="physical"),
        pytest.param(1 << 32 | 0x50, True, 0, id="another"),
        pytest.param(1 << 32 | 0x850, True, 0x50, id="logical"),
        pytest.param(0xFFFFFFFF << 32 | 0x50, True, 0x50, id="broadcast"),
        pytest.param(0x40450, False, 0, id="NMI"),
        pytest.param(0x4000F, False, 0, id="illegal-vector"),
        pytest.param(0x42050, False, 0, id="reserved-bit"),
    ],
)
def test_hv_ipi(doorbell: Doorbell, icr: int, accepted: bool, vector: int) -> None:
    assert doorbell.ask("ipi", icr) == [int(accepted)]
    doorbell.ask("flush")
    assert doorbell.take_signal() & 0xFF == vector


@pytest.mark.parametrize(
    ("icr", "reached"),
    [
        pytest.param(0x40050, 0x0001, id="self"),
        pytest.param(0x80050, 0xFFFF, id="all"),
        pytest.param(0xC0050, 0xFFFE, id="others"),
        pytest.param(3 << 32 | 0x50, 0x0008, id="physical"),
        pytest.param(16 << 32 | 0x50, 0, id="nobody"),
        pytest.param(0x8006 << 32 | 0x850, 0x8006, id="logical"),
        pytest.param(0x1FFFF << 32 | 0x850, 0, id="another-cluster"),
        pytest.param(0xFFFFFFFF << 32 | 0x50, 0xFFFF, id="broadcast"),
    ],
)
def test_hv_ipi_reaches_each_of_its_destinations(doorbell: Doorbell, icr: int, reached: int) -> None:
    assert doorbell.ask("ipi", icr) == [1]
    assert doorbell.ask("waiting", icr & 0xFF) == [reached]


def test_own_vectors_come_one_by_one_the_highest_first(doorbell: Doorbell) -> None:
    for vector in (0x30, 0x90, 0x60):
        doorbell.ask("ipi", 0x40000 | vector)
    seen = []
    for _ in range(4):
        doorbell.ask("flush")
        word = doorbell.take_signal()
        seen.append(word & 0xFF)
        assert not word & 0xFF or word >> 16 & 1, "no EOI is asked for"
    assert seen == [0x90, 0x60, 0x30, 0]


@pytest.mark.parametrize("gpa", [GPA + 8, GPA + 0x1000, 0])
def test_only_a_shared_page_is_taken(doorbell: Doorbell, gpa: int) -> None:
    assert doorbell.ask("set", gpa) == [0]
    assert doorbell.post(0x40)  # the page before is still there


def test_a_page_that_is_not_shared_any_more_gets_nothing(doorbell: Doorbell) -> None:
    doorbell.ask("unshare")
    assert not doorbell.post(0x40)
    doorbell.ask("flush")
    assert doorbell.entry() == 0
    assert doorbell.get(ENTRY) == 0


def test_no_page_after_it_was_cleared(doorbell: Doorbell) -> None:
    doorbell.ask("set", NOWHERE)
    assert not doorbell.post(0x40)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("post"), st.integers(31, 255), st.booleans()),
            st.tuples(st.just("take"), st.just(0), st.just(False)),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_or_doubled(running: Doorbell, steps: list[tuple[str, int, bool]]) -> None:
    running.ask("reset")
    running.ask("set", GPA)
    edge: set[int] = set()
    level: set[int] = set()
    for what, vector, is_level in [*steps, ("take", 0, False)]:
        if what == "take":
            taken, taken_level = running.take()
            assert len(taken) == len(set(taken))
            assert (set(taken), set(taken_level)) == (edge, level)
            edge, level = set(), set()
        elif running.post(vector, level=is_level):
            (level if is_level else edge).add(vector)
        else:
            assert is_level
            assert level


@given(
    garbage=st.lists(st.integers(0, 0xFFFFFFFF), min_size=16, max_size=16),
    vector=st.integers(0, 255),
    level=st.booleans(),
)
def test_what_the_guest_writes_there_does_no_harm(
    running: Doorbell, garbage: list[int], vector: int, level: bool
) -> None:
    running.ask("reset")
    running.ask("set", GPA)
    for number, word in enumerate(garbage):
        running.put(ENTRY + 4 * number, word)
    running.post(vector, level=level)
    running.ask("flush")
    assert running.entry() in (0, EVENT_HV)
