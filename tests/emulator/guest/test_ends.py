# SPDX-License-Identifier: GPL-2.0-or-later
"""Each way a run can end leaves a record that explains it, and the harness tells it in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_INCONCLUSIVE
from snp_harness.platforms import rom
from tests.emulator.guest.build import SVSM_HEADER, Mode, image
from tests.emulator.guest.run import GuestRun, Setting, run_guest

pytestmark = pytest.mark.emulated

COMMAND_TIMEOUT_S = 300
VMPL0 = Setting(Mode.VMPL0)
SVSM = Setting(Mode.SVSM)
PLAIN = Setting(Mode.PLAIN)

#: Setting, enum ending of guest.h, and what is said about it.
ENDS = [
    pytest.param(VMPL0, 1, "the guest shut down (triple fault)", id="triple-fault"),
    pytest.param(SVSM, 1, "the guest shut down (triple fault)", id="triple-fault-svsm"),
    pytest.param(PLAIN, 1, "the guest shut down (triple fault)", id="triple-fault-plain"),
    pytest.param(VMPL0, 2, "the guest asked to be ended, reason set 0, reason 1", id="terminate"),
    pytest.param(SVSM, 3, "the guest asked to be ended, reason set 3, reason 4", id="terminate-nae"),
    pytest.param(VMPL0, 4, "nothing is left to run", id="reset-hold"),
    pytest.param(SVSM, 5, "nothing is left to run", id="reset-hold-nae"),
    pytest.param(VMPL0, 6, "the firmware reported an exit that it does not support, 7B", id="unsupported"),
    pytest.param(VMPL0, 7, "#VC 72 could not be delivered", id="vc-no-idt"),
    pytest.param(SVSM, 8, "#VC 72 could not be delivered", id="vc-no-stack"),
    pytest.param(VMPL0, 9, "VMGEXIT with a GHCB at 808000, which is not a shared page", id="private-ghcb"),
    pytest.param(SVSM, 14, "VMGEXIT with a GHCB at 7000000000, which is not a shared page", id="ghcb-nowhere"),
    pytest.param(VMPL0, 10, "the guest accessed FED000F0, where there is no memory, without paging", id="mmio-unpaged"),
    pytest.param(SVSM, 11, "the guest's VMPL may not access GPA", id="svsm-memory"),
    pytest.param(PLAIN, 12, "the host cannot emulate the instruction", id="instruction"),
    pytest.param(PLAIN, 13, "the host does not handle #VMEXIT 7B", id="string-io"),
    pytest.param(VMPL0, 15, "the guest had INIT sent to the processor", id="init"),
    pytest.param(PLAIN, 16, "the host does not handle #VMEXIT 62", id="smi"),
]


@pytest.mark.parametrize(("setting", "end", "text"), ENDS)
def test_end_is_explained(guest_run: Callable[..., GuestRun], setting: Setting, end: int, text: str) -> None:
    run = guest_run(setting, end)
    assert text in run.ended
    assert run.result.error is None
    assert run.result.verdict.status is Status.INCONCLUSIVE
    assert run.result.exit_status == EXIT_INCONCLUSIVE


def test_command_says_it_in_one_line(guest_code: bytes, tmp_path: Path) -> None:
    firmware = tmp_path / "guest.fd"
    firmware.write_bytes(image(guest_code, Mode.VMPL0, 51, 2))
    options = ["--firmware", str(firmware), "--svsm-config", "no-svsm", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "snp_harness", "run", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == EXIT_INCONCLUSIVE, done.stderr
    assert "the guest asked to be ended, reason set 0, reason 1" in done.stdout.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_assertion_of_the_host(guest_code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    svsm = rom.read_svsm()
    monkeypatch.setattr(rom, "read_svsm", lambda: bytes(SVSM_HEADER) + svsm[SVSM_HEADER:])
    run = run_guest(tmp_path / "guest", guest_code, SVSM)
    assert "an assertion of the host failed" in run.ended
    assert any("the SVSM image has no header" in event.text for event in run.result.timeline.events)
    assert run.result.exit_status == EXIT_ENVIRONMENT
