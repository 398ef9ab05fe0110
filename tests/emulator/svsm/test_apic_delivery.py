# SPDX-License-Identifier: GPL-2.0-or-later
"""How the SVSM's APIC delivers: event_inj or vintr_ctrl, NMI first, taken back if not delivered, lazy EOI or not."""

from __future__ import annotations

import pytest

from snp_harness.svsm.protocol import Result
from tests.emulator.numbers import EVENT_INTERRUPT, EVENT_NMI, V_IRQ
from tests.emulator.svsm.alternate import Guest
from tests.emulator.svsm.driver import CAA, Svsm

EVENT = EVENT_INTERRUPT
PAGE_FAULT = EVENT | 3 << 8 | 1 << 11 | 14
SHADOW, IGN_TPR = 1 << 10, 1 << 20
LOW, MIDDLE, HIGH = 0x41, 0x61, 0x81


@pytest.fixture
def guest(svsm: Svsm) -> Guest:
    return Guest(svsm)


def send(guest: Guest, *vectors: int) -> None:
    """Self IPIs, and the run of the guest that follows."""
    for vector in vectors:
        assert guest.write(0x83F, vector) == Result.SUCCESS
    guest.present()


def in_service(guest: Guest) -> set[int]:
    return {32 * word + bit for word in range(8) for bit in range(32) if guest.read(0x810 + word) >> bit & 1}


def requested(guest: Guest) -> set[int]:
    return {32 * word + bit for word in range(8) for bit in range(32) if guest.read(0x820 + word) >> bit & 1}


def serve(guest: Guest, *vectors: int) -> None:
    """Each is taken, and stays in service."""
    for vector in vectors:
        send(guest, vector)
        assert guest.event == EVENT | vector
        guest.take()


# --- an exit during the delivery


@pytest.mark.parametrize("on", [True, False], ids=["injected", "queued"])
def test_an_interrupt_cut_short_is_injected_again(guest: Guest, on: bool) -> None:
    guest.interrupts(on)
    send(guest, MIDDLE)
    guest.vintr &= ~V_IRQ
    guest.cut_short(EVENT | MIDDLE)
    assert (guest.event, guest.virtual) == (EVENT | MIDDLE, None)
    # As an injected one it is taken back while the registers are read, and presented again.
    assert requested(guest) == {MIDDLE}
    guest.interrupts(True)
    guest.present()
    assert guest.event == EVENT | MIDDLE
    guest.take()
    assert in_service(guest) == {MIDDLE}


@pytest.mark.parametrize(
    ("info", "again"),
    [
        (EVENT_NMI, True),
        (PAGE_FAULT | 2 << 32, True),
        (EVENT | 3 << 8 | 3, False),
        (EVENT | 4 << 8 | 0x80, False),
        (0, False),
    ],
    ids=["nmi", "page-fault", "int3", "software", "nothing"],
)
def test_an_instruction_raises_its_event_again(guest: Guest, info: int, again: bool) -> None:
    guest.cut_short(info)
    assert guest.event == (info if again else 0)


# --- into which field


def test_immediately_when_the_guest_can_take_it(guest: Guest) -> None:
    send(guest, MIDDLE)
    assert (guest.event, guest.virtual) == (EVENT | MIDDLE, None)


@pytest.mark.parametrize("why", ["interrupts off", "shadow", "TPR of its class", "an event is pending"])
def test_queued_when_it_cannot(guest: Guest, why: str) -> None:
    match why:
        case "interrupts off":
            guest.interrupts(False)
        case "shadow":
            guest.vintr |= SHADOW
        case "TPR of its class":
            guest.write(0x808, MIDDLE & 0xF0)
        case _:
            guest.event = PAGE_FAULT
    send(guest, MIDDLE)
    assert guest.event == (PAGE_FAULT if why == "an event is pending" else 0)
    assert guest.virtual == MIDDLE


def test_tpr_below_its_class_lets_it_through(guest: Guest) -> None:
    guest.write(0x808, (MIDDLE & 0xF0) - 0x10)
    send(guest, MIDDLE)
    assert guest.event == EVENT | MIDDLE


def test_queued_one_obeys_tpr(guest: Guest) -> None:
    """For any earlier content of a VMSA that the guest made."""
    guest.vintr |= IGN_TPR | 0xF << 16 | 0xFF << 32
    guest.interrupts(False)
    send(guest, MIDDLE)
    assert guest.virtual == MIDDLE


def test_same_class_waits_for_the_one_in_service(guest: Guest) -> None:
    serve(guest, MIDDLE)
    send(guest, MIDDLE + 1)
    assert (guest.event, guest.virtual) == (0, None)
    guest.write(0x80B, 0)
    guest.present()
    assert guest.event == EVENT | MIDDLE + 1


