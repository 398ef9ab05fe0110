# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest's results are the same if QEMU's plugin answers reads of two MSRs (harness/emulator/plugin)."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.hosts.local import LOCAL
from snp_harness.platforms.in_place import unusable
from snp_harness.vm.qemu_binary import QemuBinary
from tests.emulator.guest.build import Mode
from tests.emulator.guest.run import GuestRun, Setting, points, run_guest
from tests.helpers.in_place import answered, new_qemu

pytestmark = [pytest.mark.emulated, pytest.mark.slow, pytest.mark.usefixtures("own_exits")]


def run(directory: Path, code: bytes, setting: Setting) -> GuestRun:
    qemu = new_qemu()
    assert unusable(QemuBinary.find(qemu), LOCAL) is None
    return run_guest(directory / "guest", code, setting, qemu)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(Mode.VMPL0, in_place=True),
        Setting(Mode.SVSM, in_place=True),
        Setting(Mode.SVSM, vcpus=4, in_place=True),
        Setting(Mode.ALTERNATE, vcpus=4, in_place=True),
    ],
    ids=lambda setting: setting.name,
)
def test_every_result_is_the_same(tmp_path: Path, guest_code: bytes, setting: Setting) -> None:
    """rdmsr_keeps_the_flags fails if a read is answered after an instruction that has set the flags."""
    found = run(tmp_path, guest_code, setting)
    assert set(found.lines) == set(points(setting)), found.ended
    assert set(found.lines.values()) == {"ok"}, found.lines
    assert answered(found.result.timeline) > 0


@pytest.mark.parametrize(
    "setting",
    [Setting(Mode.PLAIN, in_place=True), Setting(Mode.VMPL0, level=3, in_place=True)],
    ids=["plain", "every-exit-has-a-record"],
)
def test_nothing_is_answered(tmp_path: Path, guest_code: bytes, setting: Setting) -> None:
    """A guest without SEV-ES has no such MSRs, and at log.level 3 each exit is a record."""
    found = run(tmp_path, guest_code, setting)
    assert set(found.lines.values()) == {"ok"}, found.lines
    assert answered(found.result.timeline) == 0
