# SPDX-License-Identifier: GPL-2.0-or-later
"""The series under an SVSM and a hypervisor that answer wrongly: it terminates, and never uses the xAPIC page."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Access, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.firmware_run import RunResult
from tests.ovmf_patches.conftest import Build
from tests.ovmf_patches.efi_app import build_app
from tests.ovmf_patches.seen import registers, serial
from tests.platforms.boots import boot, toml

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]

#: Calls of the SVSM, as in RAX.
QUERY, DEREGISTER, READ, WRITE, VECTOR = 0x6, 0x300000001, 0x300000002, 0x300000003, 0x300000004
#: Values of APIC_BASE: the modes, one that there is not, and those with the address of a page of memory.
XAPIC, X2APIC, NO_EN, MOVED, MOVED_XAPIC = 0xFEE00900, 0xFEE00D00, 0xFEE00400, 0x820D00, 0x820900
#: A run that hangs ends with its time.
TIMEOUT_S = 120
#: The hypervisor does not switch an AP.
NOT_SWITCHED = 'inject = ["lost-apic-base"]; vcpu = 1'


def faulty(firmware: Path, tmp_path: Path, faults: str, vcpus: int = 1) -> RunResult:
    """A run to the shell, with faults."""
    config = toml(tmp_path, "[faults]\n" + faults.replace("; ", "\n") + "\n")
    return boot(firmware, tmp_path / "out", config, until="shell", timeout_s=TIMEOUT_S, vcpus=vcpus)


def by_page(result: RunResult) -> list[Access]:
    """The accesses to the xAPIC page that the hypervisor has answered."""
    accesses = result.timeline.accesses
    return [a for a in accesses if a.path is AccessPath.MMIO and a.served_by is Server.HYPERVISOR]


def endings(result: RunResult) -> list[str]:
    """What the guest said when it asked to be ended."""
    return [event.text for event in result.timeline.events if event.kind == "guest-termination"]


def terminated(result: RunResult) -> Phase:
    """The phase in which the guest has asked to be ended, without an access to the xAPIC page that was answered."""
    [text] = endings(result)
    assert "reason set 0, reason 0" in text
    assert by_page(result) == []
    return result.timeline.reached


def answered(call: int, result: int) -> str:
    return f'inject = ["answered-call"]; call = {call:#x}; result = {result:#x}'


@pytest.mark.parametrize(
    ("faults", "phase"),
    [
        # What is not a result of the protocol, and what says that it is not there.
        *((answered(READ, result), Phase.PEI) for result in (0x80000001, 0x80001000, 0x8000FFFF, 1 << 32)),
        *((answered(WRITE, result), Phase.DXE) for result in (0x80000002, 0x7FFFFFFF80000007)),
        *((answered(VECTOR, result), Phase.DXE) for result in (0x80000005, 0x80000006, 1 << 32)),
        # The APIC ID: an exception handler reads it.
        (answered(READ, 0x80000003), Phase.PEI),
        # Nobody delivers the timer's interrupt.
        *((answered(QUERY, result), Phase.DXE) for result in (0x80000001, 0x80000002, 1 << 32)),
        ('inject = ["lost-protocol"]; after = 1', Phase.PEI),
        ('inject = ["lost-protocol"]; after = 8', Phase.DXE),
        # The SVSM does not run, or serves another calling area.
        (f'inject = ["pending-call"]; call = {READ:#x}', Phase.PEI),
        (f'inject = ["pending-call"]; call = {WRITE:#x}', Phase.DXE),
        ('inject = ["skipped-svsm"]; after = 40', Phase.DXE),
        ('inject = ["wrong-calling-area"]; calling_area = 0x80f008', Phase.SEC),
        # Not an address: its #GP comes before x2APIC mode, and the handler would read the APIC ID from the page.
        ('inject = ["wrong-calling-area"]; calling_area = 0x7fff000000000000', Phase.SEC),
        # The hypervisor on APIC_BASE: the mode, another mode later, an address in memory, a mode that there is not.
        ('inject = ["lost-apic-base"]', Phase.SEC),
        *((f'inject = ["wrong-apic-base"]; apic_base = {base:#x}', Phase.SEC) for base in (XAPIC, NO_EN, MOVED)),
    ],
)
def test_it_terminates(faults: str, phase: Phase, fixed: Path, tmp_path: Path) -> None:
    assert terminated(faulty(fixed, tmp_path, faults)) is phase


@pytest.mark.parametrize(
    ("base", "after", "phase"),
    [(XAPIC, 10, Phase.SEC), (XAPIC, 200, Phase.DXE), (MOVED, 100, Phase.DXE), (MOVED_XAPIC, 100, Phase.DXE)],
)
def test_it_terminates_when_its_mode_is_lost(base: int, after: int, phase: Phase, fixed: Path, tmp_path: Path) -> None:
    """Reads of APIC_BASE before it are right: how far the guest has come then depends on ticks of the timer."""
    faults = f'inject = ["wrong-apic-base"]; apic_base = {base:#x}; after = {after}'
    assert phase <= terminated(faulty(fixed, tmp_path, faults)) <= Phase.BDS


@pytest.mark.parametrize(
    "faults",
    [
        NOT_SWITCHED,
        'inject = ["wrong-apic-base"]; vcpu = 1; after = 3',
        'inject = ["wrong-apic-base"]; vcpu = 1; after = 3; apic_base = 0x820d00',
        'inject = ["skipped-svsm"]; vcpu = 1',
        'inject = ["wrong-cpuid-id"]; apic_id = 0',
        'inject = ["wrong-cpuid-id"]; apic_id = 1',
        'inject = ["wrong-cpuid-id"]; apic_id = 0xffffffff',
        'inject = ["wrong-id-list"]; apic_id = 1',
    ],
)
def test_it_terminates_on_an_ap(faults: str, fixed: Path, tmp_path: Path) -> None:
    assert terminated(faulty(fixed, tmp_path, faults, vcpus=3)) is Phase.PEI


@pytest.mark.parametrize(
    ("info", "vector"),
    [
        ("exit_info1 = 1; exit_info2 = 0x80000B0D", 0x0D),
        ("exit_info1 = 1; exit_info2 = 0x80000306", 0x06),
        # Not exceptions that a hypervisor may raise: an interrupt, one without the valid bit, a machine check.
        ("exit_info1 = 1; exit_info2 = 0x80000020", 0x0D),
        ("exit_info1 = 1; exit_info2 = 0x30D", 0x0D),
        ("exit_info1 = 1; exit_info2 = 0x80000312", 0x0D),
    ],
)
def test_an_exception_of_the_hypervisor_is_one_that_it_may_raise(
    info: str, vector: int, fixed: Path, tmp_path: Path
) -> None:
    """The timer's initial count is refused in SEC."""
    result = faulty(fixed, tmp_path, f'inject = ["refused-nae"]; register = 0x838; {info}')
    assert f"X64 Exception Type - {vector:02X}" in serial(result)