def test_fifteen_classes_nest(guest: Guest) -> None:
    """All of them; then none is higher, and each EOI ends the highest."""
    vectors = [class_ << 4 | class_ for class_ in range(1, 16)]
    serve(guest, *vectors)
    send(guest, 0xFE, 0xFF, 0x1F)
    assert (guest.event, guest.virtual) == (0, None)
    for count in range(15, 0, -1):
        assert in_service(guest) == set(vectors[:count])
        guest.write(0x80B, 0)
    assert in_service(guest) == set()


def test_hypervisor_posts_many_at_once(guest: Guest) -> None:
    guest.allow(1 << 9 | 1 << 8)
    guest.post(1 << 14, {2: 1 << 1, 0: 1 << 5})  # 0x61, 0x25
    guest.present()
    assert guest.event == EVENT | 0x61
    guest.take()
    assert requested(guest) == {0x25}


# --- taken back


def test_what_was_not_taken_gives_way_to_a_higher_one(guest: Guest) -> None:
    send(guest, LOW)
    send(guest, HIGH)
    assert guest.event == EVENT | HIGH
    guest.take()
    assert in_service(guest) == {HIGH}
    assert requested(guest) == {LOW}


def test_queued_one_is_taken_back_as_well(guest: Guest) -> None:
    guest.interrupts(False)
    send(guest, LOW)
    assert guest.vintr & V_IRQ
    assert requested(guest) == {LOW}
    assert not guest.vintr & V_IRQ
    guest.interrupts(True)
    guest.present()
    assert guest.event == EVENT | LOW


def test_taking_back_cancels_the_lazy_eoi(guest: Guest) -> None:
    """A 0 in the calling area is then no EOI: not of the one below, which is in service."""
    serve(guest, LOW)
    guest.no_eoi_required = 1
    send(guest, HIGH)
    assert guest.no_eoi_required == 1
    guest.no_eoi_required = 0
    assert in_service(guest) == {LOW}


def test_offer_that_is_not_the_svsms_stays(guest: Guest) -> None:
    """V_IRQ of another VMSA, by chance with the vector in service."""
    serve(guest, MIDDLE)
    guest.vintr |= V_IRQ | MIDDLE << 32 | MIDDLE >> 4 << 16
    assert in_service(guest) == {MIDDLE}
    assert guest.virtual == MIDDLE


# --- lazy EOI


def test_lazy_eoi(guest: Guest) -> None:
    send(guest, MIDDLE)
    assert guest.no_eoi_required == 1
    guest.take()
    assert in_service(guest) == {MIDDLE}  # the guest is in its handler
    guest.no_eoi_required = 0
    assert in_service(guest) == set()


def test_no_lazy_eoi_while_another_waits(guest: Guest) -> None:
    send(guest, MIDDLE, LOW)
    assert guest.event == EVENT | MIDDLE
    assert guest.no_eoi_required == 0


def test_no_lazy_eoi_when_it_could_be_either_ones(guest: Guest) -> None:
    """Queued above one in service: a 0 may mean the lower one's end, before the higher one was taken."""
    serve(guest, LOW)
    guest.interrupts(False)
    send(guest, HIGH)
    assert guest.virtual == HIGH
    assert guest.no_eoi_required == 0


def test_lazy_eoi_of_the_only_one_queued(guest: Guest) -> None:
    guest.interrupts(False)
    send(guest, MIDDLE)
    assert guest.no_eoi_required == 1


def test_a_lower_one_revokes_the_lazy_eoi(guest: Guest) -> None:
    """It needs an explicit EOI to be delivered; the 0 that requests this is not an EOI."""
    serve(guest, MIDDLE)
    assert guest.no_eoi_required == 1
    send(guest, LOW)
    assert (guest.event, guest.no_eoi_required) == (0, 0)
    assert in_service(guest) == {MIDDLE}
    guest.write(0x80B, 0)
    guest.present()
    assert guest.event == EVENT | LOW


def test_calling_area_that_is_gone_asks_for_nothing(guest: Guest) -> None:
    serve(guest, MIDDLE)
    guest.svsm.pages(CAA & ~0xFFF, 1, "i")
    assert in_service(guest) == {MIDDLE}
    guest.write(0x80B, 0)
    assert in_service(guest) == set()


# --- NMI


def test_nmi_comes_first(guest: Guest) -> None:
    guest.write(0x830, 0x40400)
    send(guest, HIGH)
    assert (guest.event, guest.virtual) == (EVENT_NMI, HIGH)


def test_nmi_waits_for_an_exception(guest: Guest) -> None:
    """An event whose delivery an exit interrupted is not lost."""
    guest.event = PAGE_FAULT
    guest.write(0x830, 0x40400)
    guest.present()
    assert guest.event == PAGE_FAULT
    guest.take()
    guest.present()
    assert guest.event == EVENT_NMI


def test_nmis_merge(guest: Guest) -> None:
    for _ in range(2):
        guest.write(0x830, 0x40400)
        guest.present()
    assert guest.event == EVENT_NMI
    guest.take()
    guest.present()
    assert guest.event == 0
