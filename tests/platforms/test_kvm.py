# SPDX-License-Identifier: GPL-2.0-or-later
"""Platform kvm: what it reports if KVM or its trace events are not available, and a boot if they are.

What it does is the same on the nested host, where it is tested on every machine: test_nested.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from snp_harness.check import CheckStatus, first_missing
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts.agent_process import ProcessHost
from snp_harness.hosts.local import LOCAL, SUDO_VARIABLE
from snp_harness.platforms import find_platform
from snp_harness.platforms.kvm import PLATFORM, kvm_checks


def test_probe_names_what_is_looked_at() -> None:
    checks = PLATFORM.probe()
    assert [check.name for check in checks] == ["QEMU", "KVM", "trace events"]
    for check in checks:
        assert check.evidence
        assert "\n" not in str(check)
        assert check.status is CheckStatus.OK or check.hint


def test_an_agent_finds_the_same() -> None:
    host = ProcessHost()
    try:
        assert kvm_checks(host) == kvm_checks(LOCAL)
    finally:
        host.close()


def test_sudo_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(SUDO_VARIABLE, "1")
    for name in ("kvm", "snp"):
        [check] = find_platform(name).probe(LOCAL)
        assert (check.name, check.status) == ("agent", CheckStatus.MISSING)
        assert check.evidence == "sudo cannot be started: No such file or directory"


@pytest.mark.skipif(shutil.which("sudo") is None or os.getuid() != 0, reason="sudo without a password")
def test_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SUDO_VARIABLE, "1")
    try:
        assert [check.name for check in PLATFORM.probe()] == ["QEMU", "KVM", "trace events"]
    finally:
        LOCAL.close()


def test_icount_is_refused(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="KVM cannot count instructions"):
        run(RunSpec(trixie_path, icount=True), "kvm", tmp_path / "out")


def test_a_run_says_what_is_missing(trixie_path: Path, tmp_path: Path) -> None:
    missing = first_missing(find_platform("kvm").probe())
    if missing is None:
        pytest.skip("nothing is missing here")
    with pytest.raises(BrokenEnvironmentError) as caught:
        run(RunSpec(trixie_path), "kvm", tmp_path / "out")
    assert caught.value.message == f"local cannot run this: {missing.name}: {missing.evidence}"
