# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual APIC's modes and registers, against tables written here from KVM's rules (lapic.c, kvm-unit-tests)."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.vapic import Result, Vapic

PAGE: Final = 0xFEE00000
DISABLED: Final = PAGE | 0x100
XAPIC: Final = PAGE | 0x900
X2APIC: Final = PAGE | 0xD00
INVALID: Final = PAGE | 0x500
ALL_ONES: Final = (1 << 64) - 1

# Rows and columns of the matrix in kvm-unit-tests x86/apic.c and KVM's kvm_apic_set_base: from, to, accepted.
MATRIX: Final = {
    (DISABLED, DISABLED): True,
    (DISABLED, XAPIC): True,
    (DISABLED, X2APIC): False,
    (DISABLED, INVALID): False,
    (XAPIC, DISABLED): True,
    (XAPIC, XAPIC): True,
    (XAPIC, X2APIC): True,
    (XAPIC, INVALID): False,
    (X2APIC, DISABLED): True,
    (X2APIC, XAPIC): False,
    (X2APIC, X2APIC): True,
    (X2APIC, INVALID): False,
}
ROADS: Final = {DISABLED: [DISABLED], XAPIC: [], X2APIC: [X2APIC]}

BANKS: Final = {base + 16 * n for base in (0x100, 0x180, 0x200) for n in range(8)}
LVTS: Final = {0x320, 0x330, 0x340, 0x350, 0x360, 0x370}
# kvm-unit-tests lib/x86/apic.h, get_x2apic_reg_semantics.
X2APIC_READ_ONLY: Final = {0x020, 0x030, 0x0A0, 0x0D0, 0x390} | BANKS
X2APIC_READ_WRITE: Final = {0x080, 0x0F0, 0x280, 0x300, 0x380, 0x3E0} | LVTS
X2APIC_WRITE_ONLY: Final = {0x0B0, 0x3F0}
XAPIC_EXTRA: Final = {0x090, 0x0C0, 0x0E0, 0x310}


def go_to(vapic: Vapic, mode: int) -> None:
    for base in ROADS[mode]:
        assert vapic.write_base(base).result is Result.OK


def test_reset_value(vapic: Vapic) -> None:
    assert (vapic.base, vapic.enabled, vapic.x2apic) == (0xFEE00900, True, False)
    vapic.reset(3, bsp=False)
    assert vapic.base == 0xFEE00800


@pytest.mark.parametrize(("before", "after"), MATRIX)
def test_transition(vapic: Vapic, before: int, after: int) -> None:
    go_to(vapic, before)
    effect = vapic.write_base(after)
    accepted = MATRIX[before, after]
    assert effect.result is (Result.OK if accepted else Result.GP)
    assert vapic.base == (after if accepted else before)
    assert effect.base_changed == (accepted and before != after)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([DISABLED, XAPIC, X2APIC, INVALID, 0xFED00900, 0xFED00D00, 0xFED00100, 0x900]), max_size=30
    )
)
def test_transition_sequences(vapic_process: Vapic, writes: list[int]) -> None:
    vapic_process.reset()
    modes = {0: DISABLED, 0x400: INVALID, 0x800: XAPIC, 0xC00: X2APIC}
    base = XAPIC
    for value in writes:
        accepted = value == base or MATRIX[modes[base & 0xC00], modes[value & 0xC00]]
        assert vapic_process.write_base(value).result is (Result.OK if accepted else Result.GP)
        base = value if accepted else base
        assert vapic_process.base == base
        assert vapic_process.enabled == bool(base & 0x800)
        assert vapic_process.x2apic == (base & 0xC00 == 0xC00)
        claimed = base & 0xC00 == 0x800
        assert vapic_process.mmio_read(0x30) == ((Result.OK, 0x50014) if claimed else (Result.NOT_CLAIMED, ALL_ONES))
        assert vapic_process.msr_read(0x803) == ((Result.OK, 0x50014) if base & 0x400 else (Result.GP, 0))


