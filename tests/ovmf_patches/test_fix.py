# SPDX-License-Identifier: GPL-2.0-or-later
"""The series in firmware built from source: what it does under Alternate Injection, and that it does nothing else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from snp_harness.apic.access import Operation, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.registers import by_msr
from snp_harness.apic.verdict import Status
from snp_harness.edk2.recipe import Recipe
from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from snp_harness.tools.kvm_host.pack import Image
from tests.apic.samples import SEVEN
from tests.ovmf_patches.conftest import SERIES, Build, build_image
from tests.ovmf_patches.efi_app import build_app
from tests.ovmf_patches.seen import registers, serial, told_without_timing
from tests.platforms.boots import boot, toml
from tests.platforms.sec import sec_accesses, told

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]

#: LocalApicTimerDxe's vector and period (LOCAL_APIC_TIMER_VECTOR, DEFAULT_TIMER_TICK_DURATION).
TIMER_VECTOR, TICK_NS = 0x20, 10_000_000
TIMER = {"Timer LVT", "Timer Initial Count", "Timer Divide"}


@pytest.fixture(scope="module")
def active(fixed: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The fixed firmware with Alternate Injection, to the shell. Instructions are counted: time is the guest's own."""
    return boot(fixed, tmp_path_factory.mktemp("active"), until="shell", icount=True)


def test_stock_violates_the_contract(stock: Path, tmp_path: Path) -> None:
    result = boot(stock, tmp_path / "out", until="dxe")
    assert told(sec_accesses(result.timeline)) == SEVEN
    violated = {found.rule for found in result.verdict.results if found.status is Status.VIOLATED}
    assert violated >= {"x2apic-before-sec", "svsm-handles-its-registers", "timer-reaches-hypervisor-in-x2apic"}


def test_every_rule_holds_from_reset_to_the_shell(active: RunResult) -> None:
    assert [(found.rule, found.reason) for found in active.verdict.results if found.status is not Status.HOLDS] == []
    assert active.verdict.status is Status.HOLDS
    assert "Shell> " in serial(active)


@pytest.mark.parametrize("vcpus", [2, 4])
def test_every_rule_holds_with_several_vcpus(vcpus: int, fixed: Path, tmp_path: Path) -> None:
    result = boot(fixed, tmp_path / "out", until="shell", vcpus=vcpus)
    assert [(found.rule, found.reason) for found in result.verdict.results if found.status is not Status.HOLDS] == []
    assert "Shell> " in serial(result)
    accesses = result.timeline.accesses
    assert AccessPath.MMIO not in {access.path for access in accesses}
    # Each AP once, before its first access to a register, in PEI; a new VMSA leaves its APIC as it is.
    writes = [(a.vcpu, a.value) for a in accesses if a.is_base and a.operation is Operation.WRITE]
    assert writes[0] == (0, 0xFEE00D00)
    assert sorted(writes[1:]) == [(vcpu, 0xFEE00C00) for vcpu in range(1, vcpus)]
    for vcpu in range(1, vcpus):
        own = [access for access in accesses if access.vcpu == vcpu]
        assert {access.phase for access in own} == {Phase.PEI, Phase.DXE}
        assert {access.served_by for access in own} == {Server.HYPERVISOR, Server.SVSM}


def test_a_linux_that_does_not_know_alternate_injection_is_started_and_says_so(
    fixed: Path, kvm_host_image: Image, tmp_path: Path
) -> None:
    """Linux 6.12 has no Alternate Injection: its EFI stub finds bit 6 of SEV_STATUS's features, and returns."""
    result = boot(fixed, tmp_path / "out", until="shell", extra_args=("-kernel", str(kvm_host_image.kernel)))
    assert "EFI stub: ERROR: Unsupported SEV-SNP features detected: 0x40" in serial(result)
    assert result.verdict.status is Status.HOLDS


@pytest.mark.parametrize(("platform", "target"), [("OvmfX64", "RELEASE"), ("AmdSevX64", "DEBUG")])
def test_other_platforms_and_targets(platform: str, target: str, tmp_path: Path) -> None:
    image = build_image(SERIES, Recipe.of(platform, target))
    verdict = boot(image, tmp_path / "out", until="dxe").verdict
    assert [(found.rule, found.reason) for found in verdict.results if found.status is not Status.HOLDS] == []


def test_no_access_goes_through_the_xapic_page(active: RunResult) -> None:
    assert AccessPath.MMIO not in {access.path for access in active.timeline.accesses}
    base = [access for access in active.timeline.accesses if access.is_base and access.operation is Operation.WRITE]
    assert [(access.phase, access.value) for access in base] == [(Phase.SEC, 0xFEE00D00)]
    assert told(sec_accesses(active.timeline)) == SEVEN


def test_each_register_is_served_by_whom_the_protocol_says(active: RunResult) -> None:
    served = {(access.register.name, access.served_by) for access in registers(active.timeline)}
    svsm, hypervisor = Server.SVSM, Server.HYPERVISOR
    assert served == {
        ("APIC ID", svsm),
        ("EOI", svsm),
        *((name, hypervisor) for name in TIMER | {"SVR", "LINT0 LVT", "LINT1 LVT"}),
    }


