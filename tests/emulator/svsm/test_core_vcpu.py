# SPDX-License-Identifier: GPL-2.0-or-later
"""Core protocol: CREATE_VCPU, DELETE_VCPU and REMAP_CA."""

from __future__ import annotations

import pytest

from snp_harness.svsm import vmsa
from snp_harness.svsm.protocol import CoreCall, Result
from tests.emulator.numbers import EFER_SVME
from tests.emulator.svsm.driver import CAA, FEATURES, LAUNCH_VMSA, RAM_LOW, SVSM_BASE, Svsm

VMSA = 0x201000
NEW_CAA = 0x202000
OTHER_VMSA = 0x203000
FAIL_INPUT = Result.PROTOCOL_BASE + 1
FAIL_INUSE = Result.PROTOCOL_BASE + 3
#: VMSA offsets (APM volume 2, table B-4).
VMPL_QUADWORD, EFER, SEV_FEATURES = vmsa.OFFSETS["vmpl"] & ~7, vmsa.OFFSETS["efer"], vmsa.OFFSETS["sev_features"]


def write_vmsa(svsm: Svsm, *, vmpl: int = 2, efer: int = EFER_SVME, features: int = FEATURES, at: int = VMSA) -> None:
    svsm.poke(at + VMPL_QUADWORD, vmpl << 16)
    svsm.poke(at + EFER, efer)
    svsm.poke(at + SEV_FEATURES, features)
    svsm.command("grant", at, 2, 0xF)


@pytest.fixture
def smp(svsm: Svsm) -> Svsm:
    """Two vCPUs; the second one's request loop runs, without a VMSA."""
    svsm.command("online", 1)
    write_vmsa(svsm)
    return svsm


def test_create_makes_a_vmsa(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.vcpu(1) == (VMSA, NEW_CAA)
    page = smp.rmp(VMSA)
    assert page.vmsa
    assert page.permissions == (0, 1, 0)  # readable, no more


def test_apic_id_is_32_bits(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 0xABCD_0000_0001).rax == Result.SUCCESS


@pytest.mark.parametrize(
    "wrong", [{"vmpl": 0}, {"vmpl": 1}, {"vmpl": 3}, {"efer": 0x500}, {"features": FEATURES | 1 << 5}, {"features": 1}]
)
def test_create_refuses_a_vmsa_and_gives_the_page_back(smp: Svsm, wrong: dict[str, int]) -> None:
    write_vmsa(smp, **wrong)
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.INVALID_PARAMETER
    page = smp.rmp(VMSA)
    assert not page.vmsa
    assert page.permissions[1] == 0xF
    assert smp.vcpu(1) == (0, 0)
    write_vmsa(smp)
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS


@pytest.mark.parametrize(
    ("vmsa", "caa", "apic_id", "result"),
    [
        (VMSA + 8, NEW_CAA, 1, Result.INVALID_ADDRESS),
        (VMSA, NEW_CAA + 8, 1, Result.INVALID_ADDRESS),
        (VMSA, VMSA, 1, Result.INVALID_ADDRESS),
        (0x200000, NEW_CAA, 1, Result.INVALID_ADDRESS),  # 2 MiB aligned
        (SVSM_BASE + 0x8000, NEW_CAA, 1, Result.INVALID_ADDRESS),
        (LAUNCH_VMSA, NEW_CAA, 1, Result.INVALID_ADDRESS),
        (VMSA, SVSM_BASE + 0x8000, 1, Result.INVALID_ADDRESS),
        (RAM_LOW, NEW_CAA, 1, Result.INVALID_ADDRESS),
        (VMSA, RAM_LOW, 1, Result.INVALID_ADDRESS),
        (CAA, NEW_CAA, 1, Result.INVALID_ADDRESS),  # the caller's calling area
        (VMSA, CAA, 1, Result.INVALID_ADDRESS),
        (VMSA, NEW_CAA, 0, Result.INVALID_PARAMETER),  # the caller
        (VMSA, NEW_CAA, 2, Result.INVALID_PARAMETER),  # no such vCPU
        (VMSA, NEW_CAA, 0xFFFFFFFF, Result.INVALID_PARAMETER),
    ],
)
def test_create_checks_its_arguments(smp: Svsm, vmsa: int, caa: int, apic_id: int, result: Result) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, vmsa, caa, apic_id).rax == result
    assert smp.vcpu(1) == (0, 0)


def test_create_refuses_a_vcpu_without_a_loop(svsm: Svsm) -> None:
    write_vmsa(svsm)
    assert svsm.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.INVALID_PARAMETER


def test_create_refuses_a_page_that_is_not_validated(smp: Svsm) -> None:
    smp.pages(VMSA, 1, "s")
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == FAIL_INPUT
    assert smp.vcpu(1) == (0, 0)


