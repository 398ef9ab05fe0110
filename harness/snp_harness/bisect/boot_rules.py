# SPDX-License-Identifier: GPL-2.0-or-later
"""What a bisection can ask about a boot beside the contract: how far it comes, and whether the guest ends by itself."""

from __future__ import annotations

from dataclasses import dataclass

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import END_KINDS, GUEST_EXIT, GUEST_POWER_OFF, GUEST_RESET
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status

NO_CRASH = "no-crash"
_REACHED = "reached:"
#: The stage, and the goal of a run that shows it: a phase is reached when the one before it is over.
_STAGES = {"pei": "sec", "dxe": "pei", "bds": "dxe", "shell": "shell"}
NAMES = (NO_CRASH, *(f"{_REACHED}{stage}" for stage in _STAGES))
#: Events of a guest that does not go on; an exit, a reset or power-off that it requests is its aim.
_ENDS = (END_KINDS | {"guest-crash"}) - {GUEST_EXIT, GUEST_RESET, GUEST_POWER_OFF}


@dataclass(frozen=True, slots=True)
class BootRule:
    """A rule about a boot. until: the goal that a run needs for it, None if any will do."""

    name: str
    until: str | None = None

    @classmethod
    def find(cls, name: str) -> BootRule | None:
        """Return the rule of a name, None for a name that is not in NAMES."""
        if name not in NAMES:
            return None
        return cls(name, None if name == NO_CRASH else _STAGES[name.removeprefix(_REACHED)])

    def judge(self, timeline: Timeline) -> tuple[Status, str]:
        """Return what a run shows, and why; inconclusive if it shows neither."""
        ended = next((event.text for event in timeline.events if event.kind in _ENDS), None)
        gap = timeline.gaps[0] if timeline.gaps else ""
        if self.name == NO_CRASH:
            if ended is not None:
                return Status.VIOLATED, ended
            return (Status.HOLDS, "") if timeline.complete else (Status.INCONCLUSIVE, gap)
        stage = self.name.removeprefix(_REACHED)
        if timeline.complete or (stage != "shell" and timeline.reached >= Phase[stage.upper()]):
            return Status.HOLDS, ""
        if timeline.lost or not gap:
            return Status.INCONCLUSIVE, gap or "records of the log were lost"
        return Status.VIOLATED, ended or gap
