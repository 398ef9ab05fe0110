# SPDX-License-Identifier: GPL-2.0-or-later
"""The data of a report: the verdict, the timeline, and how the run was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from snp_harness.apic.access import Access
from snp_harness.apic.activity import Activity
from snp_harness.apic.contract import counts, required
from snp_harness.apic.event_kinds import GUEST_IMAGE, RESTORED
from snp_harness.apic.rules.legal_transition import STATE_DIAGRAM, LegalTransition
from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult, Status, Verdict


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a run was made; None where a field does not apply.

    firmware: path or name of the image. configuration: name or path of the SVSM configuration.
    qemu: version and path. directory: where the artefacts are. rerun: the command that repeats the run.
    elapsed_s: seconds of wall time. error: why the run ended early.
    notes: sentences for the reader, such as that a fallback was used.
    """

    firmware: str | None = None
    configuration: str | None = None
    qemu: str | None = None
    directory: Path | None = None
    rerun: tuple[str, ...] = ()
    elapsed_s: float | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


class Profile(Protocol):
    """The #VMEXITs of a run that were counted."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        ...

    def lines(self, most: int) -> Iterator[str]:
        """Yield the counts as lines of text. most: rows of each table."""
        ...


def _unseen() -> Activity | None:
    return None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows.

    profile: the exits, if they were counted. sources: of the offences' instructions, where the firmware's debug files
    have them. activity: reads what happened between the accesses from the raw log, None where there is none.
    """

    verdict: Verdict
    timeline: Timeline
    run: RunInfo = RunInfo()
    profile: Profile | None = None
    sources: tuple[SourcePlace, ...] = ()
    activity: Callable[[], Activity | None] = field(default=_unseen, repr=False, compare=False)

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in one sentence."""
        deciding = deciding_result(self.verdict)
        return self.verdict.reason or (deciding.reason if deciding else "no rule was checked")

    @property
    def headline(self) -> str:
        """The verdict in one sentence: status, the deciding reason, how it was observed."""
        return f"{self.verdict.status.value}: {self.reason} ({self.verdict.observed})"

    def place(self, access: Access) -> SourcePlace | None:
        """Return where an access's instruction is in the source, None if it is not known."""
        key = (access.module, access.module_offset)
        return next((place for place in self.sources if (place.module, place.offset) == key), None)

    def source(self, access: Access) -> Frame | None:
        """Return the function that makes an access, as it was compiled, and the line; None if it is not known."""
        found = self.place(access)
        return None if found is None else found.compiled

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader: of the run, differences from hardware, and what was launched or restored."""
        notes = list(self.run.notes)
        if self.timeline.faults:
            notes.append(
                f"faults injected: {', '.join(self.timeline.faults)}; the firmware does not cause their effects"
            )
        for result in self.verdict.results:
            if result.rule == LegalTransition.name and STATE_DIAGRAM in result.reason:
                notes.append(f"the hypervisor set x2APIC mode, which can hide a fault of the firmware; {STATE_DIAGRAM}")
        notes += [event.text for event in self.timeline.events if event.kind in (GUEST_IMAGE, RESTORED)]
        return tuple(notes)


def deciding_result(verdict: Verdict) -> RuleResult | None:
    """Return the result whose reason is the verdict's: with its status, that of a required rule, else the first."""
    same = [result for result in verdict.results if result.status is verdict.status]
    if verdict.status is Status.INCONCLUSIVE:
        same = [result for result in same if counts(result, verdict.chosen)]
    same.sort(key=lambda result: result.rule not in required(verdict.chosen))
    return same[0] if same else None
