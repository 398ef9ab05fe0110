# SPDX-License-Identifier: GPL-2.0-or-later
"""Real firmware on a real KVM inside TCG, against the same firmware on the emulated host without SEV."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from snp_harness.apic.access import Access
from snp_harness.apic.verdict import Status
from snp_harness.check import CheckStatus
from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.errors import UsageError
from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.hosts.agent_process import ProcessHost
from snp_harness.launch.tokens import FILE, token
from snp_harness.platforms.nested import PLATFORM, SUITE_VARIABLE, shipped
from snp_harness.svsm.config_files import load_config
from snp_harness.tools.kvm_host.pack import Image
from tests.apic.samples import SEVEN
from tests.platforms.sec import sec_accesses, told

TIMEOUT_S = 900.0
RULE = "x2apic-before-sec"


def _where(access: Access) -> tuple[object, ...]:
    """What both witnesses see of an access."""
    return access.operation, access.register.offset, access.value, access.pc, access.path, access.outcome, access.vcpu


def _nested(firmware: Path, out: Path, **options: object) -> RunResult:
    return run(RunSpec(firmware, timeout_s=TIMEOUT_S, **options), "nested", out)  # type: ignore[arg-type]


@pytest.mark.nested
@pytest.mark.emulated
def test_same_verdict_as_the_emulated_host(trixie_path: Path, tmp_path: Path, kvm_host_image: Image) -> None:
    nested = _nested(trixie_path, tmp_path / "nested")
    spec = RunSpec(trixie_path, svsm=load_config("plain"), as_if_active=True)
    emulated = run(spec, "emulated", tmp_path / "emulated")
    assert told(sec_accesses(nested.timeline)) == SEVEN
    assert [_where(access) for access in sec_accesses(nested.timeline)] == [
        _where(access) for access in sec_accesses(emulated.timeline)
    ]
    for result in (nested, emulated):
        assert result.error is None
        assert result.verdict.status is Status.VIOLATED
        (rule,) = (rule for rule in result.verdict.results if rule.rule == RULE)
        assert (rule.status, len(rule.offences)) == (Status.VIOLATED, 7)
    assert not nested.timeline.gaps


@pytest.mark.nested
def test_an_outer_console_is_kept(trixie_path: Path, tmp_path: Path, kvm_host_image: Image) -> None:
    out = tmp_path / "nested"
    _nested(trixie_path, out)
    names = {path.name for path in out.iterdir()}
    assert {"serial.log", "trace.log", "outer-console.log", "outer-command-line.txt", "outer-qemu-stderr.log"} <= names
    by_hand = (out / "outer-command-line.txt").read_text().splitlines()[1]
    assert "-incoming" not in by_hand
    assert "kvm-host" in by_hand
    environment = json.loads((out / "environment.json").read_text())
    assert environment["host_facts"]["kernel"] == kvm_host_image.manifest.kernel
    assert environment["outer"]["image"] == kvm_host_image.directory.name


@pytest.mark.nested
@pytest.mark.emulated
def test_conformance_points_without_sev(tmp_path: Path, kvm_host_image: Image) -> None:
    """The points of the conformance guest that need no SEV: APIC_BASE and the hypervisor's APIC."""
    plain = load_config("plain")
    nested = run_conformance(plain, platform="nested", out=tmp_path / "nested", timeout_s=TIMEOUT_S)
    emulated = run_conformance(plain, platform="emulated", out=tmp_path / "emulated", timeout_s=TIMEOUT_S)
    statuses = [{point.name: point.status for point in result.tap.points} for result in (nested, emulated)]
    assert statuses[0] == statuses[1]
    assert nested.tap.complete
    assert len(nested.of(PointStatus.PASSED)) > 20
    assert not nested.of(PointStatus.FAILED)


@pytest.mark.nested
@pytest.mark.slow
@pytest.mark.parametrize("suite", ["bookworm", "sid"])
def test_other_kernels(
    suite: str, trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kvm_host_image: Image
) -> None:
    """Linux 6.1 with QEMU 7.2, and the newest of both."""
    monkeypatch.setenv(SUITE_VARIABLE, suite)
    result = _nested(trixie_path, tmp_path / "out")
    assert told(sec_accesses(result.timeline)) == SEVEN
    assert result.verdict.status is Status.VIOLATED


@pytest.mark.nested
@pytest.mark.slow
def test_other_outer_qemu(trixie_path: Path, tmp_path: Path, qemu: Path | None, kvm_host_image: Image) -> None:
    result = _nested(trixie_path, tmp_path / "out", qemu=qemu)
    assert told(sec_accesses(result.timeline)) == SEVEN


@pytest.mark.nested
@pytest.mark.slow
def test_shell(trixie_path: Path, tmp_path: Path, kvm_host_image: Image) -> None:
    result = _nested(trixie_path, tmp_path / "out", until="shell", vcpus=2)
    assert not result.timeline.gaps
    assert {access.vcpu for access in result.timeline.accesses} == {0, 1}
    assert "Shell> " in (tmp_path / "out" / "serial.log").read_text(errors="replace")


def test_kernel_and_initrd_are_files_of_this_machine(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"")
    arguments, inputs = shipped(("-append", "-kernel", "-kernel", str(kernel), "-device", "edu"))
    assert arguments == ("-append", "-kernel", "-kernel", token(FILE, "kernel"), "-device", "edu")
    assert inputs == {"kernel": kernel}


def test_no_other_host(trixie_path: Path, tmp_path: Path) -> None:
    host = ProcessHost()
    with pytest.raises(UsageError, match="on this machine only"):
        _nested(trixie_path, tmp_path / "out", host=host)
    (check,) = PLATFORM.probe(host)
    assert check.status is CheckStatus.MISSING


def test_probe_without_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be made, or the check names what is missing; nothing is fetched for that."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = PLATFORM.probe()[1]
    assert image.status is CheckStatus.WARN
    assert "fetch nested" in image.hint
    monkeypatch.setattr(shutil, "which", lambda _: None)
    image = PLATFORM.probe()[1]
    assert image.status is CheckStatus.MISSING
    assert "apt" in image.hint
    assert not list(tmp_path.iterdir())
