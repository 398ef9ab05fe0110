# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report is made from: the verdict, the timeline, and how the run was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snp_harness.apic.contract import REQUIRED
from snp_harness.apic.rules.legal_transition import STATE_DIAGRAM, LegalTransition
from snp_harness.apic.timeline import GUEST_IMAGE, Timeline
from snp_harness.apic.verdict import RuleResult, Status, Verdict


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a run was made; None where there is nothing to say.

    firmware: path or name of the image. configuration: name or path of the SVSM configuration.
    qemu: version and path. directory: where the artefacts are. rerun: the command that makes the run again.
    elapsed_s: seconds of wall time. error: what broke the run in the middle.
    notes: sentences the reader needs, such as a fallback that was taken.
    """

    firmware: str | None = None
    configuration: str | None = None
    qemu: str | None = None
    directory: Path | None = None
    rerun: tuple[str, ...] = ()
    elapsed_s: float | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows."""

    verdict: Verdict
    timeline: Timeline
    run: RunInfo = RunInfo()

    @property
    def headline(self) -> str:
        """The verdict in one sentence: status, the reason that decides, how it was observed."""
        deciding = deciding_result(self.verdict)
        reason = deciding.reason if deciding else "no rule was checked"
        return f"{self.verdict.status.value}: {reason} ({self.verdict.observed})"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences the reader needs: of the run, about what makes it unlike one on hardware, and what was launched."""
        notes = list(self.run.notes)
        if self.timeline.faults:
            notes.append(f"faults injected: {', '.join(self.timeline.faults)}; what follows from them is no firmware's")
        for result in self.verdict.results:
            if result.rule == LegalTransition.name and STATE_DIAGRAM in result.reason:
                notes.append(f"x2APIC mode came by itself, which hides what firmware does without it; {STATE_DIAGRAM}")
        notes += [event.text for event in self.timeline.events if event.kind == GUEST_IMAGE]
        return tuple(notes)


def deciding_result(verdict: Verdict) -> RuleResult | None:
    """Return the result that gives the verdict its reason: of those with its status, a required rule or the first."""
    same = [result for result in verdict.results if result.status is verdict.status]
    if verdict.status is Status.INCONCLUSIVE:
        same = [result for result in same if result.observable or result.rule in REQUIRED]
    same.sort(key=lambda result: result.rule not in REQUIRED)
    return same[0] if same else None
