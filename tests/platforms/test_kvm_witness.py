# SPDX-License-Identifier: GPL-2.0-or-later
"""A real KVM, inside TCG and where there is one: what its trace shows of a boot, beside the emulated SNP host's."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Access, Operation, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.kvm_timeline import WITNESS
from snp_harness.capture.kvm_trace import PLAIN_EVENTS
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED, UsageError
from snp_harness.firmware_run import RunResult, RunSpec, run
from snp_harness.hosts.host_errors import HostError
from snp_harness.platforms import kvm_witness
from snp_harness.platforms.kvm_witness import KvmWitness
from snp_harness.platforms.platform import Progress
from snp_harness.svsm.config_files import load_config
from snp_harness.tools.kvm_host.outer import READY
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import QemuLaunchError
from tests.apic.samples import SEVEN
from tests.platforms.boots import PATIENCE_S, Clock, signal_qemu
from tests.platforms.sec import sec_accesses, told

#: Rules that need only what KVM shows.
RULES = (
    "x2apic-before-sec",
    "legal-transition",
    "no-xapic-after-x2apic",
    "no-access-outside-x2apic",
    "no-refused-access",
)

#: Runs a firmware on a real KVM; the keywords are RunSpec's, except `out`.
Real = Callable[..., RunResult]


@pytest.fixture(
    params=[pytest.param("nested", marks=pytest.mark.nested), pytest.param("kvm", marks=pytest.mark.kvm)],
)
def platform(request: pytest.FixtureRequest) -> str:
    """The platforms with this witness."""
    name: str = request.param
    return name


@pytest.fixture
def boot_real(platform: str, tmp_path: Path) -> Real:
    """Run a firmware on a real KVM; the function's keywords are those of RunSpec, except `out`."""

    def boot(firmware: Path, out: str = "real", progress: Progress | None = None, **spec: Any) -> RunResult:
        spec = {"timeout_s": PATIENCE_S, **spec}
        return run(RunSpec(firmware, **spec), platform, tmp_path / out, progress)

    return boot


def emulated(firmware: Path, tmp_path: Path, config: str, progress: Progress | None = None, **spec: Any) -> RunResult:
    out = tmp_path / f"emulated-{config}"
    spec = {"timeout_s": PATIENCE_S, "as_if_active": True, **spec}
    return run(RunSpec(firmware, svsm=load_config(config), **spec), "emulated", out, progress)


def told_whole(access: Access) -> tuple[object, ...]:
    """All that is the same on both: not the VMPL, which a guest without SEV has not, nor the time."""
    return (
        access.operation,
        access.register.name,
        access.value,
        access.path,
        access.size,
        access.vcpu,
        access.mode,
        access.outcome,
        access.served_by,
        access.phase,
        access.pc,
        access.module,
        access.module_offset,
    )


def statuses(result: RunResult) -> list[tuple[str, Status, int]]:
    """Each rule's result, and its offences in SEC: where the run ends after it differs."""
    results = [result.verdict.result(rule) for rule in RULES]
    return [
        (found.rule, found.status, sum(access.phase <= Phase.SEC for access in found.offences)) for found in results
    ]


def until_sec(timeline: Timeline) -> list[Access]:
    return [access for access in timeline.accesses if access.phase <= Phase.SEC]


@pytest.mark.parametrize(
    "firmware",
    [
        "trixie_path",
        pytest.param("bookworm_path", marks=pytest.mark.slow),
        pytest.param("amdsev_path", marks=pytest.mark.slow),
    ],
)
@pytest.mark.emulated
def test_the_same_seven_accesses_and_verdict_as_emulated(
    firmware: str, request: pytest.FixtureRequest, tmp_path: Path, boot_real: Real
) -> None:
    path = request.getfixturevalue(firmware)
    real = boot_real(path)
    # Debian 12's image predates SVSMs; without one its SEC does the same.
    snp = emulated(path, tmp_path, "no-svsm" if firmware == "bookworm_path" else "alternate-injection")
    plain = emulated(path, tmp_path, "plain")
    assert told(sec_accesses(real.timeline)) == SEVEN
    for other in (snp, plain):
        assert [told_whole(access) for access in sec_accesses(real.timeline)] == [
            told_whole(access) for access in sec_accesses(other.timeline)
        ]
        assert statuses(real) == statuses(other)
        assert real.verdict.status is other.verdict.status is Status.VIOLATED
    # Without SEV the firmware does the same on both to the last access, those to APIC_BASE too.
    assert [told_whole(access) for access in until_sec(real.timeline)] == [
        told_whole(access) for access in until_sec(plain.timeline)
    ]


