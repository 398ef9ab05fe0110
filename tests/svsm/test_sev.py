# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from snp_harness.svsm.config_files import parse_config
from snp_harness.svsm.protocol import APIC_WRITABLE_MSRS, call_name, result_name
from snp_harness.svsm.sev import C_BITS, gpa_text, sev_features, sev_status


@pytest.mark.parametrize(
    ("vmpl", "guest_vmpl", "alternate_injection", "bits"),
    [
        (0, 2, True, {0, 1, 2, 5, 7}),  # the SVSM
        (0, 2, False, {0, 1, 2, 5, 7}),
        (2, 2, True, {0, 1, 2, 6}),  # the tested firmware below it
        (2, 2, False, {0, 1, 2}),
        (1, 2, True, {0, 1, 2}),
        (3, 3, True, {0, 1, 2, 6}),
        (0, 0, False, {0, 1, 2}),  # no SVSM
        (0, 0, True, {0, 1, 2}),  # no other VMPL could inject for VMPL0
    ],
)
def test_sev_status(vmpl: int, guest_vmpl: int, alternate_injection: bool, bits: set[int]) -> None:
    status = sev_status(vmpl, guest_vmpl, alternate_injection=alternate_injection)
    assert status == sum(1 << bit for bit in bits)


def test_sev_features_of_the_guest() -> None:
    # VMSA offset 3B0: bit 0 SNP, bit 4 Alternate Injection.
    assert sev_features(sev_status(2, 2, alternate_injection=True)) == 0b10001


@pytest.mark.parametrize(("vmpl", "guest_vmpl"), [(4, 2), (-1, 2), (0, 4)])
def test_there_are_four_vmpls(vmpl: int, guest_vmpl: int) -> None:
    with pytest.raises(ValueError, match="is not one of 0-3"):
        sev_status(vmpl, guest_vmpl, alternate_injection=False)


@pytest.mark.parametrize(
    ("gpa", "text"),
    [
        (0x809000, "809000"),
        (0, "0"),
        (1 << 51 | 0xFEE000F0, "FEE000F0 (C=1)"),
        (1 << 47 | 0xFEE000F0, "FEE000F0 (C=1)"),
        (1 << 46 | 0xFEE000F0, "4000FEE000F0"),
    ],
)
def test_a_gpa_is_written_without_its_c_bit(gpa: int, text: str) -> None:
    assert gpa_text(gpa) == text


def test_the_configuration_takes_every_c_bit() -> None:
    for position in C_BITS:
        assert parse_config(f"[memory]\ncbit = {position}".encode(), "c.toml").memory.cbit == position


def test_names_of_calls_and_results() -> None:
    assert call_name(1) == "core PVALIDATE"
    assert call_name(3 << 32 | 2) == "apic READ_REGISTER"
    assert call_name(2 << 32 | 1) == "vtpm call 1"
    assert call_name(9 << 32 | 77) == "protocol 9 call 77"
    assert result_name(0x80000003) == "INVALID_ADDRESS"
    assert result_name(0x80001010) == "PROTOCOL_BASE+16"
    assert result_name(0x80001000) == "PROTOCOL_BASE"
    assert result_name(5) == "0x5"


def test_the_timer_is_left_to_the_hypervisor() -> None:
    assert APIC_WRITABLE_MSRS.isdisjoint({0x80F, 0x832, 0x838, 0x83E})
    assert 0x80B in APIC_WRITABLE_MSRS