def test_a_mode_that_there_is_not_yet_is_a_gp(fixed: Path, tmp_path: Path) -> None:
    """The hypervisor says that the mode is x2APIC from the start: then it refuses the first MSR itself."""
    result = faulty(fixed, tmp_path, f'inject = ["wrong-apic-base"]; apic_base = {X2APIC:#x}')
    [refused] = [access for access in registers(result.timeline) if access.outcome is Outcome.GP]
    assert refused.phase is Phase.SEC
    assert "X64 Exception Type - 0D" in serial(result)


def test_a_deregistration_that_is_refused_does_not_end_it(fixed: Path, tmp_path: Path) -> None:
    """An operating system that knows Alternate Injection goes on with it."""
    app = build_app(Path(__file__).with_name("exit_boot_services.c"), tmp_path / "app.efi")
    config = toml(tmp_path, f"[faults]\n{answered(DEREGISTER, 0x80000006)}\n".replace("; ", "\n"))
    result = boot(fixed, tmp_path / "out", config, until="shell", extra_args=("-kernel", str(app)))
    assert {"SEV_STATUS before 47", "SEV_STATUS after 47", "the end"} <= set(
        serial(result).replace("\r", "").split("\n")
    )


@pytest.mark.parametrize("call", [QUERY, READ, WRITE, VECTOR])
@pytest.mark.parametrize("busy", [0x80000000, 0x80000007])
def test_it_does_not_wait_for_ever(call: int, busy: int, mutant: Build, tmp_path: Path) -> None:
    """With fewer repetitions: the limit of the series is some seconds on hardware, and minutes here."""
    terminated(faulty(mutant("few-repetitions"), tmp_path, answered(call, busy)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("names", "faults", "vcpus"),
    [
        (("page-not-checked",), NOT_SWITCHED, 2),
        (("page-not-checked", "page-shared"), NOT_SWITCHED, 2),
        (("base-not-checked",), f'inject = ["wrong-apic-base"]; apic_base = {MOVED_XAPIC:#x}; after = 100', 1),
        (("half-a-result",), answered(QUERY, 1 << 32), 1),
        (("each-error-is-a-gp",), 'inject = ["lost-protocol"]; after = 8', 1),
    ],
)
def test_each_check_is_needed(names: tuple[str, ...], faults: str, vcpus: int, mutant: Build, tmp_path: Path) -> None:
    """Without it the firmware goes on, or hangs, where it terminates with it.

    Two keep it from the xAPIC page: the check of the #VC handler, and that the page is not shared.
    """
    result = faulty(mutant(*names), tmp_path, faults, vcpus)
    assert endings(result) == []
    assert bool(by_page(result)) == ("page-shared" in names)
