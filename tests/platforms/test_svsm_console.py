# SPDX-License-Identifier: GPL-2.0-or-later
"""An SVSM that panics and does not end: noticed by its console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.capture.collect import Collector
from snp_harness.platforms.svsm_console import PanicWatch, note_lacking_features
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory
from tests.vm.wire import Wire

PANIC = (
    "[SVSM] ERROR: Info: panicked at kernel/src/cpu/sse.rs:53:9:\r\n[SVSM] xsave unsupported\r\n"
    "[SVSM] ---BACKTRACE---:\r\n[SVSM]   [ffffff800005e9c8] svsm::cpu::sse::sse_init+0xe8\r\n[SVSM] ---END---\r\n"
)


class Consoles:
    """The SVSM's console and the serial one, whose logs are in a run directory."""

    def __init__(self, directory: Path) -> None:
        for name in ("svsm", "serial"):
            (directory / name).mkdir()
        self.svsm, self.serial = Wire(directory / "svsm"), Wire(directory / "serial")
        self.directory = RunDirectory.create(directory / "out", "emulated")
        self.started = False
        self.watch = PanicWatch(self.svsm.console, self.serial.console, lambda: self.started)

    def prints(self, name: str, text: str) -> None:
        {rundir.SVSM: self.svsm, rundir.SERIAL: self.serial}[name].prints(text)
        self.directory.file(name).write_text(text, newline="")

    def over(self) -> bool:
        return self.watch.over(self.directory)


@pytest.fixture
def consoles(tmp_path: Path) -> Iterator[Consoles]:
    made = Consoles(tmp_path)
    yield made
    made.svsm.close()
    made.serial.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is two seconds after the last one."""
    now = [time.monotonic()]

    def clock() -> float:
        now[0] += 2
        return now[0]

    monkeypatch.setattr("snp_harness.platforms.svsm_console.time.monotonic", clock)


def test_the_svsm_has_time_to_end_the_run(consoles: Consoles) -> None:
    consoles.prints(rundir.SVSM, PANIC)
    assert not consoles.over()


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("name", [rundir.SVSM, rundir.SERIAL])
def test_a_panic_before_the_guest_runs_ends_it(consoles: Consoles, name: str) -> None:
    assert not consoles.over()
    consoles.prints(name, PANIC)
    assert consoles.over()


@pytest.mark.usefixtures("later")
def test_what_a_guest_prints_ends_nothing(consoles: Consoles) -> None:
    consoles.started = True
    consoles.prints(rundir.SERIAL, PANIC)
    assert not consoles.over()
    consoles.prints(rundir.SVSM, "[SVSM] ---END---\r\n")
    assert not consoles.over()


def test_an_svsm_that_goes_on_without_features_is_quoted(tmp_path: Path) -> None:
    wire, collector = Wire(tmp_path), Collector()
    note_lacking_features(wire.console, collector)
    wire.prints("[SVSM] ERROR: Required hypervisor GHCB features not available: present=0x3, missing=0x20\r\n")
    wire.close()
    timeline = collector.finish(
        witness="w", platform="p", gaps=[], lost=0, not_observed=frozenset(), alternate_injection=False, svsm=True
    )
    [event] = timeline.events
    assert event.kind == "svsm-error"
    assert event.text == "Required hypervisor GHCB features not available: present=0x3, missing=0x20"
