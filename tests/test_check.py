# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from snp_harness.check import Check, CheckStatus, first_missing


def test_a_check_reads_as_one_line_with_its_hint() -> None:
    assert str(Check("QEMU", CheckStatus.MISSING, "not in PATH", "install it")) == "QEMU: not in PATH: install it"
    assert str(Check("QEMU", CheckStatus.OK, "7.2.22")) == "QEMU: 7.2.22"


def test_json_holds_plain_strings() -> None:
    data = Check("KVM", CheckStatus.WARN, "/dev/kvm is absent").to_json()
    assert data == {"name": "KVM", "status": "warn", "evidence": "/dev/kvm is absent", "hint": ""}
    assert all(type(value) is str for value in data.values())


def test_first_missing_passes_over_warnings() -> None:
    warn = Check("KVM", CheckStatus.WARN, "absent")
    missing = [Check(name, CheckStatus.MISSING, "absent") for name in ("QEMU", "firmware")]
    assert first_missing([warn, *missing]) is missing[0]
    assert first_missing([warn]) is None
