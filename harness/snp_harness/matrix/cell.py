# SPDX-License-Identifier: GPL-2.0-or-later
"""A cell of a matrix: one firmware under one configuration, and what its run showed."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.apic.verdict import EXIT_STATUS, Status
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snp_harness.apic.timeline import Timeline
    from snp_harness.report.model import Report

#: The verdict of a cell without a run.
NOT_RUN = "not run"
#: Kinds of offences that a cell lists.
OFFENCES_MAX = 100
#: Characters of an error that is kept.
_ERROR_MAX = 500


class Outcome(enum.Enum):
    """What a cell means for the matrix."""

    EXPECTED = "as expected"
    UNEXPECTED = "unexpected"
    INCONCLUSIVE = "inconclusive"
    NO_ANSWER = "no answer"

    @property
    def exit_status(self) -> int:
        """Of a matrix in which this is the worst."""
        return {
            Outcome.EXPECTED: EXIT_HOLDS,
            Outcome.UNEXPECTED: EXIT_VIOLATED,
            Outcome.INCONCLUSIVE: EXIT_INCONCLUSIVE,
            Outcome.NO_ANSWER: EXIT_ENVIRONMENT,
        }[self]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell is. firmware: its name in the matrix. configuration: its name, or that of its file."""

    firmware: str
    configuration: str
    platform: str
    vcpus: int

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """The four as texts."""
        return self.firmware, self.configuration, self.platform, str(self.vcpus)

    @property
    def name(self) -> str:
        """As in "stock/plain/emulated/1"."""
        return "/".join(self.parts)

    def in_place_of(self, other: Place) -> bool:
        """Return whether only the firmware is another one."""
        return self.parts[1:] == other.parts[1:]

    @property
    def directory(self) -> Path:
        """The run directory, relative to that of the matrix."""
        return Path(self.firmware, self.configuration, f"{self.platform}-{self.vcpus}")


@dataclass(frozen=True, slots=True)
class Cell:
    """What the run of a cell showed.

    verdict: its status, or NOT_RUN. reason: the verdict in one sentence. rules: status by rule. offences: their kinds,
    each a sentence. reached: the furthest phase. error: what ended the run early. refused: the hypervisor of the
    configuration offers no Alternate Injection, so that the firmware did not run. outcome, missed: as judged by what is
    expected; missed: what is not so.
    """

    place: Place
    verdict: str
    reason: str = ""
    rules: tuple[tuple[str, str], ...] = ()
    offences: tuple[str, ...] = ()
    reached: str = ""
    accesses: int = 0
    seconds: float = 0.0
    error: str = ""
    refused: bool = False
    outcome: Outcome = Outcome.EXPECTED
    missed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the cell as JSON values."""
        place = self.place
        return {
            "firmware": place.firmware,
            "configuration": place.configuration,
            "platform": place.platform,
            "vcpus": place.vcpus,
            "outcome": self.outcome.value,
            "verdict": self.verdict,
            "reason": self.reason,
            "missed": list(self.missed),
            "rules": dict(self.rules),
            "offences": list(self.offences),
            "reached": self.reached,
            "accesses": self.accesses,
            "seconds": self.seconds,
            "error": self.error,
            "refused": self.refused,
            "directory": str(place.directory),
        }

    @classmethod
    def from_json(cls, data: Any) -> Cell:
        """Return the cell that JSON values describe. Raises KeyError, TypeError or ValueError."""
        texts = {name: _text(data[name]) for name in ("verdict", "reason", "reached", "error")}
        if texts["verdict"] not in (NOT_RUN, *(status.value for status in Status)):
            raise ValueError(f"unknown verdict {texts['verdict']!a}")
        return cls(
            Place(_text(data["firmware"]), _text(data["configuration"]), _text(data["platform"]), int(data["vcpus"])),
            rules=tuple((_text(rule), _text(status)) for rule, status in dict(data["rules"]).items()),
            offences=tuple(map(_text, data["offences"])),
            accesses=int(data["accesses"]),
            seconds=float(data["seconds"]),
            refused=bool(data["refused"]),
            outcome=Outcome(data["outcome"]),
            missed=tuple(map(_text, data["missed"])),
            **texts,
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!a} is not a string")
    return value


def read_cell(
    place: Place, directory: Path, status: int, message: str, *, refuses: bool
) -> tuple[Cell, Timeline | None]:
    """Return what a run's directory has, and the timeline in it.

    status, message: the run's exit status, and its last line on stderr. refuses: the configuration's hypervisor offers
    no Alternate Injection to an SVSM that requires it.
    """
    from snp_harness.platforms.svsm_console import NoAlternateInjectionError
    from snp_harness.recorded import load_report

    said = message[:_ERROR_MAX]
    try:
        report = load_report(directory)
    except UsageError as unread:
        # Nothing was recorded: the command says why, if it could.
        return Cell(place, NOT_RUN, error=said or unread.message), None
    error = report.run.error or ""
    if not error and status != EXIT_STATUS[report.verdict.status]:
        error = said or f"the run ended with exit status {status}"
    cell = Cell(
        place,
        report.verdict.status.value,
        report.headline,
        tuple((result.rule, result.status.value) for result in report.verdict.results),
        tuple(dict.fromkeys(_offences(report)))[:OFFENCES_MAX],
        report.timeline.reached.name,
        len(report.timeline.accesses),
        round(report.run.elapsed_s or 0.0, 1),
        error[:_ERROR_MAX],
        refused=refuses and error == NoAlternateInjectionError.MESSAGE,
    )
    return cell, report.timeline


def _offences(report: Report) -> Iterator[str]:
    """Yield the kinds of what breaks a rule: without numbers, times and addresses, which every build moves."""
    from snp_harness.report.text import NAME_MAX, NOT_OBSERVED, escape, register

    for result in report.verdict.results:
        if result.status is not Status.VIOLATED:
            continue
        for access in result.offences:
            module = NOT_OBSERVED if access.module is None else escape(access.module, NAME_MAX)
            what = f"{access.operation.value} {register(access.register, access.path)}"
            yield f"{result.rule}: {what} by {module} in {access.phase.name}"
        yield from (f"{result.rule}: event {escape(event.kind, NAME_MAX)}" for event in result.events)
