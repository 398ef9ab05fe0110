# SPDX-License-Identifier: GPL-2.0-or-later
"""One step of a bisection: build a source, boot it, judge it. A commit that cannot be judged is skipped."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult, Status, Verdict
from snp_harness.bisect import boot_rules
from snp_harness.bisect.boot_rules import BootRule
from snp_harness.check import first_missing
from snp_harness.data import json_head
from snp_harness.edk2.build import Builder
from snp_harness.edk2.source import Source
from snp_harness.edk2.source_errors import SourceError
from snp_harness.errors import EXIT_ENVIRONMENT, BrokenEnvironmentError, FirmwareError, HarnessError, UsageError
from snp_harness.firmware_run import prepare
from snp_harness.platforms import find_platform
from snp_harness.platforms.platform import RunSpec
from snp_harness.report.text import access_line, escape
from snp_harness.svsm.config import SvsmConfig
from snp_harness.vm.rundir import RunDirectory

#: Exit statuses for `git bisect run` (git-bisect(1)): 125 skips the commit, 128 and up ends the bisection.
EXIT_GOOD = 0
EXIT_BAD = 1
EXIT_SKIP = 125


class Judgement(enum.StrEnum):
    """The answer about a commit."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"

    def exit_status(self, *, find_fix: bool = False) -> int:
        """Return the status for `git bisect run`. find_fix: the fix is searched, so older commits are bad."""
        if self is Judgement.SKIP:
            return EXIT_SKIP
        return EXIT_GOOD if (self is Judgement.BAD) is find_fix else EXIT_BAD


_JUDGEMENTS = {Status.HOLDS: Judgement.GOOD, Status.VIOLATED: Judgement.BAD}


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a commit. build_s, boot_s: seconds, 0 if it was not built or not booted.

    reason: why it has this judgement. built: "complete", "SEC" or "cached", empty if it was not built. offence: the
    first offence, in words. directory: of the run, empty without one.
    """

    commit: str
    subject: str
    judgement: Judgement
    reason: str
    build_s: float = 0.0
    boot_s: float = 0.0
    built: str = ""
    offence: str = ""
    directory: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON values."""
        return json_head("bisect-step") | asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Return the step of JSON values. Raises ValueError, KeyError or TypeError for other values."""
        fields = {name: data[name] for name in cls.__slots__ if name in data}
        return cls(**{**fields, "judgement": Judgement(data["judgement"])})

    def line(self) -> str:
        """Return the step as one line for the user."""
        times = ""
        if self.build_s or self.boot_s:
            times = f"build {self.build_s:.1f} s ({self.built or 'failed'}), boot {self.boot_s:.1f} s"
        parts = [f"{self.commit[:12]} {self.judgement}", times, self.reason, self.offence]
        return escape(", ".join(part for part in parts if part) + f": {self.subject}")


@dataclass(frozen=True, slots=True)
class Question:
    """How each commit is judged. rule: None for the whole contract. until: the stage at whose end a run stops.

    rule may also be one of bisect.boot_rules. Raises UsageError for an unknown rule, and for values that cannot be run.
    """

    platform: str
    svsm: SvsmConfig
    until: str
    timeout_s: float
    rule: str | None = None
    vcpus: int = 1
    qemu: Path | None = None

    def __post_init__(self) -> None:
        from snp_harness.apic.contract import RULES

        RunSpec(Path(), vcpus=self.vcpus, until=self.until, timeout_s=self.timeout_s)
        names = [*(rule.name for rule in RULES), *boot_rules.NAMES]
        if self.rule is not None and self.rule not in names:
            raise UsageError(f"{self.rule!a} is not a rule", f"name one of {', '.join(names)}")

    @property
    def goal(self) -> str:
        """Where a run stops: for a rule about a stage, where that is reached."""
        rule = BootRule.find(self.rule or "")
        return rule.until if rule is not None and rule.until is not None else self.until

    @property
    def sec_only(self) -> bool:
        """Whether the answer depends on SEC alone: the other volumes may be those of another commit."""
        return self.until == "sec" and BootRule.find(self.rule or "") is None

    def judge(self, verdict: Verdict, timeline: Timeline) -> tuple[Judgement, str, str]:
        """Return the judgement by a run's verdict and timeline, its reason, and the first offence."""
        rule = BootRule.find(self.rule or "")
        if rule is not None:
            status, why = rule.judge(timeline)
            return _JUDGEMENTS.get(status, Judgement.SKIP), f"{rule.name} {status.value}{why and f' ({why})'}", ""
        results = verdict.results if self.rule is None else (verdict.result(self.rule),)
        status = verdict.status if self.rule is None else results[0].status
        telling = next((result for result in results if result.status is status), results[0])
        judgement = _JUDGEMENTS.get(status, Judgement.SKIP)
        reason = f"{self.rule or 'contract'} {status.value}"
        if judgement is not Judgement.GOOD:
            reason += f" ({telling.rule}: {telling.reason})" if self.rule is None else f" ({telling.reason})"
        return judgement, reason, _first_offence(telling) if judgement is Judgement.BAD else ""


def check_platform(question: Question) -> None:
    """Raise BrokenEnvironmentError if the platform or its QEMU cannot run here; called before a build."""
    missing = first_missing(find_platform(question.platform).probe(qemu=question.qemu))
    if missing is not None:
        raise BrokenEnvironmentError(
            f"platform {question.platform} cannot run: {missing.name}: {missing.evidence}", missing.hint
        )


def take_step(
    source: Source, commit: str, subject: str, builder: Builder, question: Question, directory: RunDirectory
) -> Step:
    """Build and boot a source and judge it. Raises HarnessError if the environment is broken.

    directory: of the run.
    """
    started = time.monotonic()
    try:
        image = builder.build(source.prepared(builder.recipe), sec_only=question.sec_only)
    except SourceError as error:
        return Step(commit, subject, Judgement.SKIP, error.message, build_s=_since(started))
    build_s = _since(started)
    try:
        boot = prepare(
            image.path,
            question.platform,
            question.svsm,
            vcpus=question.vcpus,
            until=question.goal,
            timeout_s=question.timeout_s,
            qemu=question.qemu,
            # The question is what the firmware does, in whatever configuration.
            as_if_active=True,
        )
        result = boot.run(directory)
    except FirmwareError as error:
        return Step(commit, subject, Judgement.SKIP, f"the image cannot be run: {error.message}", build_s)
    if result.error is not None:
        if result.error.exit_status >= EXIT_ENVIRONMENT:
            raise result.error
        return Step(commit, subject, Judgement.SKIP, result.error.message, build_s, round(result.seconds, 1))
    judgement, reason, offence = question.judge(result.verdict, result.timeline)
    built = "cached" if image.cached else "SEC" if image.manifest.get("sec_only") else "complete"
    return Step(
        commit, subject, judgement, reason, build_s, round(result.seconds, 1), built, offence, str(result.directory)
    )


def as_environment(error: HarnessError) -> HarnessError:
    """Return an error with a status that stops `git bisect run`: it is not an answer about the commit."""
    if error.exit_status < EXIT_ENVIRONMENT:
        error.exit_status = EXIT_ENVIRONMENT
    return error


def _first_offence(result: RuleResult) -> str:
    if result.first_offence is not None:
        return " ".join(access_line(result.first_offence).split())
    return f"{result.events[0].kind}: {result.events[0].text}" if result.events else ""


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)
