# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest's results on the emulated host: a test for each TEST() of its sources in each setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from snp_harness.apic.access import Operation, Outcome, Path, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.capture.record import RECORD, RecordKind
from snp_harness.errors import EXIT_INCONCLUSIVE, EXIT_VIOLATED
from tests.emulator.guest.build import Mode
from tests.emulator.guest.run import GuestRun, Setting, points

pytestmark = pytest.mark.emulated

SETTINGS = (
    Setting(Mode.VMPL0),
    Setting(Mode.VMPL0, cbit=47),
    Setting(Mode.SVSM),
    Setting(Mode.SVSM, cbit=47),
    Setting(Mode.PLAIN),
    Setting(Mode.PLAIN, cbit=47),
    *(Setting(mode, vcpus=4) for mode in (Mode.VMPL0, Mode.SVSM, Mode.PLAIN, Mode.ALTERNATE)),
    Setting(Mode.ALTERNATE, vcpus=4, icount=True),
)

SEV_SETTINGS = [setting for setting in SETTINGS if setting.vcpus == 1 and setting.mode is not Mode.PLAIN]

#: Settings in which some exits do not become #VC, and the tests that fail because of that.
LOOSE = [
    pytest.param(
        Setting(mode, native=True),
        {"vc_ioio_in", "vc_ioio_out", "vc_ioio_string", "vc_msr_write", "vc_rdtscp"},
        id=f"{mode.name}-native",
    )
    for mode in (Mode.VMPL0, Mode.SVSM)
]
#: Tests that raise #VC by CPUID.
BY_CPUID = {
    *("vc_cpuid", "vc_cpuid_with_prefixes", "vc_frame_keeps_flags", "vc_stack_is_aligned_from_any_rsp"),
    *("vc_on_an_ist_stack", "vc_on_a_stack_that_moves", "vc_on_a_stack_whose_page_table_moves"),
    *("vc_on_a_stack_whose_upper_tables_move", "vc_from_user_mode", "vc_in_32_bit_code"),
}
LOOSE += [
    pytest.param(Setting(Mode.SVSM, native_cpuid=True), BY_CPUID, id="SVSM-native-cpuid"),
    pytest.param(Setting(Mode.PLAIN, native=True), {"a_jump_through_a_device"}, id="PLAIN-native"),
    pytest.param(Setting(Mode.PLAIN, kind="sev"), {"no_vc_without_sev"}, id="sev"),
]
LAX = {
    "shared_access_to_a_private_page",
    "private_access_to_a_shared_page",
    "private_access_to_a_page_never_validated",
    "xsave_to_a_page_not_validated",
}
NOT_VALIDATED = {"pvalidate_carry", "pvalidate_2m", "pvalidate_and_rmpadjust_of_2m_need_its_start"}
LOOSE += [
    pytest.param(Setting(Mode.VMPL0, strict=False), LAX | NOT_VALIDATED, id="VMPL0-lax"),
    pytest.param(Setting(Mode.SVSM, strict=False), LAX | {"pvalidate_below_vmpl0"}, id="SVSM-lax"),
]


def _items() -> Iterator[object]:
    for setting in SETTINGS:
        for name in points(setting):
            yield pytest.param(setting, name, id=f"{setting.name}-{name}")


@pytest.mark.parametrize(("setting", "name"), list(_items()))
def test_point(guest_run: Callable[..., GuestRun], setting: Setting, name: str) -> None:
    run = guest_run(setting)
    line = run.lines.get(name, "")
    if not line:
        pytest.fail(f"no answer; {run.ended}", pytrace=False)
    if line != "ok":
        pytest.fail(line.removeprefix("not ok "), pytrace=False)


@pytest.mark.parametrize(("setting", "different"), LOOSE)
def test_loose_settings(guest_run: Callable[..., GuestRun], setting: Setting, different: set[str]) -> None:
    run = guest_run(setting)
    assert set(run.lines) == set(points(setting)), run.ended
    failed = {name: line for name, line in run.lines.items() if line != "ok"}
    assert set(failed) == different, failed


@pytest.mark.slow
def test_a_slice_ends_in_a_single_step(guest_run: Callable[..., GuestRun]) -> None:
    """The hypervisor steps over accesses of devices: the end of a slice waits for the step, and the step comes."""
    setting = Setting(Mode.PLAIN, vcpus=4, icount=True)
    assert guest_run(setting).lines == dict.fromkeys(points(setting), "ok")


