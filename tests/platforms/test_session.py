# SPDX-License-Identifier: GPL-2.0-or-later
"""A session whose console is ahead of its witness, as when the harness got no processor time for a while."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Known, Timeline
from snp_harness.capture.collect import Collector
from snp_harness.errors import UsageError
from snp_harness.launch.loop import Loop
from snp_harness.platforms import session
from snp_harness.platforms.platform import RunOutcome, RunSpec
from snp_harness.platforms.running import Running
from snp_harness.platforms.session import Ending, Session
from snp_harness.vm.console import BoundedLog, Console
from snp_harness.vm.machine_base import MachineBase
from tests.apic import samples
from tests.schemas import check

DEBUG_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4")
BOOT = b'BdsDxe: loading Boot0001 "EFI Internal Shell"\r\n'


class Files:
    """What a session uses of a run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write_text(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)


class Guest:
    """The guest's end of a console, and what a session uses of a machine."""

    ended = False
    debug_exit: int | None = None

    def __init__(self, directory: Path) -> None:
        self.directory = Files(directory)
        self.loop = Loop()
        ours, self.serial = socket.socketpair()
        self.consoles = {"serial": Console("serial", ours, self.loop, BoundedLog(directory / "serial.log"))}

    def console(self, name: str) -> Console:
        return self.consoles[name]

    def close(self) -> None:
        self.consoles["serial"].close()
        self.serial.close()
        self.loop.close()


class Stepped(Running):
    """A guest whose witness is a function."""

    platform = "p"
    end: Ending | None = None

    def __init__(self, machine: MachineBase, collector: Collector, step: Callable[[], float]) -> None:
        self.machine, self.collector = machine, collector
        self._step = step

    def step(self) -> float:
        return self._step()

    def ended(self) -> Ending | None:
        return self.end

    def timeline(self, ending: Ending) -> Timeline:
        return samples.timeline([])

    def finish(self, ending: Ending) -> RunOutcome:
        raise NotImplementedError


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    made = Guest(tmp_path)
    yield made
    made.close()


def run(
    guest: Guest,
    until: str,
    *seen: tuple[Phase, ...],
    extra_args: tuple[str, ...] = (),
    known: Known = Known.PROVEN,
    svsm_stage: str = "",
    timeout_s: float = 120,
) -> tuple[Ending, list[Phase]]:
    """A session; seen: the phases that the witness sees in one step after the other. The phases in their order."""
    collector = Collector()
    collector.svsm_stage = svsm_stage
    steps = iter(seen)

    def step() -> float:
        for phase in next(steps, ()):
            collector.enter(phase, 0, "the witness", known)
        return 0.0

    machine: Any = guest
    spec = RunSpec(Path("F.fd"), until=until, extra_args=extra_args, timeout_s=timeout_s)
    ending = Session(Stepped(machine, collector, step), spec).run(lambda *_: None)
    timeline = collector.finish(
        witness="w", platform="p", gaps=[], lost=0, not_observed=frozenset(), alternate_injection=False, svsm=False
    )
    return ending, [mark.phase for mark in timeline.phases]


@pytest.mark.parametrize("until", ["dxe", "shell"])
def test_bds_begins_when_the_witness_has_seen_dxe(until: str, guest: Guest) -> None:
    guest.serial.sendall(BOOT + b"Shell> ")
    behind: list[tuple[Phase, ...]] = [(), (), (Phase.SEC,), (Phase.PEI,), (), (Phase.DXE,)]
    ending, phases = run(guest, until, *behind)
    assert ending == Ending()
    assert phases == [Phase.SEC, Phase.PEI, Phase.DXE, Phase.BDS]


def test_the_consoles_have_times_of_the_timeline(guest: Guest, tmp_path: Path) -> None:
    guest.serial.sendall(BOOT)
    run(guest, "sec", (), (), (Phase.SEC,), (), (Phase.PEI,))
    written = json.loads((tmp_path / "consoles.json").read_text())
    check("consoles", written)
    ((offset, time_ns),) = written["consoles"]["serial.log"]
    assert offset == 0
    assert 0 <= time_ns < 60e9


