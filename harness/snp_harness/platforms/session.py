# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of a run that all platforms share: run the loop until the goal is reached or the run ends early."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import GUEST_EXIT, GUEST_STUCK
from snp_harness.capture.goal import SHOWN_PROMPT, Until, is_after
from snp_harness.data import json_head
from snp_harness.errors import HarnessError
from snp_harness.launch.interrupts import INTERRUPTS
from snp_harness.launch.patience import Patience, Silence
from snp_harness.platforms.console_goal import ShownLive
from snp_harness.platforms.platform import Progress, RunSpec
from snp_harness.vm import rundir
from snp_harness.vm.console import Console
from snp_harness.vm.qemu_errors import CannotWriteError, QemuError, QemuLaunchError

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline
    from snp_harness.capture.goal import Position
    from snp_harness.platforms.running import Running

#: Seconds between two calls of the progress function.
PROGRESS_S = 0.25
#: A run in progress is judged for so many times as long as it goes on without that.
JUDGED_SHARE = 0.1
#: Longest wait of a turn for a guest that is held: a stuck one is noticed by samples.
HOLD_S = 0.25
#: Longest wait for the answer of an access that was made before the end.
_ANSWER_S = 1.0
#: The same for a guest that is held, which may be paused.
_HELD_ANSWER_S = 0.2
#: A guest that has crashed goes on to say why (registers, a backtrace). It is read until it is silent for so many
#: seconds, and not longer than that.
_CRASH_SILENCE_S = 2.0
_CRASH_MAX_S = 10.0
_FAILED_FAST = "a rule is broken, and the run was to end there"
_INTERRUPTED = "the run was interrupted"
_GOALS = {"shell": "the firmware's prompt", "os": "an operating system", "exit": "the guest's exit"}
_NAMES = {Phase.RESET: "the reset vector", Phase.UNKNOWN: "an unknown phase"}


