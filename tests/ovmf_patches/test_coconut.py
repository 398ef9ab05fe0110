# SPDX-License-Identifier: GPL-2.0-or-later
"""The series below COCONUT-SVSM, which is built elsewhere: it offers the APIC protocol on the launch vCPU only."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.apic.access import Access, Operation, Outcome, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.goal import PROMPT
from snp_harness.firmware_run import RunResult
from snp_harness.testing.boot import SnpBoot
from tests.helpers.coconut import MEMORY_MIB, coconut_file
from tests.ovmf_patches.efi_app import build_app
from tests.ovmf_patches.seen import serial

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]

#: Seconds; such a boot takes about 15.
TIMEOUT_S = 300.0
VMPL = 2


def registers(timeline: Timeline, vcpu: int) -> list[Access]:
    """Accesses of the guest on a vCPU, without those to APIC_BASE; the SVSM accesses an APIC of its own."""
    return [a for a in timeline.accesses if a.vcpu == vcpu and a.vmpl == VMPL and not a.is_base]


def offered(timeline: Timeline) -> dict[int | None, bool]:
    """The vCPUs that asked for the APIC protocol, and the answer."""
    return {
        event.vcpu: bool(event.fields["offered"]) for event in timeline.events if event.kind == "apic-protocol-query"
    }


def check_aps(timeline: Timeline, vcpus: int) -> None:
    """Each AP asks, is refused, and uses the hypervisor's APIC, in x2APIC mode, without a call of the protocol."""
    for vcpu in range(1, vcpus):
        own = registers(timeline, vcpu)
        assert {access.served_by for access in own} == {Server.HYPERVISOR}
        assert {access.outcome for access in own} == {Outcome.OK}
        assert {access.path for access in own} == {AccessPath.MSR}
        assert "APIC ID" in {access.register.name for access in own}
    calls = {event.vcpu for event in timeline.events if event.kind == "apic-protocol-call"}
    assert calls == {0}


@pytest.fixture(scope="session", autouse=True)
def coconut() -> None:
    """Skips these tests without COCONUT before firmware is built for them."""
    coconut_file("coconut-alt.igvm")


@pytest.fixture
def start(fixed_base: Path, snp_boot: SnpBoot) -> Callable[..., RunResult]:
    """A function that boots the series below a file of COCONUT. options: QEMU's."""

    def boot(file: str, vcpus: int, *options: str) -> RunResult:
        return snp_boot(
            fixed_base,
            igvm=coconut_file(file),
            memory_mib=MEMORY_MIB,
            until="shell",
            vcpus=vcpus,
            timeout_s=TIMEOUT_S,
            extra_args=options,
        )

    return boot


@pytest.mark.parametrize("vcpus", [1, 2, 4])
def test_every_rule_holds_to_the_prompt(start: Callable[..., RunResult], vcpus: int) -> None:
    result = start("coconut-alt.igvm", vcpus)
    assert [(found.rule, found.reason) for found in result.verdict.results if found.status is not Status.HOLDS] == []
    assert re.search(PROMPT, serial(result))
    assert offered(result.timeline) == {vcpu: vcpu == 0 for vcpu in range(vcpus)}
    check_aps(result.timeline, vcpus)
    ends = [access for access in registers(result.timeline, 0) if access.register.name == "EOI"]
    assert {access.served_by for access in ends} == {Server.SVSM}
    assert len(ends) > 100


@pytest.mark.parametrize("vcpus", [1, 2, 4])
def test_without_alternate_injection_the_hypervisor_serves_all(start: Callable[..., RunResult], vcpus: int) -> None:
    result = start("coconut.igvm", vcpus)
    assert result.timeline.complete
    assert re.search(PROMPT, serial(result))
    for vcpu in range(vcpus):
        assert {access.served_by for access in registers(result.timeline, vcpu)} == {Server.HYPERVISOR}
    assert offered(result.timeline) == {}
    writes = [a for a in result.timeline.accesses if a.vmpl == VMPL and a.is_base and a.operation is Operation.WRITE]
    assert writes == []


@pytest.mark.parametrize("registers_itself", [False, True])
@pytest.mark.parametrize("vcpus", [1, 4])
def test_boot_services_are_left(
    start: Callable[..., RunResult], registers_itself: bool, vcpus: int, tmp_path: Path
) -> None:
    source = Path(__file__).with_name("exit_boot_services.c")
    app = build_app(source, tmp_path / "app.efi", *(["REGISTER"] if registers_itself else []))
    result = start("coconut-alt.igvm", vcpus, "-kernel", str(app))
    lines = serial(result).replace("\r", "").split("\n")
    told = dict(line.rsplit(" ", 1) for line in lines if " " in line)
    assert lines[-2] == "the end"
    assert (told["SEV_STATUS before"], told["SEV_STATUS after"]) == ("47", "47" if registers_itself else "7")
    last = registers(result.timeline, 0)[-1]
    assert last.served_by is Server.HYPERVISOR
    assert last.register.name == ("ICR" if registers_itself else "EOI")
    # The APs' last VMSAs, which are made at ExitBootServices, have what the guest has chosen.
    changes = [event for event in result.timeline.events if event.kind == "alternate-injection"]
    active = {event.vcpu: bool(event.fields["active"]) for event in changes}
    assert active == dict.fromkeys(range(vcpus), registers_itself)
    check_aps(result.timeline, vcpus)