@pytest.mark.parametrize("bit", [*range(8), 9, 48, 52, 63])
def test_reserved_base_bits(vapic: Vapic, bit: int) -> None:
    assert vapic.write_base(XAPIC | 1 << bit).result is Result.GP
    assert vapic.base == XAPIC


@pytest.mark.parametrize(
    ("phys_bits", "bit", "accepted"), [(40, 39, True), (40, 40, False), (52, 51, True), (36, 36, False)]
)
def test_base_address_width(vapic: Vapic, phys_bits: int, bit: int, accepted: bool) -> None:
    vapic.reset(phys_bits=phys_bits)
    assert vapic.write_base(XAPIC | 1 << bit).result is (Result.OK if accepted else Result.GP)


def test_x2apic_needs_cpuid(vapic: Vapic) -> None:
    vapic.reset(x2apic=False)
    assert vapic.write_base(X2APIC).result is Result.GP
    assert vapic.base == XAPIC


def test_boot_processor_bit_may_be_written(vapic: Vapic) -> None:
    assert vapic.write_base(PAGE | 0x800).result is Result.OK


@pytest.mark.parametrize("mode", [DISABLED, XAPIC, X2APIC])
def test_init_keeps_the_mode(vapic: Vapic, mode: int) -> None:
    go_to(vapic, mode)
    if mode != DISABLED:
        vapic.write(0xF0, 0x1FF)
        vapic.write(0x80, 0x30)
        vapic.write(0x320, 0x20020)
        vapic.write(0x380, 1000000)
        vapic.post(0x41)
    vapic.init()
    assert vapic.base == mode
    assert vapic.deadline() is None
    if mode == DISABLED:
        return
    assert (vapic.read(0xF0), vapic.read(0x80), vapic.read(0x320), vapic.read(0x350)) == (0xFF, 0, 0x10000, 0x700)
    assert (vapic.read(0x380), vapic.read(0x220)) == (0, 0)


def test_init_keeps_the_id(vapic: Vapic) -> None:
    vapic.write(0x20, 0x05000000)
    vapic.write(0xD0, 0x04000000)
    vapic.init()
    assert (vapic.read(0x20), vapic.read(0xD0)) == (0x05000000, 0)


def test_init_keeps_the_x2apic_ldr(vapic: Vapic) -> None:
    vapic.reset(0x23)
    go_to(vapic, X2APIC)
    vapic.init()
    assert vapic.read(0xD0) == 0x20008


def test_values_after_reset(vapic: Vapic) -> None:
    expected = dict.fromkeys(X2APIC_READ_ONLY | X2APIC_READ_WRITE | XAPIC_EXTRA, 0)
    expected |= dict.fromkeys(LVTS, 0x10000) | {0x350: 0x700, 0x030: 0x50014, 0x0E0: 0xFFFFFFFF, 0x0F0: 0xFF}
    assert {offset: vapic.read(offset) for offset in expected} == expected
    vapic.reset(bsp=False)
    assert vapic.read(0x350) == 0x10000


@pytest.mark.parametrize("mode", [DISABLED, XAPIC])
def test_msrs_outside_x2apic_mode(vapic: Vapic, mode: int) -> None:
    go_to(vapic, mode)
    for msr in range(0x800, 0x900):
        assert vapic.msr_read(msr) == (Result.GP, 0)
        assert vapic.msr_write(msr, 0).result is Result.GP


def test_msrs_in_x2apic_mode(vapic: Vapic) -> None:
    go_to(vapic, X2APIC)
    for msr in range(0x7F0, 0x910):
        offset = (msr - 0x800) << 4
        readable = offset in X2APIC_READ_ONLY | X2APIC_READ_WRITE
        writable = offset in X2APIC_READ_WRITE | X2APIC_WRITE_ONLY
        assert vapic.msr_read(msr)[0] is (Result.OK if readable else Result.GP), f"{msr:x}"
        assert vapic.msr_write(msr, 0).result is (Result.OK if writable else Result.GP), f"{msr:x}"


