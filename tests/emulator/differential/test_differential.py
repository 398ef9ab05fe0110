# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated host's virtual APIC against a real KVM: the same operations, the same answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.emulator.differential.operations import (
    EVENTS,
    IPI_VCPUS,
    OPERATIONS_MAX,
    Generator,
    Kind,
    Operation,
    events,
    ipis,
)
from tests.emulator.differential.run import Answers

pytestmark = [pytest.mark.nested, pytest.mark.emulated]

Both = Callable[..., tuple[Answers, Answers]]
#: Operations of the run that each `make test` makes, in seconds.
QUICK = 1500


def differences(operations: list[Operation], kvm: list[str], emulated: list[str]) -> list[str]:
    """The first difference of each episode, with the operations before it."""
    found = []
    start, skip = 0, False
    for number, (operation, there, here) in enumerate(zip(operations, kvm, emulated, strict=True)):
        if operation.kind is Kind.NORMALISE:
            start, skip = number, False
        if there != here and not skip:
            skip = True
            before = [
                f"    {made} -> {answer}" for made, answer in zip(operations[start:number], kvm[start:], strict=False)
            ]
            found.append("\n".join([*before, f"{number}: {operation}: KVM {there}, emulated host {here}"]))
    return found


def compare(both: Both, seed: int, count: int) -> None:
    operations = Generator(seed).operations(count)
    kvm, emulated = both(operations)
    found = differences(operations, kvm.lines, emulated.lines)
    assert not found, f"seed {seed}, {len(found)} episodes differ, the first:\n{found[0]}"
    # The compared answers are neither all refused nor all zero.
    assert {".", "!", "-"} < set(kvm.lines)
    assert len({line for line in kvm.lines if line not in (".", "!", "-", "0")}) > 20


def test_quick(both: Both) -> None:
    compare(both, 1, QUICK)


def test_hidden_features(both: Both) -> None:
    """APIC_BASE.EXTD is reserved, and so is the TSC-deadline mode of the LVT timer; MSR 6E0 ignores a write."""
    operations = [
        Operation(Kind.NORMALISE),
        Operation(Kind.WRITE_MSR, 0x1B, 0xFEE00D00),
        Operation(Kind.READ_MSR, 0x1B),
        Operation(Kind.READ_MSR, 0x802),
        Operation(Kind.WRITE_MMIO, 0x320, 0x40041),
        Operation(Kind.READ_MMIO, 0x320),
        Operation(Kind.WRITE_MSR, 0x6E0, 1 << 62),
        Operation(Kind.READ_MSR, 0x6E0),
    ]
    kvm, emulated = both(operations, ["x2apic", "tsc-deadline"])
    assert emulated.lines[1:] == ["!", "fee00900", "!", ".", "41", ".", "0"]
    assert kvm.lines == emulated.lines
    assert emulated.facts[:2] == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_thousands(both: Both, seed: int) -> None:
    compare(both, seed, OPERATIONS_MAX)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_events(both_with_new_qemu: Both, seed: int) -> None:
    """Single steps, the shadow of STI, NMIs, the TSC, the timer's expiry: in KVM under a QEMU that has SVM right."""
    operations = events(seed, 400)
    kvm, emulated = both_with_new_qemu(operations)
    found = differences(operations, kvm.lines, emulated.lines)
    assert not found, f"seed {seed}, {len(found)} events differ:\n" + "\n".join(found[:20])


#: For a nightly: 2000 IPIs take minutes on KVM in TCG.
LONG = (pytest.mark.slow, pytest.mark.long)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=LONG) for seed in range(1, 4))])
def test_ipis_between_vcpus(both: Both, seed: int) -> None:
    operations = ipis(seed, 2000 if seed else 150)
    kvm, emulated = both(operations, vcpus=IPI_VCPUS)
    found = differences(operations, kvm.lines, emulated.lines)
    assert not found, f"seed {seed}, {len(found)} IPIs differ:\n" + "\n".join(found[:20])


@pytest.mark.slow
def test_other_kernels(both_with_other_kernel: Both) -> None:
    compare(both_with_other_kernel, 2, 4000)


def test_the_same_seed_makes_the_same_operations() -> None:
    assert Generator(7).operations(500) == Generator(7).operations(500)
    assert Generator(7).operations(500) != Generator(8).operations(500)


def test_all_kinds_are_made() -> None:
    made = {operation.kind for operation in Generator(1).operations(OPERATIONS_MAX)}
    assert made == set(Kind) - EVENTS - {Kind.IPI}
    assert {operation.kind for operation in events(1, 100)} == EVENTS | {Kind.NORMALISE}
    assert {operation.kind for operation in ipis(1, 10)} == {Kind.IPI, Kind.NORMALISE}