@pytest.mark.emulated
@pytest.mark.slow
def test_pei_too_but_for_one_value(trixie_path: Path, tmp_path: Path, boot_real: Real) -> None:
    results = boot_real(trixie_path, until="pei"), emulated(trixie_path, tmp_path, "plain", until="pei")
    real, plain = (
        [told_whole(access) for access in result.timeline.accesses if access.phase <= Phase.PEI] for result in results
    )
    assert len(real) == len(plain)
    [(ours, theirs)] = [(ours, theirs) for ours, theirs in zip(real, plain, strict=True) if ours != theirs]
    # KVM's own reset lets the PIC through LINT0 of the boot processor (lapic.c, kvm_lapic_reset). QEMU sets another.
    assert ours[:3] == (Operation.READ, "LINT0 LVT", 0x10000)
    assert theirs[:3] == (Operation.READ, "LINT0 LVT", 0x700)
    assert ours[3:] == theirs[3:]
    # The modules were moved in PEI, and found in memory.
    assert {access.module for access in results[0].timeline.accesses} >= {"SecMain", "CpuMpPei"}


def test_a_run(trixie_path: Path, platform: str, boot_real: Real) -> None:
    result = boot_real(trixie_path)
    timeline = result.timeline
    assert (timeline.platform, timeline.witness) == (platform, WITNESS)
    assert (timeline.complete, timeline.gaps, timeline.lost) == (True, (), 0)
    # On a busy machine the end is late.
    assert [mark.phase for mark in timeline.phases][:3] == [Phase.RESET, Phase.SEC, Phase.PEI]
    assert {access.module for access in sec_accesses(timeline)} == {"SecMain"}
    assert result.exit_status == EXIT_VIOLATED
    assert ("not hardware" in result.verdict.observed) == (platform == "nested")
    # What KVM does not show is not judged, and never holds.
    unjudged = {
        rule.rule for rule in result.verdict.results if not rule.observable or rule.status is Status.NOT_APPLICABLE
    }
    assert {rule.rule for rule in result.verdict.results} == {*RULES, *unjudged}
    files = {path.name for path in result.directory.iterdir()}
    assert files >= {rundir.COMMAND_LINE, rundir.SERIAL, rundir.TIMELINE, rundir.VERDICT, rundir.TRACE}
    [event] = [event for event in timeline.events if event.kind == "kvm-trace"]
    assert event.fields == {"clock": "mono", "missing": "", "unfiltered": ""}
    assert b": kvm_apic: " in (result.directory / rundir.TRACE).read_bytes()
    assert Timeline.from_jsonl((result.directory / rundir.TIMELINE).read_text()) == timeline


@pytest.mark.slow
@pytest.mark.nested
def test_a_second_run_boots_no_kernel(trixie_path: Path, tmp_path: Path) -> None:
    """This makes it fast (python -m bench.nested measures how fast)."""
    run(RunSpec(trixie_path), "nested", tmp_path / "first")
    second = run(RunSpec(trixie_path), "nested", tmp_path / "second")
    assert told(sec_accesses(second.timeline)) == SEVEN
    # tests/hosts/test_nested.py shows that a boot of the kernel is reported.
    assert READY not in (second.directory / "outer-console.log").read_text(errors="replace")