def test_high_half_of_x2apic_writes(vapic: Vapic) -> None:
    go_to(vapic, X2APIC)
    for offset in X2APIC_READ_WRITE | X2APIC_WRITE_ONLY:
        expected = Result.OK if offset == 0x300 else Result.GP
        assert vapic.msr_write(0x800 + (offset >> 4), 1 << 32).result is expected, f"{offset:x}"


@pytest.mark.parametrize(
    ("msr", "value"),
    [(0x80B, 1), (0x828, 1), (0x83F, 0x100), (0x83F, 0xFF00), (0x83F, 0xFF000000)]
    + [(0x830, 0x4030 | 1 << bit) for bit in (13, 16, 17, *range(20, 32))],
)
def test_reserved_bits_of_x2apic_writes(vapic: Vapic, msr: int, value: int) -> None:
    go_to(vapic, X2APIC)
    assert vapic.msr_write(msr, value).result is Result.GP


def test_page_in_xapic_mode(vapic: Vapic) -> None:
    readable = X2APIC_READ_ONLY | X2APIC_READ_WRITE | XAPIC_EXTRA
    for offset in range(0, 0x1000, 0x10):
        vapic.reset()
        present = offset in readable or offset == 0xB0
        result, value = vapic.mmio_read(offset)
        assert result is Result.OK
        assert offset in readable or value == 0
        assert vapic.mmio_write(offset, 0).result is Result.OK
        vapic.mmio_write(0x280, 0)
        assert bool(vapic.read(0x280) & 0x80) == (not present), f"{offset:x}"


@pytest.mark.parametrize("mode", [DISABLED, X2APIC])
def test_page_is_not_claimed(vapic: Vapic, mode: int) -> None:
    go_to(vapic, mode)
    for offset in range(0, 0x1000, 0x10):
        assert vapic.mmio_read(offset) == (Result.NOT_CLAIMED, ALL_ONES)
        assert vapic.mmio_write(offset, 0).result is Result.NOT_CLAIMED


def test_beyond_the_page(vapic: Vapic) -> None:
    assert vapic.mmio_read(0x1000) == (Result.NOT_CLAIMED, ALL_ONES)
    assert vapic.mmio_write(0x1000, 0).result is Result.NOT_CLAIMED


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_read_sizes(vapic: Vapic, size: int) -> None:
    vapic.write(0xD0, 0xA5000000)
    vapic.write(0xE0, 0)  # reads 0FFFFFFF
    for first in range(16):
        inside = size != 8 and first + size <= 4
        for register, value in ((0xD0, 0xA5000000), (0xE0, 0x0FFFFFFF)):
            expected = value >> 8 * first & (1 << 8 * size) - 1 if inside else 0
            assert vapic.mmio_read(register + first, size) == (Result.OK, expected)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("first", [0, 1, 2, 4, 8, 15])
def test_write_sizes(vapic: Vapic, size: int, first: int) -> None:
    effect = vapic.mmio_write(0x80 + first, 0x70, size)
    assert effect.result is Result.OK
    assert vapic.tpr == (0x70 if (size, first) == (4, 0) else 0)


@pytest.mark.parametrize(
    ("offset", "mask"),
    [
        (0x080, 0xFF),
        (0x0F0, 0x3FF),
        (0x320, 0x710FF),
        (0x330, 0x117FF),
        (0x340, 0x117FF),
        (0x350, 0x1F7FF),
        (0x360, 0x1F7FF),
        (0x370, 0x110FF),
        (0x380, 0xFFFFFFFF),
        (0x3E0, 0xB),
    ],
)
@pytest.mark.parametrize("mode", [XAPIC, X2APIC])
def test_writable_bits(vapic: Vapic, mode: int, offset: int, mask: int) -> None:
    go_to(vapic, mode)
    vapic.write(0xF0, 0x1FF)
    # The initial count does not take a value in TSC-deadline mode: the mode bits are written in another order.
    vapic.write(offset, 0xFFFFFFFF)
    assert vapic.read(offset) == mask
    vapic.write(offset, 0)
    assert vapic.read(offset) == 0


