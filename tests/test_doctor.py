# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import doctor
from harness.check import Check, CheckStatus
from harness.doctor import Section, kvm_check, render_json, render_text, snp_host_check
from harness.platforms import platform_names


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    directory = tmp_path / "parameters"
    directory.mkdir()
    for name in doctor.SNP_PARAMETERS:
        (directory / name).write_text("Y\n")
    return directory


def test_snp_hardware_needs_every_parameter_and_the_device(parameters: Path, tmp_path: Path) -> None:
    device = tmp_path / "sev"
    assert snp_host_check(parameters, device).status is CheckStatus.WARN
    device.touch()
    assert snp_host_check(parameters, device).status is CheckStatus.OK
    (parameters / "sev_snp").write_text("N\n")
    off = snp_host_check(parameters, device)
    assert off.status is CheckStatus.WARN
    assert "sev_snp=N" in off.evidence
    (parameters / "sev_snp").unlink()
    assert "sev_snp=absent" in snp_host_check(parameters, device).evidence


def test_kvm_absent_and_openable(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    assert kvm_check(device).evidence.endswith("absent")
    device.touch()
    check = kvm_check(device)
    assert check.status is CheckStatus.WARN
    assert "was not tried" in check.evidence


def test_kvm_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    check = kvm_check(tmp_path)
    assert check.status is CheckStatus.WARN
    assert "Is a directory" in check.evidence


def test_missing_tools_are_named_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gcc").write_text("#!/bin/sh\n")
    (tmp_path / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.build_tools_check()
    assert check.hint == "to rebuild: apt-get install binutils make"
    assert doctor.apt_check().status is CheckStatus.WARN


def test_renderings_hold_every_check() -> None:
    sections = [
        Section("this machine", (Check("QEMU", CheckStatus.MISSING, "not in PATH", "install it"),)),
        Section("platform tcg", (Check("QEMU", CheckStatus.OK, "7.2.22", "unused hint"),)),
    ]
    assert render_text(sections).splitlines() == [
        "this machine:",
        "  missing  QEMU: not in PATH",
        "           install it",
        "platform tcg:",
        "  ok       QEMU: 7.2.22",
    ]
    first, second = json.loads(render_json(sections))
    assert first == {
        "section": "this machine",
        "name": "QEMU",
        "status": "missing",
        "evidence": "not in PATH",
        "hint": "install it",
    }
    assert second["section"] == "platform tcg"


def test_examine_covers_this_machine_and_every_platform() -> None:
    sections = doctor.examine()
    assert [section.title for section in sections] == [
        "this machine",
        *(f"platform {name}" for name in platform_names()),
    ]
    assert sections[0].checks[0].status is CheckStatus.OK
    assert all(check.evidence for section in sections for check in section.checks)


def test_qemu_that_is_named_but_missing(tmp_path: Path) -> None:
    check = doctor.qemu_check(tmp_path / "qemu")
    assert check.status is CheckStatus.MISSING
    assert str(tmp_path / "qemu") in check.evidence
    assert check.hint
