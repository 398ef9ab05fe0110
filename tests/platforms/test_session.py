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

from snp_harness.apic.access import Operation, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import by_offset
from snp_harness.apic.timeline import Known, Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.goal import Position
from snp_harness.errors import UsageError
from snp_harness.launch.loop import Loop
from snp_harness.platforms import console_goal, session
from snp_harness.platforms.platform import RunOutcome, RunSpec
from snp_harness.platforms.running import Running
from snp_harness.platforms.session import Ending, Session
from snp_harness.vm.console import BoundedLog, Console
from snp_harness.vm.machine_base import MachineBase
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
    open_until: Callable[[], bool] | None = None

    def __init__(self, machine: MachineBase, collector: Collector, step: Callable[[], float]) -> None:
        self.machine, self.collector = machine, collector
        self._step = step

    def step(self) -> float:
        return self._step()

    def ended(self) -> Ending | None:
        return self.end

    def is_open(self, position: Position | None = None) -> bool:
        return self.open_until is not None and not self.open_until()

    def timeline(self, ending: Ending) -> Timeline:
        return self.collector.finish(
            witness="w", platform="p", gaps=[], lost=0, not_observed=frozenset(), alternate_injection=False, svsm=False
        )

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
    monkeypatch.setattr(console_goal, "BEHIND_S", 0.05)
    guest.serial.sendall(BOOT + b"Shell> ")
    ending, phases = run(guest, "shell", (Phase.SEC,))
    assert ending == Ending("the console shows the firmware's prompt, and the guest was not seen further than SEC")
    assert phases == [Phase.SEC]


def add_access(collector: Collector) -> None:
    collector.access(
        Operation.READ, by_offset(0x0F0), AccessPath.MMIO, value=0, size=4, vcpu=0, vmpl=2, mode=ApicMode.XAPIC,
        outcome=Outcome.OK, served_by=Server.HYPERVISOR,
    )  # fmt: skip


@pytest.mark.parametrize("fail_fast", [False, True])
@pytest.mark.parametrize("together", [1, 2, 5, 9])
def test_a_run_ends_at_the_first_offence_however_much_is_read(guest: Guest, fail_fast: bool, together: int) -> None:
    """The third access is the offence; the phase after the goal follows the seventh."""
    machine: Any = guest
    collector = Collector()
    collector.enter(Phase.SEC, 0, "the witness", Known.PROVEN)
    told: list[int] = []

    def step() -> float:
        for _ in range(together):
            if len(collector.accesses) == 7:
                collector.enter(Phase.PEI, 0, "the witness", Known.PROVEN)
            add_access(collector)
        return 0.0

    def judge(timeline: Timeline) -> int | None:
        return len(timeline.accesses) if len(timeline.accesses) >= 3 else None

    running = Stepped(machine, collector, step)
    spec = RunSpec(Path("F.fd"), until="sec", fail_fast=fail_fast)
    ending = Session(running, spec).run(lambda *_: None, judge, told.append)
    assert ending == Ending(session._FAILED_FAST if fail_fast else "", fast=fail_fast)
    assert len(running.timeline(ending).accesses) == (3 if fail_fast else 7)
    # All may be read before there is a turn to look at it.
    assert told in ([3], [])


def test_a_run_ends_when_the_accesses_before_its_end_are_answered(guest: Guest) -> None:
    machine: Any = guest
    collector = Collector()
    steps = iter(range(100))

    def step() -> float:
        number = next(steps)
        if number == 1:
            add_access(collector)
            collector.enter(Phase.PEI, 0, "the witness", Known.PROVEN)
        if number == 4:
            collector.amend(0, value=7)
        return 0.0

    running = Stepped(machine, collector, step)
    running.open_until = lambda: collector.accesses[0].value == 7
    assert Session(running, RunSpec(Path("F.fd"), until="sec")).run(lambda *_: None) == Ending()
    assert running.timeline(Ending()).accesses[0].value == 7
    assert next(steps) == 5


def test_an_answer_that_never_comes_is_not_waited_for(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_ANSWER_S", 0.05)
    machine: Any = guest
    collector = Collector()
    running = Stepped(machine, collector, lambda: 0.0)
    running.open_until = lambda: False
    collector.enter(Phase.SEC, 0, "the witness", Known.PROVEN)
    collector.enter(Phase.PEI, 0, "the witness", Known.PROVEN)
    assert Session(running, RunSpec(Path("F.fd"), until="sec")).run(lambda *_: None) == Ending()


def test_a_guest_that_is_held_ends_between_two_accesses(guest: Guest) -> None:
    """What was read before the end was asked for is in it, and no access that waits for an answer then."""
    machine: Any = guest
    collector = Collector()
    for phase in (Phase.SEC, Phase.PEI):
        collector.enter(phase, 0, "the witness", Known.PROVEN)

    def step() -> float:
        add_access(collector)
        return 0.0

    running = Stepped(machine, collector, step)
    running.is_current = True
    running.open_until = lambda: len(collector.accesses) >= 4
    assert Session(running, RunSpec(Path("F.fd"))).hold(lambda: False) == Ending()
    add_access(collector)
    assert len(running.timeline(Ending()).accesses) == 4


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

    def judge(_: Timeline) -> None:
        judged.append(clock[0])
        clock[0] += 0.5

    Session(Stepped(machine, collector, step), RunSpec(Path("F.fd"), timeout_s=12)).run(lambda *_: None, judge)
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