@pytest.mark.slow
def test_x2apic_mode_where_ovmf_goes_there(trixie_path: Path, boot_real: Real) -> None:
    result = boot_real(trixie_path, until="pei", extra_args=("-smp", "1,maxcpus=256"))
    accesses = result.timeline.accesses
    [write] = [access for access in accesses if access.is_base and access.operation is Operation.WRITE]
    assert (write.value, write.mode, write.outcome, write.phase) == (0xFEE00D00, ApicMode.XAPIC, Outcome.OK, Phase.PEI)
    after = [access for access in accesses[write.index + 1 :] if not access.is_base]
    assert after
    assert {(access.path, access.mode, access.size) for access in after} == {(AccessPath.MSR, ApicMode.X2APIC, 8)}
    assert statuses(result) == [
        ("x2apic-before-sec", Status.VIOLATED, 7),
        ("legal-transition", Status.HOLDS, 0),
        ("no-xapic-after-x2apic", Status.HOLDS, 0),
        ("no-access-outside-x2apic", Status.VIOLATED, 7),
        ("no-refused-access", Status.HOLDS, 0),
    ]


@pytest.mark.slow
def test_an_apic_that_is_not_kvms(trixie_path: Path, boot_real: Real) -> None:
    # This QEMU refuses it itself, "KVM does not support userspace APIC"; another's the witness does.
    with pytest.raises((QemuLaunchError, UsageError), match="APIC"):
        boot_real(trixie_path, extra_args=("-machine", "kernel-irqchip=off"))
    split = boot_real(trixie_path, "split", extra_args=("-machine", "kernel-irqchip=split"))
    assert told(sec_accesses(split.timeline)) == SEVEN


@pytest.mark.slow
def test_a_kernel_that_cannot_be_traced(trixie_path: Path, monkeypatch: pytest.MonkeyPatch, boot_real: Real) -> None:
    monkeypatch.setattr(kvm_witness, "PLAIN_EVENTS", {**PLAIN_EVENTS, "kvm_vmgexit_none": ""})
    with pytest.raises(HostError, match="this kernel has no trace event kvm_vmgexit_none"):
        boot_real(trixie_path)


@pytest.mark.slow
def test_four_vcpus(trixie_path: Path, boot_real: Real) -> None:
    # APIC IDs 0, 1, 2 and 4, vCPUs 0 to 3.
    result = boot_real(
        trixie_path, until="pei", vcpus=4, extra_args=("-smp", "4,sockets=2,cores=3,threads=1,maxcpus=6")
    )
    assert told(sec_accesses(result.timeline)) == SEVEN
    assert {access.vcpu for access in sec_accesses(result.timeline)} == {0}
    assert {access.vcpu for access in result.timeline.accesses} == {0, 1, 2, 3}


@pytest.mark.slow
def test_a_firmware_that_hangs_before_sec(trixie_path: Path, tmp_path: Path, boot_real: Real) -> None:
    image = bytearray(trixie_path.read_bytes())
    # The reset vector's first jump: a jump to itself.
    image[-16:-14] = b"\xeb\xfe"
    hanging = tmp_path / "hang.fd"
    hanging.write_bytes(image)
    result = boot_real(hanging, timeout_s=3)
    assert result.exit_status == EXIT_INCONCLUSIVE
    assert result.timeline.gaps[0].startswith("the end of SEC was not reached in 3 s: the guest is in the reset vector")


def with_reset_vector(firmware: Path, tmp_path: Path, code: str) -> Path:
    """The image with other code in its reset vector, the last 16 bytes, which run in real mode."""
    image = bytearray(firmware.read_bytes())
    data = bytes.fromhex(code)
    assert len(data) <= 16
    image[-16:] = data + image[len(image) - 16 + len(data) :]
    path = tmp_path / "reset.fd"
    path.write_bytes(image)
    return path


def jump_of(firmware: Path) -> str:
    """The last instruction that fits a reset vector: a jump to where the image's own goes in real mode."""
    at, opcode = -4, 0xE9
    data = firmware.read_bytes()
    # edk2 UefiCpuPkg/ResetVector: test of CR0.PE, a jump for each answer, a NOP.
    assert data[at] == opcode
    target = int.from_bytes(data[at + 1 : at + 3], "little") - 1
    return f"e9{(target & 0xFFFF).to_bytes(2, 'little').hex()}"


#: mov cx,1Bh; rdmsr; or ah,0Ch; wrmsr: to x2APIC mode.
TO_X2APIC = "b91b00 0f32 80cc0c 0f30"