_T = TypeVar("_T")
Judge = Callable[["Timeline"], _T | None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. gap: why the timeline is not complete, "" if the goal was reached.

    left: the guest reset the machine or powered it off. fast: a broken rule is reported as soon as it is seen, without
    what only the report of a whole run needs.
    """

    gap: str = ""
    error: HarnessError | None = None
    interrupt: KeyboardInterrupt | None = None
    left: bool = False
    fast: bool = False


_FAST_END = Ending(_FAILED_FAST, fast=True)


class Session:
    """Follows a guest until its end.

    stuck: why a guest that is held cannot go on. trouble: the same, or its crash. Both are "" before that.
    """

    def __init__(self, running: Running, spec: RunSpec) -> None:
        self.running = running
        self.trouble = self.stuck = ""
        self._machine = running.machine
        self._spec = spec
        self._collector = running.collector
        self._crash: tuple[Silence, Patience] | None = None
        self._started = time.monotonic()
        self._answers: Patience | None = None
        self._console = ShownLive(self._machine.console("serial"), spec, self._collector, in_log=running.console_in_log)

    def run(
        self, progress: Progress, judge: Judge[_T] | None = None, broken: Callable[[_T], None] | None = None
    ) -> Ending:
        """Wait until the goal is reached or the run ends early; QEMU is not stopped.

        judge: called with what was seen so far when there is more of it, until it returns something, which it does for
        all that is longer, too. broken: called with what it returns for the shortest; with `fail_fast` the run then
        ends there. Raises QemuLaunchError.
        """
        self._collector.follow(self._spec.goal)
        deadline = self._started + self._spec.timeout_s
        next_progress = next_judgement = self._started

        judged = 0

        def look() -> None:
            """Judge what was seen. This takes the longer the more that is, and so it is then done less often."""
            nonlocal judge, judged, next_judgement
            began = time.monotonic()
            if judge is None or self._is_done() or self._collector.count == judged or began < next_judgement:
                return
            judged = self._collector.count
            found = self._first_broken(judge)
            if found is not None and broken is not None:
                broken(found[1])
            if found is not None and self._spec.fail_fast:
                self._collector.cut_short(found[0])
            elif found is not None:
                judge = None
            now = time.monotonic()
            next_judgement = now + (now - began) / JUDGED_SHARE

        def turn(wait: float) -> Ending | None:
            nonlocal next_progress
            ending = self._seen_end(self._is_done) or self._over()
            if ending is not None:
                return ending if judge is None or not self._spec.fail_fast else self._at_first_broken(ending, judge)
            interrupt = INTERRUPTS.take()
            if interrupt is not None:
                return Ending(_INTERRUPTED, interrupt=interrupt)
            now = time.monotonic()
            if now >= deadline:
                crashed = self._crashed()
                return self._end_of_crash(crashed) if crashed else Ending(self._timed_out())
            if now >= next_progress:
                progress(self._collector.phase, self._collector.count, self.running.exits())
                next_progress = now + PROGRESS_S
            look()
            self._machine.loop.turn(min(wait, deadline - now, next_progress - now))
            return None

        return self._follow(turn)

    def _first_broken(self, judge: Judge[_T]) -> tuple[Position, _T] | None:
        """Return the first place at which `judge` returns something, and what."""
        collector, cut = self._collector, self._collector.cut

        def at(position: Position) -> _T | None:
            collector.cut = position
            try:
                return judge(self.running.timeline(_FAST_END))
            finally:
                collector.cut = cut

        before, end = 0, cut or collector.end
        found = at(end)
        if found is None:
            return None
        while end.entries - before > 1:
            middle = collector.at((before + end.entries) // 2)
            result = at(middle)
            if result is None:
                before = middle.entries
            else:
                end, found = middle, result
        return end, found

    def _at_first_broken(self, ending: Ending, judge: Judge[_T]) -> Ending:
        """Return the ending of a run that is to end where a rule is broken, however much more was seen."""
        found = None if ending.error or ending.interrupt else self._first_broken(judge)
        if found is None:
            return ending
        self._collector.cut_short(found[0])
        return _FAST_END

    def hold(self, serve: Callable[[], bool]) -> Ending:
        """Follow the guest while `serve`, which is called in each turn, returns True; QEMU is not stopped.

        A guest that crashes or is stuck goes on. Raises QemuLaunchError.
        """

        def turn(wait: float) -> Ending | None:
            ending = self._seen_end(self._is_past_sec) or self._ended(self._is_past_sec)
            if ending is not None:
                return ending
            if not serve():
                self._end_between_accesses()
                return self.so_far()
            self._note_trouble()
            self._machine.loop.turn(min(wait, HOLD_S))
            return None

        return self._follow(turn)

    def _end_between_accesses(self) -> None:
        """Cut the run where no vCPU waits for an answer, soon: a guest that is held has no goal."""
        patience = Patience(_HELD_ANSWER_S)
        while self.running.is_current and not self._machine.ended:
            if not self.running.is_open():
                self._collector.cut_short(self._collector.here())
                return
            if patience.step() <= 0:
                return
            self._machine.loop.turn(0.001)
            self.running.step()

    def so_far(self) -> Ending:
        """Return the ending of a guest that is held, as if it ended now."""
        if self.trouble:
            return Ending(self.trouble)
        return Ending("" if self._is_past_sec() else f"the guest was ended in {self._place}")

    def _is_past_sec(self) -> bool:
        return is_after(Phase.SEC, self._collector.phases, prompt=SHOWN_PROMPT in self._collector.shown)

    def _note_trouble(self) -> None:
        if self.trouble:
            return
        crashed = self._crashed()
        if crashed is None:
            self.trouble = self.stuck = self._stuck() or ""
        elif self._has_said_all(crashed):
            self.trouble = self._end_of_crash(crashed).gap

    def _follow(self, turn: Callable[[float], Ending | None]) -> Ending:
        """Read the witnesses and call `turn` until it returns an ending."""
        try:
            while True:
                wait = self.running.step()
                self._console.step()
                ending = turn(wait)
                if ending is not None:
                    self._note_consoles()
                    return ending
        except KeyboardInterrupt as interrupt:
            return Ending(_INTERRUPTED, interrupt=interrupt)
        except QemuLaunchError:
            raise
        except HarnessError as error:
            why = self._machine.explain(error) if isinstance(error, QemuError) else error
            return Ending(why.message, why)

    def _note_consoles(self) -> None:
        """Write when the consoles were read, in the time of the timeline."""
        start = self._collector.started_at
        if start is None:
            return
        times = {
            console.file: [[size, max(0, round((read - start) * 1e9))] for size, read in console.marks]
            for console in self._machine.consoles.values()
        }
        # A full disk ends no run because of this file.
        with contextlib.suppress(CannotWriteError):
            self._machine.directory.write_text(
                rundir.CONSOLES, json.dumps(json_head("consoles") | {"consoles": times}) + "\n"
            )

    @property
    def seconds(self) -> float:
        """Return the seconds since the session was made."""
        return time.monotonic() - self._started

    def _over(self) -> Ending | None:
        """Return how the run ended: the goal is reached, the guest has crashed or QEMU has ended; else None."""
        if self._is_done():
            return Ending() if self._is_answered() else self._ended(self._is_done)
        if self._spec.goal == "os" and SHOWN_PROMPT in self._collector.shown and self._collector.phase >= Phase.BDS:
            return Ending("the firmware is at its prompt, and has started no operating system")
        if self._console.has_shown(SHOWN_PROMPT) and self._collector.phase < Phase.BDS and self._console.is_late():
            shown = phase_name(self._collector.phase)
            return Ending(f"the console shows the firmware's prompt, and the guest was not seen further than {shown}")
        crashed = self._crashed()
        if crashed and self._has_said_all(crashed):
            return self._end_of_crash(crashed)
        stuck = None if crashed else self._stuck()
        return Ending(stuck) if stuck else self._ended(lambda: False)

    def _is_done(self) -> bool:
        """Whether the goal of the run is reached; that of an exit never is before it."""
        return self._collector.cut is not None

    def _is_answered(self) -> bool:
        """Whether no access from before the end waits for its answer, or has waited for long."""
        if not self.running.is_open(self._collector.cut):
            return True
        self._answers = self._answers or Patience(_ANSWER_S)
        return self._answers.step() <= 0

    def _seen_end(self, done: Callable[[], bool]) -> Ending | None:
        """Return the end that a witness has seen. A guest that has left may have crashed before, or be done."""
        ending = self.running.ended()
        if ending is None or not ending.left:
            return ending
        crashed = self._crashed()
        if crashed is not None:
            return self._end_of_crash(crashed)
        return Ending() if done() else ending

    def _stuck(self) -> str | None:
        """Return the description of a guest that cannot go on, with an event, once; else None."""
        watch = self.running.stuck
        if watch is None or self._machine.ended:
            return None
        reason = watch.step()
        if reason is not None:
            self._collector.event(GUEST_STUCK, None, None, reason, pc=watch.pc)
        return reason

    def _ended(self, done: Callable[[], bool]) -> Ending | None:
        """Return the end of QEMU, None if it runs. done: whether the goal of the run was reached before."""
        if not self._machine.ended:
            return None
        # One step reads all that is left.
        self.running.step()
        written = self._machine.debug_exit
        if written is not None:
            return self._end_by_guest(written)
        # A guest that was never seen did not start.
        seen = self._collector.started or any(console.last_line for console in self._machine.consoles.values())
        self._machine.raise_if_failed(launching=not seen)
        return Ending("" if done() else f"the guest reset or powered off in {self._place}")

    def _crashed(self) -> Console | None:
        return next((console for console in self._machine.consoles.values() if console.crash is not None), None)

    def _has_said_all(self, console: Console) -> bool:
        if self._crash is None:
            self._crash = Silence(), Patience(_CRASH_MAX_S)
        silence, patience = self._crash
        silent = silence.seconds(console.read_at, PROGRESS_S) >= _CRASH_SILENCE_S
        return patience.step() <= 0 or silent or self._machine.ended

    def _end_of_crash(self, console: Console) -> Ending:
        self.running.step()
        text = f"the guest crashed in {self._place}: {console.crash}"
        self._collector.event("guest-crash", None, None, text, console=console.name)
        return Ending(text)

    def _end_by_guest(self, status: int) -> Ending:
        text = f"the guest ended by isa-debug-exit with status {status}"
        self._collector.event(GUEST_EXIT, None, None, text, status=status)
        return guest_exit(text, self._spec.goal, self._collector.phase)

    def _timed_out(self) -> str:
        goal = self._spec.goal
        if isinstance(goal, Phase):
            wanted = f"the end of {phase_name(goal)}"
        elif isinstance(goal, re.Pattern):
            wanted = f"{goal.pattern!a} on the console"
        else:
            wanted = _GOALS[goal]
        last = self._machine.console("serial").last_line
        said = f", last line of the console: {last}" if last else ", nothing on the console"
        stage = self._collector.svsm_stage
        where = f"the SVSM has not started the guest ({stage})" if stage else f"the guest is in {self._place}"
        return f"{wanted} was not reached in {self._spec.timeout_s:g} s: {where}{said}"

    @property
    def _place(self) -> str:
        """Return how far the boot is, for a sentence."""
        stage = self._collector.svsm_stage
        return f"the start of the SVSM ({stage})" if stage else phase_name(self._collector.phase)


def guest_exit(text: str, goal: Until, phase: Phase) -> Ending:
    """Return the ending of a run whose guest wrote to isa-debug-exit in this phase."""
    # An exit in SEC leaves the rest of SEC unseen.
    return Ending("" if goal == "exit" and phase > Phase.SEC else f"{text} in {phase_name(phase)}")


def phase_name(phase: Phase) -> str:
    """Return the name of a phase for a sentence."""
    return _NAMES.get(phase, phase.name)