def test_a_run_until_sec_ends_with_what_the_witness_saw(guest: Guest) -> None:
    guest.serial.sendall(BOOT + b"Shell> ")
    ending, phases = run(guest, "sec", (), (), (Phase.SEC,), (), (Phase.PEI,))
    assert ending == Ending()
    assert phases == [Phase.SEC, Phase.PEI]


def test_one_inferred_mark_does_not_end_a_run_until_sec(guest: Guest) -> None:
    ending, phases = run(guest, "sec", (Phase.SEC,), (Phase.PEI,), (), (Phase.DXE,), known=Known.INFERRED)
    assert ending == Ending()
    assert phases == [Phase.SEC, Phase.PEI, Phase.DXE]


def test_a_witness_that_does_not_see_dxe_is_not_waited_for_without_end(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_BEHIND_S", 0.05)
    guest.serial.sendall(BOOT + b"Shell> ")
    ending, phases = run(guest, "shell", (Phase.SEC,))
    assert ending == Ending("the console shows the firmware's prompt, and the guest was not seen further than SEC")
    assert phases == [Phase.SEC]


@pytest.mark.parametrize("fail_fast", [False, True])
def test_new_accesses_are_judged_at_once_until_a_rule_is_broken(
    guest: Guest, fail_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine: Any = guest
    collector = Collector()
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    judged: list[int] = []
    steps = iter([1, 1, 3, 4, 5])

    def step() -> float:
        clock[0] += 0.001
        collector.count = next(steps, 5)
        if collector.count == 5:
            collector.enter(Phase.PEI, 0, "the witness", Known.PROVEN)
        return 0.0

    def broken(_: Timeline) -> bool:
        judged.append(collector.count)
        return collector.count >= 3

    spec = RunSpec(Path("F.fd"), until="sec", fail_fast=fail_fast)
    followed = Session(Stepped(machine, collector, step), spec)
    ending = followed.run(lambda *_: None, broken)
    assert (judged, collector.count) == ([1, 3], 3 if fail_fast else 5)
    assert ending == Ending(session._FAILED_FAST if fail_fast else "", fast=fail_fast)


def test_a_timeline_that_takes_long_to_judge_is_judged_seldom(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    machine: Any = guest
    collector = Collector()
    clock = [1000.0]
    judged: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def step() -> float:
        clock[0] += 0.25
        collector.count += 1
        return 0.0

    def broken(_: Timeline) -> bool:
        judged.append(clock[0])
        clock[0] += 0.5
        return False

    Session(Stepped(machine, collector, step), RunSpec(Path("F.fd"), timeout_s=12)).run(lambda *_: None, broken)
    assert len(judged) == 3
    assert min(second - first for first, second in itertools.pairwise(judged)) >= 0.5 + 0.5 / session.JUDGED_SHARE


LEFT = Ending("the run ended: the guest reset the machine", left=True)


def leave(guest: Guest, *seen: Phase, printed: bytes = b"", held: bool = False) -> Ending:
    """The ending of a run until PEI, or of a guest that is held, which reset the machine."""
    machine: Any = guest
    collector = Collector()
    guest.serial.sendall(printed)
    guest.loop.turn(0)
    running = Stepped(machine, collector, lambda: 0.0)
    running.end = LEFT
    for phase in seen:
        collector.enter(phase, 0, "the witness", Known.PROVEN)
    followed = Session(running, RunSpec(Path("F.fd"), until="pei"))
    return followed.hold(lambda: True) if held else followed.run(lambda *_: None)


def test_a_reset_before_the_goal_ends_the_run(guest: Guest) -> None:
    assert leave(guest, Phase.SEC, Phase.PEI) == LEFT
    assert leave(guest, Phase.SEC, held=True) == LEFT


def test_a_reset_after_the_goal_is_no_gap(guest: Guest) -> None:
    assert leave(guest, Phase.SEC, Phase.PEI, Phase.DXE) == Ending()
    assert leave(guest, Phase.SEC, Phase.PEI, held=True) == Ending()


def test_a_reset_after_a_crash_is_its_consequence(guest: Guest) -> None:
    ending = leave(guest, Phase.SEC, Phase.PEI, printed=b"Kernel panic - not syncing: no init\r\n")
    assert ending == Ending("the guest crashed in PEI: Kernel panic - not syncing: no init")


@pytest.mark.parametrize(
    ("until", "phase", "gap"),
    [
        ("exit", Phase.BDS, ""),
        # SEC was not seen to its end.
        ("exit", Phase.SEC, "the guest ended by isa-debug-exit with status 7 in SEC"),
        ("shell", Phase.DXE, "the guest ended by isa-debug-exit with status 7 in DXE"),
    ],
)
def test_the_guest_ends_the_run(until: str, phase: Phase, gap: str, guest: Guest) -> None:
    guest.ended, guest.debug_exit = True, 7
    ending, phases = run(guest, until, (phase,), extra_args=DEBUG_EXIT)
    assert ending == Ending(gap)
    assert phases == [phase]


def test_until_exit_needs_the_device() -> None:
    RunSpec(Path("F.fd"), until="exit", extra_args=DEBUG_EXIT)
    with pytest.raises(UsageError, match="isa-debug-exit"):
        RunSpec(Path("F.fd"), until="exit", extra_args=("-device", "isa-debugcon"))


def test_a_run_that_ends_while_only_the_svsm_has_run_says_so(guest: Guest) -> None:
    ending, _ = run(guest, "shell", svsm_stage="kernel entered", timeout_s=0.01)
    assert "was not reached in 0.01 s: the SVSM has not started the guest (kernel entered), nothing on" in ending.gap
    ending, _ = run(guest, "shell", (Phase.RESET,), timeout_s=0.01)
    assert "the guest is in the reset vector" in ending.gap


def test_a_run_until_an_operating_system(guest: Guest) -> None:
    firmware: list[tuple[Phase, ...]] = [(Phase.SEC,), (Phase.PEI,), (Phase.DXE,), (Phase.BDS,)]
    ending, phases = run(guest, "os", *firmware, (), (Phase.OS,))
    assert ending == Ending()
    assert phases[-1] is Phase.OS


def test_firmware_that_boots_nothing_ends_a_run_until_an_operating_system(guest: Guest) -> None:
    guest.serial.sendall(b"BdsDxe: No bootable option or device was found.\r\n")
    ending, _ = run(guest, "os", (Phase.SEC,), (Phase.PEI,), (Phase.DXE,))
    assert ending == Ending("the firmware is at its prompt, and has started no operating system")


def test_a_run_until_the_console_shows_a_text(guest: Guest) -> None:
    guest.serial.sendall(b"linux-guest login: ")
    ending, phases = run(guest, r"console:guest lo+gin", (), (Phase.SEC,), (), (Phase.PEI,))
    assert ending == Ending()
    # The witness has seen all of SEC before the run ends, though the console was ahead.
    assert phases == [Phase.SEC, Phase.PEI]


def test_a_text_that_the_console_does_not_show(guest: Guest) -> None:
    ending, _ = run(guest, "console:login:", (Phase.SEC,), (Phase.PEI,), timeout_s=0.2)
    assert ending.gap.startswith("'login:' on the console was not reached in 0.2 s")


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("console:(", "is not a regular expression"),
        ("console:x*", "matches nothing at all"),
        ("console:", "matches nothing at all"),
        ("login", "nothing can be run until 'login'"),
    ],
)
def test_goals_that_mean_nothing(until: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunSpec(Path("F.fd"), until=until)
