# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report has to say, each place of the firmware once: for the forms that annotate files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from snp_harness.apic.access import Access
from snp_harness.apic.source_place import Frame
from snp_harness.apic.verdict import RuleResult, Status
from snp_harness.report.model import Report, deciding_result
from snp_harness.report.text import NOT_OBSERVED, escape, mode_of, number, phase, place, register

#: Findings of a rule; the report's text has the number of the others.
FINDINGS_MAX = 100
#: Longest path or text of an event.
_TEXT_MAX = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason of the verdict.

    broken: the rule is broken; else the verdict is inconclusive, and the rule is why. place: "SecMain+1A2B", empty
    where there is none. source: of the instruction, if symbols are known. access: the first of them.
    """

    rule: str
    broken: bool
    message: str
    place: str = ""
    source: Frame | None = None
    access: Access | None = None

    @property
    def sentence(self) -> str:
        """The message, and where it was."""
        return f"{self.message} at {self.place}" if self.place else self.message

    @property
    def fingerprint(self) -> str:
        """Names the finding in other runs of the same firmware, and no other finding of this one."""
        what = self.message
        if self.access is not None:
            what = f"{self.access.operation.value} {self.access.register.name} {number(self.access.pc)}"
        return hashlib.sha256("\0".join((self.rule, self.place, what)).encode()).hexdigest()


def findings(report: Report) -> list[Finding]:
    """Return the findings: of each broken rule in their order, or the reason of an inconclusive verdict."""
    found = [
        one for result in report.verdict.results if result.status is Status.VIOLATED for one in _of(report, result)
    ]
    if report.verdict.status is Status.INCONCLUSIVE:
        deciding = deciding_result(report.verdict)
        found.append(Finding(deciding.rule if deciding else "", False, escape(report.headline)))
    return found


def firmware_path(report: Report) -> str:
    """Return the path of the firmware from the current directory if it is below it, else as it was given."""
    firmware = report.run.firmware
    if firmware is None:
        return "firmware"
    path = Path(firmware)
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else firmware


def uri(path: str) -> str:
    """Return a path as a URI, or as a reference to one if it is relative."""
    absolute = "file://" if path.startswith("/") else ""
    try:
        return absolute + quote(os.fsencode(path))
    except UnicodeEncodeError:  # not a path of this system
        return absolute + quote(path, errors="backslashreplace")


def _of(report: Report, result: RuleResult) -> Iterator[Finding]:
    """Yield the findings of a broken rule: one for each place, the first access of it."""
    by_place: dict[tuple[object, ...], list[Access]] = {}
    for access in result.offences:
        key = (access.module, access.module_offset if access.module else access.pc, access.operation, access.register)
        by_place.setdefault(key, []).append(access)
    for accesses in list(by_place.values())[:FINDINGS_MAX]:
        first = accesses[0]
        where = place(first)
        yield Finding(
            result.rule,
            True,
            _message(first, len(accesses)),
            "" if where == NOT_OBSERVED else where,
            report.source(first),
            first,
        )
    texts = dict.fromkeys(escape(f"{event.kind}: {event.text}", _TEXT_MAX) for event in result.events)
    for text in list(texts)[:FINDINGS_MAX]:
        yield Finding(result.rule, True, text)
    if not result.offences and not result.events:
        yield Finding(result.rule, True, escape(result.reason))


def _message(access: Access, count: int) -> str:
    """Return what an access did, in a sentence."""
    times = f", {count} times" if count > 1 else ""
    return (
        f"{access.operation.value} of {register(access.register, access.path)} by {access.path.value} in "
        f"{mode_of(access)}, phase {phase(access.phase)}, outcome {access.outcome.value}{times}"
    )
