# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that tries to reach the emulator, its log or its processor: what the log says about it (docs/log.md)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snp_harness.apic.access import Operation
from snp_harness.apic.verdict import Status
from snp_harness.capture.record import RecordRefused
from tests.emulator.guest.build import End, Mode
from tests.emulator.guest.run import GuestRun, Setting

pytestmark = pytest.mark.emulated

VMPL0 = Setting(Mode.VMPL0)
SVSM = Setting(Mode.SVSM)
ALTERNATE = Setting(Mode.ALTERNATE)
PLAIN = Setting(Mode.PLAIN)
NATIVE = Setting(Mode.SVSM, native=True)


@pytest.mark.parametrize("setting", [VMPL0, SVSM, ALTERNATE, PLAIN, NATIVE], ids=lambda setting: setting.name)
def test_no_access_is_missing_after_mmconfig_was_moved_over_the_log(
    guest_run: Callable[..., GuestRun], setting: Setting
) -> None:
    """Four windows of 256 MiB from 4 GiB on cover the emulator's memory and the log: an access under each of them.

    A BAR with RAM passes over them, too.
    """
    run = guest_run(setting, End.COVER)
    reads = [
        access
        for access in run.result.timeline.accesses
        if access.operation is Operation.READ and access.register.name == "SVR"
    ]
    assert len(reads) == 5
    assert run.result.timeline.lost == 0
    refused = [event for event in run.result.timeline.events if event.kind == "device-write-refused"]
    assert {event.fields["sort"] for event in refused} == {RecordRefused.WINDOW}
    assert (run.result.verdict.status is Status.VIOLATED) == (setting is ALTERNATE)


@pytest.mark.parametrize("setting", [VMPL0, PLAIN], ids=lambda setting: setting.name)
def test_each_refused_write_is_an_event(guest_run: Callable[..., GuestRun], setting: Setting) -> None:
    """Of the tests of test_reach.c: every sort appears, and a loop does not flood the log."""
    events = [event for event in guest_run(setting).result.timeline.events if event.kind == "device-write-refused"]
    sorts = [event.fields["sort"] for event in events]
    assert set(sorts) == set(RecordRefused)
    assert max(map(sorts.count, RecordRefused)) == 16


def test_a_breakpoint_in_the_emulator_ends_the_run_or_does_nothing(guest_run: Callable[..., GuestRun]) -> None:
    """QEMU 7.2 raises #DB for it whatever DR7 has; QEMU 11.1 does not."""
    run = guest_run(PLAIN, End.BREAKPOINT)
    assert "a breakpoint at an address of the hypervisor" in run.ended or "triple fault" in run.ended
    assert run.result.error is None
    assert run.result.verdict.status is Status.INCONCLUSIVE