@pytest.mark.emulated
@pytest.mark.slow
def test_firmware_that_is_in_x2apic_mode_before_sec(trixie_path: Path, tmp_path: Path, boot_real: Real) -> None:
    path = with_reset_vector(trixie_path, tmp_path, "66b91b000000 0f32 80cc0c 0f30" + jump_of(trixie_path))
    real, plain = boot_real(path), emulated(path, tmp_path, "plain")
    assert real.exit_status == plain.exit_status == EXIT_HOLDS
    assert statuses(real) == statuses(plain) == [(rule, Status.HOLDS, 0) for rule in RULES]
    accesses = sec_accesses(real.timeline)
    assert told(accesses) == SEVEN
    assert {(access.path, access.mode) for access in accesses} == {(AccessPath.MSR, ApicMode.X2APIC)}
    assert [told_whole(access) for access in until_sec(real.timeline)] == [
        told_whole(access) for access in until_sec(plain.timeline)
    ]


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "refused"),
    [
        # mov ecx,80Fh; rdmsr: an x2APIC MSR in xAPIC mode.
        pytest.param("66b90f080000 0f32", 0, id="x2apic-msr-in-xapic-mode"),
        # mov ah,5; wrmsr: EXTD without EN.
        pytest.param("b91b00 0f32 b405 0f30", 1, id="extd-without-en"),
        # or al,1; wrmsr: a reserved bit.
        pytest.param("b91b00 0f32 0c01 0f30", 1, id="reserved-bit"),
        # xor ah,4; wrmsr: back to xAPIC mode, without a reset.
        pytest.param(TO_X2APIC + "80f404 0f30", 2, id="back-to-xapic"),
        # mov cx,80Eh; rdmsr: x2APIC mode has no DFR.
        pytest.param(TO_X2APIC + "b90e08 0f32", 2, id="no-such-register"),
    ],
)
def test_refused_accesses(
    code: str, refused: int, trixie_path: Path, tmp_path: Path, boot_real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_reset_vector(trixie_path, tmp_path, code)
    # Nothing handles the #GP: the guest crashes, and the runs end by their time limit.
    clock = Clock(monkeypatch)

    def end(_phase: Phase, accesses: int, _exits: int | None) -> None:
        if accesses > refused:
            clock.end()

    real = boot_real(path, progress=end)
    plain = emulated(path, tmp_path, "plain", progress=end)
    access = real.timeline.accesses[refused]
    assert (access.outcome, access.served_by) == (Outcome.GP, Server.HYPERVISOR)
    for result in (real, plain):
        assert result.verdict.result("no-refused-access").offences[0].index == refused
    count = refused + 1
    values = [
        # The value of a refused read is not known.
        [told_whole(access)[:2] + told_whole(access)[3:] for access in result.timeline.accesses[:count]]
        for result in (real, plain)
    ]
    assert values[0] == values[1]


@pytest.mark.slow
def test_lost_events_leave_nothing_holding(trixie_path: Path, monkeypatch: pytest.MonkeyPatch, boot_real: Real) -> None:
    monkeypatch.setattr(KvmWitness, "buffer_kb", 1)
    monkeypatch.setattr(KvmWitness, "interval_s", 1.0)
    result = boot_real(trixie_path, until="pei")
    timeline = result.timeline
    assert timeline.lost > 0
    assert not timeline.complete
    assert any("trace events were lost" in gap for gap in timeline.gaps)
    assert Status.HOLDS not in {rule.status for rule in result.verdict.results}


@pytest.mark.nested
@pytest.mark.slow
def test_a_kvm_host_that_dies_in_the_middle_keeps_what_was_seen(trixie_path: Path, tmp_path: Path) -> None:
    result = run(
        RunSpec(trixie_path, until="shell"), "nested", tmp_path / "out", signal_qemu(signal.SIGKILL, Phase.PEI)
    )
    assert result.error is not None
    assert result.error.exit_status >= 128
    assert "\n" not in str(result.error)
    assert told(sec_accesses(result.timeline)) == SEVEN
    assert not result.timeline.complete
