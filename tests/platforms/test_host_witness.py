# SPDX-License-Identifier: GPL-2.0-or-later
"""How the emulated host's end becomes the run's: the cause, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.apic.access import Server
from snp_harness.capture.collect import Collector
from snp_harness.capture.record import RecordEnd, RecordKind, RecordPath
from snp_harness.errors import EXIT_ENVIRONMENT, BrokenEnvironmentError
from snp_harness.launch.loop import Loop
from snp_harness.launch.ring import RingReader
from snp_harness.platforms.host_witness import FEATURE_OF_BIT, EmulatedHostError, HostWitness
from snp_harness.platforms.platform import RunSpec
from snp_harness.platforms.session import Ending
from snp_harness.platforms.svsm_console import NoAlternateInjectionError, SvsmPanicError
from snp_harness.svsm.config_files import parse_config
from snp_harness.svsm.sev import SvsmTermination, TerminationSet
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory
from tests.capture.host_records import FIRMWARE
from tests.launch.ring import RingWriter

GUEST = 2


class Run:
    """A witness of a hypervisor that has started, whose records the test writes."""

    def __init__(self, directory: Path, config: str = "") -> None:
        spec = RunSpec(directory / "F.fd", svsm=parse_config(config.encode(), "c.toml"))
        self.ring = RingWriter(16)
        self.ring.start()
        self.ring.add(kind=RecordKind.START)
        self.witness = HostWitness(
            RingReader(self.ring.fd, self.ring.size),
            FIRMWARE,  # type: ignore[arg-type]
            spec,
            RunDirectory.create(directory / "out", "emulated"),
            Collector(),
        )

    def end(self, vmpl: int, end: RecordEnd, value: int = 0, extra: int = 0) -> None:
        self.ring.add(kind=RecordKind.END, address=end, value=value, extra=extra, vmpl=vmpl)
        self.witness.step()

    def close(self) -> None:
        self.witness.close()
        self.ring.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    found = Run(tmp_path)
    yield found
    found.close()


def lacks_feature(run: Run, vmpl: int = 0) -> None:
    run.end(vmpl, RecordEnd.TERMINATE, TerminationSet.SVSM, SvsmTermination.FEATURE)


def test_nothing_ends_before_the_host_does(run: Run) -> None:
    run.witness.step()
    assert not run.witness.stopped
    assert run.witness.ended() is None


def test_an_svsm_that_cannot_have_alternate_injection(run: Run) -> None:
    lacks_feature(run)
    assert run.witness.stopped
    run.witness.alternate_injection_refused = True
    ending = run.witness.ended()
    assert ending is not None
    assert isinstance(ending.error, NoAlternateInjectionError)
    assert ending.gap == ending.error.message == "Alternate injection required but not available"
    assert ending.error.exit_status == EXIT_ENVIRONMENT
    outcome = run.witness.outcome("emulated", ending, "QEMU")
    assert outcome.timeline.gaps == (ending.gap,)
    assert [event.kind for event in outcome.timeline.events] == ["svsm-termination"]


def test_the_bit_that_is_missing_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path, "[svsm]\nfeature_bit = 7\n")
    lacks_feature(run)
    run.witness.alternate_injection_refused = True
    ending = run.witness.ended()
    run.close()
    assert ending is not None
    assert ending.error is not None
    assert 'feature bit 7 ("tio" in hypervisor.features)' in ending.error.hint


def test_an_svsm_that_lacks_another_feature_says_which_on_its_console(run: Run) -> None:
    lacks_feature(run)
    ending = run.witness.ended()
    assert ending is not None
    assert type(ending.error) is BrokenEnvironmentError
    assert str(ending.error) == "the SVSM stopped: the hypervisor lacks a feature: see svsm.log"


def test_the_firmware_cannot_blame_the_hypervisor(run: Run) -> None:
    lacks_feature(run, GUEST)
    run.witness.alternate_injection_refused = True
    ending = run.witness.ended()
    assert ending is not None
    assert ending.error is None
    assert ending.gap.startswith("the run ended: the guest asked to be ended, reason set 7, reason 5")


def test_a_host_that_fails_is_its_own_error(run: Run) -> None:
    run.end(GUEST, RecordEnd.ASSERT)
    ending = run.witness.ended()
    assert ending is not None
    assert isinstance(ending.error, EmulatedHostError)


def test_what_the_configuration_does_on_purpose_is_in_the_timeline(tmp_path: Path) -> None:
    run = Run(tmp_path, "[faults]\ninject = ['busy']\nevery = 3\n")
    run.end(GUEST, RecordEnd.SHUTDOWN)
    ending = run.witness.ended()
    assert ending is not None
    timeline = run.witness.outcome("emulated", ending, "QEMU").timeline
    run.close()
    assert timeline.faults == ("busy (1 of 3)",)
    assert timeline.apic_protocol


PANIC = (
    "ERROR: Info: panicked at kernel/src/a.rs:1:2:\r\nno memory\r\n---BACKTRACE---:\r\n  [ffffff8000000010] f+0x1\r\n"
)


def with_consoles(run: Run, tmp_path: Path, svsm: str = "", serial: str = "") -> Ending:
    ending = run.witness.ended() or Ending("it timed out")
    directory = RunDirectory.create(tmp_path / "consoles", "emulated")
    directory.file(rundir.SVSM).write_text(svsm, newline="")
    directory.file(rundir.SERIAL).write_text(serial, newline="")
    return run.witness.with_panic(ending, directory)


def test_a_panic_of_the_svsm_is_the_run_s_end(run: Run, tmp_path: Path) -> None:
    run.end(0, RecordEnd.TERMINATE, 0, 0)
    ending = with_consoles(run, tmp_path, svsm=PANIC)
    assert isinstance(ending.error, SvsmPanicError)
    assert ending.gap == "the SVSM panicked: no memory, at kernel/src/a.rs:1:2"
    [end, panic] = run.witness.outcome("emulated", ending, "QEMU").timeline.events
    assert (end.kind, panic.kind) == ("svsm-termination", "svsm-panic")
    assert panic.fields == {"frame_0": "FFFFFF8000000010 f+0x1"}


def test_a_panic_without_an_end_explains_a_run_that_timed_out(run: Run, tmp_path: Path) -> None:
    ending = with_consoles(run, tmp_path, svsm=PANIC)
    assert ending.gap == "the SVSM panicked: no memory, at kernel/src/a.rs:1:2"


@pytest.mark.parametrize(("vmpl", "panicked"), [(0, True), (GUEST, False)])
def test_a_guest_cannot_forge_a_panic(run: Run, tmp_path: Path, vmpl: int, panicked: bool) -> None:
    """It can write to the serial console, but not end the run as VMPL0."""
    run.end(vmpl, RecordEnd.TERMINATE, 0, 0)
    assert isinstance(with_consoles(run, tmp_path, serial=PANIC).error, SvsmPanicError) is panicked


def test_a_panic_on_the_serial_console_before_the_guest_runs_is_the_svsm_s(run: Run, tmp_path: Path) -> None:
    run.ring.add(kind=RecordKind.GHCB_MSR, rip=1 << 63, address=0x80, vmpl=0)
    run.witness.step()
    assert not run.witness.guest_started
    assert isinstance(with_consoles(run, tmp_path, serial=PANIC).error, SvsmPanicError)


def test_a_panic_for_want_of_alternate_injection_is_that_error(run: Run, tmp_path: Path) -> None:
    run.end(0, RecordEnd.TERMINATE, 0, 0)
    ending = with_consoles(
        run, tmp_path, svsm=PANIC.replace("no memory", "Alternate injection required but not available")
    )
    assert isinstance(ending.error, NoAlternateInjectionError)


def test_an_svsm_that_ends_the_run_by_a_test_status(run: Run) -> None:
    run.end(0, RecordEnd.DEBUG_EXIT, 0x10)
    ending = run.witness.ended()
    assert ending is not None
    assert ending.error is None
    assert ending.gap == "the SVSM ended by isa-debug-exit with status 16, at pc 0"
    [event] = run.witness.outcome("emulated", ending, "QEMU").timeline.events
    assert (event.kind, event.fields["status"]) == ("svsm-exit", 16)


def test_features_by_bit() -> None:
    assert (FEATURE_OF_BIT[9], FEATURE_OF_BIT[7]) == ("alternate-injection", "tio")


def test_a_run_that_goes_on_without_records_cuts_nothing_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An access that the guest answers itself long before the end, which a console shows, is the guest's."""
    run.ring.add(kind=RecordKind.ACCESS, address=0x802, path=RecordPath.MSR, aux=3, vmpl=GUEST)
    run.witness.step()
    later_s = time.monotonic() + 1
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    run.witness.compare(None, Loop())
    run.witness.finish()
    outcome = run.witness.outcome("emulated", Ending(), "QEMU")
    assert [access.served_by for access in outcome.timeline.accesses] == [Server.GUEST]