@pytest.mark.parametrize("setting", [*SETTINGS, Setting(Mode.VMPL0, native=True)], ids=lambda setting: setting.name)
def test_the_log_has_what_is_on_the_console(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    directory = guest_run(setting).result.directory
    records = RECORD.iter_unpack((directory / "host.log").read_bytes())
    printed = bytes(fields[4] for fields in records if fields[7] == RecordKind.CONSOLE)
    assert printed == (directory / "serial.log").read_bytes()
    assert b": ok" in printed


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_guest_ran_to_its_end(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    run = guest_run(setting)
    wanted = "triple fault" if setting.mode is Mode.PLAIN else "the guest asked to be ended, reason set 5, reason 42"
    assert wanted in run.ended
    assert run.result.error is None
    assert run.result.exit_status in (EXIT_INCONCLUSIVE, EXIT_VIOLATED)
    assert set(run.lines) == set(points(setting))


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.vcpus == 1], ids=lambda setting: setting.name)
def test_an_access_that_nobody_claims_is_seen(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    """Reads return all ones in the size of the access (xapic_page_is_not_claimed_in_other_modes)."""
    accesses = guest_run(setting).result.timeline.accesses
    unclaimed = [a for a in accesses if a.outcome is Outcome.NOT_CLAIMED and a.operation is Operation.READ]
    reads = {a.value for a in unclaimed if a.size == 4}
    assert reads == {0xFFFFFFFF}


@pytest.mark.parametrize("setting", SEV_SETTINGS, ids=lambda setting: setting.name)
def test_an_access_that_the_guest_answers_itself_is_seen(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    """The guest's tests of #VC make accesses that no VMGEXIT follows."""
    accesses = guest_run(setting).result.timeline.accesses
    alone = {(a.operation, a.path, a.number, a.size) for a in accesses if a.served_by is Server.GUEST}
    assert alone == {
        (Operation.READ, Path.MSR, 0x1B, 8),
        (Operation.READ, Path.MSR, 0x80F, 8),
        (Operation.READ, Path.MMIO, 0x20, 4),
    }
    assert all(a.outcome is Outcome.NOT_OBSERVED and a.value is None for a in accesses if a.served_by is Server.GUEST)


@pytest.mark.parametrize("setting", SEV_SETTINGS, ids=lambda setting: setting.name)
def test_a_vmgexit_without_an_access_has_its_own_pc(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    """The guest's other accesses are NAE events that no #VC led to: one VMGEXIT makes them all."""
    accesses = guest_run(setting).result.timeline.accesses
    asked = {a.pc for a in accesses if a.served_by in (Server.HYPERVISOR, Server.NOBODY)}
    assert len(asked) == 1
    assert asked.isdisjoint({0, None} | {a.pc for a in accesses if a.served_by is Server.GUEST})


@pytest.mark.parametrize("setting", SEV_SETTINGS, ids=lambda setting: setting.name)
def test_an_access_across_an_edge_of_the_page_is_seen(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    accesses = guest_run(setting).result.timeline.accesses
    seen = {(a.operation, a.register.offset, a.size, a.outcome) for a in accesses if a.path is Path.MMIO}
    for operation in Operation:
        assert (operation, 0, 2, Outcome.NOT_CLAIMED) in seen
        assert (operation, 0xFFE, 4, Outcome.NOT_CLAIMED) in seen


def test_a_fault_changes_the_answer_and_not_the_record(guest_run: Callable[..., GuestRun]) -> None:
    """APs read their IDs by NAE event (smp_modes_are_each_ones_own)."""
    right, wrong = (
        [a for a in guest_run(setting).result.timeline.accesses if a.path is Path.MSR and a.register.name == "APIC ID"]
        for setting in (Setting(Mode.ALTERNATE, vcpus=4), Setting(Mode.ALTERNATE, vcpus=4, fault="wrong-nae"))
    )
    assert {(a.vcpu, a.value, a.mode) for a in right} >= {(vcpu, vcpu, ApicMode.X2APIC) for vcpu in (1, 2, 3)}
    assert (1, 0xA5A5A5A5, ApicMode.X2APIC) in {(a.vcpu, a.value, a.mode) for a in wrong}


def test_an_access_of_a_plain_guest_across_an_edge_is_seen(guest_run: Callable[..., GuestRun]) -> None:
    accesses = guest_run(Setting(Mode.PLAIN)).result.timeline.accesses
    seen = {(a.operation, a.register.offset) for a in accesses if a.path is Path.MMIO}
    assert seen >= {(operation, offset) for operation in Operation for offset in (0, 0xFFE)}