def test_a_vmsa_is_out_of_reach_of_other_calls(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, 0x203000, 1).rax == Result.INVALID_ADDRESS
    assert smp.pvalidate([VMSA]).rax == Result.INVALID_ADDRESS
    assert smp.pvalidate([0x200000 | 1]).rax == Result.INVALID_ADDRESS  # the 2 MiB page around it
    assert smp.core(CoreCall.REMAP_CA, VMSA).rax == Result.INVALID_PARAMETER
    assert smp.rmp(VMSA).vmsa


def test_delete_gives_the_page_back(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.core(CoreCall.DELETE_VCPU, VMSA).rax == Result.SUCCESS
    page = smp.rmp(VMSA)
    assert not page.vmsa
    assert page.permissions[1] == 0xF
    assert smp.peek(VMSA + EFER) == 0
    assert smp.vcpu(1) == (0, 0)
    assert smp.core(CoreCall.DELETE_VCPU, VMSA).rax == Result.INVALID_PARAMETER


def test_create_again_before_the_old_vmsa_is_deleted(smp: Svsm) -> None:
    """As Linux does when a CPU comes online again, with the same calling area (wakeup_cpu_via_vmgexit)."""
    write_vmsa(smp, at=OTHER_VMSA)
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.core(CoreCall.CREATE_VCPU, OTHER_VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.core(CoreCall.DELETE_VCPU, VMSA).rax == Result.SUCCESS
    assert smp.vcpu(1) == (OTHER_VMSA, NEW_CAA)
    assert smp.rmp(OTHER_VMSA).vmsa
    assert not smp.rmp(VMSA).vmsa
    assert smp.core(CoreCall.REMAP_CA, NEW_CAA).rax == Result.INVALID_ADDRESS  # another vCPU's


def test_delete_leaves_a_vmsa_in_use(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    smp.command("busy", VMSA)
    assert smp.core(CoreCall.DELETE_VCPU, VMSA).rax == FAIL_INUSE
    assert smp.peek(VMSA + EFER) == EFER_SVME
    assert smp.vcpu(1) == (VMSA, NEW_CAA)


def test_delete_of_the_callers_own_vmsa(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.core(CoreCall.DELETE_VCPU, VMSA, vcpu=1).rax == FAIL_INUSE


@pytest.mark.parametrize("vmsa", [0, VMSA, LAUNCH_VMSA, SVSM_BASE, 8])
def test_delete_of_what_is_no_vmsa_of_the_guest(smp: Svsm, vmsa: int) -> None:
    assert smp.core(CoreCall.DELETE_VCPU, vmsa).rax == Result.INVALID_PARAMETER


@pytest.mark.parametrize("caa", [NEW_CAA, NEW_CAA + 0xFF8, CAA, CAA + 8])
def test_remap_clears_the_new_area(svsm: Svsm, caa: int) -> None:
    svsm.poke(caa, 0x0101)
    assert svsm.core(CoreCall.REMAP_CA, caa).rax == Result.SUCCESS
    assert svsm.vcpu(0) == (LAUNCH_VMSA, caa)
    assert svsm.peek(caa) == 0


@pytest.mark.parametrize("caa", [NEW_CAA + 4, SVSM_BASE, LAUNCH_VMSA, RAM_LOW, 1 << 51, (1 << 64) - 8])
def test_remap_checks_the_address(svsm: Svsm, caa: int) -> None:
    assert svsm.core(CoreCall.REMAP_CA, caa).rax == Result.INVALID_PARAMETER
    assert svsm.vcpu(0) == (LAUNCH_VMSA, CAA)


def test_remap_into_a_page_that_is_not_validated(svsm: Svsm) -> None:
    svsm.pages(NEW_CAA, 1, "i")
    assert svsm.core(CoreCall.REMAP_CA, NEW_CAA).rax == Result.INVALID_ADDRESS
    assert svsm.vcpu(0) == (LAUNCH_VMSA, CAA)
    svsm.pages(NEW_CAA, 1, "v")
    assert svsm.core(CoreCall.REMAP_CA, NEW_CAA).rax == Result.SUCCESS


def test_refused_remap_leaves_both_pages_as_they_were(smp: Svsm) -> None:
    smp.pages(NEW_CAA, 1, "i")
    assert smp.core(CoreCall.REMAP_CA, NEW_CAA).rax == Result.INVALID_ADDRESS
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, CAA, 1).rax == Result.INVALID_ADDRESS
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS


def test_remap_into_another_vcpus_area(smp: Svsm) -> None:
    assert smp.core(CoreCall.CREATE_VCPU, VMSA, NEW_CAA, 1).rax == Result.SUCCESS
    assert smp.core(CoreCall.REMAP_CA, NEW_CAA + 8).rax == Result.INVALID_ADDRESS
    assert smp.core(CoreCall.REMAP_CA, CAA, vcpu=1).rax == Result.INVALID_ADDRESS