@pytest.mark.parametrize(("offset", "mask"), [(0x020, 0xFF000000), (0x0D0, 0xFF000000), (0x310, 0xFF000000)])
def test_writable_bits_of_xapic_registers(vapic: Vapic, offset: int, mask: int) -> None:
    vapic.write(offset, 0xFFFFFFFF)
    assert vapic.read(offset) == mask


def test_timer_mode_needs_cpuid(vapic: Vapic) -> None:
    vapic.reset(tsc_deadline=False)
    vapic.write(0xF0, 0x1FF)
    vapic.write(0x320, 0x40030)
    assert vapic.read(0x320) == 0x30


def test_software_disable_masks_the_lvt(vapic: Vapic) -> None:
    vapic.write(0xF0, 0x1FF)
    for offset in LVTS:
        vapic.write(offset, 0x40)
        assert vapic.read(offset) == 0x40
    assert vapic.write(0xF0, 0xFF).lint_changed
    for offset in LVTS:
        assert vapic.read(offset) == 0x10040
        vapic.write(offset, 0x41)
        assert vapic.read(offset) == 0x10041
    vapic.write(0xF0, 0x1FF)
    assert all(vapic.read(offset) == 0x10041 for offset in LVTS)


@pytest.mark.parametrize(
    ("apic_id", "xapic_id", "ldr"), [(0, 0, 1), (5, 5, 0x20), (0x1F, 0x1F, 0x18000), (0x123, 0x23, 0x120008)]
)
def test_ids_of_the_modes(vapic: Vapic, apic_id: int, xapic_id: int, ldr: int) -> None:
    vapic.reset(apic_id)
    assert vapic.read(0x20) == xapic_id << 24
    vapic.write(0x20, 0x77000000)
    assert vapic.write_base(X2APIC).destination_changed
    assert (vapic.read(0x20), vapic.read(0xD0)) == (apic_id, ldr)
    assert vapic.write_base(DISABLED).destination_changed
    assert vapic.write_base(XAPIC).destination_changed
    assert vapic.read(0x20) == xapic_id << 24


def test_moving_the_page_keeps_the_id(vapic: Vapic) -> None:
    vapic.write(0x20, 0x77000000)
    assert not vapic.write_base(0xFED00900).destination_changed
    assert vapic.read(0x20) == 0x77000000


def test_x2apic_icr_is_one_register(vapic: Vapic) -> None:
    go_to(vapic, X2APIC)
    vapic.msr_write(0x830, 0x1234_0000_50F1 | 1 << 12)
    assert vapic.msr_read(0x830) == (Result.OK, 0x1234_0000_40F1)


def test_sec_sequence(vapic: Vapic) -> None:
    """What OVMF's SEC does (InitializeApicTimer, DisableApicTimerInterrupt), by MMIO."""
    assert vapic.read(0xF0) == 0xFF
    vapic.write(0xF0, 0x1FF)
    assert vapic.read(0x320) == 0x10000
    vapic.write(0x320, 0x20005)
    vapic.write(0x380, 0xFFFFFFFF)
    assert vapic.read(0x320) == 0x20005
    vapic.write(0x320, 0x30005)
    assert vapic.read(0x320) == 0x30005
    assert vapic.deadline() == 2 * 0xFFFFFFFF


@pytest.mark.parametrize("seed", range(1, 9))
def test_random_sequences_keep_the_invariants(vapic_process: Vapic, seed: int) -> None:
    assert vapic_process.fuzz(seed, 20000) == vapic_process.fuzz(seed, 20000)
