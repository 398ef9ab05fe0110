# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests look at in a run."""

from __future__ import annotations

from snp_harness.apic.access import Access
from snp_harness.apic.timeline import Timeline
from snp_harness.firmware_run import RunResult
from snp_harness.vm import rundir

#: What two boots must have in common, access by access.
COMPARED = ("operation", "register", "path", "value", "size", "vcpu", "vmpl", "mode", "outcome", "served_by")


def registers(timeline: Timeline) -> list[Access]:
    """Accesses to registers, APIC_BASE aside."""
    return [access for access in timeline.accesses if not access.is_base]


def serial(result: RunResult) -> str:
    """The guest's console."""
    return (result.directory / rundir.SERIAL).read_text(errors="replace")


def told_without_timing(timeline: Timeline) -> list[object]:
    """What two boots must have in common: all before the first tick, then all but how many ticks there were.

    A tick, which reads APIC_BASE and writes EOI, comes where it comes.
    """
    told = [tuple(getattr(access, name) for name in COMPARED) for access in timeline.accesses]
    first = next(n for n, access in enumerate(timeline.accesses) if access.register.name == "EOI")
    phases = [access.phase for access in timeline.accesses[:first]]
    others = [n for n, access in enumerate(timeline.accesses) if access.register.name not in ("EOI", "APIC_BASE")]
    return [told[:first], phases, [told[n] for n in others], set(told)]
