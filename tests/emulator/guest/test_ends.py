# SPDX-License-Identifier: GPL-2.0-or-later
"""Each way in which a run can end leaves a record that explains it, and the harness reports it in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.apic.access import Server
from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_INCONCLUSIVE
from snp_harness.platforms import memory_map
from tests.emulator.guest.build import End, Mode, image
from tests.emulator.guest.run import GuestRun, Setting, run_guest

pytestmark = pytest.mark.emulated

COMMAND_TIMEOUT_S = 300
VMPL0 = Setting(Mode.VMPL0)
SVSM = Setting(Mode.SVSM)
PLAIN = Setting(Mode.PLAIN)

#: Setting, ending, and the harness's report of it.
ENDS = (
    (VMPL0, End.TRIPLE_FAULT, "the guest shut down (triple fault)"),
    (SVSM, End.TRIPLE_FAULT, "the guest shut down (triple fault)"),
    (PLAIN, End.TRIPLE_FAULT, "the guest shut down (triple fault)"),
    (VMPL0, End.TERMINATE, "the guest asked to be ended, reason set 0, reason 1"),
    (SVSM, End.TERMINATE_NAE, "the guest asked to be ended, reason set 3, reason 4"),
    (VMPL0, End.RESET_HOLD, "nothing is left to run"),
    (SVSM, End.RESET_HOLD_NAE, "nothing is left to run"),
    (VMPL0, End.UNSUPPORTED, "the firmware reported an exit that it does not support, 7B"),
    (VMPL0, End.NO_IDT, "#VC 72 could not be delivered"),
    (SVSM, End.NO_STACK, "#VC 72 could not be delivered"),
    (VMPL0, End.PRIVATE_GHCB, "VMGEXIT with a GHCB at 808000, which is not registered"),
    (SVSM, End.GHCB_UNREGISTERED, "VMGEXIT with a GHCB at A00000, which is not registered"),
    (VMPL0, End.PRIVATE_MMIO, "the guest accessed FED000F0, where there is no memory, without paging"),
    (SVSM, End.SVSM_MEMORY, "the guest's VMPL may not access GPA"),
    (PLAIN, End.INSTRUCTION, "the hypervisor cannot emulate the instruction"),
    (PLAIN, End.STRING_IO, "the hypervisor does not handle #VMEXIT 7B"),
    (VMPL0, End.EXECUTE_SUPERVISOR_0, "the guest asked to be ended, reason set 5, reason 67"),
    (VMPL0, End.EXECUTE_SUPERVISOR_3, "the guest's VMPL may not access GPA A30000"),
    (VMPL0, End.EXECUTE_USER_0, "the guest's VMPL may not access GPA A30000"),
    (VMPL0, End.EXECUTE_USER_3, "#VC 404 could not be delivered"),
    (VMPL0, End.RUN_CREATED_ON_INIT, "the guest asked to be ended, reason set 5, reason 67"),
    (VMPL0, End.RUN_DESTROYED, "the guest asked to be ended, reason set 5, reason 42"),
    (
        VMPL0,
        End.REQUEST_NOWHERE,
        "a guest request has a page at 7000000000, where there is no memory",
    ),
    (VMPL0, End.SUSPEND, "the guest suspended the machine (S3)"),
    (PLAIN, End.SUSPEND, "the guest suspended the machine (S3)"),
    (VMPL0, End.RESET, "the guest reset the machine by port CF9, at pc"),
    (PLAIN, End.RESET, "the guest reset the machine by port CF9, at pc"),
    (SVSM, End.RESET, "the guest reset the machine by port CF9, at pc"),
    (SVSM, End.POWER_OFF, "the guest powered the machine off, at pc"),
    (PLAIN, End.POWER_OFF, "the guest powered the machine off, at pc"),
    (VMPL0, End.INIT_MESSAGE, "the guest had INIT sent to the processor"),
    (PLAIN, End.INIT_UNDER_A_BAR, "the guest had INIT sent to the processor"),
    (PLAIN, End.INIT_MESSAGE, "the guest had INIT sent to the processor"),
)


@pytest.mark.parametrize(
    ("setting", "end", "text"), ENDS, ids=[f"{setting.name}-{end.name}".lower() for setting, end, _ in ENDS]
)
def test_end_is_explained(guest_run: Callable[..., GuestRun], setting: Setting, end: End, text: str) -> None:
    run = guest_run(setting, end)
    assert text in run.ended
    assert run.result.error is None
    assert run.result.verdict.status is Status.INCONCLUSIVE
    assert run.result.exit_status == EXIT_INCONCLUSIVE
    assert [event.kind for event in run.result.timeline.events].count("agreement") == 1


def test_the_registers_of_another_vmsa_are_no_answer(guest_run: Callable[..., GuestRun]) -> None:
    """The VMPL that made an SVSM call runs another VMSA after it: AP creation on INIT, for a vCPU that calls."""
    run = guest_run(Setting(Mode.ALTERNATE, vcpus=3), End.OTHER_VMSA_IN_A_CALL)
    assert "the guest asked to be ended, reason set 5, reason 42" in run.ended
    unanswered = [event.text for event in run.result.timeline.events if event.kind == "unanswered-svsm-call"]
    assert unanswered == ["apic READ_REGISTER, RCX 803, RDX 0: no answer at the end of the run"]
    assert not [access for access in run.result.timeline.accesses if access.served_by is Server.SVSM]


def test_command_says_it_in_one_line(guest_code: bytes, tmp_path: Path) -> None:
    firmware = tmp_path / "guest.fd"
    firmware.write_bytes(image(guest_code, Mode.VMPL0, 51, End.TERMINATE))
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
    monkeypatch.setattr(memory_map, "HOST_SIZE", 2 << 20)
    run = run_guest(tmp_path / "guest", guest_code, SVSM)
    assert "an assertion of the hypervisor failed" in run.ended
    assert any("host RAM is too small" in event.text for event in run.result.timeline.events)
    assert run.result.exit_status == EXIT_ENVIRONMENT
