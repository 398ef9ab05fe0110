# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a run ends: the first place in what its witness has seen that shows the goal.

What the guest does from there until QEMU is stopped depends on the machine's load. So it is not a part of the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Event, PhaseMark, sec_is_over

#: Where a run ends: when the phase is over; "shell": at the firmware's prompt (or the message that there is nothing to
#: boot); "os": when an operating system executes; "exit": when the guest writes to the device isa-debug-exit; a
#: pattern: when the console shows it.
Until = Phase | Literal["shell", "os", "exit"] | re.Pattern[str]

#: The end of a boot without an operating system: EDK II's shell, and BdsDxe if nothing can be booted.
PROMPT = r"Shell> |BdsDxe: No bootable option[^\r\n]{0,60}[\r\n]"
#: BdsDxe prints what it boots.
BDS_LINE = r"BdsDxe: [^\r\n]{1,200}[\r\n]"
#: Names of what a console shows.
SHOWN_BDS, SHOWN_PROMPT, SHOWN_GOAL = "bds", "prompt", "goal"


def wanted_texts(goal: Until) -> dict[str, str]:
    """Return the patterns of what a console may show of a boot with this goal, by the names of what it then shows."""
    texts = {SHOWN_BDS: BDS_LINE, SHOWN_PROMPT: PROMPT}
    return texts | {SHOWN_GOAL: goal.pattern} if isinstance(goal, re.Pattern) else texts


def is_after(phase: Phase, marks: Sequence[PhaseMark], *, prompt: bool) -> bool:
    """Whether the phase is over. prompt: the console has shown the firmware's prompt.

    After the prompt only the phase of an operating system is left. One mark that is only inferred does not show the end
    of SEC: then the next one has to be seen, too.
    """
    reached = marks[-1].phase if marks else Phase.RESET
    if phase <= Phase.SEC and reached is Phase.PEI and not sec_is_over(marks):
        return False
    return reached > phase or (prompt and reached >= Phase.BDS and phase <= Phase.BDS)


def is_reached(goal: Until, marks: Sequence[PhaseMark], shown: frozenset[str]) -> bool:
    """Whether these phases, and what a console has shown, show the goal; that of an exit is never shown so.

    What a console shows does not prove a phase: a goal on the console is reached after SEC, a prompt in BDS.
    """
    prompt = SHOWN_PROMPT in shown
    if isinstance(goal, re.Pattern):
        return SHOWN_GOAL in shown and is_after(Phase.SEC, marks, prompt=prompt)
    if isinstance(goal, Phase):
        return is_after(goal, marks, prompt=prompt)
    reached = marks[-1].phase if marks else Phase.RESET
    if goal == "os":
        return reached >= Phase.OS
    return goal == "shell" and prompt and reached >= Phase.BDS


@dataclass(frozen=True, slots=True)
class LogState:
    """What a log has before a place. records, accesses: of all VMPLs. closing: an event that sums them up."""

    records: int
    accesses: int
    closing: Event | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in what a collector has: so many entries are before it.

    condensed: accesses before it that are counted only. log: None if it is not known, or the witness has none.
    """

    entries: int
    condensed: int = 0
    log: LogState | None = None