def test_ticks_come_through_the_svsm_at_their_rate(active: RunResult) -> None:
    ticks = [access.time_ns or 0 for access in registers(active.timeline) if access.register.name == "EOI"]
    assert len(ticks) > 300
    waiting = [later - earlier for earlier, later in pairwise(ticks)]
    # A handler starts a little later or sooner than the tick before, by what it interrupts.
    assert waiting == pytest.approx([TICK_NS] * len(waiting), rel=0.05)
    calls = [event for event in active.timeline.events if event.kind == "apic-protocol-call"]
    assert any(event.text.startswith(f"apic CONFIGURE_VECTOR, RCX {TIMER_VECTOR | 0x100:X}") for event in calls)


@pytest.mark.parametrize(
    ("config", "until"), [("alternate-injection-off", "shell"), ("no-svsm", "dxe"), ("plain", "dxe"), ("tcg", "shell")]
)
def test_nothing_changes_without_alternate_injection(
    stock: Path, fixed: Path, config: str, until: str, tmp_path: Path
) -> None:
    platform, svsm = ("tcg", SvsmConfig()) if config == "tcg" else ("emulated", load_config(config))
    seen = []
    for firmware in (stock, fixed):
        spec = RunSpec(firmware, svsm=svsm, until=until, icount=True, timeout_s=900)
        result = run(spec, platform, tmp_path / firmware.parent.name)
        assert result.timeline.complete
        assert ("Shell> " in serial(result)) == (until == "shell")
        seen.append(told_without_timing(result.timeline))
    assert seen[0] == seen[1]


def test_all_goes_to_the_hypervisor_where_the_protocol_is_not_offered(fixed: Path, tmp_path: Path) -> None:
    """Until the timer is enabled, whose interrupt nobody delivers: then the guest ends itself."""
    result = boot(fixed, tmp_path / "out", "no-apic-protocol", until="shell")
    assert result.timeline.reached is Phase.DXE
    assert "guest-termination" in {event.kind for event in result.timeline.events}
    assert {access.served_by for access in registers(result.timeline)} == {Server.HYPERVISOR}
    assert {access.outcome for access in registers(result.timeline)} == {Outcome.OK}
    assert AccessPath.MMIO not in {access.path for access in registers(result.timeline)}


def test_a_busy_svsm_is_asked_again(fixed: Path, tmp_path: Path) -> None:
    result = boot(fixed, tmp_path / "out", "fault-busy", until="shell")
    assert "Shell> " in serial(result)
    busy = [access for access in registers(result.timeline) if access.outcome is Outcome.BUSY]
    assert len(busy) > 100
    assert {access.served_by for access in busy} == {Server.SVSM}


def test_what_the_svsm_refuses_is_a_gp(fixed: Path, tmp_path: Path) -> None:
    refuse = toml(tmp_path, '[faults]\ninject = ["refused-register"]\nregister = 0x80B\n')
    result = boot(fixed, tmp_path / "out", refuse, until="shell")
    refused = [access for access in registers(result.timeline) if access.outcome is Outcome.ERROR]
    assert [(access.register, access.operation) for access in refused] == [(by_msr(0x80B), Operation.WRITE)]
    assert refused[0].served_by is Server.SVSM
    assert "X64 Exception Type - 0D" in serial(result)


def test_it_ends_itself_without_x2apic(mutant: Build, tmp_path: Path) -> None:
    """The check of CPUID is turned round: a machine without x2APIC is not to be had."""
    result = boot(mutant("x2apic-missing"), tmp_path / "out")
    assert registers(result.timeline) == []
    [end] = [event for event in result.timeline.events if event.kind == "guest-termination"]
    assert "reason set 0, reason 0" in end.text


@pytest.mark.parametrize("vcpus", [1, 4])
@pytest.mark.parametrize("registers_itself", [False, True])
def test_boot_services_are_left(fixed: Path, registers_itself: bool, vcpus: int, tmp_path: Path) -> None:
    source = Path(__file__).with_name("exit_boot_services.c")
    app = build_app(source, tmp_path / "app.efi", *(["REGISTER"] if registers_itself else []))
    result = boot(fixed, tmp_path / "out", until="shell", vcpus=vcpus, extra_args=("-kernel", str(app)))
    lines = serial(result).replace("\r", "").split("\n")
    told = dict(line.rsplit(" ", 1) for line in lines if " " in line)
    assert lines[-2] == "the end"
    assert told["SEV_STATUS before"] == "47"
    # Bit 6, Alternate Injection, ends if no other vCPU has registered.
    assert told["SEV_STATUS after"] == ("47" if registers_itself else "7")
    assert told["APIC ID"] == "0"
    by = Server.SVSM if registers_itself else Server.HYPERVISOR
    served = [(a.register.name, a.served_by) for a in registers(result.timeline) if a.vcpu == 0]
    start = max(n for n, (name, _) in enumerate(served) if name == "Timer LVT") + 1
    if registers_itself:
        assert told["TPR"] == "30"
        assert told["IRR2"] == "3"
        more = [("TPR", by), ("TPR", by), ("SELF_IPI", by), ("ICR", by), ("IRR2", by), ("ICR", Server.HYPERVISOR)]
    else:
        more = []
    # A tick that was on its way when the timer was stopped: the SVSM still serves its end.
    late = served[start : start + 1] == [("EOI", Server.SVSM)]
    assert served[start + late :] == [("APIC ID", by), ("EOI", by), *more]
    assert Outcome.ERROR not in {access.outcome for access in registers(result.timeline)}
